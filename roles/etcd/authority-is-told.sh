# Every namespace has the cluster's authority for its pods. $1: a line of its certificate.
all=$(kubectl get configmaps -A --field-selector metadata.name=kube-root-ca.crt -o 'jsonpath={.items[*].data.ca\.crt}')
known=$(printf '%s\n' "$all" | grep -c BEGIN) || known=0
told=$(printf '%s\n' "$all" | grep -cxF -e "$1") || told=0
[ "$known" -gt 0 ] && [ "$told" = "$known" ] || {
  echo "$told of $known have it"
  exit 1
}
