#!/bin/bash
# The figures of docs/performance.md, as tables: absolute values and ratios.
# Nothing here passes or fails by time: a slow machine gives slow figures.
#
#   deploy/bench/run.sh            everything, about 15 minutes on 2 cores
#   deploy/bench/run.sh quick      the same with small inputs and single runs, about 3 minutes
#   deploy/bench/run.sh engine | frames | replay | cluster | load | edge     one part
set -euo pipefail
cd "$(dirname "$0")/../.."
GO=${GO:-go}
what=${1:-all}
runs=5 seconds=2500 duration=30s benchtime=1s
if [ "$what" = quick ]; then
  what=all runs=1 seconds=300 duration=10s benchtime=200ms
fi
[ -x bin/signalbox-sim ] || { echo "run.sh: build first: make build" >&2; exit 1; }

title() { printf '\n== %s\n\n' "$*"; }
wanted() { [ "$what" = all ] || [ "$what" = "$1" ]; }

# Lines of go test -bench as a table: name and what is counted per reading.
per_reading() {
  awk '/^Benchmark/ { name=$1; sub(/^Benchmark/, "", name); sub(/-[0-9]+$/, "", name)
    for (i = 3; i < NF; i += 2) if ($(i+1) == "ns/reading") printf "%-28s %10.1f ns/reading\n", name, $i; else if ($(i+1) == "ns/op") op=$i
    if ($0 !~ /ns\/reading/) printf "%-28s %10.1f ns/op\n", name, op }'
}

case $what in all|engine|frames|replay|cluster|load|edge) ;; *) sed -n '2,7p' "$0" >&2; exit 2;; esac

printf 'cores %s, load before %s, %s\n' "$(nproc)" "$(cut -d' ' -f1-3 /proc/loadavg)" "$($GO version | cut -d' ' -f3-)"

if wanted engine; then
  title "Engine: nanoseconds per reading, columns in"
  $GO test -run '^$' -bench 'Aggregate|Sliding|FleetTotal|Filter' -benchtime "$benchtime" ./engine | per_reading
  title "Closed windows kept for allowed_lateness: bytes a group for sum, count and max (keys are there once for all windows)"
  $GO test -run '^$' -bench 'ClosedWindow' -benchtime 1x ./engine |
    awk '/^Benchmark/ { name=$1; sub(/^BenchmarkClosedWindow\//, "", name); sub(/-[0-9]+$/, "", name)
      for (i = 3; i < NF; i += 2) if ($(i+1) == "B/group") printf "%-52s %6.1f B/group\n", name, $i }'
  title "State machine: decode, dedup, two queries, outbox; batches of 1000"
  $GO test -run '^$' -bench 'Apply' -benchtime "$benchtime" ./core/fsm | per_reading
  title "Line protocol: our scanner and the library"
  $GO test -run '^$' -bench 'Scan|Library' -benchtime "$benchtime" ./engine/lineproto | per_reading
fi
if wanted frames; then
  title "Frames beside text"
  bin/signalbox-sim bench frames
  echo
  $GO test -run '^$' -bench '1000' -benchtime "$benchtime" ./edge/wire | per_reading
fi
if wanted replay; then
  title "Replay: text to results, beside a loop over the line-protocol library"
  bin/signalbox-sim bench replay --runs "$runs" --w1-seconds "$seconds"
fi
if wanted cluster; then
  title "Cluster: three core processes that fsync"
  bin/signalbox-sim bench cluster --runs "$runs" --w1-seconds "$seconds"
fi
if wanted load; then
  title "Latency at 10,000 readings/s: broker, agent (linger 0), three core processes"
  bin/signalbox-sim load --local-enabled --runs "$runs" --duration "$duration"
fi
if wanted edge; then
  title "Edge agent: 100 readings/s, one reading a message, linger 1 s"
  bin/signalbox-sim load --local-enabled --local-linger 1s --rate 100 --readings-per-message 1 --probes 2 --duration "$duration" |
    grep -E 'cost|agent1|uplink|published'
  title "Binaries"
  printf '%-28s %6s MB\n' binary size
  for b in bin/signalbox bin/signalbox-edge bin/signalbox-core bin/signalbox-sim bin/arm64/signalbox-edge bin/armv7/signalbox-edge; do
    if [ -e "$b" ]; then printf '%-28s %6.1f MB\n' "$b" "$(stat -c %s "$b" | awk '{print $1/1e6}')"; fi
  done
fi
