# Applies the objects of a set, removes those that have left it, and then writes down which are left. Where the set defines kinds,
# objects of these kinds are taken then. Where it has a Deployment that was there before, its pods become new ones.
manifest=$1 record=$2 selector=$3 defines=$4 namespace=$5 deployment=$6 pods=$7; shift 7
apply() {
  printf '%s' "$1" | kubectl apply --server-side --force-conflicts --field-manager=muster -f -
}
apply "$manifest"
[ -z "$defines" ] ||
  kubectl wait --for=condition=Established --timeout=60s customresourcedefinitions --selector "$selector"
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
while [ $# -gt 0 ]; do
  remove "$1" "$2" "$3" "$selector"
  shift 3
done
[ -z "$record" ] || apply "$record"
