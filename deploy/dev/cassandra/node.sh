#!/bin/bash
# One real Cassandra node for development and tests, from plain jars, without containers.
#
#   node.sh run   DIR [ADDRESS] [HEAP]   in the foreground, data below DIR
#   node.sh start DIR [ADDRESS] [HEAP]   the same in the background; DIR/pid holds the process id
#   node.sh wait  DIR [SECONDS]          until CQL answers on DIR/address, port 9042
#   node.sh stop  DIR | kill9 DIR | wipe DIR
#
# ADDRESS is a loopback address of its own for each node (default: 127.0.0.1); ports are
# always 9042 (CQL) and 7000. A cluster of three: give each node SEED (the first
# address) and TOKEN; without a fixed token per node, nodes that start together may choose
# the same one. JMX_PORT turns nodetool access on. Not for production: small heap, serial GC.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { sed -n '2,14p' "$0" >&2; exit 2; }
cmd=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)

prepare() {
  lib=$("$here/fetch.sh")
  mkdir -p "$dir/conf" "$dir/logs" "$dir/tmp"
  echo "$address" > "$dir/address"
  local period='commitlog_sync_period: 1000ms'
  [ "${COMMITLOG_SYNC:-periodic}" = periodic ] || period=''
  sed -e "s#@TOKEN@#${TOKEN:--9223372036854775808}#;s#@IP@#$address#;s#@SEED@#${SEED:-$address}#;s#@DIR@#$dir#" \
    -e "s#@BOOT@#${BOOTSTRAP:-false}#;s#@CLSYNC@#${COMMITLOG_SYNC:-periodic}#;s#@CLPERIOD@#$period#" \
    "$here/cassandra.yaml.in" > "$dir/conf/cassandra.yaml"
  cp "$here/logback.xml" "$dir/conf/"
  jamm=$(ls "$lib"/jamm-*.jar)
  java=(java "@$here/jvm17.options" "-Xms$heap" "-Xmx$heap" "-XX:MaxDirectMemorySize=128m"
    "-javaagent:$jamm" "-Djava.io.tmpdir=$dir/tmp" "-Dcassandra.config=file://$dir/conf/cassandra.yaml"
    "-Dcassandra.storagedir=$dir" "-Dcassandra.logdir=$dir/logs" "-Dlogback.configurationFile=$dir/conf/logback.xml"
    ${JMX_PORT:+"-Dcassandra.jmx.local.port=$JMX_PORT"} "-Dcassandra-foreground=yes"
    -cp "$dir/conf:$lib/*" org.apache.cassandra.service.CassandraDaemon)
  cd "$dir"
}

pid() { cat "$dir/pid"; }
alive() { kill -0 "$(pid)" 2>/dev/null; }

case $cmd in
run)
  address=${3:-127.0.0.1} heap=${4:-256m}
  prepare
  echo $$ > "$dir/pid"
  exec "${java[@]}" >> "$dir/logs/stdout.log" 2>&1 </dev/null;;
start)
  address=${3:-127.0.0.1} heap=${4:-256m}
  prepare
  # a session of its own and no inherited descriptors: a lock or pipe of the caller must not live as long as the server
  setsid "${java[@]}" >> "$dir/logs/stdout.log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  echo $! > "$dir/pid";;
wait)
  for _ in $(seq $((${3:-120} * 10))); do
    (exec 3<>"/dev/tcp/$(cat "$dir/address")/9042") 2>/dev/null && exit 0
    alive || { echo "node.sh: Cassandra in $dir ended:" >&2; tail -n 5 "$dir"/logs/*.log >&2; exit 1; }
    sleep 0.1
  done
  echo "node.sh: no CQL on $(cat "$dir/address"):9042 in time; see $dir/logs" >&2
  exit 1;;
stop)
  kill "$(pid)"
  for _ in $(seq 300); do alive || exit 0; sleep 0.1; done
  exit 1;;
kill9) kill -9 "$(pid)";;
wipe) rm -rf "$dir";;
*) echo "node.sh: unknown command $cmd" >&2; exit 2;;
esac
