#!/usr/bin/env bash
# Who may include whom, foreign headers in their own files, file sizes, and names that must not be
# functions. Part of `make lint` and of `make test`. docs/architecture.md explains the arrows.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
say() { echo "$*"; bad=1; }

declare -A may=(
    [base]="base" [proto]="proto base" [api]="api base"
    [sched]="sched api base" [netpolicy]="netpolicy api base" [migrate]="migrate proto api base"
    [handler]="handler migrate netpolicy proto api base"
    [control]="control sched netpolicy migrate proto api base"
    [cli]="cli sched netpolicy migrate proto api base"
)
for m in "${!may[@]}"; do
    for f in "$m"/*.c "$m"/*.h "$m"/*.def; do
        [ -e "$f" ] || continue
        while IFS=: read -r line inc; do
            dir=${inc%%/*}
            # the labeller is pure and stands alone: who labels a host and who explains it share it
            [[ $m == handler && $inc =~ ^sched/labeller(_files|_xml)?\.h$ ]] && continue
            case " ${may[$m]} " in *" $dir "*) ;; *) say "$f:$line: $m may not include $inc";; esac
        done < <(grep -noE '^#include "[^"]+"' "$f" | sed -E 's/^([0-9]+):#include "([^"]+)"/\1:\2/')
    done
done

for f in sched/labeller*.[ch] sched/cpu_base.[ch]; do
    while IFS=: read -r line inc; do
        [[ $inc =~ ^sched/(labeller|cpu_base) || $inc =~ ^(api|base)/ ]] ||
            say "$f:$line: the labeller, which drover-handler links, may not include $inc"
    done < <(grep -noE '^#include "[^"]+"' "$f" | sed -E 's/^([0-9]+):#include "([^"]+)"/\1:\2/')
done

foreign() { # header-regex allowed-file-regex
    grep -rnE "^#include <$1" --include='*.c' --include='*.h' base api proto sched netpolicy migrate handler control cli bench 2>/dev/null |
        grep -vE "^($2)" | while read -r l; do echo "$l: not here"; done
}
out=$(
    foreign 'libvirt/' 'handler/[a-z_]*libvirt'
    foreign 'archive' 'handler/libvirt_disk'
    foreign '(infiniband|rdma)/' 'migrate/[a-z_]*rdma'
    foreign 'netlink/' 'netpolicy/nl_'
    # handler/metrics_http: GET /metrics of a handler is evhttp's work; control's server is not the
    # handler's to include, and a second one for one page would be more code than both
    foreign 'event2/' 'base/loop_event|control/http|handler/metrics_http'
    foreign 'sqlite3\.h' 'control/store_sqlite'
    foreign 'curl/' 'proto/rest'
    foreign '(yaml|jansson)\.h' 'api/'
    foreign '(lz4|zstd)[a-z]*\.h' 'migrate/codec_lz\.c'
    foreign 'expat\.h' 'sched/labeller_xml\.c|handler/libvirt_xml_parse\.c'
    foreign 'openssl/' 'migrate/[a-z_]*tls|bench/bench_aes|proto/websocket'
)
[ -z "$out" ] || say "$out"
out=$(grep -rnE '^#include "[^"]*pb-c\.h"' --include='*.c' --include='*.h' . 2>/dev/null | grep -vE '^\./(proto|tests/proto|build)/')
[ -z "$out" ] || say "generated types stay in proto/: $out"

while read -r f; do
    n=$(wc -l <"$f")
    [ "$n" -le 1000 ] || say "$f: $n lines, the most is 1000"
done < <(git ls-files '*.c' '*.h' '*.sh' '*.py')
n=$(cat base/*.c base/*.h | wc -l)
[ "$n" -le 3000 ] || say "base/: $n lines, the most is about 2500"

# every fault point is used, and only listed ones are
while read -r id; do
    grep -rqE "FAULT(_HIT)?\\($id\\)|FAULT_$id\\b" --include='*.c' base migrate handler control proto cli ||
        say "base/faults.def: $id is not used anywhere"
done < <(sed -nE 's/^X\(([A-Z_]+),.*/\1/p' base/faults.def)

out=$(git grep -nE '\b(TODO|FIXME|XXX)\b' -- '*.c' '*.h' | head)
[ -z "$out" ] || say "open ends: $out"
exit $bad
