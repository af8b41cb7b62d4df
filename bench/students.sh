#!/bin/sh
# A class of students on one machine: muster, and beside it the loop of kubectl that the users' own script was, which makes
# a namespace, a service account and a RoleBinding for each, one after the other, and then asks for a token each. muster
# makes three objects more for each, and the files to hand out.
#
#   bench/students.sh [STUDENTS]      200 unless said otherwise; needs the bundle and target/release/muster
set -eu
cd "$(dirname "$0")/.."
students=${1:-200}
muster=${MUSTER:-$PWD/target/release/muster}
name=${LAB:-bench} subnet=${SUBNET:-10.146.229.0/24}
lab() { "$muster" lab --name "$name" "$@"; }
work=$(mktemp -d)
trap 'lab down >/dev/null 2>&1; rm -rf "$work"' EXIT
now() { date +%s.%N; }
# timed WHAT COMMAND...: runs it in the folder with the inventory, and says how long it took.
timed() {
  what=$1; shift
  begun=$(now)
  (cd "$work" && "$@") >"$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }
  printf '%s %s %s\n' "$(now)" "$begun" "$what" | awk '{ t = $1 - $2; $1 = $2 = ""; printf "%7.1f s %s\n", t, $0 }'
}
in_lab() { lab exec -- "$@"; }

cat >"$work/loop.sh" <<'LOOP'
export KUBECONFIG=/etc/kubernetes/admin.conf
i=0
while [ "$i" -lt "$1" ]; do
  i=$((i + 1)) name=loop$i
  kubectl create -f - <<EOF
apiVersion: v1
kind: Namespace
metadata: {name: $name, labels: {name: $name}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: $name, namespace: $name}
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: $name-admin-binding, namespace: $name}
roleRef: {kind: ClusterRole, name: admin, apiGroup: rbac.authorization.k8s.io}
subjects: [{kind: ServiceAccount, name: $name}]
EOF
  kubectl --namespace "$name" create token "$name" --duration=8h
done
LOOP
loop() { lab ssh node1 -- sh -s "$students" <"$work/loop.sh"; }

lab down >/dev/null 2>&1 || true
lab up -n 1 --subnet "$subnet" >/dev/null 2>&1
timed 'setup-cluster' in_lab "$muster" setup-cluster "${subnet%.0/24}.4"
awk -v n="$students" 'BEGIN { print "name"; for (i = 1; i <= n; i++) print "Student " i }' >"$work/class.csv"
timed "the users' loop of kubectl, $students students" loop
timed "students create, $students students" in_lab "$muster" students create -f class.csv
timed 'again, nothing to do' in_lab "$muster" students create -f class.csv
timed 'students list' in_lab "$muster" students list
timed 'students delete' in_lab "$muster" students delete -f class.csv -e students_delete_timeout=900
