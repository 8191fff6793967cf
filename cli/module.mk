cli_SRCS := bench_herd_io.c bench_hist.c bench_io.c bench_load_io.c bench_proc_io.c bench_work.c bench_yardstick_io.c
cli_SRCS += ask_io.c cluster_io.c cmd.c completion.c demo_io.c health_io.c local_io.c proc_io.c
cli_SRCS += zk_dump_io.c zk_io.c zk_read_io.c zk_text.c zk_watch_io.c zk_write_io.c
cli_DEPS := zkproto net base
cli_PKGS := jansson
cli_PROGRAMS := paddock=main paddock-bench=bench_main
