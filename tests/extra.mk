# The proofs that need real servers: unmodified clients, the differential tester, the crash loop.
# Each compares with, or can run against, Debian's zookeeper: TARGET=reference checks the test itself.
PYTHON ?= /usr/bin/python3
PROVE = O=$(O) PYTHONDONTWRITEBYTECODE=1 $(PYTHON)

.PHONY: clients diff crash failover
# CLIENTS_ONLY=kazoo-lock,zkcli  SERVERS=1
clients: $(PROGRAMS)
	@$(PROVE) tests/clients/run.py
