# One-shot watches fire once; those that stay, stay; a recursive one hears of the subtree.
cluster 3 tick=2000ms
connect a server=follower                   -> connected timeout=10000ms
connect b server=third                      -> connected timeout=10000ms
a exists /n watch                           -> NoNode
b create /n data=1                          -> ok
a                                           <- created /n
b set /n data=2                             -> ok
a                                           <-
a get /n watch                              -> ok 2 v1
a children /n watch                         -> ok
b create /n/c                               -> ok
a                                           <- children /n
b delete /n/c                               -> ok
a                                           <-
a addwatch /n                               -> ok
a addwatch /r recursive                     -> ok
b set /n data=3                             -> ok
b set /n data=4                             -> ok
b create /n/d                               -> ok
b create /r                                 -> ok
b create /r/x                               -> ok
b set /r/x data=1                           -> ok
b delete /r/x                               -> ok
a   <- changed /n, changed /n, children /n, created /r, created /r/x, changed /r/x, deleted /r/x
a unwatch /n                                -> ok
b set /n data=5                             -> ok
a                                           <-
a unwatch /n                                -> NoWatcher
