# Two handlers in the guest move a VM over RDMA, and what is done to them meanwhile.
. /mnt/repo/tests/rdma/guest/lib.sh
ulimit -l unlimited
veth_devices
cluster_up 10.8.0.0/24 v1
say "cluster"
vm_make v 96Mi 64Mi 16Mi 1Mi
say "VM"
policy tcp
begin; finish "pre-copy over TCP" Succeeded; passed
policy tcp 0 post-copy
begin; finish "post-copy over TCP" Succeeded; passed "$(target '"\(.faults) faults, p50 \(.faultP50Us) us"')"
policy tcp 16Mi
begin
wait_for 10 "the first pages" sent_some
$bin/drover migrate-cancel v -n shop >/dev/null || die "cancel"
finish "abort" Cancelled; say "ok   $what"
echo done
