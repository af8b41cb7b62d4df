# Applies the objects of a set, removes those that have left it, and then writes down which are left. Where the set defines kinds,
# objects of these kinds are taken then. Where it has a workload that was there before, its pods become new ones (roll_out.sh).
manifest=$1 record=$2 set=$3 defines=$4 namespace=$5 workload=$6 pods=$7 namespaces=$8; shift 8
apply() {
  printf '%s' "$1" | kubectl apply --server-side --force-conflicts --field-manager=muster -f -
}
# established: kubectl takes a kind that has no conditions yet for an error.
established() {
  kubectl wait --for=condition=Established --timeout=60s customresourcedefinitions --selector "muster.io/set=$set"
}
# shellcheck disable=SC2086 # each of them
nobody_elses "$set" $namespaces
apply "$manifest"
[ -z "$defines" ] || established || {
  sleep 3
  established
}
[ -z "$workload" ] || rolls_out "$namespace" "$workload" "$pods"
# After that, because pods of before may need it.
part_with "$@"
[ -z "$record" ] || apply "$record"
