#!/bin/sh
# A classroom whose cluster is made anew before every course, on machines that already had one: reset-cluster
# --keep-images leaves nothing, setup-cluster brings a verified cluster of the machines that are there and names the
# others, and a pod of each of three students runs. node3 has little memory all the time. Four rounds take turns: all are
# there; node2 is off; node2 is back with what it had of an older cluster, and node3 has a new system; all have a new
# system, and one command does it.
#
#   bench/classroom.sh [ROUNDS]       12 unless said otherwise; needs the bundle and target/release/muster
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-12}
muster=${MUSTER:-$PWD/target/release/muster}
name=${LAB:-classroom} subnet=${SUBNET:-10.146.228.0/24}
lab() { "$muster" lab --name "$name" "$@"; }
work=$(mktemp -d)
trap 'lab down >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
now() { date +%s.%N; }
died() { tail -40 "$work/log"; echo "round $round: $*"; exit 1; }
# in_lab STATUS COMMAND...: runs muster in the folder with the inventory. It must end with this status.
in_lab() {
  expected=$1; shift
  status=0
  (cd "$work" && lab exec -- "$muster" "$@") >"$work/log" 2>&1 || status=$?
  [ "$status" = "$expected" ] || died "muster $* ended with $status, and not with $expected"
}
changes() { sed -n 's/.* changed=\([0-9]*\).*/\1/p' "$work/log" | awk '{ n += $1 } END { print n + 0 }'; }
# The machines of this round are reset, and a second reset finds nothing.
reset() {
  in_lab "$off" reset-cluster --keep-images --yes
  reset_at=$(now)
  in_lab "$off" reset-cluster --keep-images --yes
  left=$(changes)
}
students_work() {
  in_lab 0 students create anna jan ewa
  for student in anna jan ewa; do
    in_lab 0 kubectl -n "$student" run work --image=registry.k8s.io/pause:3.10.2 --image-pull-policy=Never \
      --overrides='{"spec": {"terminationGracePeriodSeconds": 0}}'
    in_lab 0 kubectl -n "$student" wait --for=condition=Ready pod/work --timeout=60s
  done
}

round=0
lab down >/dev/null 2>&1 || true
lab up -n 3 --memory node3=1200M --subnet "$subnet" >/dev/null 2>&1
in_lab 0 setup-cluster "${subnet%.0/24}.<4,5,6>"
while [ "$round" -lt "$rounds" ]; do
  round=$((round + 1)) there=3 off=0 left=0 reimaged=''
  case $((round % 4)) in
    1) what='all three' ;;
    2)
      lab kill node2 >/dev/null 2>&1
      there=2 off=4 what='node2 is off'
      ;;
    3)
      lab start node2 >/dev/null 2>&1
      in_lab 0 reset-cluster --limit node2 --foreign --keep-images --yes
      lab reimage node3 >/dev/null 2>&1
      reimaged=node3 what='node2 is back, node3 has a new system'
      in_lab 0 ping node3 --reimaged node3
      ;;
    0)
      lab reimage node1 node2 node3 >/dev/null 2>&1
      reimaged=all what='all have a new system'
      ;;
  esac
  begun=$(now) reset_at=$begun
  [ "$reimaged" = all ] || reset
  setup_at=$(now)
  if [ "$reimaged" = all ]; then in_lab 0 setup-cluster --reimaged all; else in_lab "$off" setup-cluster; fi
  ended=$(now)
  [ "$off" = 0 ] || grep -q 'node2  *unreachable: ' "$work/log" || died 'node2 is not named'
  students_work
  in_lab "$off" verify
  in_lab 0 kubectl get nodes --no-headers
  [ "$(grep -c ' Ready ' "$work/log")" = "$there" ] || died "$there nodes should be Ready"
  [ "$left" = 0 ] || died "the second reset changed something"
  echo "$begun $reset_at $setup_at $ended $round $there $left $what" | awk '{
    reset = $2 - $1; setup = $4 - $3; round = $5; there = $6; left = $7; $1 = $2 = $3 = $4 = $5 = $6 = $7 = ""
    sub(/^ +/, "")
    printf "%2d: reset %5.1f s, set-up %5.1f s, %d ready, left over %d: %s\n", round, reset, setup, there, left, $0
  }'
done
