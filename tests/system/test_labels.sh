#!/usr/bin/env bash
# Nodes of a local cluster carry what a host's libvirt says, by files: labels come with the node, follow
# the cluster's obsolete models at once, leave with what made them true, and a node that is skipped is
# left alone. A VM that names a model goes where it is.
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || { echo "needs jq"; exit 77; }
model=cpu-model.node.kubevirt.io vendor=cpu-vendor.node.kubevirt.io
host=Cascadelake-Server-noTSX
label() { [ "$("$drover" get node "$1" -o json | jq -r ".metadata.labels[\"$2\"]")" = "$3" ]; } # NODE KEY VALUE
beat() { "$drover" get node "$1" -o json | jq -r '.metadata.annotations["kubevirt.io/heartbeat"]'; }
beats_again() { [ "$(beat "$1")" != "$2" ]; } # NODE BEFORE
one_event() {
    "$drover" get events -A -o json |
        jq -e '[.items[] | select(.reason == "HostModelIsObsolete")] | length == 1' >/dev/null
}
runs_on() { [ "$("$drover" get vmi picky -o 'jsonpath={.status.nodeName}' 2>/dev/null)" = "$1" ]; }

"$drover" dev up --dir "$dir" --nodes 1 --labels-from /nonexistent >"$out" 2>"$err" && die "files that are not there"
says "/nonexistent/domcapabilities.xml: No such file" "$err"
cp -r examples/labels "$tmp/host"
"$drover" dev up --dir "$dir" --nodes 2 --heartbeat 200ms --labels-from "$tmp/host" >"$out" 2>&1 || die "up"
export DROVER_SERVER=unix:$dir/api.sock
wait_for 20 "labels" label n1 "$model/Haswell-noTSX" true
label n1 cpu-timer.node.kubevirt.io/tsc-frequency 2300000000 || die "the TSC"
label n1 cpu-feature.node.kubevirt.io/movbe true || die "a feature of the CPU map"
label n1 kubevirt.io/schedulable true || die "the handler's own label"
wait_for 20 "labels of n2" label n2 "$vendor/Intel" true
ok describe node n1
says "^Host CPU model: +$host$"

# --- the cluster's obsolete models; a node that is skipped keeps what it has ---
ok annotate node n2 node-labeller.kubevirt.io/skip-node=true
ok label node n1 "$vendor/AMD=true" # nobody's truth: goes with the next turn
ok label node n2 "$vendor/AMD=true"
for n in n1 n2; do # a heartbeat's answer shows the handler its Node
    before=$(beat $n)
    wait_for 20 "a heartbeat of $n" beats_again $n "$before"
done
cat >"$tmp/hco.yaml" <<EOF
apiVersion: hco.kubevirt.io/v1beta1
kind: HyperConverged
metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}
spec: {obsoleteCPUs: {cpuModels: [$host]}}
EOF
ok apply -f "$tmp/hco.yaml"
wait_for 20 "an obsolete model" label n1 "$model/$host" null
label n1 "cpu-model-migration.node.kubevirt.io/$host" true || die "its way to migrate"
label n1 node-labeller.kubevirt.io/obsolete-host-model true || die "that it is obsolete"
wait_for 20 "a stale label to go" label n1 "$vendor/AMD" null
label n2 "$model/$host" true || die "n2 is skipped"
label n2 "$vendor/AMD" true || die "n2 is skipped, stale labels, too"
wait_for 20 "the event" one_event

# --- and a VM that names the model goes to the node that has it ---
cat >"$tmp/vm.yaml" <<EOF
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: picky}
spec:
  runStrategy: Always
  template:
    spec: {domain: {cpu: {model: $host}, memory: {guest: 16Mi}, devices: {}}}
EOF
ok apply -f "$tmp/vm.yaml"
wait_for 30 "the VM" runs_on n2
ok dev down --dir "$dir"
nothing_stays "after dev down"
echo "labels come from files, follow the cluster, and say where a VM can run"
