net_SRCS :=
net_DEPS := base
net_PKGS := libuv openssl libmicrohttpd
