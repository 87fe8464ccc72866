#!/usr/bin/env bash
# Recording, simulating and dry runs against a real cluster of two hosts: a recording is fetched and
# replays the same twice; a migration does not wait for a recording; a dry run moves nothing, says
# what the policy lets happen; the decision log sets real figures beside predicted ones.
. "$(dirname "$0")/lib.sh"
running() { "$drover" get vmi hot -o 'jsonpath={.status.phase}' 2>/dev/null | grep -q Running; }
node() { "$drover" get vmi hot -o 'jsonpath={.status.nodeName}'; }

cat >"$tmp/vm.yaml" <<'END'
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: hot}
spec:
  runStrategy: Always
  template:
    metadata:
      labels: {kind: hot}
      annotations:
        drover.io/workload: randomwords
        drover.io/workload-rate: 100k
        drover.io/workload-set: 32Mi
        drover.io/workload-fill: 128Mi
    spec: {domain: {memory: {guest: 256Mi}, devices: {}}}
END
cat >"$tmp/slow.yaml" <<'END'
apiVersion: migrations.kubevirt.io/v1alpha1
kind: MigrationPolicy
metadata: {name: slow}
spec:
  bandwidthPerMigration: 4Mi
  completionTimeoutPerGiB: 160
  selectors: {virtualMachineInstanceSelector: {kind: hot}}
END

ok dev up --dir "$dir" --nodes 2
export DROVER_SERVER=unix:$dir/api.sock
ok apply -f "$tmp/vm.yaml"
wait_for 30 "the VM that is to run" running
home=$(node)

# a recording, and what is not one
ok trace record hot --seconds 2 -o "$tmp/hot.trace"
says '2\.[0-9] s, [0-9]+ intervals, .* of 256 MiB written'
[ "$(head -n 1 "$tmp/hot.trace")" = "drover-trace 1" ] || die "no trace"
run 1 trace record nobody --seconds 1 -o "$tmp/x"
run 1 trace play hot --seconds 1 -o "$tmp/x"
run 1 trace record hot --seconds 601 -o "$tmp/x"
[ ! -e "$tmp/x" ] || die "a file was left"
ok simulate migration --trace "$tmp/hot.trace" --bandwidth 1G -o json
cp "$out" "$tmp/first"
ok simulate migration --trace "$tmp/hot.trace" --bandwidth 1G -o json
cmp -s "$out" "$tmp/first" || die "a replay differs"
says '"outcome": "succeeded"'
run 2 simulate migration --trace "$tmp/hot.trace" --bandwidth 2M
says 'does not converge'

# a dry run moves nothing, and knows the policy
ok migrate hot --dry-run --bandwidth 1G
says 'watched for 1\.[0-9] s on '"$home"
says 'Predicted +converges'
ok apply -f "$tmp/slow.yaml"
run 2 migrate hot --dry-run --bandwidth 1G
says 'Policy +slow'
says 'Outcome +aborted'
run 2 migrate hot --dry-run --bandwidth 1G -o json
says '"reason": "completionTimeoutPerGiB: '
ok delete migrationpolicy slow
[ "$(node)" = "$home" ] || die "the dry run moved it"
ok get vmim -o name
[ ! -s "$out" ] || die "the dry run made a migration"

# a migration does not wait for a recording, and has its predictions in its log
"$drover" trace record hot --seconds 300 -o "$tmp/long.trace" >"$tmp/long" 2>&1 &
recorder=$!
asked_for() { "$drover" get vmi hot -o yaml 2>/dev/null | grep -q 300000; }
wait_for 10 "the recording" asked_for
ok migrate hot --wait --timeout 60s
wait $recorder
[ "$(node)" != "$home" ] || die "it was not moved"
ok get vmim -o json
says 'moved: the guest stood still for'
says 'round 1: '
ok verify hot
exit 0
