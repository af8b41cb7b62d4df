# Prints the objects of each of these kinds, as `KIND NAMESPACE/NAME`. Of a kind that the cluster does not have there are none; asked
# for several kinds at once kubectl would tell of none where it lacks one.
for kind; do
  if said=$(kubectl get "$kind" --all-namespaces -o jsonpath='{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}' 2>&1); then
    printf '%s\n' "$said" | sed -n 's# /# #; /^[A-Z][A-Za-z]* [^ ]*$/p'
  else
    case $said in
      *"doesn't have a resource type"*) ;;
      *)
        printf '%s\n' "$said"
        exit 1
        ;;
    esac
  fi
done
