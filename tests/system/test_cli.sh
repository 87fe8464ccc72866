#!/usr/bin/env bash
# Every verb of `drover` against a real controller with three handlers: what each prints, changes and
# returns, and what each says to wrong input. With kubectl there, apply takes turns with kubectl apply.
. "$(dirname "$0")/lib.sh"
wrong() { # TEXT ARGUMENTS...: exit 1, nothing on stdout
    local text=$1
    shift
    run 1 "$@"
    grep -qF -- "$text" "$err" || die "drover $*: want \"$text\""
    [ ! -s "$out" ] || die "drover $*: want nothing on stdout"
}
no() { # TEXT ARGUMENTS...: exit 2
    local text=$1
    shift
    run 2 "$@"
    grep -qF -- "$text" "$err" || die "drover $*: want \"$text\""
}
is() { [ "$(cat "$out")" = "$1" ] || die "want \"$1\""; }
field() { "$drover" get "$1" -n shop -o "jsonpath=$2" 2>"$err" || die "get $1"; }

# --- without a controller ---
export DROVER_SERVER=
daemon() { # PROGRAM TEXT ARGUMENTS...: exit 1, and one line that names the program once
    local program=$1 text=$2
    shift 2
    "$(dirname "$drover")/$program" "$@" >"$out" 2>"$err" && die "$program $*: want a failure"
    [ "$(wc -l <"$err")" = 1 ] && grep -q "^$program: [^:]*$text" "$err" ||
        die "$program $*: want one line with \"$text\""
}
for program in drover-controller drover-handler drover-guest drover-bench; do
    daemon $program "unknown option" --frob
done
daemon drover-bench "is no row" nothing
wrong "the default: no --server" get nodes
wrong "unix:$dir/api.sock (--server)" get nodes --server "unix:$dir/api.sock"
wrong "want http://HOST:PORT or unix:/PATH" get nodes --server "$dir/api.sock"
DROVER_SERVER=ftp://x wrong '$DROVER_SERVER' get nodes
wrong 'did you mean "get"?' gte nodes
wrong 'did you mean "describe"?' descirbe nodes
wrong 'drover --help' frobnicate
ok --help
says '^  migrate-cancel +cancel'
ok help drain
says 'drover drain'
for verb in get describe events top apply delete label annotate start stop restart pause unpause \
    console reset migrate migrate-cancel verify cordon uncordon drain taint kubeconfig demo; do
    ok $verb --help
    says "drover $verb"
    wrong "--frob" $verb --frob
done

ok dev up --dir "$dir" -f examples/offline/nodes.yaml --heartbeat 500ms
export DROVER_SERVER=unix:$dir/api.sock

# --- apply ---
ok apply -f examples/00-namespace.yaml -f examples/05-network.yaml -f examples/10-hyperconverged.yaml
says '^namespace/shop created$'
ok apply -f - <examples/20-policies.yaml
says '^migrationpolicy.migrations.kubevirt.io/production created$'
# an older version, as the documents of its time have it
printf '%s\n' 'apiVersion: kubevirt.io/v1alpha3' 'kind: VirtualMachine' 'metadata: {name: old}' \
    'spec: {runStrategy: Halted, template: {spec: {domain: {memory: {guest: 64Mi}, devices: {}}}}}' \
    >"$tmp/old.yaml"
ok apply -f "$tmp/old.yaml"
is "virtualmachine.kubevirt.io/old created"
ok apply -f "$tmp/old.yaml"
is "virtualmachine.kubevirt.io/old unchanged"
ok delete -f "$tmp/old.yaml"
ok apply --dry-run -f examples/30-vms.yaml
says '^virtualmachine.kubevirt.io/db created \(dry run\)$'
wrong 'not found' get vm db -n shop
ok apply -f examples/30-vms.yaml
says '^virtualmachine.kubevirt.io/misfit created$'
mkdir "$tmp/all" && cp examples/[0-3]*.yaml "$tmp/all"
ok apply -f "$tmp/all"
[ "$(grep -c ' unchanged$' "$out")" -eq "$(wc -l <"$out")" ] || die "applied again: want all unchanged"
sed 's/guest: 64Mi/guest: 64 Mi/' examples/30-vms.yaml >"$tmp/bad.yaml"
wrong "$tmp/bad.yaml:" apply -f examples/40-migration.yaml -f "$tmp/bad.yaml"
wrong 'not found' get vmim move-db -n shop # nothing was sent
wrong 'given twice' apply -f examples/30-vms.yaml -f examples/30-vms.yaml
wrong 'but -n is "other"' apply -n other -f examples/30-vms.yaml
wrong 'No such file' apply -f "$tmp/none.yaml"
wrong 'filename' apply
cat >"$tmp/lost.yaml" <<X
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstanceMigration
metadata: {name: lost, namespace: nowhere}
spec: {vmiName: x}
X
wrong 'nowhere' apply -f "$tmp/lost.yaml"

six_run() { [ "$(field vmi '{.items[?(@.status.phase=="Running")].metadata.name}' | wc -w)" -eq 6 ]; }
wait_for 30 "six running VMs" six_run
network_ready() {
    [ "$("$drover" get nodes -o 'jsonpath={.items[*].status.conditions[?(@.type=="MigrationNetworkReady")].status}')" = "True True True" ]
}
wait_for 30 "the migration network" network_ready

# --- get ---
ok get nodes
says '^NAME +STATUS'
says '^n1 +Ready'
ok get nodes -o wide
says '198\.18\.0\.11'
ok get node n1 -o name
is node/n1
ok get vm,vmi -n shop
says '^virtualmachine.kubevirt.io/db '
says '^virtualmachineinstance.kubevirt.io/db '
ok get vm -A --no-headers
says '^shop +db '
ok get vm/db vmi/db -n shop -o name
is "virtualmachine.kubevirt.io/db
virtualmachineinstance.kubevirt.io/db"
ok get vmi -n shop -l 'app in (db, jobs)' -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}'
is "db
jobs"
ok get vmi -n shop --field-selector status.phase=Scheduling -o 'jsonpath={.items[*].metadata.name}'
is misfit
ok get vm db -n shop -o yaml
says '^kind: VirtualMachine$'
ok get vm db -n shop -o json
says '"kind": "VirtualMachine"'
ok get vm -n shop --show-labels
ok get vm -n default
grep -q '^No resources found in default namespace' "$err" || die "an empty namespace"
ok get vm none -n shop --ignore-not-found
is ""
wrong '"none" not found' get vm none -n shop
wrong 'unknown kind "pods"' get pods
wrong '-o xml' get vm -o xml
wrong 'column' get vm -o 'jsonpath={.items['
wrong 'neither -l nor -A' get vm db -A
wrong 'want TYPE' get

# --- get -w: a change arrives; a reader that goes away ends it ---
"$drover" get vm db -n shop -w >"$tmp/watch" 2>"$err" &
watch=$!
wait_for 30 "the first row of a watch" grep -q '^db ' "$tmp/watch"
rows=$(wc -l <"$tmp/watch")
ok label vm db -n shop watched=yes
more_rows() { [ "$(wc -l <"$tmp/watch")" -gt "$rows" ]; }
wait_for 30 "a row for the change" more_rows
kill -TERM $watch
wait $watch || die "a watch that is ended: want exit 0"
("$drover" get vmi -n shop -w -o name 2>"$tmp/watch.err" | head -n 2 >"$tmp/watch") &
watch=$!
wait_for 30 "two names" grep -q / "$tmp/watch"
change=0
gone() { # it notices at its next writes
    ok label vmi db -n shop watched=$((change++)) --overwrite
    ! kill -0 $watch 2>/dev/null
}
wait_for 30 "a watch whose reader is gone to end" gone
[ ! -s "$tmp/watch.err" ] || die "a watch whose reader is gone: want no word"

# --- label, annotate, taint ---
ok label vm db -n shop color=blue
is "virtualmachine.kubevirt.io/db labeled"
ok label vm db -n shop color=blue
is "virtualmachine.kubevirt.io/db not labeled"
wrong 'want --overwrite' label vm db -n shop color=red
ok label vm db -n shop color=red --overwrite
[ "$(field vm/db '{.metadata.labels.color}')" = red ] || die "the label's value"
ok label vm -n shop --all color-
[ -z "$(field vm/db '{.metadata.labels.color}')" ] || die "the label is still there"
wrong '"a b=c"' label vm db -n shop 'a b=c'
wrong 'want a name, -l SELECTOR or --all' label vm a=b
wrong 'what to change' label vm db -n shop
ok annotate vm db -n shop 'example.com/note=a b: "c"'
[ "$(field vm/db '{.metadata.annotations.example\.com/note}')" = 'a b: "c"' ] || die "the annotation's value"
ok annotate vm db -n shop example.com/note-
wrong 'not found' annotate vm none -n shop a=b
ok taint node n2 maintenance=soon:PreferNoSchedule other:NoSchedule
is "node/n2 tainted"
[ "$("$drover" get node n2 -o 'jsonpath={.spec.taints[*].key}')" = "maintenance other" ] || die "the taints"
ok taint node n2 maintenance- other:NoSchedule-
is "node/n2 untainted"
wrong 'taint "other" not found' taint node n2 other-
wrong 'the effect is' taint node n2 a=b:Never
wrong 'only nodes have taints' taint vm db a=b:NoSchedule
wrong 'not found' taint node nx a=b:NoSchedule

# --- describe, events, top ---
ok describe vmi misfit -n shop
says '0/3 nodes are available: '
says "^  n3 +no +- +TaintToleration: wants no taint"
ok describe vm db -n shop
says '^Migration policy: +database$'
says '^  production: It matches 1 label, and policy database matches 2'
says '^  bandwidthPerMigration +192Mi/s +policy database'
ok describe migrationpolicy database
says '^  shop/db +yes '
says '^  shop/cache +no '
ok describe node n3
says '^Taint: +dedicated=batch:NoSchedule'
says '^  shop +jobs +Running .*migrate'
ok describe hyperconverged -n openshift-cnv
says 'migration-network'
wrong 'not found' describe vm none -n shop
wrong 'unknown kind' describe thing x
ok events -n shop --for vmi/misfit
says 'FailedScheduling'
wrong 'want TYPE/NAME' events --for vmi
ok top
says '^n1 +Ready +migration0 +[0-9]+ '
says '^No migration runs'
ok top nodes --no-headers
[ "$(wc -l <"$out")" -eq 3 ] || die "top nodes: want 3 lines"
wrong 'want nodes or migrations' top pods

# --- VMs ---
ok stop queue -n shop
is "VM shop/queue was asked to stop"
queue_gone() { ! "$drover" get vmi queue -n shop >/dev/null 2>&1; }
wait_for 30 "queue to stop" queue_gone
ok start shop/queue
queue_runs() { "$drover" get vmi queue -n shop -o 'jsonpath={.status.phase}' 2>/dev/null | grep -qx Running; }
wait_for 30 "queue to start" queue_runs
before=$(field vmi/queue '{.metadata.uid}')
ok restart queue -n shop
is_status() { # STATUS VM
    [ "$("$drover" get vm "$2" -n shop -o 'jsonpath={.status.printableStatus}')" = "$1" ]
}
restarted() { # asked at once: between two questions the old one may go
    local now
    now=$("$drover" get vmi queue -n shop -o 'jsonpath={.status.phase} {.metadata.uid}' 2>/dev/null)
    [ "${now% *}" = Running ] && [ "${now#* }" != "$before" ]
}
wait_for 30 "queue to restart" restarted
wrong 'not found' start none -n shop
wrong 'not found' stop none -n shop
wrong 'not found' restart none -n shop
wrong 'want NAME or NS/NAME' start a/b/c
wrong 'drover start' start

wrong 'is not paused' unpause ledger -n shop
ok pause ledger -n shop
says '^VM shop/ledger is paused$'
wrong 'already paused' pause ledger -n shop
wait_for 10 "the VM to say so" is_status Paused ledger
ok unpause ledger -n shop
says '^VM shop/ledger is running again$'
wait_for 10 "the VM to say so" is_status Running ledger
wrong 'not found' pause none -n shop
wrong 'not found' unpause none -n shop
wrong 'native guests have no console' console ledger -n shop
wrong 'native guests have no reset' reset ledger -n shop
wrong 'not found' console none -n shop

ok verify db shop/queue -n shop
[ "$(grep -c ': memory is as written$' "$out")" -eq 2 ] || die "want two good verdicts"
wrong 'not found' verify none -n shop
wrong -- '--timeout' verify db --timeout soon
# its handler is away: no answer in time is a no
handler=$(pgrep -f -- "^[^ ]*drover-handler --node-name n3 .*--state-dir $dir/") || die "n3's handler"
kill -STOP $handler
no 'has not answered in time' verify jobs -n shop --timeout 1s
kill -CONT $handler

# --- migrate, migrate-cancel ---
source=$(field vmi/db '{.status.nodeName}')
ok migrate db -n shop --wait
says '^virtualmachineinstancemigration.kubevirt.io/kubevirt-migrate-vm-[a-z0-9]+ created$'
says "^db: $source -> n[12]: moved in .* rounds?, downtime [0-9]+ m?s$"
target=$(field vmi/db '{.status.nodeName}')
[ "$target" != "$source" ] || die "db is still on $source"
[[ "$(field vmi/db '{.status.migrationState.targetNodeAddress}')" == 10.200.5.* ]] || die "the target's address"
ok migrate db -n shop --to "$source" --wait -o json
says '"phase": "Succeeded"'
[ "$(field vmi/db '{.status.nodeName}')" = "$source" ] || die "db did not go back to $source"
no 'still has phase Scheduling: 0/3 nodes are available' migrate db -n shop --to n3 --wait --timeout 2s
wrong 'migrat' migrate db -n shop # one is there already
ok migrate-cancel db -n shop
says 'was asked to cancel$'
no_migration() { ! "$drover" migrate-cancel db -n shop >/dev/null 2>&1; }
wait_for 30 "the cancelled migration to end" no_migration
wrong 'no migration that is not over' migrate-cancel db -n shop
wrong 'nodes "nx" not found' migrate db -n shop --to nx
wrong 'none' migrate none -n shop
wrong 'drover migrate' migrate
wrong 'wide' migrate db -o wide
ok describe vmim -n shop
says '^Policy: |^  Policy: +database'
says '^Downtime: +[0-9]+ ms, as the guest saw it'
says '^  n3 +no +- +node\(s\) had untolerated taint'

# --- cordon, uncordon, drain ---
ok cordon n3
is "node/n3 cordoned"
ok cordon n3
is "node/n3 already cordoned"
ok get node n3
says 'SchedulingDisabled'
ok uncordon n3
is "node/n3 uncordoned"
wrong 'nodes "nx" not found' cordon nx
wrong 'nodes "nx" not found' uncordon nx
wrong 'drover cordon' cordon

ok drain n1 --dry-run
says '^shop +basket +migrate +LiveMigrate '
[ -z "$("$drover" get nodemaintenance -o name 2>/dev/null)" ] || die "a dry run made a NodeMaintenance"
ok drain n1 --wait --timeout 120s
says '^nodemaintenance.nodemaintenance.medik8s.io/drain-n1 created$'
says '^basket: n1 -> n2: moved '
says '^node/n1 drained$'
[ -z "$(field vmi '{.items[?(@.status.nodeName=="n1")].metadata.name}')" ] || die "VMs are left on n1"
ok drain n1 --wait
says 'in maintenance already'
ok describe nodemaintenance drain-n1
says '^Phase: +Succeeded'
ok uncordon n1
says 'drain-n1 deleted$'
says '^node/n1 uncordoned$'
[ -z "$("$drover" get node n1 -o 'jsonpath={.spec.unschedulable}{.spec.taints}')" ] || die "n1 is still cordoned"
# jobs tolerates only n3's taint and everything else is full of taints: it cannot leave
cat >"$tmp/pinned.yaml" <<X
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: pinned, namespace: shop}
spec:
  runStrategy: Always
  template:
    spec:
      evictionStrategy: LiveMigrate
      nodeSelector: {kubernetes.io/hostname: n2}
      volumes:
      - name: root
        persistentVolumeClaim: {claimName: local}
      domain:
        memory: {guest: 16Mi}
        devices:
          disks:
          - {name: root, disk: {bus: virtio}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: local, namespace: shop}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
X
ok apply -f "$tmp/pinned.yaml"
pinned_runs() { "$drover" get vmi pinned -n shop -o 'jsonpath={.status.phase}' 2>/dev/null | grep -qx Running; }
wait_for 30 "pinned to start" pinned_runs
no 'shop/pinned (' drain n2 --dry-run
no 'shop/pinned (' drain n2 --wait --timeout 90s
ok uncordon n2
wrong 'nodes "nx" not found' drain nx
wrong 'nodes "nx" not found' drain nx --dry-run
wrong -- '--timeout' drain n1 --timeout soon
ok apply -f examples/50-maintenance.yaml
wrong 'nodemaintenance/maintenance-n1' uncordon n1
ok delete -f examples/50-maintenance.yaml

# --- delete ---
ok delete vm pinned -n shop
is 'virtualmachine.kubevirt.io "pinned" deleted'
pinned_gone() { ! "$drover" get vmi pinned -n shop >/dev/null 2>&1; }
wait_for 30 "the instance of a VM that was deleted to go" pinned_gone
ok delete pvc -n shop --all
ok delete vm -n shop -l none=none
grep -q 'No resources found' "$err" || die "nothing to delete"
ok delete vm none -n shop --ignore-not-found
wrong 'not found' delete vm none -n shop
wrong 'want a name, -l SELECTOR or --all' delete vm -n shop
wrong 'unknown kind' delete thing x
wrong '-f goes without' delete vm x -f "$tmp/pinned.yaml"

# --- kubeconfig; kubectl apply and drover apply take turns ---
ok kubeconfig -n shop
says '^    server: http://198\.18\.0\.1:[0-9]+$'
says '^    namespace: shop$'
if command -v kubectl >/dev/null; then
    cp "$out" "$tmp/kubeconfig"
    netns=$(sed -n 's/^# .*netns exec \([^ ]*\) .*/\1/p' "$out")
    k() { ip netns exec "$netns" kubectl --kubeconfig "$tmp/kubeconfig" --cache-dir "$tmp/cache" "$@"; }
    k apply --validate=false -f "$PWD/examples/20-policies.yaml" >"$out" 2>"$err" || die "kubectl apply"
    [ "$(grep -c ' unchanged$' "$out")" -eq 2 ] || die "kubectl apply after drover apply: want unchanged"
    sed 's/64Mi/32Mi/' examples/20-policies.yaml >"$tmp/policies.yaml"
    k apply --validate=false -f "$tmp/policies.yaml" >"$out" 2>"$err" || die "kubectl apply"
    says 'production configured'
    ok apply -f "$tmp/policies.yaml"
    [ "$(grep -c ' unchanged$' "$out")" -eq 2 ] || die "drover apply after kubectl apply: want unchanged"
    sed -i '/bandwidthPerMigration: 32Mi/d' "$tmp/policies.yaml"
    ok apply -f "$tmp/policies.yaml"
    says 'production configured'
    [ -z "$("$drover" get migrationpolicy production -o 'jsonpath={.spec.bandwidthPerMigration}')" ] ||
        die "a field that the manifest no longer has is still there"
    k apply --validate=false -f "$tmp/policies.yaml" >"$out" 2>"$err" || die "kubectl apply"
    [ "$(grep -c ' unchanged$' "$out")" -eq 2 ] || die "kubectl apply after drover apply: want unchanged"
fi

# --- a controller that is gone ---
ok dev down --dir "$dir"
wrong "no controller answers at unix:$dir/api.sock (\$DROVER_SERVER)" get nodes
