# What can happen to the network, the device and the peer of two handlers that move a VM over RDMA.
. /mnt/repo/tests/rdma/guest/lib.sh
ulimit -l unlimited
veth_devices
cluster_up 10.8.0.0/24 v1
vm_make v 64Mi 32Mi 8Mi 512Ki
say "two handlers, a VM"
limit=2Mi # 16 s, in any of which something can happen
rdma_was_used() { of_migration "RDMA before $1" '"transport":"rdma"' "$(annotation migration-progress)"; }

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
passed '' '$r.transport == "rdma"' '$r.reconnects <= 1'

begin
in_midst
swallow
cut_off
full_speed
finish "RoCE swallowed from the midst on" Succeeded
passed '$r.transportReason' '$r.transport == "tcp"' '$r.reconnects >= 1' '$r.transportReason != ""'
swallow_no_more

begin
in_midst
rdma link delete rxe1 &
removal=$!
cut_off
full_speed
finish "the device removed" Succeeded
passed '$r.transportReason' '$r.transport == "tcp"' '$r.reconnects >= 1'
handlers_off
wait $removal || die "rxe1 stays"
rdma link add rxe1 type rxe netdev v1 || die "no rxe1"
wait_for rxe1 rxe_ready rxe1
handlers_on

# --- the peer ---
for end in target source; do
    begin
    in_midst
    rdma_was_used "a stop"
    n=$to
    [ $end = target ] || n=$from
    kill -STOP "${pid[$n]}"
    if [ $end = target ]; then cut_off; else sleep 4; fi # the source cannot say so itself
    kill -CONT "${pid[$n]}"
    [ $end = target ] || cut_off
    full_speed
    finish "the $end stopped, and going on" Succeeded
    passed '' '$r.reconnects >= 1'
done

# Last: in this topology rxe answers nobody any more after it.
begin
in_midst
ip link set v2 down
cut_off
ip link set v2 up
routes
full_speed
finish "the link down and up" Succeeded
passed '' '$r.reconnects >= 1'
