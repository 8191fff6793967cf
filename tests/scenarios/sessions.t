# Timeouts are clamped, passwords are asked for, a client from the future is sent away.
cluster 3 tick=2000ms
connect a timeout=10ms                      -> connected timeout=4000ms
connect b timeout=1000000ms                 -> connected timeout=40000ms
connect c timeout=9000ms server=follower    -> connected timeout=9000ms
a create /a                                 -> ok
drop c
connect c server=third wrong-password       -> refused
connect d zxid=0x7fff00000000               -> closed
check sessions=3
a close                                     -> ok
check sessions=2
