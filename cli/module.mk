cli_SRCS :=
cli_DEPS := zkproto net base
cli_PROGRAMS :=
