jepsen_SRCS := history.c history_io.c history_json.c history_store.c
jepsen_SRCS += dump_io.c rules.c workload_call.c workload_data.c workload_mix.c workload_session.c
jepsen_DEPS := zkproto net base
jepsen_PKGS := jansson
jepsen_LIBS := -lm
jepsen_PROGRAMS := paddock-rules=rules_io paddock-slowlink=slowlink_io paddock-workload=workload_io
