. /mnt/repo/tests/rdma/guest/lib.sh
ulimit -l unlimited
veth_devices
cluster_up 10.8.0.0/24 v1
say "cluster"
vm_make v 96Mi 64Mi 16Mi 1Mi
say "VM"
policy tcp 16Mi
time $bin/drover get nodes >/dev/null
time jq . $dir/out >/dev/null
begin
say begun
wait_for 10 "the first pages" sent_some
say some
$bin/drover migrate-cancel v -n shop  || die "cancel"
say cancelled
SECONDS_MAX=8
finish "abort" Failed; passed
say finished
