#!/bin/bash
# A mosquitto for development and tests.
#
#   broker.sh run   DIR [PORT] [ADDRESS]   in the foreground, data below DIR
#   broker.sh start DIR [PORT] [ADDRESS]   in the background; prints the port (free one when PORT is 0 or absent)
#   broker.sh stop  DIR | kill9 DIR | wipe DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
cmd=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
PATH=$PATH:/usr/sbin:/usr/local/sbin

free() { ! (exec 3<>"/dev/tcp/$address/$1") 2>/dev/null; }

prepare() {
  address=${2:-127.0.0.1} port=${1:-0}
  command -v mosquitto >/dev/null || { echo "broker.sh: mosquitto is missing: run deploy/dev/install.sh" >&2; exit 1; }
  while [ "$port" = 0 ]; do
    port=$((20000 + RANDOM % 12000))
    free "$port" || port=0
  done
  mkdir -p "$dir/data"
  sed -e "s#@DIR@#$dir#;s#@PORT@#$port#;s#@ADDRESS@#$address#" "$here/safe.conf.in" > "$dir/mosquitto.conf"
  echo "$port" > "$dir/port"
}

case $cmd in
run)
  prepare "${3:-0}" "${4:-127.0.0.1}"
  echo $$ > "$dir/pid"
  exec mosquitto -c "$dir/mosquitto.conf" >> "$dir/stdout.log" 2>&1 </dev/null;;
start)
  prepare "${3:-0}" "${4:-127.0.0.1}"
  setsid mosquitto -c "$dir/mosquitto.conf" >> "$dir/stdout.log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  echo $! > "$dir/pid"
  for _ in $(seq 100); do
    free "$port" || { echo "$port"; exit 0; }
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || { echo "broker.sh: mosquitto ended:" >&2; cat "$dir"/*.log >&2; exit 1; }
    sleep 0.05
  done
  exit 1;;
stop)
  kill "$(cat "$dir/pid")"
  for _ in $(seq 100); do kill -0 "$(cat "$dir/pid")" 2>/dev/null || exit 0; sleep 0.05; done
  exit 1;;
kill9) kill -9 "$(cat "$dir/pid")";;
wipe) rm -rf "$dir";;
*) echo "broker.sh: unknown command $cmd" >&2; exit 2;;
esac
