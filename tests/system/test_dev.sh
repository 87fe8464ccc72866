#!/usr/bin/env bash
# drover dev with the real daemons: a cluster comes up from Node manifests, places the example VMs
# exactly where `drover schedule` says on the same files, and leaves nothing behind, also when it is
# interrupted while it comes up, and when a daemon was restarted behind its back.
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || { echo "needs jq"; exit 77; }
id=none
get() { "$drover" get "$@"; }
handler_pid() { pgrep -f -- "^[^ ]*drover-handler --node-name $1 .*--state-dir $dir/"; }
restart() { # PID NODE: ends a handler and starts another like it, of which dev knows nothing
    local args
    mapfile -d '' -t args <"/proc/$1/cmdline"
    kill "$1"
    while kill -0 "$1" 2>/dev/null; do tick; done
    ip netns exec "drover-$id-$2" setsid "${args[@]}" </dev/null >/dev/null 2>&1 &
    disown
    wait_for 20 "the handler of $2" handler_pid "$2" >/dev/null
}

# --- up, from Node manifests ---
"$drover" dev up --dir "$dir" -f examples/offline/nodes.yaml --heartbeat 1s >"$out" 2>&1 || die "up"
id=$(jq -r .id "$dir/cluster.json")
[ "$(ls /run/netns | grep -c "^drover-$id")" -eq 4 ] || die "want 4 namespaces"
"$drover" dev status --dir "$dir" >"$out" 2>&1 || die "status of a cluster that is whole"
"$drover" dev up --dir "$dir" >"$out" 2>&1 && die "a second cluster in one directory"
grep -q "holds a cluster already" "$out" || die "the second one's error"

export DROVER_SERVER=unix:$dir/api.sock
[ "$(get nodes -o json | jq -r '[.items[].metadata.name]|join(" ")')" = "n1 n2 n3" ] || die "names of the nodes"
[ "$(get node n3 -o json | jq -r '.spec.taints[0].key')" = dedicated ] || die "the taint of n3"
[ "$(get node n1 -o json | jq -r '.metadata.labels.disktype')" = ssd ] || die "the labels of n1"
if command -v kubectl >/dev/null; then
    ip netns exec "drover-$id" kubectl --kubeconfig "$dir/kubeconfig" get nodes >"$out" 2>&1 || die "kubectl"
    [ "$(grep -c ' Ready ' "$out")" -eq 3 ] || die "kubectl: want 3 nodes that are Ready"
fi
ip netns exec "drover-$id-n1" ip -o link show dev eth1 | grep -q 'state UP' || die "eth1 is not up"
ip netns exec "drover-$id-n1" ip -o link show dev migration0 2>/dev/null && die "migration0 before a network was named"
ip netns exec "drover-$id-n3" ip -o addr show dev mgmt0 | grep -q ' 198\.18\.0\.13/24 ' || die "address of mgmt0"

# --- the example VMs go where drover schedule says ---
for f in 00-namespace 05-network 10-hyperconverged 20-policies 30-vms; do
    "$drover" apply -f "examples/$f.yaml" >"$out" 2>&1 || die "apply $f"
done
"$drover" schedule -f examples/offline -f examples/10-hyperconverged.yaml -f examples/30-vms.yaml -o json >"$out"
[ $? -eq 2 ] || die "schedule: want exit 2, as misfit fits nowhere"
jq -r '.[]|"\(.vm) \(.node)"' "$out" | sort >"$tmp/want"
placed() { get vmi -n shop -o json | jq -r '.items[]|"\(.metadata.namespace)/\(.metadata.name) \(.status.nodeName)"' | sort; }
running() { [ "$(get vmi -n shop -o json | jq '[.items[]|select(.status.phase=="Running")]|length')" -eq 6 ]; }
wait_for 60 "6 running VMs" running
placed >"$tmp/got"
diff "$tmp/want" "$tmp/got" || die "placements: schedule says <, the controller did >"
network_ready() {
    [ "$(get nodes -o json | jq '[.items[].status.conditions[]
        |select(.type=="MigrationNetworkReady" and .reason=="AddressFound")]|length')" -eq 3 ]
}
wait_for 60 "the migration network on all nodes" network_ready
for n in 1 2 3; do # made by the handlers from examples/05-network.yaml
    ip=$(get node "n$n" -o json | jq -r '.status.addresses[]|select(.type=="MigrationIP").address')
    [[ $ip == 10.200.5.* ]] || die "n$n: address \"$ip\" on the migration network"
    ip netns exec "drover-$id-n$n" ip -o addr show dev migration0 | grep -qF " $ip/24 " || die "address of migration0"
done
"$drover" dev status --dir "$dir" >"$out" 2>&1 || die "status with a migration network"
says '^n1 .* 198\.18\.0\.11 +10\.200\.5\.'

# --- a host leaves for good: its network is as it was, when no handler would undo that ---
"$PWD/bin/drover-handler" --leave --state-dir "$dir/nodes/n3" >"$out" 2>"$err" && die "leave under a running handler"
says 'a drover-handler runs with this state directory: stop it first' "$err"
pid=$(handler_pid n3)
kill "$pid"
while kill -0 "$pid" 2>/dev/null; do tick; done
on_n3() { ip netns exec "drover-$id-n3" "$@"; }
on_n3 ip -o link show dev migration0 | grep -q UP || die "a handler that ends takes the network with it"
on_n3 "$PWD/bin/drover-handler" --leave --state-dir "$dir/nodes/n3" >"$out" 2>"$err" || die "leave"
on_n3 ip -o link show dev migration0 >/dev/null 2>&1 && die "migration0 after leave"
[ "$(on_n3 cat /proc/sys/net/ipv4/conf/eth1/arp_ignore)" = 0 ] || die "eth1 after leave"
[ ! -e "$dir/nodes/n3/network.json" ] || die "the journal after leave"

# --- down: guests included, and a handler that the record does not know; then once more ---
restart "$(handler_pid n2)" n2
guests=$(awk '{print $1}' "$dir"/nodes/*/guests/*/pid)
[ "$(wc -w <<<"$guests")" -eq 6 ] || die "want 6 guests"
"$drover" dev down --dir "$dir" >"$out" 2>&1 || die "down"
for p in $guests; do
    [ "$(readlink "/proc/$p/exe" 2>/dev/null)" != "$PWD/bin/drover-guest" ] || die "guest $p is left"
done
nothing_stays "after down"
"$drover" dev down --dir "$dir" >"$out" 2>&1 || die "down a second time"
"$drover" dev status --dir "$dir" >"$out" 2>&1
[ $? -eq 2 ] || die "status without a cluster: want exit 2"

# --- Ctrl-C while it comes up: it cleans up by itself ---
for line in "^cluster" "^namespace" "^controller" "^handler"; do
    : >"$out"
    "$drover" dev up --nodes 6 --dir "$dir" >"$out" 2>&1 &
    pid=$!
    until grep -q "$line" "$out" || ! kill -0 $pid 2>/dev/null; do :; done
    kill -INT $pid 2>/dev/null
    wait $pid
    rc=$?
    id=$(sed -n 's/^cluster \([0-9a-f]*\) .*/\1/p' "$out")
    if [ $rc -eq 0 ]; then # it was ready before the signal came
        "$drover" dev down --dir "$dir" >"$out" 2>&1 || die "down after a late signal"
    else
        [ $rc -eq 1 ] && grep -q interrupted "$out" || die "interrupted at $line: exit $rc"
    fi
    nothing_stays "interrupted at $line"
done
echo "a cluster comes up, places VMs as drover schedule says, and leaves nothing behind"
