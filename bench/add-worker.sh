#!/bin/sh
# Adding a worker to a cluster: with an inventory of 3 hosts and with one of 30, in turn. Only the new machine and what it
# needs of the first control plane cost anything, so both take the same. The further 27 hosts are never contacted: there
# is nothing at their addresses.
#
#   bench/add-worker.sh [RUNS]      3 runs unless said otherwise; needs the bundle and target/release/muster
set -eu
cd "$(dirname "$0")/.."
runs=${1:-3}
muster=$PWD/target/release/muster
lab() { "$muster" lab --name bench "$@"; }
work=$(mktemp -d)
trap 'lab down >/dev/null 2>&1; rm -rf "$work"' EXIT
now() { date +%s.%N; }

# inventory HOSTS: node3, node4, ... are workers only.
inventory() {
  awk -v n="$1" 'BEGIN {
    print "[all]"
    for (i = 1; i <= n; i++) printf "node%d ansible_host=10.146.229.%d\n", i, i + 3
    print "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]"
    for (i = 2; i <= n; i++) print "node" i
  }' >"$work/inventory/hosts.ini"
}
# Everything as a user types it, in the folder with the inventory.
setup() { (cd "$work" && "$muster" lab --name bench exec -- "$muster" setup-cluster "$@") >"$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }; }
kubectl() { (cd "$work" && "$muster" lab --name bench exec -- "$muster" kubectl "$@"); }

mkdir "$work/inventory"
lab down >/dev/null 2>&1 || true
lab up --subnet 10.146.229.0/24 >/dev/null 2>&1
inventory 2
setup

i=0
while [ $i -lt "$runs" ]; do
  i=$((i + 1))
  for hosts in 3 30; do
    lab reimage node3 >/dev/null 2>&1
    kubectl delete node node3 --ignore-not-found >/dev/null 2>&1
    sync
    inventory $hosts
    begun=$(now)
    setup --limit node3 --reimaged node3
    echo "$hosts $(now) $begun" >>"$work/times"
    tail -1 "$work/times" | awk '{ printf "  inventory of %d: %.1f s\n", $1, $2 - $3 }'
    kubectl get node node3 --no-headers | grep -q ' Ready ' || { echo "node3 is not Ready"; exit 1; }
  done
done

sort -k1,1n "$work/times" | awk '
  { time = $2 - $3; n[$1]++; list[$1, n[$1]] = time }
  function median(key,   i, j, t) {
    for (i = 1; i < n[key]; i++) for (j = i + 1; j <= n[key]; j++)
      if (list[key, j] < list[key, i]) { t = list[key, i]; list[key, i] = list[key, j]; list[key, j] = t }
    return list[key, int((n[key] + 1) / 2)]
  }
  END { printf "a worker more: %.1f s with 3 hosts, %.1f s with 30: ratio %.2f (medians of %d)\n", median(3), median(30), median(30) / median(3), n[3] }'
