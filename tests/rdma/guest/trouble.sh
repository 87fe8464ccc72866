# What can happen to the network, the device and the peer of two handlers that move a VM over RDMA.
. /mnt/repo/tests/rdma/guest/lib.sh
ulimit -l unlimited
veth_devices
cluster_up 10.8.0.0/24 v1
vm_make v 64Mi 32Mi 8Mi 512Ki
say "two handlers, a VM"
limit=2Mi # 16 s, in any of which something can happen
rdma_was_used() { # so far
    look
    grep -q 'transport\\":\\"rdma' $dir/m.json || die "$1: not over RDMA before it: $(<$dir/m.json)"
}

# --- the network ---
policy rdma $limit
begin
in_midst
rdma_was_used "a pause"
swallow
sleep 1 # shorter than the device's patience, if the machine is not too busy to keep the time
swallow_no_more
full_speed
finish "RoCE swallowed for a second" Succeeded
want '$r.transport == "rdma"' '$r.reconnects <= 1'
passed

begin
in_midst
swallow
wait_for "that the source sees it" lost
full_speed
finish "RoCE swallowed from the midst on" Succeeded
want '$r.transport == "tcp"' '$r.reconnects >= 1' '$r.transportReason != ""'
passed "$(jq -r .transportReason $dir/result.json)"
swallow_no_more

begin
in_midst
rdma link delete rxe1 &
removal=$!
wait_for "that the source sees it" lost
full_speed
finish "the device removed" Succeeded
want '$r.transport == "tcp"' '$r.reconnects >= 1'
passed "$(jq -r .transportReason $dir/result.json)"
handlers_off
wait $removal || die "rxe1 stays"
rdma link add rxe1 type rxe netdev v1 || die "no rxe1"
wait_for rxe1 rxe_ready rxe1
handlers_on

# --- the peer ---
begin
in_midst
rdma_was_used "a stop"
kill -STOP "${pid[$to]}"
wait_for "that the source misses its heartbeat" lost
kill -CONT "${pid[$to]}"
full_speed
finish "the target stopped, and going on" Succeeded
want '$r.reconnects >= 1'
passed

# --- post-copy ---
policy rdma $limit post-copy
begin
at_target
swallow
finish "RoCE swallowed in post-copy" Succeeded
want '$r.reconnects >= 1'
passed "$(jq -r '"\(.faults) faults, \(.readFaults) of them by READ"' $dir/target.json)"
swallow_no_more

# Last: in this topology rxe answers nobody any more after it.
policy rdma $limit
begin
in_midst
ip link set v2 down
wait_for "that the source sees it" lost
ip link set v2 up
routes
full_speed
finish "the link down and up" Succeeded
want '$r.reconnects >= 1'
passed
