cli_SRCS := ask_io.c cluster_io.c cmd.c health_io.c local_io.c proc_io.c
cli_DEPS := zkproto net base
cli_PKGS := jansson
cli_PROGRAMS := paddock=main
