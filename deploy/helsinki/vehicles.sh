#!/usr/bin/env bash
# Makes the static table vehicles from HSL's fleet list ("vehicle","operator","type", no header, numbers unpadded):
#   deploy/helsinki/vehicles.sh fleet.csv > vehicles.csv
# The key is operator/vehicle, padded as in a topic. Of a vehicle that is listed twice the first line counts.
# Capacities are typical ones of the type; an unknown type counts as a long bus.
set -euo pipefail
awk -F'"' '
BEGIN {
  split("A1 56 A2 67 C 78 D 105 MA 19 MB 19", t, " ")
  for (i = 1; i in t; i += 2) capacity[t[i]] = t[i + 1]
  print "vehicle,type,capacity"
}
{
  key = sprintf("%04d/%05d", $4, $2)
  if (!(key in seen)) print key "," $6 "," ($6 in capacity ? capacity[$6] : 78)
  seen[key] = 1
}' "${1:?usage: vehicles.sh fleet.csv}"
