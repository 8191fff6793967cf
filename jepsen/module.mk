jepsen_SRCS := history.c history_io.c history_json.c history_store.c
jepsen_DEPS := zkproto net base
jepsen_PKGS := jansson
