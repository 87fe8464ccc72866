#!/usr/bin/env bash
# The scheduler as its users meet it, on a local cluster of three hosts: who goes first and who has to
# leave, taints, cordons, neighbours that keep apart, targets by name, what a VM that fits nowhere is
# told, and that the change it was told makes it fit. With the real kubectl where it is there.
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || { echo "needs jq"; exit 77; }
kubectl=${KUBECTL:-kubectl}

# --- three hosts of 1 GiB: a VM of 64Mi asks for 307Mi, one of 300Mi for 543Mi, of 500Mi for 743Mi ---
for n in 1 2 3; do
    cat <<EOF
---
apiVersion: v1
kind: Node
metadata:
  name: n$n
  labels: {kubernetes.io/hostname: n$n, kubevirt.io/schedulable: "true", topology.kubernetes.io/zone: z$n}
status:
  allocatable: {cpu: "4", memory: 1Gi, pods: "110"}
EOF
done >"$tmp/nodes.yaml"
"$drover" dev up --dir "$dir" -f "$tmp/nodes.yaml" --heartbeat 500ms >"$out" 2>&1 || die "up"
id=$(jq -r .id "$dir/cluster.json")
export DROVER_SERVER=unix:$dir/api.sock
if command -v "$kubectl" >/dev/null; then
    user() { ip netns exec "drover-$id" "$kubectl" --kubeconfig "$dir/kubeconfig" "$@" >"$out" 2>"$err"; }
else
    user() { "$drover" "$@" >"$out" 2>"$err"; }
fi
does() { user "$@" || die "$*"; }

vm() { # NAME GUEST-MEMORY [LINE-OF-SPEC]
    cat <<EOF
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: $1}
spec:
  runStrategy: Always
  template:
    metadata: {labels: {group: ${1%%-*}}}
    spec:
      terminationGracePeriodSeconds: 1
      ${3:-}
      domain: {cpu: {cores: 1}, memory: {guest: $2}, devices: {}}
EOF
}
make() { # what vm printed
    cat >"$tmp/make.yaml"
    does apply -f "$tmp/make.yaml"
}
migration() { # VM
    printf -- '---\napiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceMigration\n'
    printf 'metadata: {name: move-%s}\nspec: {vmiName: %s}\n' "$1" "$1"
}
vmi() { "$drover" get vmi "$1" -o json 2>/dev/null | jq -r "$2"; } # NAME FILTER
node_of() { vmi "$1" 'select(.status.phase == "Running") | .status.nodeName'; }
runs() { [ -n "$(node_of "$1")" ]; }
runs_on() { [ "$(node_of "$1")" = "$2" ]; }
runs_elsewhere() { runs "$1" && ! runs_on "$1" "$2"; }
waits() { # VM MESSAGE: it has no node, for that reason
    [[ $(vmi "$1" '.status.conditions[]? | select(.type == "PodScheduled" and .status == "False"
        and .reason == "Unschedulable") | .message') == $2 ]]
}
event() { # VM REASON MESSAGE: all three are patterns
    "$drover" get events -o json | jq -e --arg vm "$1" --arg reason "$2" --arg message "$3" '[.items[] |
        select((.involvedObject.name | test($vm)) and (.reason | test($reason)) and (.message | test($message)))] |
        length > 0' >/dev/null
}
gone() { [ "$("$drover" get vmi -o json | jq '.items | length')" -eq 0 ]; }
clean() {
    "$drover" delete vmim --all >/dev/null 2>&1
    does delete vm --all
    wait_for 20 "the VMs to go" gone
}

# --- what an API server refuses, with the field's path ---
bad='affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms:
        [{matchExpressions: [{key: disk, operator: Is, values: [ssd]}]}]}}}'
vm bad 64Mi "$bad" >"$tmp/bad.yaml"
user apply -f "$tmp/bad.yaml" && die "an operator that does not exist was taken"
says 'bad(" is invalid)?: spec\.template\.spec\.affinity\.nodeAffinity\.requiredDuringSchedulingIgnoredDuringExecution\.nodeSelectorTerms\[0\]\.matchExpressions\[0\]\.operator: .*"Is"' "$err"
[ "$(wc -l <"$err")" -eq 1 ] || die "want one line"

# --- priority: of two that wait for one place, the more important one gets it ---
class() { # NAME VALUE
    printf -- '---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: %s}\nvalue: %s\n' "$1" "$2"
}
{ class high 1000; class low 10; } >"$tmp/classes.yaml"
does apply -f "$tmp/classes.yaml"
for n in n1 n2 n3; do does cordon $n; done
vm early 500Mi "priorityClassName: low" | make
wait_for 20 "a refusal" waits early "0/3 nodes are available: 3 node(s) were unschedulable.*"
vm late 500Mi "priorityClassName: high" | make
wait_for 20 "a refusal" waits late "0/3 nodes are available: 3 node(s) were unschedulable.*"
does uncordon n2
wait_for 20 "the one that matters more" runs_on late n2
waits early "*" || die "there is no room for two"
does uncordon n1
wait_for 20 "a node that was cordoned" runs_on early n1
does uncordon n3
clean

# --- preemption: who can move moves, who cannot is stopped and waits ---
for i in 1 2 3; do vm "low-$i" 64Mi "priorityClassName: low"; done | make
for i in 1 2 3; do wait_for 20 "low-$i" runs low-$i; done
vm big 500Mi "priorityClassName: high" | make
wait_for 20 "a more important VM" runs big
for i in 1 2 3; do runs low-$i || die "low-$i was to move, not to stop"; done
ok get events
says "Preempted .*/low-[123] +Preempted by VirtualMachineInstance default/big on node $(node_of big)"
says "EvictionRequested .* migration [^ ]* moves the VM away"
vm large 720Mi "priorityClassName: high" | make
wait_for 30 "one that does not leave room for others" runs large
vm huge 600Mi "priorityClassName: high" | make
wait_for 30 "one that stops others" runs huge
wait_for 20 "one that is stopped" event "low-[123]" EvictionRequested "is shut down: it fits nowhere else"
stopped=$("$drover" get vmi -o json | jq -r '[.items[] | select(.status.nodeName == null) | .metadata.name][0]')
wait_for 20 "why it waits" waits "$stopped" "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
clean

# --- NoExecute: at once, after a time, never ---
vm now 64Mi | make
vm later 64Mi 'tolerations: [{key: fire, operator: Exists, effect: NoExecute, tolerationSeconds: 3}]' | make
vm never 64Mi 'tolerations: [{key: fire, operator: Exists, effect: NoExecute}]' | make
for v in now later never; do wait_for 20 $v runs $v; done
later=$(node_of later) never=$(node_of never) now=$(node_of now)
for n in $(printf '%s\n' "$now" "$later" "$never" | sort -u); do does taint node "$n" fire=yes:NoExecute; done
tainted=$SECONDS
# three hosts, one VM on each: who must go at once finds no host until one is free of the taint
wait_for 20 "why it cannot go" event now EvictionRequested "has taint [{]fire: yes[}]:NoExecute: migration"
runs_on later "$later" || [ $((SECONDS - tainted)) -ge 3 ] || die "it left before its time"
does taint node "$never" fire:NoExecute-
wait_for 20 "the VM that tolerates nothing" runs_elsewhere now "$now"
wait_for 20 "the VM that tolerates 3 s" event later EvictionRequested "has taint [{]fire: yes[}]:NoExecute: migration"
[ $((SECONDS - tainted)) -ge 2 ] || die "later went after less than 3 s"
wait_for 20 "it" runs_elsewhere later "$later"
runs_on never "$never" || die "what tolerates the taint for ever was moved"
for n in "$now" "$later"; do user taint node "$n" fire:NoExecute-; done
clean

# --- fits nowhere: the reason, the nearest miss, and what was told makes it fit ---
vm picky 64Mi "nodeSelector: {disk: ssd}" | make
wait_for 20 "its refusal" waits picky "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.*"
does get vm picky
says "^picky .*ErrorUnschedulable"
ok describe vm picky
says "Nearest: n1 would do: label n1 disk=ssd$"
for n in n1 n2 n3; do says "^  $n +no +- +NodeAffinity: wants disk=ssd \(its node selector or affinity\), has no label disk$"; done
says "FailedScheduling +0/3 nodes are available"
change=$(sed -n 's/.*would do: label \(n[0-9]\) \([^ ]*=[^ ]*\)$/\1 \2/p' "$out")
does label node ${change:?no change was told}
wait_for 20 "a place by the change that was told" runs_on picky n1
ok describe vm picky
says "^  n1 +yes +[0-9]+ "
clean

# --- neighbours that keep apart do so when both move at once; each waits for the other's host ---
apart='affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution:
        [{labelSelector: {matchLabels: {group: pair}}, topologyKey: kubernetes.io/hostname}]}}'
{ vm pair-a 64Mi "$apart"; vm pair-b 64Mi "$apart"; } | make
for v in pair-a pair-b; do wait_for 20 $v runs $v; done
a=$(node_of pair-a) b=$(node_of pair-b)
[ "$a" != "$b" ] || die "both on $a"
{ migration pair-a; migration pair-b; } >"$tmp/moves.yaml"
does apply -f "$tmp/moves.yaml"
moved() {
    [ "$("$drover" get vmi -o json | jq -r '[.items[].status.nodeName] | unique | length')" -eq 2 ] ||
        die "both on one host"
    [ "$("$drover" get vmim -o json | jq '[.items[] | select(.status.phase == "Succeeded")] | length')" -eq 2 ]
}
wait_for 30 "both to move" moved
runs_elsewhere pair-a "$a" || die "pair-a stayed"
runs_elsewhere pair-b "$b" || die "pair-b stayed"

# --- a target by name is held to the same rules; --force passes over what is no fact ---
a=$(node_of pair-a) b=$(node_of pair-b)
run 2 migrate pair-a --to "$b" --wait --timeout 2s
says "1 node\(s\) didn't match pod anti-affinity rules, .*$b would do: move default/pair-b out of kubernetes.io/hostname=$b\." "$err"
ok migrate-cancel pair-a
run 1 migrate pair-a --to nope
ok migrate pair-a --to "$b" --force --wait --timeout 20s
runs_on pair-a "$b" || die "want pair-a on $b, forced"

ok dev down --dir "$dir"
nothing_stays "after dev down"
echo "priorities, taints, neighbours and targets hold, and what a VM was told made it fit"
