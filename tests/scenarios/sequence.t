# Sequence numbers count creates under the parent, whoever makes them; deletes do not give them back.
cluster 3 tick=2000ms
connect a server=follower                   -> connected timeout=10000ms
connect b server=third                      -> connected timeout=10000ms
a create /q                                 -> ok
a create /q/n- sequential                   -> ok /q/n-0000000000
b create /q/n- sequential                   -> ok /q/n-0000000001
a create /q/plain                           -> ok
b create /q/e- sequential ephemeral         -> ok /q/e-0000000003
a delete /q/n-0000000001                    -> ok
b create /q/n- sequential                   -> ok /q/n-0000000004
b close                                     -> ok
a exists /q/e-0000000003                    -> NoNode
