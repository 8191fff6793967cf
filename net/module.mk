net_SRCS := addr.c connect.c crypto.c http.c listen.c loop.c proc.c stream.c tls.c tls_session.c tls_store.c x500.c
net_DEPS := base
net_PKGS := libuv openssl libmicrohttpd
