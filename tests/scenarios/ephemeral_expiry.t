# A silent session loses its ephemerals, in the time that ZooKeeper would take; a watcher hears it once.
cluster 3 tick=2000ms
connect a timeout=4000ms server=follower    -> connected timeout=4000ms
connect b timeout=40000ms server=third      -> connected timeout=40000ms
a create /lock ephemeral                    -> ok
b exists /lock watch                        -> ok
check sessions=2 ephemerals=1 watches=1
cut a
elapse 3900ms
check sessions=2 ephemerals=1
elapse 4500ms           # rounded up to the next tick, behind a touch that was reported late
b                       <- deleted /lock
check sessions=1 ephemerals=0 watches=0
b exists /lock          -> NoNode
connect a server=follower -> expired
