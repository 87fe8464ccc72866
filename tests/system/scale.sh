#!/bin/bash
# How fast a real controller places VMs: scale.sh [NODES [VMS]]. Not part of any check; needs no rights.
# Nodes and VMs are made through the API while the settings allow no node; then one write allows all, and the
# controller's log says when each VM got its node. There are no handlers: nothing starts.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
nodes=${1:-1000} vms=${2:-5000} writers=4
tmp=$(mktemp -d /tmp/drover-scale-XXXXXX) || exit 1
export DROVER_SERVER=unix:$tmp/api.sock
bin/drover-controller --store "$tmp/store.db" --listen "$DROVER_SERVER" --heartbeat-timeout 24h 2>"$tmp/log" &
pid=$!
trap 'kill $pid; wait $pid 2>/dev/null; rm -rf "$tmp"' EXIT

die() { echo "scale: $*" >&2; tail -5 "$tmp/log" "$tmp"/out* >&2; exit 1; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
cpu_ms() { awk '{ print ($14 + $15) * 10 }' "/proc/$pid/stat"; }
rate() { echo "$1: $2 in $3 ms, $(($2 * 1000 / ($3 + 1))) a second; controller's CPU $4 ms"; }
settings() { # MODEL: the CPU that VMs want
    printf '%s\n' "apiVersion: hco.kubevirt.io/v1beta1" "kind: HyperConverged" \
        "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}" \
        "spec: {defaultCPUModel: $1}" | bin/drover apply -f - >"$tmp/out" 2>&1 ||
        die "the settings"
}
node() { # NUMBER
    cat <<EOF
---
apiVersion: v1
kind: Node
metadata:
  name: n$1
  labels: {kubernetes.io/hostname: n$1, zone: z$(($1 % 8)), kubevirt.io/schedulable: 'true',
    host-model-cpu.node.kubevirt.io/Haswell: 'true', cpu-model.node.kubevirt.io/Haswell: 'true'}
  annotations: {kubevirt.io/heartbeat: '$beat'}
status:
  allocatable: {cpu: '64', memory: 256Gi, pods: '110'}
  conditions: [{type: Ready, status: 'True'}]
EOF
}
vm() { # NUMBER
    cat <<EOF
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: vm$1, namespace: default}
spec:
  runStrategy: Always
  template:
    metadata: {labels: {app: a$(($1 % 20))}}
    spec: {domain: {devices: {}, memory: {guest: 2Gi}}}
EOF
}
make() { # KIND COUNT
    local jobs=() ms cpu
    for w in $(seq 0 $((writers - 1))); do
        for ((i = w; i < $2; i += writers)); do "$1" "$i"; done >"$tmp/$1$w.yaml"
    done
    ms=$(now_ms) cpu=$(cpu_ms)
    for w in $(seq 0 $((writers - 1))); do
        bin/drover apply -f "$tmp/$1$w.yaml" >"$tmp/out$w" 2>&1 & jobs+=($!)
    done
    for j in "${jobs[@]}"; do wait "$j" || die "drover apply"; done
    rate "$1s made by $writers writers" "$2" $(($(now_ms) - ms)) $(($(cpu_ms) - cpu))
}
count() { grep -c "$1" "$tmp/log"; }
wait_for() { # EVENT COUNT: in the log
    local last=0 n idle=0
    while n=$(count "$1"); [ "$n" -lt "$2" ]; do
        [ "$n" -eq "$last" ] && idle=$((idle + 1)) || idle=0
        [ "$idle" -lt 300 ] || die "$n of $2: $1"
        last=$n
        read -rt 0.1 <> <(:)
    done
}

for _ in $(seq 100); do [ -S "$tmp/api.sock" ] && break; read -rt 0.05 <> <(:); done
beat=$(date -u +%Y-%m-%dT%H:%M:%SZ)
bin/drover apply -f - >"$tmp/out" 2>&1 <<<'{apiVersion: v1, kind: Namespace, metadata: {name: default}}' || die "namespace"
settings Skylake-Client
make node "$nodes"
make vm "$vms"
wait_for vmi.unschedulable "$vms"
read -rt 2 <> <(:) # backoff
ms=$(now_ms) cpu=$(cpu_ms)
settings Haswell
wait_for vmi.scheduled "$vms"
rate "VMs placed" "$vms" $(($(now_ms) - ms)) $(($(cpu_ms) - cpu))
ms=$(now_ms) cpu=$(cpu_ms)
bin/drover apply -f - >"$tmp/out" 2>&1 <<<"$(vm "$vms")" || die "one more"
wait_for vmi.scheduled $((vms + 1))
rate "one more VM" 1 $(($(now_ms) - ms)) $(($(cpu_ms) - cpu))
awk '/VmRSS/ { print "controller: " $2 / 1024 " MiB" }' "/proc/$pid/status"
