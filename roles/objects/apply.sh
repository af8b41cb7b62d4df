# Applies the objects of a set, removes those that have left it, and then writes down which are left. Where the set defines kinds,
# objects of these kinds are taken then. Where it has a Deployment that was there before, its pods become new ones.
manifest=$1 record=$2 set=$3 defines=$4 namespace=$5 deployment=$6 pods=$7 namespaces=$8; shift 8
apply() {
  printf '%s' "$1" | kubectl apply --server-side --force-conflicts --field-manager=muster -f -
}
# shellcheck disable=SC2086 # each of them
nobody_elses "$set" $namespaces
apply "$manifest"
[ -z "$defines" ] ||
  kubectl wait --for=condition=Established --timeout=60s customresourcedefinitions --selector "muster.io/set=$set"
[ -z "$deployment" ] || kubectl -n "$namespace" rollout status "deployment/$deployment" --timeout=60s || {
  # Those of before go on; why the newest one does not become ready is what it says.
  newest=$(kubectl -n "$namespace" get pods --selector "$pods" --sort-by=.metadata.creationTimestamp -o name | tail -n 1)
  {
    kubectl -n "$namespace" get "$newest" --no-headers
    kubectl -n "$namespace" logs "$newest" --tail=3 || kubectl -n "$namespace" logs "$newest" --tail=3 --previous
    echo "the new pods of $deployment do not become ready; those of before go on"
  } >&2
  exit 1
}
# After that, because pods of before may need it.
part_with "$@"
[ -z "$record" ] || apply "$record"
