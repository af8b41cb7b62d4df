# Every namespace has for its pods the authorities that are trusted now, and no other (the controller manager writes them).
# $1: a line of a certificate that each has; $2: one that none has any more, or nothing.
all=$(kubectl get configmaps -A --field-selector metadata.name=kube-root-ca.crt \
  -o 'jsonpath={range .items[*]}namespace {.metadata.namespace}{"\n"}{.data.ca\.crt}{"\n"}{end}')
namespaces=$(printf '%s\n' "$all" | grep -c '^namespace ') || namespaces=0
told=$(printf '%s\n' "$all" | grep -cxF -e "$1") || told=0
late=0
[ -z "$2" ] || late=$(printf '%s\n' "$all" | grep -cxF -e "$2") || late=0
if [ "$told" = 0 ] || [ "$late" -gt 0 ] || [ "$told" -lt "$namespaces" ]; then
  echo "$told of $namespaces have the new authority, $late the old one"
  exit 1
fi
