zkproto_SRCS := multi.c record.c wire.c zk.c
zkproto_DEPS := net base
zkproto_PKGS :=
