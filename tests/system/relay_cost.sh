#!/usr/bin/env bash
# The relay beside QEMU's direct migration: the same guest (a domain that drover made, and a copy of its XML)
# over the same network, in turns: by `drover migrate`, and by `virsh migrate --p2p` with a tcp: URI on the
# migration network, in the clear as QEMU's is. Prints the medians and the handlers' CPU.
#   tests/system/relay_cost.sh [TURNS] [FILL-MIB] [KVM: kvm]
. "$(dirname "$0")/lib.sh"
turns=${1:-5} fill=${2:-384} accel=${3:-emulate}
for p in jq virsh /usr/sbin/libvirtd qemu-system-x86_64; do
    command -v $p >/dev/null || { echo "needs $p"; exit 77; }
done
ok dev up --dir "$dir" --nodes 2 --hypervisor libvirt --insecure-plaintext --heartbeat 1s \
    $([ "$accel" = kvm ] || echo --emulate)
export DROVER_SERVER=unix:$dir/api.sock
cat >"$tmp/all.yaml" <<Y
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: migration-network, namespace: openshift-cnv}
spec:
  config: '{"cniVersion": "0.3.1", "name": "b", "type": "macvlan", "master": "eth1", "mode": "bridge",
    "ipam": {"type": "whereabouts", "range": "10.200.5.0/24"}}'
---
apiVersion: hco.kubevirt.io/v1beta1
kind: HyperConverged
metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}
spec: {liveMigrationConfig: {network: migration-network}}
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: t}
spec:
  runStrategy: Always
  template:
    metadata: {annotations: {drover.io/hypervisor: libvirt}}
    spec:
      domain: {memory: {guest: $((fill + 64))Mi}, devices: {}, firmware: {kernelBoot: {container: {
        image: drover/testguest, kernelPath: /kernel}, kernelArgs: "ws=$fill rate=10 check=4"}}}
Y
ok apply -f "$tmp/all.yaml"
running() { "$drover" get vmi t -o json | jq -e '.status.phase == "Running"' >/dev/null 2>&1; }
wait_for 90 "the VM" running
host_pid() { jq -r ".nodes[]|select(.name==\"$1\").host.pid" "$dir/cluster.json"; }
on() { nsenter -t "$(host_pid "$1")" -n -m -u "${@:2}"; }
other() { [ "$1" = n1 ] && echo n2 || echo n1; }
at=$("$drover" get vmi t -o json | jq -r .status.nodeName)
uid=$("$drover" get vmi t -o json | jq -r .metadata.uid)
filled() { grep -q '^HB 3' "$1" 2>/dev/null; }
wait_for 60 "the guest" filled "$dir/nodes/$at/guests/$uid/console.log"
# the copy: another name, uuid and console; its files lie where both hosts see them
mkdir "$tmp/copy"
on "$at" virsh -q dumpxml --migratable default_t | sed -e '/<uuid>/d' -e 's/default_t</copy</' -e '/<metadata>/,/<\/metadata>/d' \
    -e "s|$dir/nodes/$at/guests/$uid|$tmp/copy|g" >"$tmp/copy.xml"
on "$at" virsh -q create "$tmp/copy.xml" >"$out" 2>"$err" || die "the copy does not start"
wait_for 60 "the copy" filled "$tmp/copy/console.log"
addr() { "$drover" get node "$1" -o json | jq -r '.status.addresses[]|select(.type=="MigrationIP").address'; }
cpu_ms() { # of both handlers
    local p t=0
    for p in $(jq -r '.nodes[].handler.pid' "$dir/cluster.json"); do
        t=$((t + $(awk '{print $14 + $15}' "/proc/$p/stat")))
    done
    echo $((t * 1000 / $(getconf CLK_TCK)))
}
ms() { date +%s%3N; }
copy_at=$at
cpu0=$(cpu_ms)
for _ in $(seq "$turns"); do
    ok migrate t --wait
    m=$("$drover" get vmim -o json | jq '[.items[]|select(.status.phase=="Succeeded")]|sort_by(.metadata.creationTimestamp)|last')
    a=$(jq -r .status.migrationState.startTimestamp <<<"$m") b=$(jq -r .status.migrationState.endTimestamp <<<"$m")
    echo $(($(date -d "$b" +%s%3N) - $(date -d "$a" +%s%3N))) >>"$tmp/relay"
    jq -r '.metadata.annotations|to_entries[]|select(.key=="drover.io/migration-result").value|fromjson|.downtimeMs // empty' <<<"$m" >>"$tmp/relay.down"
    to=$(other $copy_at)
    t=$(ms)
    on $copy_at virsh -q migrate copy --live --p2p "qemu+unix:///system?socket=$dir/hosts/$to/run/libvirt-sock" \
        --migrateuri "tcp://$(addr $to)" >"$out" 2>"$err" || die "virsh migrate"
    echo $(($(ms) - t)) >>"$tmp/direct"
    on $to virsh domjobinfo copy --completed | awk '/Total downtime:/{print $3}' >>"$tmp/direct.down"
    copy_at=$to
done
cpu1=$(cpu_ms)
median() { sort -n "$1" | awk '{a[NR] = $1} END {print NR ? a[int((NR + 1) / 2)] : "-"}'; }
r=$(median "$tmp/relay") d=$(median "$tmp/direct")
echo "guest: $((fill + 64)) MiB, $fill MiB of it random, 10 MiB/s written; $accel; $turns turns, medians"
echo "relay:  $r ms, downtime $(median "$tmp/relay.down") ms; CPU of both handlers $(((cpu1 - cpu0) / turns)) ms a migration"
echo "direct: $d ms, downtime $(median "$tmp/direct.down") ms"
awk -v r="$r" -v d="$d" 'BEGIN {printf "relay / direct: %.2f (at most 1.10 must hold)\n", r / d}'
