# Applies the objects of a set, removes those that have left it, and then writes down which are left.
manifest=$1 record=$2 selector=$3; shift 3
apply() {
  printf '%s' "$1" | kubectl apply --server-side --force-conflicts --field-manager=muster -f -
}
apply "$manifest"
while [ $# -gt 0 ]; do
  remove "$1" "$2" "$3" "$selector"
  shift 3
done
[ -z "$record" ] || apply "$record"
