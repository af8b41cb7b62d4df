#!/bin/sh
# A classroom whose cluster is made anew before every course, on machines that already had one: reset-cluster
# --keep-images, setup-cluster, a pod of each of three students runs, and a second reset has nothing to do. In every third
# round node2 is off; in the one after it node2 comes back with what it had of an older cluster. In every fourth round
# node3 has a new system. node3 has little memory all the time.
#
#   bench/classroom.sh [ROUNDS]       10 unless said otherwise; needs the bundle and target/release/muster
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-10}
muster=${MUSTER:-$PWD/target/release/muster}
name=${LAB:-classroom} subnet=${SUBNET:-10.146.228.0/24}
lab() { "$muster" lab --name "$name" "$@"; }
work=$(mktemp -d)
trap 'lab down >/dev/null 2>&1; rm -rf "$work"' EXIT
now() { date +%s.%N; }
# in_lab STATUSES COMMAND...: runs muster in the folder with the inventory. It must end with one of these.
in_lab() {
  allowed=$1; shift
  status=0
  (cd "$work" && lab exec -- "$muster" "$@") >"$work/log" 2>&1 || status=$?
  case " $allowed " in
    *" $status "*) ;;
    *) tail -40 "$work/log"; echo "muster $* ended with $status"; exit 1 ;;
  esac
}
changes() { sed -n 's/.* changed=\([0-9]*\).*/\1/p' "$work/log" | awk '{ n += $1 } END { print n + 0 }'; }
# Machines that are there are nodes, ready, and a pod of each student runs.
students_work() {
  for student in anna jan ewa; do
    in_lab 0 kubectl -n "$student" run work --image=registry.k8s.io/pause:3.10.2 --image-pull-policy=Never \
      --overrides='{"spec": {"terminationGracePeriodSeconds": 0}}'
    in_lab 0 kubectl -n "$student" wait --for=condition=Ready pod/work --timeout=60s
  done
  in_lab 0 kubectl get nodes --no-headers
  ready=$(grep -c ' Ready ' "$work/log")
}

lab down >/dev/null 2>&1 || true
lab up -n 3 --memory node3=1200M --subnet "$subnet" >/dev/null 2>&1
a=${subnet%.0/24}
in_lab 0 setup-cluster "$a.<4,5,6>"
round=0
while [ "$round" -lt "$rounds" ]; do
  round=$((round + 1)) there=3 what='all three' statuses=0
  if [ $((round % 3)) = 0 ]; then
    lab kill node2 >/dev/null 2>&1
    there=2 what='node2 is off' statuses='0 4'
  elif [ $((round % 3)) = 1 ] && [ "$round" -gt 1 ]; then
    lab start node2 >/dev/null 2>&1
    # It has what it had of the cluster before.
    in_lab 0 reset-cluster --limit node2 --foreign --keep-images --yes
    what='node2 is back'
  fi
  if [ $((round % 4)) = 2 ]; then
    lab reimage node3 >/dev/null 2>&1
    in_lab 0 ping node3 --reimaged node3
    what="$what, node3 has a new system"
  fi
  begun=$(now)
  in_lab "$statuses" reset-cluster --keep-images --yes
  reset=$(now)
  in_lab "$statuses" setup-cluster
  ended=$(now)
  in_lab "$statuses" students create anna jan ewa
  students_work
  [ "$ready" = "$there" ] || { cat "$work/log"; exit 1; }
  in_lab "$statuses" reset-cluster --keep-images --yes
  in_lab "$statuses" reset-cluster --keep-images --yes
  left=$(changes)
  echo "$begun $reset $ended $round $there $left $what" | awk '{
    reset = $2 - $1; setup = $3 - $2; round = $4; there = $5; left = $6; $1 = $2 = $3 = $4 = $5 = $6 = ""
    printf "%2d: reset %5.1f s, set-up %5.1f s, %d ready, left over %d:%s\n", round, reset, setup, there, left, $0
  }'
  # The next course finds a cluster, as a classroom does.
  in_lab "$statuses" setup-cluster
done
