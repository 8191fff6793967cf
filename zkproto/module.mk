zkproto_SRCS := zk.c
zkproto_DEPS := net base
zkproto_PKGS :=
