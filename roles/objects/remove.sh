# remove KIND NAMESPACE NAME SELECTOR: removes an object of the cluster if it has these labels, and waits until it is gone.
# The namespace is empty for an object that is in none.
remove() {
  kind=$1 namespace=$2 name=$3 selector=$4
  set -- delete "$kind" --field-selector "metadata.name=$name" --selector "$selector" --timeout=120s
  [ -z "$namespace" ] || set -- "$@" --namespace "$namespace"
  said=$(kubectl "$@" 2>&1) || case $said in
    # Its kind has left the cluster, and with it all objects of the kind.
    *"doesn't have a resource type"*) ;;
    *) printf '%s\n' "$said" >&2; return 1 ;;
  esac
}
