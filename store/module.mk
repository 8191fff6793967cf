store_SRCS :=
store_DEPS := zkproto net base
store_PKGS := lmdb raft
store_PROGRAMS :=
