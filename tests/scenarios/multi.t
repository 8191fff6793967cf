# All of a multi or nothing of it; one result for each operation.
cluster 3 tick=2000ms
connect a server=follower                   -> connected timeout=10000ms
a addwatch / recursive                      -> ok
a multi create:/m create:/m/x set:/m check:/m/x     -> ok ok ok ok ok
a   <- created /m, created /m/x, changed /m
a multi delete:/m/x create:/m/y create:/m set:/m  -> ok Ok Ok NodeExists RuntimeInconsistency
a exists /m/x                               -> ok
a exists /m/y                               -> NoNode
a                                           <-
a get /m                                    -> ok m v1
