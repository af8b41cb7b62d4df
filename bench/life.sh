#!/bin/sh
# How long what comes after the first set-up of a cluster takes, on three lab machines: a rebuild (reset-cluster
# --keep-images and setup-cluster, until the new cluster is verified) beside the first set-up, which also brings programs
# and images; upgrade-cluster with nothing to do; remove-node of a worker without pods that move; and the worker's return.
#
#   bench/life.sh [ROUNDS]       3 unless said otherwise; needs the bundle and target/release/muster
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-3}
muster=${MUSTER:-$PWD/target/release/muster}
name=${LAB:-life} subnet=${SUBNET:-10.146.227.0/24}
lab() { "$muster" lab --name "$name" "$@"; }
work=$(mktemp -d)
trap 'lab down >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# timed WHAT COMMAND...: runs muster in the folder with the inventory, and says how long it took, and the load.
timed() {
  what=$1 begun=$(date +%s.%N); shift
  (cd "$work" && lab exec -- "$muster" "$@") >"$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }
  echo "$begun $(date +%s.%N) $(cut -d' ' -f1 /proc/loadavg) $what" | awk '{
    time = $2 - $1; load = $3; $1 = $2 = $3 = ""; sub(/^ +/, ""); printf "%-40s %6.1f s   load %s\n", $0, time, load }'
}
changes() { sed -n 's/.* changed=\([0-9]*\).*/\1/p' "$work/log" | awk '{ n += $1 } END { print n + 0 }'; }
unchanged() { [ "$(changes)" = 0 ] || { cat "$work/log"; echo "$1 changed something"; exit 1; }; }

lab down >/dev/null 2>&1 || true
lab up -n 3 --subnet "$subnet" >/dev/null 2>&1
timed 'first set-up' setup-cluster "${subnet%.0/24}.<4,5,6>"
cp "$work/inventory/hosts.ini" "$work/whole.ini"
for _ in $(seq "$rounds"); do
  timed 'rebuild: reset, images kept' reset-cluster --keep-images --yes
  timed 'rebuild: set-up' setup-cluster
  timed 'setup-cluster, nothing to do' setup-cluster
  unchanged setup-cluster
  timed 'upgrade-cluster, nothing to do' upgrade-cluster
  unchanged upgrade-cluster
  timed 'remove-node of a worker' remove-node node3 --yes
  cp "$work/whole.ini" "$work/inventory/hosts.ini"
  timed 'that worker joins again' setup-cluster
done
