store_SRCS := kv.c kv_overlay.c kv_lmdb.c kv_export.c kv_import.c applier_io.c server.c server_conn.c server_local.c server_members.c server_handover.c server_count.c server_state.c server_watch.c session.c watch.c
store_SRCS += rlog.c rlog_format.c rlog_open.c disk_io.c
store_SRCS += budget.c config.c config_check.c config_doc.c config_io.c jaas.c metrics.c properties.c server_spec.c
store_SRCS += found.c peer_greet.c raft_guard.c raft_io.c raft_msg.c raft_node.c raft_recover.c
store_SRCS += txn.c tree.c tree_acl.c tree_multi.c tree_node.c tree_quota.c tree_reconfig.c tree_read.c tree_session.c tree_stage.c tree_walk.c tree_write.c
store_SRCS += client_io.c admin_io.c commands_io.c commands_format.c commands_words_io.c heal_io.c members_io.c memory_io.c metrics_io.c node_io.c peer_io.c recover_io.c sasl_io.c state_dir_io.c
store_DEPS := zkproto net base
store_PKGS := lmdb raft libsystemd jansson libsasl2 krb5
store_PROGRAMS := paddock-store=main
