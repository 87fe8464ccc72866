# Two handlers move a VM over RDMA, and one of them is killed and started again. (A source dials a target
# that is gone for 30 s: most of this is waiting.)
. /mnt/repo/tests/rdma/guest/lib.sh
ulimit -l unlimited
veth_devices
cluster_up 10.8.0.0/24 v1
vm_make v 64Mi 32Mi 8Mi 512Ki
say "two handlers, a VM"
limit=4Mi

policy rdma $limit
for end in target source; do
    begin
    in_midst
    n=$to
    [ $end = target ] || n=$from
    node_down $n KILL
    node_up $n
    finish "the $end killed in pre-copy" Ended
    passed
done

policy rdma $limit post-copy
for end in target source; do
    begin
    at_target
    n=$to
    [ $end = target ] || n=$from
    node_down $n KILL
    node_up $n
    finish "the $end killed in post-copy" Succeeded
    passed
done

# The network in post-copy, which belongs to trouble.sh: here because that takes longer
policy rdma 2Mi post-copy
begin
at_target
swallow
finish "RoCE swallowed in post-copy" Succeeded
passed '"\($t.faults) faults, \($t.readFaults) of them by READ"' '$r.reconnects >= 1'
