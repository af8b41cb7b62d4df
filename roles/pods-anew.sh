# Pods begin anew, but for static ones and those that have ended. One that nobody would make again stays: it is printed.
# $1: which of them, as more of a field selector: nothing, or `,spec.nodeName=NODE`.
pods=$(kubectl get pods -A --field-selector "status.phase!=Succeeded,status.phase!=Failed$1" \
  -o 'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name} {.metadata.ownerReferences[0].kind}{"\n"}{end}')
# All of a namespace at once, which stand together: kubectl takes long to start on a slow machine.
delete() {
  of=$1
  shift
  [ $# = 0 ] || kubectl -n "$of" delete pod "$@" --ignore-not-found --wait=false >&2
}
printf '%s\n' "$pods" | {
  last=
  set --
  while read -r namespace name kind; do
    if [ "$namespace" != "$last" ]; then
      delete "$last" "$@"
      set --
      last=$namespace
    fi
    case $name:$kind in
      : | *:Node) ;;
      *:) echo "alone $namespace/$name" ;;
      *) set -- "$@" "$name" ;;
    esac
  done
  delete "$last" "$@"
}
