# make install DESTDIR= PREFIX=/usr; make uninstall with the same. Configuration that is there already stays.
PREFIX ?= /usr
SYSCONFDIR ?= /etc
DESTDIR ?=
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
UNITDIR = $(PREFIX)/lib/systemd/system
SYSUSERSDIR = $(PREFIX)/lib/sysusers.d
DOCDIR = $(PREFIX)/share/doc/paddock

MAN_PAGES := $(addprefix $(O)/man/,paddock.1 paddock-bench.1 paddock-check.1 paddock-zk.1 paddock-store.8 paddock-store.cfg.5)
COMPLETIONS := $(addprefix $(O)/completion/,bash zsh fish)
SYSTEMD_UNIT := $(O)/systemd/paddock-store@.service
MD2MAN := packaging/man/md2man

.PHONY: man install uninstall
man: $(MAN_PAGES)
man_page = @mkdir -p $(@D) && $(MD2MAN) $(O) $(1) $(2) $(3) $(VERSION) < $< > $@
$(O)/man/paddock.1: packaging/man/paddock.1.md $(MD2MAN) $(PROGRAMS)
	$(call man_page,paddock,1,'a local cluster of the Paddock store$(comma) and a client for any ZooKeeper')
$(O)/man/paddock-bench.1: packaging/man/paddock-bench.1.md $(MD2MAN) $(PROGRAMS)
	$(call man_page,paddock-bench,1,'load on a ZooKeeper-compatible server$(comma) and what it did with it')
$(O)/man/paddock-check.1: packaging/man/paddock-check.1.md $(MD2MAN) $(PROGRAMS)
	$(call man_page,paddock-check,1,'is this history what a ZooKeeper promises?')
$(O)/man/paddock-zk.1: packaging/man/paddock-zk.1.md $(MD2MAN) $(PROGRAMS)
	$(call man_page,paddock-zk,1,'read$(comma) write and watch znodes')
$(O)/man/paddock-store.8: packaging/man/paddock-store.8.md $(MD2MAN) $(PROGRAMS)
	$(call man_page,paddock-store,8,'one server of the Paddock store')
$(O)/man/paddock-store.cfg.5: docs/configuration.md $(MD2MAN)
	$(call man_page,paddock-store.cfg,5,'configuration of paddock-store')
$(O)/completion/%: $(O)/paddock
	@mkdir -p $(@D) && $< completion $* > $@
$(SYSTEMD_UNIT): packaging/systemd/paddock-store@.service FORCE
	@mkdir -p $(@D) && sed 's#@BINDIR@#$(BINDIR)#; s#@SYSCONFDIR@#$(SYSCONFDIR)#' $< > $@
.PHONY: FORCE
FORCE:

# target paths below DESTDIR, each with its source
define installed
755 $(O)/paddock $(BINDIR)/paddock
755 $(O)/paddock-store $(BINDIR)/paddock-store
755 $(O)/paddock-bench $(BINDIR)/paddock-bench
755 $(O)/paddock-check $(BINDIR)/paddock-check
644 $(O)/man/paddock.1 $(MANDIR)/man1/paddock.1
644 $(O)/man/paddock-bench.1 $(MANDIR)/man1/paddock-bench.1
644 $(O)/man/paddock-check.1 $(MANDIR)/man1/paddock-check.1
644 $(O)/man/paddock-zk.1 $(MANDIR)/man1/paddock-zk.1
644 $(O)/man/paddock-store.8 $(MANDIR)/man8/paddock-store.8
644 $(O)/man/paddock-store.cfg.5 $(MANDIR)/man5/paddock-store.cfg.5
644 $(SYSTEMD_UNIT) $(UNITDIR)/paddock-store@.service
644 packaging/paddock.sysusers $(SYSUSERSDIR)/paddock.conf
644 $(O)/completion/bash $(PREFIX)/share/bash-completion/completions/paddock
644 $(O)/completion/zsh $(PREFIX)/share/zsh/vendor-completions/_paddock
644 $(O)/completion/fish $(PREFIX)/share/fish/vendor_completions.d/paddock.fish
644 README.md $(DOCDIR)/README.md
endef
export installed
install: $(PROGRAMS) $(MAN_PAGES) $(COMPLETIONS) $(SYSTEMD_UNIT)
	@while read -r mode from to; do install -D -m $$mode "$$from" "$(DESTDIR)$$to" || exit 1; done <<<"$$installed"
	@[ -e "$(DESTDIR)$(SYSCONFDIR)/paddock/store.cfg" ] || \
		install -D -m 644 packaging/store.cfg "$(DESTDIR)$(SYSCONFDIR)/paddock/store.cfg"
	@git ls-files examples docs | while read -r f; do install -D -m 644 "$$f" "$(DESTDIR)$(DOCDIR)/$$f" || exit 1; done
	@chmod 755 "$(DESTDIR)$(DOCDIR)/examples/make-certs.sh"
	@echo "installed below $(DESTDIR)$(PREFIX); then: systemd-sysusers; systemctl enable --now paddock-store@store"
uninstall:
	@while read -r mode from to; do rm -f "$(DESTDIR)$$to"; done <<<"$$installed"
	@rm -rf "$(DESTDIR)$(DOCDIR)"
