store_SRCS := kv.c kv_overlay.c kv_lmdb.c
store_DEPS := zkproto net base
store_PKGS := lmdb raft
store_PROGRAMS :=
