#!/usr/bin/env bash
# The real kubectl against drover-controller on loopback: every verb that people use, on every kind.
# KUBECTL names another kubectl than the one on the path (Debian's 1.20 and upstream's 1.31 pass),
# DROVER_CONTROLLER another controller, such as the one with sanitizers.
set -u
cd "$(dirname "$0")/../.." || exit 1
kubectl=${KUBECTL:-kubectl}
command -v "$kubectl" >/dev/null || { echo "kubectl is not there (apt-get install kubernetes-client)"; exit 77; }
program=${DROVER_CONTROLLER:-bin/drover-controller}
[ -x "$program" ] || { echo "$program is not built: run make"; exit 1; }

tmp=$(mktemp -d /tmp/drover-test-kubectl-XXXXXX) || exit 1
out=$tmp/out err=$tmp/err
export HOME=$tmp/home KUBECONFIG=$tmp/kubeconfig
mkdir -p "$HOME"
pids=()
cleanup() {
    for p in "${pids[@]}"; do kill "$p" 2>/dev/null; wait "$p" 2>/dev/null; done
    rm -rf "$tmp"
}
trap cleanup EXIT
die() {
    echo "line ${BASH_LINENO[${1:-0}]}: ${*:2}"
    echo "--- stdout"; cat "$out"
    echo "--- stderr"; cat "$err"
    echo "--- controller"; tail -n 20 "$tmp/log"
    exit 1
}
run() { # EXIT-IS-ZERO ARGUMENTS...
    local want=$1 rc
    shift
    timeout 60 "$kubectl" "$@" >"$out" 2>"$err"
    rc=$?
    if [ "$want" = yes ]; then [ $rc -eq 0 ]; else [ $rc -ne 0 ] && [ $rc -ne 124 ]; fi ||
        die 2 "kubectl $*: exit $rc"
}
ok() { run yes "$@"; }
wrong() { # TEXT ARGUMENTS...: refused, and why
    local text=$1
    shift
    run no "$@"
    grep -qF -- "$text" "$err" || die 1 "kubectl $*: want \"$text\""
}
says() { grep -qE -- "$1" "$out" || die 1 "want \"$1\""; }
silent_about() { ! grep -qE -- "$1" "$out" || die 1 "do not want \"$1\""; }
warns() { grep -qF -- "$1" "$err" || die 1 "want the warning \"$1\""; }
is() { [ "$(cat "$out")" = "$1" ] || die 1 "want \"$1\""; }
tick() { read -rt 0.1 <> <(:); }
wait_for() { # COMMAND...
    local i
    for i in $(seq 200); do "$@" && return; tick; done
    die 1 "timed out: $*"
}
has() { grep -qsE -- "$2" "$1"; }

# --- the controller ---
controller() {
    "$program" --store "$tmp/store.db" --listen "${url:-tcp:127.0.0.1:0}" >>"$tmp/log" 2>&1 &
    controller_pid=$!
    pids+=("$controller_pid")
    wait_for has "$tmp/log" "controller.listening"
}
: >"$tmp/log" >"$out" >"$err"
url=
controller
server=$(sed -n 's/.*url=\(http:[^ ]*\).*/\1/p' "$tmp/log")
"$kubectl" config set-cluster c --server="$server" >/dev/null &&
    "$kubectl" config set-context c --cluster=c >/dev/null &&
    "$kubectl" config use-context c >/dev/null || die 0 "kubeconfig"
ok version
says "v1.31.0\+drover|GitVersion:\"v1.31.0"

# --- manifests: one of each kind ---
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
cat >"$tmp/vm.yaml" <<END
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  name: web
  labels: {app: web}
spec:
  runStrategy: Halted
  template:
    metadata:
      labels: {kubevirt.io/vm: web}
    spec:
      hostname: web-host
      subdomain: shop
      domain:
        cpu: {cores: 2}
        memory: {guest: 64Mi}
        devices: {}
END
cat >"$tmp/node.yaml" <<END
apiVersion: v1
kind: Node
metadata:
  name: n1
  labels: {kubernetes.io/hostname: n1, node-role.kubernetes.io/worker: "", kubevirt.io/schedulable: "true"}
  annotations: {kubevirt.io/heartbeat: "$now"}
status:
  capacity: {cpu: "4", memory: 8Gi, pods: "110"}
  allocatable: {cpu: "4", memory: 8Gi, pods: "110"}
  addresses: [{type: InternalIP, address: 198.18.0.11}]
  nodeInfo: {kubeletVersion: v0.1, osImage: Debian, kernelVersion: "6.1", architecture: amd64, bootID: "",
    containerRuntimeVersion: "", kubeProxyVersion: "", machineID: "", operatingSystem: linux, systemUUID: ""}
  conditions:
  - {type: Ready, status: "True", reason: KubeletReady, message: ok, lastHeartbeatTime: "$now", lastTransitionTime: "$now"}
  - {type: MigrationNetworkReady, status: "True", reason: Ok, message: ok, lastHeartbeatTime: "$now", lastTransitionTime: "$now"}
END
cat >"$tmp/more.yaml" <<END
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: retail}}
---
apiVersion: migrations.kubevirt.io/v1alpha1
kind: MigrationPolicy
metadata: {name: slow}
spec:
  bandwidthPerMigration: 64Mi
  selectors:
    namespaceSelector: {team: retail}
---
apiVersion: hco.kubevirt.io/v1beta1
kind: HyperConverged
metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}
spec:
  liveMigrationConfig: {parallelMigrationsPerCluster: 3}
---
apiVersion: kubevirt.io/v1
kind: KubeVirt
metadata: {name: kubevirt, namespace: openshift-cnv}
spec: {}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: migration, namespace: openshift-cnv}
spec:
  config: '{"cniVersion":"0.3.1","name":"m","type":"macvlan","master":"eth1","ipam":{"type":"whereabouts","range":"10.200.5.0/24"}}'
---
apiVersion: nmstate.io/v1
kind: NodeNetworkConfigurationPolicy
metadata: {name: bond}
spec:
  desiredState: {interfaces: []}
---
apiVersion: operator.openshift.io/v1
kind: KubeDescheduler
metadata: {name: cluster, namespace: default}
spec: {}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk, namespace: shop}
spec:
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Event
metadata: {name: e1, namespace: default}
involvedObject: {apiVersion: kubevirt.io/v1, kind: VirtualMachine, name: web, namespace: default, uid: UID}
reason: Because
message: something happened
type: Normal
firstTimestamp: "$now"
lastTimestamp: "$now"
count: 1
END

# --- apply: create, unchanged, change, warnings, refusals ---
ok apply -f "$tmp/vm.yaml"
is "virtualmachine.kubevirt.io/web created"
warns "Warning: spec.template.spec.subdomain"
ok apply -f "$tmp/vm.yaml"
is "virtualmachine.kubevirt.io/web unchanged"
sed 's/cores: 2/cores: 3/' "$tmp/vm.yaml" >"$tmp/vm2.yaml"
ok apply -f "$tmp/vm2.yaml"
is "virtualmachine.kubevirt.io/web configured"
ok get vm web -o jsonpath='{.spec.template.spec.domain.cpu.cores} {.metadata.generation}'
is "3 2"
sed 's/app: web/app: shop/' "$tmp/vm2.yaml" | ok apply -f -
ok get vm -l app=shop -o name
is "virtualmachine.kubevirt.io/web"
ok apply -f "$tmp/vm.yaml" --dry-run=server
run no diff -f "$tmp/vm.yaml"
says "^-  *cores: 3|^\\+  *cores: 2"
ok get vm web -o jsonpath='{.spec.template.spec.domain.cpu.cores}'
is 3
sed 's/hostname/hostnaem/; s/name: web/name: bad/' "$tmp/vm.yaml" >"$tmp/bad.yaml"
wrong 'unknown field "spec.template.spec.hostnaem"' apply -f "$tmp/bad.yaml"
sed 's/64Mi/64 Mi/; s/name: web/name: bad/' "$tmp/vm.yaml" >"$tmp/bad.yaml"
wrong 'The VirtualMachine "bad" is invalid: spec.template.spec.domain.memory.guest' create -f "$tmp/bad.yaml"
sed 's/name: web/name: bad/' "$tmp/vm.yaml" >"$tmp/bad.yaml"
wrong 'namespaces "nowhere" not found' create -n nowhere -f "$tmp/bad.yaml"
wrong 'already exists' create -f "$tmp/vm.yaml"
wrong 'virtualmachines.kubevirt.io "bad" not found' get vm bad
ok create -f "$tmp/node.yaml"
is "node/n1 created"
ok get vm web -o jsonpath='{.metadata.uid}'
sed -i "s/UID/$(cat "$out")/" "$tmp/more.yaml"
ok apply -f "$tmp/more.yaml"
[ "$(grep -c ' created$' "$out")" -eq 9 ] || die 0 "want nine objects"
ok apply -f "$tmp/more.yaml"
[ "$(grep -c ' unchanged$' "$out")" -eq 9 ] || die 0 "want nine unchanged"

# --- get: every kind, every form ---
for kind in vm vmi vmim kubevirt migrationpolicy hco net-attach-def nncp nnce nns ippools nodemaintenance kubedescheduler node ns pvc event pod; do
    ok get "$kind" -A
    ok get "$kind" -A -o wide
    ok get "$kind" -A -o yaml
    says "^kind: List"
    ok get "$kind" -A -o json
    says '"items": \['
    ok get "$kind" -A -o name
done
ok get vm
says "^NAME +AGE +STATUS +READY"
says "^web +[0-9]+s +Stopped"
ok get nodes
says "^NAME +STATUS +ROLES +AGE +VERSION$"
says "^n1 +Ready +worker +[0-9]+s +v0.1"
ok get nodes -o wide
says "INTERNAL-IP .* MIGRATION-NETWORK"
says "198.18.0.11 .* True"

# --- networks: what a handler would report, in the same words as drover's ---
ok annotate node n1 drover.io/migration-link='{"interface":"migration0","address":"10.200.5.7","mtu":9000,"speedMbps":25000}'
ok get nodes -o wide
says "MIGRATION-INTERFACE +MIGRATION-ADDRESS +MTU +SPEED +RDMA$"
says "migration0 +10.200.5.7 +9000 +25Gb/s"
cat >"$tmp/nns.yaml" <<END
apiVersion: nmstate.io/v1beta1
kind: NodeNetworkState
metadata: {name: n1}
END
ok apply -f "$tmp/nns.yaml"
ok get --raw /apis/nmstate.io/v1beta1/nodenetworkstates/n1
sed 's/"metadata"/"status":{"currentState":{"interfaces":[{"name":"eth7","type":"ethernet","state":"up"}]}},&/' "$out" >"$tmp/nns.json"
ok replace --raw /apis/nmstate.io/v1beta1/nodenetworkstates/n1/status -f "$tmp/nns.json"
ok describe nns n1
says "Name: +eth7"
wait_for ok get nnce n1.bond
says "^NAME +STATUS +STATUS AGE +REASON"
plain() { tr -s ' ' <"$1" | sed 's/ [0-9]*[smh]\( \|$\)/ AGE\1/g'; }
for kind in nodes nns nncp nnce ippools nns/n1; do
    ok get $kind -o wide
    DROVER_SERVER=$server bin/drover get $kind -o wide >"$tmp/ours" 2>"$err" || die 0 "drover get $kind"
    [ "$(plain "$tmp/ours")" = "$(plain "$out")" ] || die 0 "drover get $kind prints: $(cat "$tmp/ours")"
done
ok get nodes --no-headers
silent_about "NAME"
ok get vm,nodes
says "^virtualmachine.kubevirt.io/web "
says "^node/n1 "
ok get vm -A
says "^NAMESPACE +NAME"
says "^default +web"
ok get vms web -o custom-columns=N:.metadata.name,S:.spec.runStrategy
says "^web +Halted"
ok get virtualmachines.kubevirt.io web -o jsonpath='{.spec.runStrategy}'
is Halted
ok get virtualmachines.v1alpha3.kubevirt.io web -o jsonpath='{.apiVersion}'
is kubevirt.io/v1alpha3
ok get nodes -l 'node-role.kubernetes.io/worker=,!nothing' -o name
is node/n1
ok get nodes -l 'kubernetes.io/hostname in (n2,n3)' -o name
is ""
ok get nodes --field-selector metadata.name=n1 -o name
is node/n1
ok get vm --field-selector spec.runStrategy!=Halted -o name
is ""
ok get events --field-selector involvedObject.name=web,involvedObject.kind=VirtualMachine -o jsonpath='{.items[*].reason}'
says "Because"
ok get vm --sort-by=.metadata.name
says "^web"
ok get ns
says "^openshift-cnv +Active"
ok get all
says "virtualmachine.kubevirt.io/web"
ok get --raw /apis/kubevirt.io/v1
says APIResourceList
ok get --raw /apis/subresources.kubevirt.io/v1
for name in virtualmachines/start virtualmachines/stop virtualmachines/restart virtualmachines/migrate \
    virtualmachineinstances/pause virtualmachineinstances/unpause virtualmachineinstances/reset \
    virtualmachineinstances/console; do
    says "\"name\":\"$name\""
done
wrong "error: the server doesn't have a resource type" get gadgets
wrong 'unable to parse requirement' get vm -l 'a b'

# --- describe ---
ok describe vm web
says "Run Strategy: +Halted"
says "Because .*something happened"
ok describe node n1
says "InternalIP: +198.18.0.11"
says "memory: +8Gi"
ok describe ns shop
says "Status: +Active"
ok describe pvc disk -n shop
says "Status: +Pending"
ok describe migrationpolicy slow
says "Bandwidth Per Migration: +64Mi"

# --- small changes ---
ok label vm web tier=front
is "virtualmachine.kubevirt.io/web labeled"
wrong "already has a value" label vm web tier=back
ok label vm web tier=back --overwrite
ok get vm web -o jsonpath='{.metadata.labels.tier} {.metadata.generation}'
is "back 2"
ok label vm web tier-
ok get vm -l tier -o name
is ""
wrong 'The Node "n1" is invalid: metadata.labels' patch node n1 -p '{"metadata":{"labels":{"a":"d e"}}}'
ok annotate vm web note='two words'
ok get vm web -o jsonpath='{.metadata.annotations.note}'
is "two words"
ok annotate vm web note-
ok taint node n1 dedicated=batch:NoSchedule
is "node/n1 tainted"
ok get node n1 -o jsonpath='{.spec.taints[?(@.key=="dedicated")].effect}'
is NoSchedule
ok taint node n1 dedicated:NoSchedule-
is "node/n1 untainted"
ok cordon n1
is "node/n1 cordoned"
ok get node n1
says "Ready,SchedulingDisabled"
ok drain n1
says "node/n1 (drained|evicted)|already cordoned"
ok uncordon n1
is "node/n1 uncordoned"
ok get node n1 -o jsonpath='{.spec.unschedulable}'
is ""

# --- patch ---
ok patch vm web --type=merge -p '{"spec":{"template":{"spec":{"domain":{"cpu":{"cores":4}}}}}}'
is "virtualmachine.kubevirt.io/web patched"
ok patch vm web --type=json -p '[{"op":"test","path":"/spec/template/spec/domain/cpu/cores","value":4},{"op":"replace","path":"/spec/template/spec/domain/cpu/cores","value":5}]'
ok get vm web -o jsonpath='{.spec.template.spec.domain.cpu.cores}'
is 5
wrong "operation 1, test" patch vm web --type=json -p '[{"op":"test","path":"/spec/runStrategy","value":"x"}]'
wrong "the body of the request was in an unknown format" patch vm web --type=strategic -p '{"spec":{}}'
ok patch node n1 -p '{"metadata":{"finalizers":["a.io/x"]}}'
ok patch node n1 -p '{"metadata":{"finalizers":["b.io/y"]}}'
ok get node n1 -o jsonpath='{.metadata.finalizers}'
says 'a.io/x.*b.io/y'
ok patch node n1 --type=merge -p '{"metadata":{"finalizers":null}}'
wrong "spec.runStrategy" patch vm web --type=merge -p '{"spec":{"runStrategy":"Often"}}'
wrong 'unknown field "spec.colour"' patch vm web --type=merge -p '{"spec":{"colour":"red"}}'
wrong 'not found' patch vm bad --type=merge -p '{}'
ok get vm web -o jsonpath='{.spec.runStrategy}{.spec.colour}'
is Halted

# --- edit, replace ---
export KUBE_EDITOR="sed -i 's/cores: 5/cores: 6/'"
ok edit vm web
is "virtualmachine.kubevirt.io/web edited"
ok get vm web -o jsonpath='{.spec.template.spec.domain.cpu.cores}'
is 6
KUBE_EDITOR="sed -i 's/198.18.0.11/198.18.0.12/; s/worker/control-plane/'" ok edit node n1
ok get node n1
says "control-plane"
KUBE_EDITOR="true" ok edit vm web
warns "no changes made"
ok get vm web -o yaml
sed 's/cores: 6/cores: 7/' "$out" >"$tmp/replace.yaml"
ok replace -f "$tmp/replace.yaml"
is "virtualmachine.kubevirt.io/web replaced"
wrong "the object has been modified; please apply your changes to the latest version and try again" replace -f "$tmp/replace.yaml"
ok replace --force -f "$tmp/vm.yaml"

# --- watch, wait ---
"$kubectl" get vm -w >"$tmp/watch" 2>"$tmp/watch.err" &
watch=$!
pids+=("$watch")
wait_for has "$tmp/watch" "^web"
sed 's/name: web/name: second/' "$tmp/vm.yaml" >"$tmp/second.yaml"
ok create -f "$tmp/second.yaml"
wait_for has "$tmp/watch" "^second"
[ "$(grep -c ^NAME "$tmp/watch")" -eq 1 ] || die 0 "want one line of headings: $(cat "$tmp/watch")"
kill "$watch"
"$kubectl" get vm second -w --output-watch-events >"$tmp/watch" 2>"$tmp/watch.err" &
watch=$!
pids+=("$watch")
wait_for has "$tmp/watch" "ADDED"
"$kubectl" wait --for=delete vm/second --timeout=30s >"$tmp/wait" 2>&1 &
waiting=$!
pids+=("$waiting")
ok delete vm second
is 'virtualmachine.kubevirt.io "second" deleted'
wait_for has "$tmp/watch" "DELETED"
kill "$watch"
wait "$waiting" || die 0 "kubectl wait --for=delete: $(cat "$tmp/wait")"
ok wait --for=condition=Ready node/n1 --timeout=30s
is "node/n1 condition met"
wrong "timed out" wait --for=condition=Ready vm/web --timeout=1s

# --- other verbs ---
wrong "could not find the requested resource" scale vm/web --replicas=2
ok api-versions
says "^migrations.kubevirt.io/v1alpha1$"
ok api-resources --namespaced=false -o name
says "^nodes$"
ok create namespace from-kubectl
ok get ns from-kubectl -o jsonpath='{.status.phase}'
is Active
ok delete ns from-kubectl --timeout=30s
cat >"$tmp/vmim.yaml" <<END
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstanceMigration
metadata: {generateName: m-, namespace: default}
spec: {vmiName: nobody}
END
wrong 'the VMI "default/nobody" does not exist' create -f "$tmp/vmim.yaml"
ok create -f - <<END
apiVersion: nodemaintenance.medik8s.io/v1beta1
kind: NodeMaintenance
metadata: {name: m1}
spec: {nodeName: n1, reason: disk}
END
wait_for ok get nodemaintenance m1 -o wide
says "^m1 +n1 .* disk"
ok delete nodemaintenance m1

# --- the controller's own loops are seen through the same kubectl ---
ok cordon n1
sed 's/Halted/Always/; s/name: web/name: busy/' "$tmp/vm.yaml" >"$tmp/busy.yaml"
ok apply -f "$tmp/busy.yaml"
scheduling() { ok get vmi busy --ignore-not-found; grep -q Scheduling "$out"; }
wait_for scheduling
ok get vmi busy -o jsonpath='{.metadata.ownerReferences[0].name}'
is busy
wrong 'want Connection: Upgrade' get --raw \
    /apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/busy/console
ok describe vmi busy
says "0/1 nodes are available"
ok delete vm busy
gone() { ok get vmi busy --ignore-not-found -o name; [ ! -s "$out" ]; }
wait_for gone
ok uncordon n1

# --- killed and started again: all of it is there ---
before=$("$kubectl" get vm,node,ns,pvc,net-attach-def,migrationpolicy,hco -A -o json | grep -v '"resourceVersion"' | grep -v Heartbeat)
kill -9 "$controller_pid"
wait "$controller_pid" 2>/dev/null
url=tcp:${server#http://}
: >"$tmp/log"
controller
after=$("$kubectl" get vm,node,ns,pvc,net-attach-def,migrationpolicy,hco -A -o json | grep -v '"resourceVersion"' | grep -v Heartbeat)
[ "$before" = "$after" ] || die 0 "after kill -9: $(diff <(echo "$before") <(echo "$after"))"

# --- delete ---
ok delete -f "$tmp/vm.yaml"
is 'virtualmachine.kubevirt.io "web" deleted'
wrong 'virtualmachines.kubevirt.io "web" not found' delete vm web
ok delete vm web --ignore-not-found
wrong 'this namespace may not be deleted' delete ns default
ok delete ns shop --timeout=30s
wrong 'namespaces "shop" not found' get ns shop
ok get pvc -A -o name
is ""
ok delete node -l kubernetes.io/hostname=n1
ok delete events --all
ok delete migrationpolicy,nncp --all
ok get migrationpolicy,nncp,node -o name
is ""
echo "kubectl: all of it passed ($("$kubectl" version --client 2>/dev/null | head -n 1))"
