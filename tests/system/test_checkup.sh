#!/usr/bin/env bash
# Network checkups on a cluster of two hosts: the documented keys, by the verb and by a manifest; over
# the management and over the dedicated network; a greatest latency above the maximum; two at once; a
# handler that is restarted in the middle; a path that swallows large packets; bandwidth beside
# iperf3's; and what a migration's first prediction makes of it.
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || { echo "needs jq"; exit 77; }
wrong() { # TEXT ARGUMENTS...: exit 1
    local text=$1
    shift
    run 1 checkup latency "$@"
    grep -qF -- "$text" "$err" || die "drover checkup latency $*: want \"$text\""
}
failed() { # PATTERN ARGUMENTS...: exit 2, and the report says why
    local pattern=$1
    shift
    run 2 checkup latency "$@"
    says "^Reason +.*$pattern"
}
data() { "$drover" get configmap "$1" -o json 2>/dev/null | jq -r ".data[\"$2\"] // \"\""; } # NAME KEY
has() { [ -n "$(data "$1" "$2")" ]; }                                                        # NAME KEY
handler_pid() { pgrep -f -- "^[^ ]*drover-handler --node-name $1 .*--state-dir $dir/"; }
in_node() { ip netns exec "drover-$id-$1" "${@:2}"; } # NODE COMMAND...

ok dev up --dir "$dir" --nodes 2
export DROVER_SERVER=unix:$dir/api.sock
id=$(jq -r .id "$dir/cluster.json")
quick=(--source n1 --target n2 --duration 1s --max-latency 0ms)

# --- what is wrong with the input, before anything runs ---
wrong "targetNode: want the name of a node" --source n1
wrong "sourceNode: want the name of a node" --target n2
wrong 'nodes "n9" not found' --source n9 --target n2
wrong 'nodes "n9" not found' --source n1 --target n9
wrong 'targetNode: "n1" is the source' --source n1 --target n1
wrong "--network blue: want NAMESPACE/NAME" "${quick[@]}" --network blue
wrong "--max-latency 1500us: want whole milliseconds" --source n1 --target n2 --max-latency 1500us
wrong "--duration 500ms: want whole seconds" --source n1 --target n2 --duration 500ms
wrong "spec.param.sampleDurationSeconds" --source n1 --target n2 --duration 0s
wrong "spec.timeout" "${quick[@]}" --timeout 2h
wrong "--streams: 65" "${quick[@]}" --streams 65
run 1 checkup bandwidth "${quick[@]}"
cat >"$tmp/mine.yaml" <<'END'
apiVersion: v1
kind: ConfigMap
metadata: {name: mine}
data: {a: b}
END
ok apply -f "$tmp/mine.yaml"
wrong "configmap default/mine is no checkup" "${quick[@]}" --keep-name mine
[ "$(data mine a)" = b ] || die "a ConfigMap of somebody else's is gone"
failed "network blue/net: node n[12] has its migration address on the management network" \
    "${quick[@]}" --network blue/net

# --- the verb, over the management network ---
ok checkup latency "${quick[@]}"
says "^Checkup +default/kubevirt-vm-latency-checkup-config: succeeded"
says "^Latency +least .* \([0-9]+ round trips\)"
says "^Path MTU +1500 bytes"
says "^Bandwidth +.* over [0-9]+ TCP streams"
cm=kubevirt-vm-latency-checkup-config
ok get configmap $cm -o yaml
for key in status.succeeded:.*true status.failureReason status.startTimestamp status.completionTimestamp \
    status.result.avgLatencyNanoSec status.result.maxLatencyNanoSec status.result.minLatencyNanoSec \
    'status.result.measurementDurationSec: "1"' 'status.result.sourceNode: n1' 'status.result.targetNode: n2' \
    status.result.bandwidthBytesPerSecond status.result.bandwidthStreams 'status.result.pathMtuBytes: "1500"'; do
    says "^  $key"
done
[[ "$(data $cm status.startTimestamp)" < "$(data $cm status.completionTimestamp)" ]] || die "it ended before it began"
has $cm status.targetNonce && die "the nonce stays"
ok checkup latency --duration 1s --max-latency 0ms -o json # replaces it, with nodes that it chooses
[ "$(jq -r '.data["status.result.sourceNode"]' "$out")" = n1 ] || die "want the first node"
[ "$(jq -r '.data["status.succeeded"]' "$out")" = true ] || die "want the object"

# --- a manifest, as the documents have it; nodes that it does not name are chosen ---
ok delete configmap $cm
sed 's/sampleDurationSeconds: .*/sampleDurationSeconds: "1"/; s/Milliseconds: .*/Milliseconds: "10000"/' \
    examples/checkup/latency.yaml >"$tmp/cm.yaml"
ok apply -f "$tmp/cm.yaml"
wait_for 30 "the manifest's result" has $cm status.succeeded
[ "$(data $cm status.succeeded)" = true ] || die "$(data $cm status.failureReason)"
ok get configmap $cm -o yaml # a result that is created anew is measured anew
grep -vE "^  (uid|creationTimestamp|resourceVersion):" "$out" >"$tmp/again.yaml"
before=$(data $cm status.completionTimestamp)
ok delete configmap $cm
ok apply -f "$tmp/again.yaml"
wait_for 30 "the second result" has $cm status.succeeded
[[ "$before" < "$(data $cm status.completionTimestamp)" ]] || die "an old result"
ok apply -f examples/checkup/network.yaml
[ "$(data checkup-of-the-migration-network spec.param.sourceNode)" = n1 ] || die "no node was chosen"
wait_for 10 "its end" has checkup-of-the-migration-network status.succeeded
[ "$(data checkup-of-the-migration-network status.succeeded)" = false ] || die "there is no such network"
sed 's/targetNode: n2/targetNode: n9/; s/name: kube.*/name: wrong/' "$tmp/cm.yaml" >"$tmp/wrong.yaml"
run 1 apply -f "$tmp/wrong.yaml"
says 'spec.param.targetNode: there is no node \\?"n9' "$err"

# --- above the maximum: the target stands still for some of the round trips ---
"$drover" checkup latency --source n1 --target n2 --max-latency 10ms --duration 3s --keep-name slow \
    >"$tmp/slow" 2>&1 &
job=$!
wait_for 20 "its start" has slow status.startTimestamp
still=$(handler_pid n2)
kill -STOP "$still"; tick; tick; kill -CONT "$still"
wait $job && die "50 ms are not within 10 ms: $(cat "$tmp/slow")"
says "^Reason +the greatest latency was [0-9.]+ ms, and at most 10 ms was wanted" "$tmp/slow"
[ "$(data slow status.result.maxLatencyNanoSec)" -gt 50000000 ] || die "the outlier was dropped"
has slow status.result.bandwidthBytesPerSecond || die "a bandwidth was measured all the same"

# --- two at once, each from the other's target: one after the other ---
"$drover" checkup latency "${quick[@]}" --keep-name there >"$tmp/there" 2>&1 &
job=$!
ok checkup latency --source n2 --target n1 --duration 1s --max-latency 0ms --keep-name back
wait $job || die "beside another one: $(cat "$tmp/there")"
first=$(data there status.completionTimestamp) second=$(data back status.startTimestamp)
[[ "$second" < "$first" && "$(data there status.startTimestamp)" < "$(data back status.completionTimestamp)" ]] &&
    die "they ran at the same time"

# --- of one second, and the later one stands before the earlier by its name: each node would be the
# target that waits for the other one's source ---
one() { # NAME SOURCE TARGET
    sed "s/name: kube.*/name: $1/; s/sourceNode: .*/sourceNode: $2/; s/targetNode: .*/targetNode: $3/" \
        "$tmp/cm.yaml" >"$tmp/$1.yaml"
    ok apply -f "$tmp/$1.yaml"
}
made() { "$drover" get configmap "$1" -o 'jsonpath={.metadata.creationTimestamp}'; }
for _ in 1 2 3 4 5 6 7 8; do
    still=$(handler_pid n1)
    kill -STOP "$still"
    one z n1 n2
    wait_for 10 "the listener" has z status.targetAddress
    one y n2 n1
    [ "$(made y)" = "$(made z)" ] && break
    kill -CONT "$still"
    ok delete configmap y z
done
kill -CONT "$still"
[ "$(made y)" = "$(made z)" ] || die "no two were made in one second"
for name in y z; do
    wait_for 60 "the end of $name" has $name status.succeeded
    [ "$(data $name status.succeeded)" = true ] || die "$name: $(data $name status.failureReason)"
done

# --- one that waits longer than its timeout ---
"$drover" checkup latency --source n1 --target n2 --duration 15s --max-latency 0ms --keep-name long >"$tmp/long" 2>&1 &
job=$!
wait_for 20 "its start" has long status.startTimestamp
failed "not done within 2 s: node n2 was busy with checkup default/long" \
    --source n2 --target n1 --timeout 2s --keep-name late
ok delete configmap long # which ends it
wait $job && die "a result of what was deleted"
says "was deleted meanwhile" "$tmp/long"
ok checkup latency "${quick[@]}"

# --- a source that is restarted in the middle says so; a checkup that still runs is not replaced ---
"$drover" checkup latency --source n1 --target n2 --duration 60s --keep-name cut >"$tmp/cut" 2>&1 &
job=$!
wait_for 20 "its start" has cut status.startTimestamp
wrong "checkup default/cut is still running" "${quick[@]}" --keep-name cut
mapfile -d '' -t again <"/proc/$(handler_pid n1)/cmdline"
old=$(handler_pid n1)
kill -KILL "$old"
while kill -0 "$old" 2>/dev/null; do tick; done
in_node n1 setsid "${again[@]}" >>"$dir/log/handler-n1.log" 2>&1 </dev/null &
wait $job && die "want a failure: $(cat "$tmp/cut")"
says "^Reason +the handler of node n1 was restarted during the checkup" "$tmp/cut"
ok checkup latency "${quick[@]}"

# --- a path whose ends say 9000, and whose middle drops what is above 1500 ---
in_node n1 ip link set mgmt0 mtu 9000
in_node n2 ip link set mgmt0 mtu 9000
ip -n "drover-$id" link set mgmt1 mtu 9000
failed "packets of 9000 bytes fit, but what is larger than 1500 bytes vanishes" "${quick[@]}"
says "^Path MTU +1500 bytes"
grep -q "^Bandwidth" "$out" && die "bandwidth over a hole"
ip -n "drover-$id" link set mgmt2 mtu 9000
ok checkup latency "${quick[@]}"
says "^Path MTU +9000 bytes"
in_node n1 ip link set mgmt0 mtu 1500
in_node n2 ip link set mgmt0 mtu 1500

# --- and one whose router says "too big": known to TCP, too, and no failure ---
n2=$(in_node n2 ip -j addr show mgmt0 | jq -r '.[0].addr_info[] | select(.family == "inet").local')
ip netns exec "drover-$id" sysctl -q net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 \
    net.ipv4.conf.br-mgmt.send_redirects=0
ip -n "drover-$id" route add "$n2/32" dev br-mgmt mtu 1400
in_node n1 ip route add "$n2/32" via 198.18.0.1 dev mgmt0
ok checkup latency "${quick[@]}"
says "^Path MTU +1400 bytes"
in_node n1 ip route del "$n2/32"
ip -n "drover-$id" route del "$n2/32"

# --- bandwidth beside iperf3's, in turns, on a link that tbf holds to 200 Mbit/s ---
if command -v iperf3 >/dev/null && in_node n1 tc qdisc replace dev mgmt0 root tbf rate 200mbit burst 64k latency 20ms 2>"$err"; then
    ours=() theirs=()
    for _ in 1 2 3; do
        in_node n2 iperf3 -s -1 -p 5301 >/dev/null 2>&1 &
        server=$!
        listens() { in_node n2 ss -Hltn 'sport = :5301' | grep -q .; }
        wait_for 10 "iperf3" listens
        in_node n1 iperf3 -c "$n2" -p 5301 -P 2 -t 3 -O 1 -J >"$tmp/iperf.json" || die "iperf3"
        wait $server
        theirs+=("$(jq '.end.sum_received.bits_per_second / 8 | floor' "$tmp/iperf.json")")
        ok checkup latency "${quick[@]}" --streams 2 -o json
        ours+=("$(jq -r '.data["status.result.bandwidthBytesPerSecond"]' "$out")")
    done
    median() { printf '%s\n' "$@" | sort -n | sed -n 2p; }
    a=$(median "${ours[@]}") b=$(median "${theirs[@]}")
    echo "bandwidth: checkup $a, iperf3 $b bytes/s (medians of 3, in turns)"
    [ $((a * 100)) -ge $((b * 95)) ] && [ $((a * 100)) -le $((b * 105)) ] ||
        die "more than 5 % apart: ${ours[*]} against ${theirs[*]}"
    in_node n1 tc qdisc del dev mgmt0 root
else
    echo "needs iperf3 and tbf for the comparison: left out"
fi

# --- the dedicated network: what was measured over another one says nothing of it ---
cat >"$tmp/hco.yaml" <<'END'
apiVersion: hco.kubevirt.io/v1beta1
kind: HyperConverged
metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}
spec: {liveMigrationConfig: {network: migration-network}}
END
ok apply -f examples/05-network.yaml -f "$tmp/hco.yaml"
on_network() { # NODE
    "$drover" get node "$1" -o json | jq -e '.status.addresses[] | select(.type == "MigrationIP")' >/dev/null
}
for n in n1 n2; do wait_for 30 "the migration address of $n" on_network $n; done
ok delete configmap checkup-of-the-migration-network
sed 's/sampleDurationSeconds: .*/sampleDurationSeconds: "1"/' examples/checkup/network.yaml >"$tmp/net.yaml"
mgmt_bytes() { in_node n1 ip -j -s link show mgmt0 | jq '.[0].stats64.tx.bytes'; }
before=$(mgmt_bytes)
ok apply -f "$tmp/net.yaml"
cm=checkup-of-the-migration-network
wait_for 30 "its result" has $cm status.succeeded
[ "$(data $cm status.succeeded)" = true ] || die "$(data $cm status.failureReason)"
[ "$(data $cm status.result.network)" = openshift-cnv/migration-network ] || die "over which network?"
[ "$(data $cm status.result.bandwidthStreams)" = 4 ] || die "want four streams"
has $cm status.result.sourceInterface || die "from which interface?"
[ $(($(mgmt_bytes) - before)) -lt 1000000 ] || die "it went over the management network, too"

# --- the first estimate: of a dry run, and of the first migration ---
cat >"$tmp/vm.yaml" <<'END'
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: vm}
spec:
  runStrategy: Always
  template:
    metadata: {annotations: {drover.io/workload: idle, drover.io/workload-fill: 16Mi}}
    spec: {nodeSelector: {kubernetes.io/hostname: n1}, domain: {memory: {guest: 64Mi}, devices: {}}}
END
running() { "$drover" get vmi vm -o 'jsonpath={.status.phase}' 2>/dev/null | grep -q Running; }
ok apply -f "$tmp/vm.yaml"
wait_for 30 "the VM that is to run" running
ok migrate vm --dry-run
says "as checkup default/$cm of 20[0-9T:-]+Z had it"
ok migrate vm --to n2 --force --wait --timeout 60s
ok get vmim -o json
says "first estimate [0-9.]+ [MG]B/s from checkup default/$cm of 20[0-9T:-]+Z"

ok dev down --dir "$dir"
nothing_stays "after dev down"
echo "checkups measure what is there, and say so when it is not enough"
