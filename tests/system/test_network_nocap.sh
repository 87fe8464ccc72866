#!/usr/bin/env bash
# Handlers without CAP_NET_ADMIN: they can make no interface and say so, in the node's condition, in the
# enactments and in the queue. Everything that only reads, and VMs, work as ever; and migrations do when no
# dedicated network is asked for.
. "$(dirname "$0")/lib.sh"
command -v setpriv >/dev/null || { echo "needs setpriv (util-linux)"; exit 77; }
command -v jq >/dev/null || { echo "needs jq"; exit 77; }
mkdir "$tmp/bin" && cp bin/drover "$tmp/bin" && ln -s "$PWD/bin/drover-controller" "$tmp/bin" || exit 1
cat >"$tmp/bin/drover-handler" <<EOF
#!/bin/sh
exec setpriv --bounding-set -net_admin --inh-caps -net_admin "$PWD/bin/drover-handler" "\$@"
EOF
chmod +x "$tmp/bin/drover-handler"
drover=$tmp/bin/drover

condition() { # NODE FIELD
    "$drover" get node "$1" -o json |
        jq -r ".status.conditions[] | select(.type == \"MigrationNetworkReady\") | .$2"
}
reason_is() { [ "$(condition "$1" reason)" = "$2" ]; }
phase_is() { [ "$("$drover" get "$1" "$2" -o 'jsonpath={.status.phase}' 2>/dev/null)" = "$3" ]; }
beat() { "$drover" get node "$1" -o json | jq -r '.metadata.annotations["kubevirt.io/heartbeat"]'; }
beats_again() { [ "$(beat "$1")" != "$2" ]; }
waits_for() { "$drover" describe vmim "$1" 2>/dev/null | grep -q "^Waits:.*$2"; }
enactment_fails() { # NAME
    [ "$("$drover" get nnce "$1" -o json 2>/dev/null |
        jq '.status.conditions[] | select(.type == "Failing" and .status == "True") |
            .message | contains("CAP_NET_ADMIN")')" = true ]
}
has_state() { "$drover" get nns "$1" >/dev/null 2>&1; }
links() { ip netns exec "$ns" ip -o link | awk '{print $2}' | sort; }

"$drover" dev up --dir "$dir" --nodes 2 --heartbeat 200ms >"$out" 2>&1 || die "up"
export DROVER_SERVER=unix:$dir/api.sock
for pid in $(jq -r '.nodes[].handler.pid' "$dir/cluster.json"); do
    caps=$((16#$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")))
    [ $((caps >> 12 & 1)) -eq 0 ] || die "handler $pid has CAP_NET_ADMIN: this test would prove nothing"
done
ns=$(jq -r '.nodes[0].netns' "$dir/cluster.json")
before=$(links)

# --- a dedicated network is asked for: refused, by name ---
cat >"$tmp/network.yaml" <<EOF
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: fast, namespace: openshift-cnv}
spec:
  config: '{"cniVersion": "0.3.1", "name": "fast", "type": "macvlan", "master": "eth1",
    "ipam": {"type": "whereabouts", "range": "198.18.5.0/24"}}'
---
apiVersion: hco.kubevirt.io/v1beta1
kind: HyperConverged
metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}
spec: {liveMigrationConfig: {network: fast}}
---
apiVersion: nmstate.io/v1
kind: NodeNetworkConfigurationPolicy
metadata: {name: br1}
spec: {desiredState: {interfaces: [{name: br1, type: linux-bridge, state: up, bridge: {port: []}}]}}
EOF
ok apply -f "$tmp/network.yaml"
wait_for 20 "the reason" reason_is n1 NotPermitted
[ "$(condition n1 status)" = False ] || die "n1's condition"
condition n1 message | grep -q CAP_NET_ADMIN || die "the capability is not named: $(condition n1 message)"
wait_for 20 "the enactment's word" enactment_fails n1.br1
wait_for 20 "the interfaces" has_state n1

# --- everything that reads works; so do labels, heartbeats and VMs ---
ok get nodes -o wide
says '^n1 +Ready'
ok describe node n1
says '^  State: +not ready, NotPermitted: .*CAP_NET_ADMIN'
says '^  mgmt0 +ethernet +up '
says '^  br1 +Failing '
ok get nns n1 -o 'jsonpath={.status.currentState.interfaces[*].name}'
says '\<eth1\>'
ok label node n1 rack=7
before_beat=$(beat n1)
wait_for 10 "a heartbeat" beats_again n1 "$before_beat"
cat >"$tmp/vm.yaml" <<EOF
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: web}
spec:
  runStrategy: Always
  template:
    spec: {domain: {memory: {guest: 32Mi}, devices: {}}}
EOF
ok apply -f "$tmp/vm.yaml"
wait_for 30 "the VM" phase_is vmi web Running

# --- a migration waits and says for what; without a dedicated network it goes on ---
ok migrate web -o name
m=$(sed 's,.*/,,' "$out")
wait_for 20 "the queue's word" waits_for "$m" NotPermitted
[ "$(links)" = "$before" ] || die "interfaces were made: $(links)"
sed -i 's/^spec: {liveMigrationConfig.*/spec: {}/' "$tmp/network.yaml"
ok apply -f "$tmp/network.yaml"
wait_for 30 "the migration" phase_is vmim "$m" Succeeded
ok verify web
ok dev down --dir "$dir"
nothing_stays "after dev down"
echo "without CAP_NET_ADMIN: what reads works, the rest names it"
