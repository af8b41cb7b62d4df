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
# release KIND NAMESPACE NAME: an object stays, and has not the mark of a set any more.
release() {
  kind=$1 namespace=$2 name=$3
  set -- label "$kind" "$name" muster.io/set-
  [ -z "$namespace" ] || set -- "$@" --namespace "$namespace"
  said=$(kubectl "$@" 2>&1) || case $said in
    *NotFound*) ;;
    *) printf '%s\n' "$said" >&2; return 1 ;;
  esac
}
# part_with (remove|release KIND NAMESPACE NAME SELECTOR)...
part_with() {
  while [ $# -gt 0 ]; do
    case $1 in
      remove) remove "$2" "$3" "$4" "$5" ;;
      release) release "$2" "$3" "$4" ;;
    esac
    shift 5
  done
}
# nobody_elses SET NAMESPACE...: fails where other sets have objects in one of these namespaces, which would go with it.
nobody_elses() {
  set=$1; shift
  [ $# -gt 0 ] || return 0
  of_sets='jsonpath={range .items[*]}set {.metadata.labels.muster\.io/set}{"\n"}{.data.objects}{end}'
  sets=$(kubectl -n kube-system get configmaps --selector muster.io/set -o "$of_sets") || return
  # shellcheck disable=SC2016 # awk's own $1
  printf '%s\n' "$sets" | awk -v own="$set" -v namespaces=" $* " '
    $1 == "set" && NF == 2 { set = $2; next }
    NF == 3 && set != own && index(namespaces, " " $2 " ") {
      print "the namespace " $2 " would go with what is in it of " set ": " $1 " " $3; found = 1
    }
    END { if (found) print "take that out first; nothing of " own " was changed"; exit found }' >&2
}
