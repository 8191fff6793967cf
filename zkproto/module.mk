zkproto_SRCS := client.c client_io.c client_ops.c client_watch.c frame.c multi.c path.c record.c sasl_digest_io.c wire.c zk.c
zkproto_DEPS := net base
zkproto_PKGS :=
