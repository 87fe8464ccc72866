# Sourced by what runs inside the RDMA guest: devices, a cluster of two handlers by hand, and what is
# asked of a migration. Network: rxe0 on d0 has two addresses, so that both ends are one device; rxe1 and
# rxe2 are the two ends of a veth pair (v1, v2), whose packets really cross it: what is done to v1 and v2
# is done to RDMA. One network namespace: rxe of this kernel knows no other.
set -u
dir=/tmp/d bin=/tmp/bin repo=/mnt/repo
export DROVER_SERVER=unix:$dir/api.sock TERM=dumb
handler=() pid=()
say() { read -r up _ </proc/uptime; printf '[%6s] %s\n' "$up" "$*"; }
tick() { read -rt 0.3 <> <(:); } # a look costs a tenth of a second of CPU here
die() { # WORDS...
    say "FAIL: $*"
    for log in "$dir"/*.log; do echo "--- $log"; tail -n 15 "$log"; done
    [ -n "${migration:-}" ] && echo "--- decisions" && decisions
    rdma resource show
    exit 1
}
wait_for() { # WHAT COMMAND...; a minute, for machines that have much else to do
    local until=$((SECONDS + 60)) what=$1
    shift
    until "$@"; do
        [ $SECONDS -lt $until ] || die "waited in vain for $what"
        tick
    done
}

# What an object says of itself as it changes, until that looks so, which is left in $seen: a command each time
# would take more of the processor than what is waited for
watch_until() { # WHAT PATTERN KIND/NAME JSONPATH
    local fd watcher until=$((SECONDS + 60))
    seen=
    exec {fd}< <(exec $bin/drover get "$3" -n shop -w -o "jsonpath=$4{\"\n\"}" 2>&1)
    watcher=$!
    until [[ $seen =~ $2 ]]; do
        read -r -t $((until > SECONDS ? until - SECONDS : 0)) -u $fd seen || die "waited in vain for $1: $seen"
    done
    kill $watcher
    wait $watcher 2>/dev/null
    exec {fd}<&-
}

# --- devices ---
rxe_ready() { ibv_devinfo -d "$1" 2>/dev/null | grep -q PORT_ACTIVE; }
dummy_device() {
    ip link add d0 type dummy
    ip addr add 10.9.0.1/24 dev d0
    ip addr add 10.9.0.2/24 dev d0
    ip link set d0 mtu 4500 up
    rdma link add rxe0 type rxe netdev d0 || die "no rxe"
    wait_for rxe0 rxe_ready rxe0
}
routes() { # again after a link was down: the kernel takes them, and neighbours, away with it
    ip neigh replace 10.8.0.2 lladdr "$(</sys/class/net/v2/address)" dev v1 nud permanent
    ip neigh replace 10.8.0.1 lladdr "$(</sys/class/net/v1/address)" dev v2 nud permanent
    ip route replace 10.8.0.2 dev v1 src 10.8.0.1 table 101
    ip route replace 10.8.0.1 dev v2 src 10.8.0.2 table 102
}
veth_devices() {
    local d
    ip link add v1 type veth peer name v2
    ip addr add 10.8.0.1/32 dev v1
    ip addr add 10.8.0.2/32 dev v2
    for d in v1 v2; do
        ip link set $d mtu 4500 up
        echo 1 >/proc/sys/net/ipv4/conf/$d/accept_local
        echo 1 >/proc/sys/net/ipv4/conf/$d/arp_ignore
        echo 0 >/proc/sys/net/ipv4/conf/$d/rp_filter
    done
    echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
    # what comes in is local; what goes out crosses the wire, though both addresses are this host's
    ip rule add pref 2 iif v1 lookup local
    ip rule add pref 3 iif v2 lookup local
    ip rule add pref 10 oif v1 to 10.8.0.2 lookup 101
    ip rule add pref 11 oif v2 to 10.8.0.1 lookup 102
    ip rule add pref 12 from 10.8.0.1 to 10.8.0.2 lookup 101
    ip rule add pref 13 from 10.8.0.2 to 10.8.0.1 lookup 102
    ip rule add pref 100 lookup local
    ip rule del pref 0
    routes
    for d in 1 2; do
        rdma link add rxe$d type rxe netdev v$d || die "no rxe"
        wait_for rxe$d rxe_ready rxe$d
        tc qdisc add dev v$d clsact
    done
}
# Packets of RoCE are swallowed where they arrive, TCP goes on. (A full queue at the sender would be an
# error at once, not a loss.)
swallow() {
    local d
    for d in v1 v2; do
        tc filter add dev $d ingress protocol ip prio 1 u32 match ip protocol 17 0xff \
            match ip dport 4791 0xffff action drop || die "no filter"
    done
}
swallow_no_more() { for d in v1 v2; do tc filter del dev $d ingress; done; }

# --- the cluster ---
cluster_up() { # ADDRESS-RANGE MASTER: of the migration network
    mkdir -p $dir $bin
    cp "$repo"/bin/drover{,-controller,-handler,-guest} $bin/
    ip addr add 198.18.0.1/24 dev lo
    $bin/drover-controller --listen "$DROVER_SERVER" --listen tcp:198.18.0.1:8001 \
        --store $dir/db >$dir/controller.log 2>&1 &
    $bin/drover pki init --dir $dir/pki >/dev/null || die "pki"
    for n in 1 2; do
        ip addr add 198.18.0.1$n/24 dev lo
        $bin/drover pki node n$n --dir $dir/pki >/dev/null || die "pki"
        node_up $n
    done
    cat >$dir/objects.yaml <<Y
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: m, namespace: openshift-cnv, annotations: {drover.io/trusted-network: "true"}}
spec:
  config: '{"cniVersion": "0.3.1", "name": "m", "type": "macvlan", "master": "$2", "mode": "bridge",
    "ipam": {"type": "whereabouts", "range": "$1"}}'
---
apiVersion: hco.kubevirt.io/v1beta1
kind: HyperConverged
metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}
spec: {liveMigrationConfig: {network: m}}
Y
    wait_for "the API" test -S $dir/api.sock
    $bin/drover apply -f $dir/objects.yaml >$dir/out 2>&1 || die "apply: $(<$dir/out)"
    wait_for "both nodes on the migration network" nodes_ready
}
# N [COMMAND...]: starts the handler of node N, with COMMAND in front (prlimit, setpriv)
node_up() {
    local n=$1
    shift
    "$@" $bin/drover-handler --node-name n$n --controller http://198.18.0.1:8001 --state-dir $dir/n$n \
        --address 198.18.0.1$n --tls-dir $dir/pki/n$n --hypervisor native --libvirt-uri none \
        --heartbeat-interval 1s >>$dir/n$n.log 2>&1 &
    pid[n]=$!
}
node_down() { # N SIGNAL
    kill -"$2" "${pid[$1]}"
    wait "${pid[$1]}" 2>/dev/null
}
node_again() { # N [COMMAND...]
    node_down "$1" TERM
    node_up "$@"
    wait_for "node n$1" nodes_ready
}
# What is done while no handler runs: rxe's devices are gone only when no process has them open any more
handlers_off() {
    node_down 1 TERM
    node_down 2 TERM
}
handlers_on() {
    node_up 1
    node_up 2
    wait_for "both nodes" nodes_ready
}
nodes_ready() {
    local all
    all=$($bin/drover get nodes -o json 2>/dev/null) && [ "$(grep -c '"AddressFound"' <<<"$all")" = 2 ] &&
        [ "$($bin/drover get nodes 2>/dev/null | grep -c ' Ready ')" = 2 ]
}
vm_make() { # NAME MEMORY FILL SET RATE
    $bin/drover apply -f - >$dir/out 2>&1 <<Y || die "apply: $(<$dir/out)"
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: $1, namespace: shop}
spec:
  runStrategy: Always
  template:
    metadata:
      labels: {vm: $1}
      annotations: {drover.io/workload: mix, drover.io/workload-fill: $3, drover.io/workload-set: $4,
        drover.io/workload-rate: $5}
    spec:
      domain: {cpu: {cores: 1}, memory: {guest: $2}, devices: {}}
Y
    vm=$1
    wait_for "VM $1" vmi_there
    watch_until "VM $1 to run" '^Running$' "vmi/$1" '{.status.phase}'
    at=$(where)
    at=${at#n}
}
vmi_there() { $bin/drover get vmi "$vm" -n shop >/dev/null 2>&1; }
# TRANSPORT [BANDWIDTH [POST-COPY]]: the rules of the next migrations
policy() {
    $bin/drover apply -f - >$dir/out 2>&1 <<Y || die "policy: $(<$dir/out)"
apiVersion: migrations.kubevirt.io/v1alpha1
kind: MigrationPolicy
metadata:
  name: case
  annotations: {drover.io/transport: $1, drover.io/post-copy: $([ "${3:-}" ] && echo immediate || echo when-needed)}
spec:
  bandwidthPerMigration: "${2:-0}"
  maxDowntimeMs: 3000 # what an emulated machine can keep: it would go on for rounds and rounds
  completionTimeoutPerGiB: 8000
  allowPostCopy: $([ "${3:-}" ] && echo true || echo false)
  selectors: {namespaceSelector: {kubernetes.io/metadata.name: shop}}
Y
}

# --- a migration ---
where() { $bin/drover get vmi "$vm" -n shop -o 'jsonpath={.status.nodeName}'; }
begin() { # starts one; from and to are the numbers of its nodes
    from=$at
    to=$((3 - from))
    migration=$($bin/drover migrate "$vm" -n shop -o name 2>$dir/out) || die "migrate: $(<$dir/out)"
    migration=${migration##*/}
}
annotation() { echo "{.metadata.annotations.drover\\.io/$1}"; } # NAME: as a JSONPath
decisions() { $bin/drover describe vmim "$migration" -n shop | grep -E '^  .*round [0-9]+ '; }
# The limit that left time for something to happen is lifted
full_speed() { $bin/drover migrate "$vm" -n shop --set-bandwidth 0 >$dir/out 2>&1 || die "no limit: $(<$dir/out)"; }
of_migration() { watch_until "$1" "$2" "vmim/$migration" "$3"; }
in_midst() { of_migration "the first pages" '"rawPages":([5-9]|[1-9][0-9])[0-9]{2}' "$(annotation migration-progress)"; }
cut_off() { of_migration "that the source sees it" 'the connection is lost' "$(annotation migration-decisions)"; }
at_target() {
    watch_until "the VM to run at its target" '^true$' "vmi/$vm" '{.status.migrationState.targetNodeDomainDetected}'
}
gone() { ! $bin/drover get vmim "$migration" -n shop >/dev/null 2>&1; }
# finish WHAT PHASE|Cancelled|Ended: waits for the end, and asks what is asked of every migration: the VM runs on the one
# side that the object names, every byte is as written, and nothing of the device is held by anybody.
# Cancelled: its object goes. Ended: succeeded or failed, as its object says.
finish() {
    what=$1
    local side=$from
    if [ "$2" = Cancelled ]; then
        wait_for "the end of: $1" gone
        ended=
    else
        of_migration "the end of: $1" $'^Failed\t|^Succeeded\t[^\t]*\t.' \
            "{.status.phase}{\"\\t\"}$(annotation migration-result){\"\\t\"}$(annotation target-result)"
        ended=${seen%%$'\t'*}
        results=${seen#*$'\t'}
        [[ $2 == @("$ended"|Ended) ]] || die "$1: want $2: $($bin/drover describe vmim "$migration" -n shop)"
        [ "$ended" = Failed ] || side=$to
    fi
    wait_for "$1: the VM once, on n$side" once "$side"
    at=$side
    $bin/drover verify "$vm" -n shop >$dir/out 2>&1 || die "$1: memory: $(<$dir/out)"
    grep -q ' 0 bad,' $dir/out || die "$1: memory: $(<$dir/out)"
    wait_for "$1: nothing held of the device" nothing_held
}
once() {
    local n=$1
    [ "$(where)" = n$n ] && [ "$(ls $dir/n$n/guests | wc -l)" = 1 ] && [ -z "$(ls $dir/n$((3 - n))/guests)" ]
}
held() { # resources of the device that processes hold, not the kernel itself
    local kind
    for kind in mr qp cm_id; do rdma resource show $kind; done | grep ' pid '
}
pinned_kb() { awk '/^VmPin/ {n += $2} END {print n + 0}' /proc/"${pid[1]}"/status /proc/"${pid[2]}"/status; }
nothing_held() { [ -z "$(held)" ] && [ "$(pinned_kb)" = 0 ]; }
# passed TEXT CONDITION...: says so, when each condition holds; both are of jq: $r is the source's result, $t the
# target's. (It takes half a second to start here: once for all of it.)
passed() {
    local c all=true text=${1:-empty} out r t
    [ $# -eq 0 ] || shift
    for c in "$@"; do all="$all and ($c)"; done
    r=${results%%$'\t'*}
    t=${results#*$'\t'}
    out=$(jq -rn --argjson r "${r:-null}" --argjson t "${t:-null}" "if $all | not then halt_error else
        \"\(\$r.transport // \"-\"), \(\$r.totalMs // \"-\") ms, \((\$r.sentBytes // 0) / 1048576 | floor) MiB, \" +
        \"\(\$r.rounds // \"-\") rounds, downtime \(\$r.downtimeMs // \"-\") ms, \(\$r.reconnects // \"-\") reconnects\", $text end") ||
        die "$what: want $* in $r and $t"
    say "ok   $what: $ended: ${out//$'\n'/, }"
}
