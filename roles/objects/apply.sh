# Applies the objects of a set, removes those that have left it, and then writes down which are left. Where the set defines kinds,
# it is done when objects of these kinds are taken.
manifest=$1 record=$2 selector=$3 defines=$4; shift 4
apply() {
  printf '%s' "$1" | kubectl apply --server-side --force-conflicts --field-manager=muster -f -
}
apply "$manifest"
[ -z "$defines" ] ||
  kubectl wait --for=condition=Established --timeout=60s customresourcedefinitions --selector "$selector"
while [ $# -gt 0 ]; do
  remove "$1" "$2" "$3" "$selector"
  shift 3
done
[ -z "$record" ] || apply "$record"
