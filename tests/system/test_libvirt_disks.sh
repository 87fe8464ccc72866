#!/usr/bin/env bash
# The disks of a real VM, from end to end: every kind that is made runs, what the hosts do not share goes along
# in a migration byte for byte, and a target without a disk or without room says so while the VM runs on.
# The guest is emulated: no /dev/kvm is needed.
. "$(dirname "$0")/lib.sh"
PATH=$PATH:/usr/sbin
for need in libvirtd virsh qemu-system-x86_64 qemu-img qemu-io jq; do
    command -v "$need" >/dev/null || { echo "needs $need"; exit 77; }
done
[ -e bin/images/drover/testguest/kernel ] || { echo "needs the test guest (make all)"; exit 77; }

export DROVER_SERVER=unix:$dir/api.sock
images=$tmp/images shared=$tmp/shared
mkdir -p "$images/os" "$shared/claim"
cp -r bin/images/drover "$images"
truncate -s 16M "$images/os/tiny:1.img"
run 0 dev up --dir "$dir" --nodes 2 --hypervisor libvirt --emulate --images "$images"

on() { # NODE COMMAND...: in that host's mount namespace
    local node=$1
    shift
    nsenter -m -t "$(jq -r ".nodes[] | select(.name == \"$node\") | .handler.pid" "$dir/cluster.json")" -- "$@"
}
field() { # JSONPATH: of the VMI
    "$drover" get vmi db -n shop -o "jsonpath={$1}" 2>/dev/null
}
is() { [ "$(field "$1")" = "$2" ]; }
labelled() {
    [ "$("$drover" get nodes -l hypervisor.drover.io/libvirt=true -o name 2>/dev/null | wc -l)" -eq 2 ]
}
condition() { # TYPE KEY
    "$drover" get vmi db -n shop -o json | jq -r ".status.conditions[] | select(.type == \"$1\") | .$2"
}
guest() { echo "$dir/nodes/$1/guests/$(field .metadata.uid)"; } # NODE: its directory there
heartbeats() { grep -c '^HB' "$(guest "$(field .status.nodeName)")/console.log"; }
goes_on() { # it still runs: two more heartbeats
    local before
    before=$(heartbeats)
    more() { [ "$(heartbeats)" -ge $((before + 2)) ]; }
    wait_for 20 "heartbeats on $(field .status.nodeName)" more
}

cat >"$tmp/vm.yaml" <<EOF
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: v, annotations: {drover.io/path: $shared/claim}}
spec:
  capacity: {storage: 8Mi}
  accessModes: [ReadWriteMany]
  nfs: {server: nas, path: /export}
  claimRef: {namespace: shop, name: data}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: shop}
spec: {accessModes: [ReadWriteMany], volumeName: v, resources: {requests: {storage: 8Mi}}}
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: db, namespace: shop}
spec:
  runStrategy: Always
  template:
    metadata: {annotations: {drover.io/hypervisor: libvirt}}
    spec:
      domain:
        memory: {guest: 64Mi}
        firmware:
          kernelBoot: {kernelArgs: hb=200, container: {image: drover/testguest, kernelPath: /kernel}}
        devices:
          disks:
          - {name: root, disk: {bus: virtio}}
          - {name: data, disk: {bus: virtio}}
          - {name: seed, disk: {bus: virtio}}
          - {name: tmp, disk: {bus: scsi}}
          - {name: host, disk: {bus: virtio}}
          - {name: cd, cdrom: {bus: sata}}
      volumes:
      - {name: root, containerDisk: {image: 'os/tiny:1'}}
      - {name: data, persistentVolumeClaim: {claimName: data}}
      - {name: seed, cloudInitNoCloud: {userData: "#cloud-config\n"}}
      - {name: tmp, emptyDisk: {capacity: 4Mi}}
      - {name: host, hostDisk: {path: $shared/host.qcow2, type: DiskOrCreate, capacity: 8Mi, shared: true}}
      - {name: cd, containerDisk: {image: 'os/tiny:1'}}
EOF
wait_for 60 "both hosts' libvirtd" labelled
run 0 apply -f "$tmp/vm.yaml"
wait_for 60 "the VM to run" is .status.phase Running
from=$(field .status.nodeName)
to=n2
[ "$from" = n2 ] && to=n1
[ "$(condition LiveMigratable status)" = True ] || die "LiveMigratable: $(condition LiveMigratable message)"
is .status.migrationMethod BlockMigration || die "method: $(field .status.migrationMethod)"
[ -s "$shared/claim/disk.img" ] && [ -s "$shared/host.qcow2" ] || die "the user's disks were not made"
goes_on

# --- a target without the shared disks, and one that is full: the VM stays, and the reason is told ---
on "$to" mount -t tmpfs -o size=64k none "$shared"
run 1 migrate db -n shop --wait
says "volume data: $shared/claim is not there \\(host $to\\)" "$err"
on "$to" umount "$shared"
goes_on
mkdir -p "$dir/nodes/$to/guests"
on "$to" mount -t tmpfs -o size=2M none "$dir/nodes/$to/guests"
run 1 migrate db -n shop --wait
says "has room for .* want .*host $to" "$err"
on "$to" umount "$dir/nodes/$to/guests"
goes_on
[ "$(field .status.nodeName)" = "$from" ] || die "it left $from"
[ -z "$(ls -A "$dir/nodes/$to/guests")" ] || die "something stayed at $to: $(ls -R "$dir/nodes/$to/guests")"

# --- the move: what the guest would have written to its own disks is there afterwards ---
write() { # DEVICE: 64 KiB of 0x5a at 64 KiB, as the guest's device
    on "$from" virsh -c 'qemu:///system?socket=/run/libvirt/libvirt-sock' qemu-monitor-command shop_db \
        --hmp "qemu-io -d $1 \"write -P 0x5a 64k 64k\"" >"$out" 2>&1
    ! grep -q -i error "$out" || die "write to $1"
}
there() { # FORMAT FILE
    qemu-io -U -r -f "$1" -c 'read -P 0x5a 64k 64k' "$2" >"$out" 2>&1 && ! grep -q failed "$out" ||
        die "$2 does not have what was written"
}
write /machine/peripheral/virtio-disk0/virtio-backend
write scsi0-0-0-0
there qcow2 "$(guest "$from")/root.qcow2"
cp "$(guest "$from")/seed.iso" "$tmp/seed"
run 0 migrate db -n shop --wait
[ "$(field .status.nodeName)" = "$to" ] || die "it is on $(field .status.nodeName)"
there qcow2 "$(guest "$to")/root.qcow2"
there raw "$(guest "$to")/tmp.img"
cmp "$(guest "$to")/seed.iso" "$tmp/seed" || die "the cloud-init data is another"
[ ! -e "$(guest "$from")" ] || die "the disks are still at $from"
goes_on

# --- a claim that is gone, and one that is not shared: the condition follows, a migration is refused ---
run 0 delete pvc data -n shop
not_shared() { condition LiveMigratable message | grep -q "$1"; }
wait_for 20 "LiveMigratable to follow the claim" not_shared "Unable to determine if PVC data is shared"
cat >"$tmp/claim.yaml" <<EOF
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: shop}
spec: {accessModes: [ReadWriteOnce], volumeName: v, resources: {requests: {storage: 8Mi}}}
EOF
run 0 apply -f "$tmp/claim.yaml"
wait_for 20 "LiveMigratable to follow the claim" not_shared "PVC data is not shared"
[ "$(condition LiveMigratable reason)" = DisksNotLiveMigratable ] || die "$(condition LiveMigratable reason)"
run 1 migrate db -n shop --wait
says 'DisksNotLiveMigratable.*PVC data is not shared' "$err"

# --- the end: what is ours goes, what is the user's stays ---
run 0 delete vm db -n shop
gone() { [ -z "$(ls -A "$dir"/nodes/*/guests | grep -v ':$' | tr -d '\n')" ]; }
wait_for 30 "its disks to go" gone
[ -s "$shared/claim/disk.img" ] && [ -s "$shared/host.qcow2" ] || die "a disk of the user's is gone"
run 0 dev down --dir "$dir"
echo "six kinds of disks, moved and cleaned up"
