#!/bin/bash
# Installs what the tests need beside Go on a bare Debian: mosquitto and its clients,
# Chromium, Java and Maven (for a real Cassandra), and fetches the Cassandra jars into
# ~/.cache/signalbox (SIGNALBOX_DEV_CACHE). May be run again at any time; when
# everything is there it only looks and takes no time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/usr/local/sbin
need=()
want() { command -v "$1" >/dev/null || need+=("$2"); }
want mosquitto mosquitto
want mosquitto_pub mosquitto-clients
want chromium chromium
want java default-jre-headless
want mvn maven
want flock util-linux
want ip iproute2
want nft nftables

if [ ${#need[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || {
    echo "install.sh: missing: ${need[*]}; this machine has no apt-get: install them by its own means" >&2; exit 1; }
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "install.sh: missing: ${need[*]}; run as root or install sudo" >&2; exit 1; }
    as_root=(sudo)
  fi
  echo "install.sh: installing ${need[*]}"
  log=$(mktemp)
  # RUNLEVEL=1 keeps packages from starting their services: tests start their own
  apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -y -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1; }
  { apt update && apt install --no-install-recommends "${need[@]}"; } || {
    tail -n 20 "$log" >&2; echo "install.sh: apt-get failed, whole log in $log" >&2; exit 1; }
  rm -f "$log"
fi

lib=$("$here/cassandra/fetch.sh")
[ "${1:-}" = -q ] || echo "install.sh: all there (Cassandra jars in $lib)"
