# Prints the objects of some kinds, as `KIND NAMESPACE/NAME`. Where the cluster has none of these kinds there are none.
if said=$(kubectl get "$1" --all-namespaces -o jsonpath='{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}' 2>&1); then
  printf '%s\n' "$said" | sed -n 's# /# #; /^[A-Z][A-Za-z]* [^ ]*$/p'
else
  case $said in
    *"doesn't have a resource type"*) ;;
    *) printf '%s\n' "$said"; exit 1 ;;
  esac
fi
