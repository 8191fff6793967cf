# What happened while a client was away is told when it sets its watches again, the rest goes on.
cluster 3 tick=2000ms
connect a timeout=20000ms server=follower   -> connected timeout=20000ms
connect b timeout=20000ms server=third      -> connected timeout=20000ms
b create /changed                           -> ok
b create /gone                              -> ok
b create /parent                            -> ok
b create /still                             -> ok
a get /changed watch                        -> ok  v0
a get /gone watch                           -> ok  v0
a children /parent watch                    -> ok
a get /still watch                          -> ok  v0
a exists /new watch                         -> NoNode
drop a
b set /changed data=1                       -> ok
b delete /gone                              -> ok
b create /parent/x                          -> ok
b create /new                               -> ok
connect a server=leader                     -> connected timeout=20000ms
a                  <- changed /changed, deleted /gone, created /new, children /parent
b set /still data=1                         -> ok
a                                           <- changed /still
check watches=0
