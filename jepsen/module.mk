jepsen_SRCS := check.c check_apply.c check_model.c check_order.c check_report.c check_watch.c edn.c gen.c
jepsen_SRCS += history.c history_io.c history_json.c history_store.c
jepsen_SRCS += dump_io.c rules.c workload_call.c workload_data.c workload_mix.c workload_session.c
jepsen_DEPS := zkproto net base
jepsen_PKGS := jansson
jepsen_LIBS := -lm
jepsen_PROGRAMS := paddock-check=main paddock-rules=rules_io paddock-slowlink=slowlink_io
jepsen_PROGRAMS += paddock-workload=workload_io
