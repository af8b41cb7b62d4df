# Every namespace has for its pods the authorities that are trusted now, and no other (the controller manager writes them, but for
# namespaces that are being deleted).
# $1: a line of a certificate that each has; $2: one that none has any more, or nothing.
active=$(kubectl get namespaces --field-selector status.phase=Active -o 'jsonpath={.items[*].metadata.name}')
kubectl get configmaps -A --field-selector metadata.name=kube-root-ca.crt \
  -o 'jsonpath={range .items[*]}namespace {.metadata.namespace}{"\n"}{.data.ca\.crt}{"\n"}{end}' |
  awk -v active=" $active " -v new="$1" -v old="$2" '
    $1 == "namespace" { counts = index(active, " " $2 " ") > 0; all += counts; next }
    counts && $0 == new { told++ }
    counts && old != "" && $0 == old { late++ }
    END {
      printf "%d of %d namespaces have the new authority, %d the old one\n", told, all, late
      exit !(all > 0 && told >= all && late == 0)
    }'
