# Pods begin anew, but for static ones and those that have ended. One that nobody would make again stays: it is printed.
# $1: which of them, as more of a field selector: nothing, or `,spec.nodeName=NODE`.
kubectl get pods -A --field-selector "status.phase!=Succeeded,status.phase!=Failed$1" \
  -o 'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name} {.metadata.ownerReferences[0].kind}{"\n"}{end}' |
  while read -r namespace name kind; do
    case $kind in
      Node) ;;
      '') echo "alone $namespace/$name" ;;
      *) kubectl -n "$namespace" delete pod "$name" --ignore-not-found --wait=false >&2 ;;
    esac
  done
