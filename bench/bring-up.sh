#!/bin/sh
# Bring-up of three bare lab machines: `setup-cluster` against bench/by-hand.sh, in turn, each from fresh machines; then
# the second run of setup-cluster. Prints each time and the ratio of the medians.
#
#   bench/bring-up.sh [RUNS]        3 runs unless said otherwise; needs the bundle and target/release/muster
set -eu
cd "$(dirname "$0")/.."
runs=${1:-3}
muster=$PWD/target/release/muster
lab() { "$muster" lab --name bench "$@"; }
work=$(mktemp -d)
trap 'lab down >/dev/null 2>&1; rm -rf "$work"' EXIT
bundle=$("$muster" bundle list | tail -1 | sed 's/: [^:]*$//')
# By hand the whole bundle is copied: one with images of other versions would be no fair comparison.
set -- "$bundle"/files/kubelet-*
[ $# = 1 ] || { echo "$bundle holds several versions of Kubernetes; name one of one version: MUSTER_BUNDLE=" >&2; exit 1; }
bench/by-hand.sh prepare "$bundle" "$work/files"

now() { date +%s.%N; }
fresh() {
  lab down >/dev/null 2>&1 || true
  lab up --subnet 10.146.229.0/24 >/dev/null 2>&1
  # Page cache and writes of the run before must not count.
  sync
}

i=0
while [ $i -lt "$runs" ]; do
  i=$((i + 1))
  fresh
  begun=$(now)
  lab exec -- bench/by-hand.sh "$work/files" 10.146.229.4 10.146.229.5 10.146.229.6 >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  echo "hand $(now) $begun" >>"$work/times"

  fresh
  rm -rf "$work/project"; mkdir "$work/project"
  begun=$(now)
  (cd "$work/project" && "$muster" lab --name bench exec -- /usr/bin/env time -f 'memory %M' "$muster" setup-cluster --output plain '10.146.229.<4,5,6>') >"$work/log" 2>&1 ||
    { tail -40 "$work/log"; exit 1; }
  echo "muster $(now) $begun" >>"$work/times"
  # Without the last play, which by-hand.sh has no like of.
  sed -n 's/^memory \([0-9]*\)$/memory \1/p' "$work/log" >>"$work/times"
  begun=$(now)
  (cd "$work/project" && "$muster" lab --name bench exec -- "$muster" setup-cluster -v) >"$work/log" 2>&1
  echo "second $(now) $begun" >>"$work/times"
  grep -i exchanges "$work/log" | tail -1
  tail -4 "$work/times" | awk '$1 == "memory" { printf "  peak memory %d MB", $2 / 1024; next } { printf "  %s %.1f s", $1, $2 - $3 } END { print "" }'
done

awk '
  function median(list, n,   i, j, t) {
    for (i = 1; i < n; i++) for (j = i + 1; j <= n; j++) if (list[j] < list[i]) { t = list[i]; list[i] = list[j]; list[j] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  }
  $1 == "hand" { hand[++h] = $2 - $3 }
  $1 == "muster" { muster[++m] = $2 - $3 }
  $1 == "second" { second[++s] = $2 - $3 }
  $1 == "memory" { if ($2 > memory) memory = $2 }
  END {
    x = median(hand, h); y = median(muster, m)
    printf "by hand %.1f s, setup-cluster %.1f s (the cluster verified): ratio %.2f; second run %.1f s (medians of %d); peak memory of all %d MB\n",
      x, y, y / x, median(second, s), h, memory / 1024
  }' "$work/times"
