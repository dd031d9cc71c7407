#!/bin/bash
# fetch.sh: brings the Cassandra jars into the cache and prints the folder they are in.
# Maven gets them (offline when its own repository has them all); a fetch that was
# interrupted leaves nothing behind that looks complete. Quick when all is there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's#.*<cassandra.version>\(.*\)</cassandra.version>.*#\1#p' "$here/pom.xml")
cache=${SIGNALBOX_DEV_CACHE:-$HOME/.cache/signalbox}/cassandra/$version
lib=$cache/lib
if [ ! -d "$lib" ]; then
  command -v mvn >/dev/null || { echo "fetch.sh: mvn is missing: run deploy/dev/install.sh" >&2; exit 1; }
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  if [ ! -d "$lib" ]; then
    tmp=$(mktemp -d "$cache/lib.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    goal=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
    get() { mvn -q -B "$@" -f "$here/pom.xml" $goal -DoutputDirectory="$tmp" -DincludeScope=runtime; }
    get -o >/dev/null 2>&1 || { rm -rf "${tmp:?}"/*; get -ntp >&2; }
    chmod 755 "$tmp"
    mv "$tmp" "$lib"
  fi
fi
echo "$lib"
