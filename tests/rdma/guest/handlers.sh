# Two handlers in the guest move a VM over RDMA: how memory goes, when it does not go that way and why,
# and within which limits.
. /mnt/repo/tests/rdma/guest/lib.sh
ulimit -l unlimited
veth_devices
cluster_up 10.8.0.0/24 v1
vm_make v 64Mi 32Mi 8Mi 512Ki
say "two handlers, a VM"
rdma_used='$r.transport == "rdma" and ($r.rdmaDevice | startswith("rxe")) and $r.encrypted == false and $t.transport == "rdma" and $t.encrypted == false'
tcp_used='$r.transport == "tcp" and $r.encrypted and $t.encrypted and ($r.placedPages // 0) == 0'

policy tcp
begin
finish "pre-copy over TCP" Succeeded
passed '' "$tcp_used" '($r.transportReason // "") == ""'

policy rdma
begin
finish "pre-copy" Succeeded
passed '"\($r.placedPages) pages placed"' "$rdma_used" '$r.placedPages > 6000' '$r.reconnects == 0'
$bin/drover describe vmim "$migration" -n shop >$dir/out
grep -q 'Transport: *rdma through rxe' $dir/out || die "describe: $(<$dir/out)"
grep -q 'in the clear' $dir/out || die "describe: $(<$dir/out)"

policy auto 0 post-copy
begin
finish "post-copy" Succeeded
read_faults='"\($t.faults) faults, \($t.readFaults) of them by READ, half within \($t.faultP50Us) us"'
passed "$read_faults" "$rdma_used" '$t.readFaults > 0' # the first faults come before there are windows

policy rdma 2Mi
begin
in_midst
$bin/drover migrate-cancel v -n shop >$dir/out 2>&1 || die "cancel: $(<$dir/out)"
finish "cancelled" Cancelled
say "ok   $what"

policy rdma 8Mi
begin
finish "a limit of 8 MiB/s" Succeeded
passed '' "$rdma_used" '$r.sentBytes / $r.totalMs * 1000 <= 8 * 1048576 * 1.1'

# --- where RDMA is not used, and why ---
policy rdma
$bin/drover annotate network-attachment-definition m -n openshift-cnv drover.io/trusted-network- >$dir/out 2>&1 ||
    die "annotate: $(<$dir/out)"
begin
finish "a network that nobody trusts" Succeeded
passed '$r.transportReason' "$tcp_used" '$r.transportReason | test("not declared trusted")'
$bin/drover annotate network-attachment-definition m -n openshift-cnv drover.io/trusted-network=true >$dir/out 2>&1 ||
    die "annotate: $(<$dir/out)"

for end in target source; do
    n=$at
    [ $end = source ] || n=$((3 - n))
    handlers_off
    rdma link delete rxe$n || die "rxe$n stays"
    handlers_on
    begin
    finish "no device at the $end" Succeeded
    passed '$r.transportReason' "$tcp_used" '$r.transportReason | test("no RDMA device")'
    rdma link add rxe$n type rxe netdev v$n || die "no rxe$n"
    wait_for rxe$n rxe_ready rxe$n
done
begin
finish "a device that came later" Succeeded
passed '' "$rdma_used"

# --- locked memory: a handler that may lock little, at the target, then at the source ---
n=$((3 - at))
unprivileged=(setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock)
node_again $n "${unprivileged[@]}" prlimit --memlock=8388608
begin
finish "8 MiB of locked memory at the target" Succeeded
passed '"\($t.registeredPeakBytes) bytes registered at most"' "$rdma_used" '$t.registeredPeakBytes <= 8 * 1048576'
node_again $n "${unprivileged[@]}" prlimit --memlock=65536
begin
finish "64 KiB of locked memory at the source" Succeeded
passed '$r.transportReason' "$tcp_used" '$r.transportReason | test("locked")'
