zkproto_SRCS := frame.c multi.c path.c record.c wire.c zk.c
zkproto_DEPS := net base
zkproto_PKGS :=
