# A new leader gives every session its whole timeout; clients of other servers keep their watches.
cluster 3 tick=2000ms
connect a timeout=6000ms server=follower    -> connected timeout=6000ms
connect b timeout=6000ms server=third       -> connected timeout=6000ms
a create /e ephemeral                       -> ok
b exists /e watch                           -> ok
cut a
elapse 4000ms
kill leader
elapse 2500ms           # somebody leads again, and begins to count from the start
check leader=other sessions=2 ephemerals=1
elapse 3000ms           # a would be gone by the old leader's clock
check sessions=2
b                       <-
elapse 5500ms
b                       <- deleted /e
check sessions=1 ephemerals=0
start
settle
