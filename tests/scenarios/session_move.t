# A session moves to another server with its ephemerals; the one it left learns of it.
cluster 3 tick=2000ms
connect a timeout=8000ms server=leader      -> connected timeout=8000ms
connect b timeout=8000ms server=follower    -> connected timeout=8000ms
a create /e ephemeral                       -> ok
drop a
connect a server=follower                   -> connected timeout=8000ms
a ephemerals /                              -> ok /e
drop a
connect a server=third                      -> connected timeout=8000ms
a get /e                                    -> ok  v0
check sessions=2 ephemerals=1
a close                                     -> ok
check sessions=1 ephemerals=0
b exists /e                                 -> NoNode
