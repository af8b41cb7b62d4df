# Approves what kubelets ask the cluster for to serve with (signer kubernetes.io/kubelet-serving), where the one that asks is a node of
# the inventory and every name and address in the request is one that the inventory has of it. Whatever else stands in a request keeps
# it from being approved; it is left to somebody who looks at it, and told. kubectl reads the request: machines need not have openssl.
# $1: the node for which something has to be approved, or nothing; then a node each: its name, and what it may ask for.
set -e
wanted=$1 approved=
shift
columns='{.metadata.name}|{.spec.username}|{.spec.groups[*]}|{.status.conditions[*].type}'
pending=$(kubectl get certificatesigningrequests --field-selector spec.signerName=kubernetes.io/kubelet-serving \
  -o "jsonpath={range .items[*]}$columns{\"\\n\"}{end}")
while IFS='|' read -r name user groups state; do
  [ -n "$name" ] || continue
  [ -z "$state" ] || continue
  node=${user#system:node:} may=
  for known; do
    case $known in "$node "*) may=${known#* } ;; esac
  done
  case "system:node:$node $groups " in
    "$user "*'system:nodes '*) ;;
    *) may= ;;
  esac
  if [ -z "$may" ]; then
    echo "$name: $user is no node of the inventory" >&2
    continue
  fi
  # Each line of it must be one that is known to be right: so nothing can stand between the lines.
  wrong=$(kubectl describe certificatesigningrequest "$name" </dev/null | awk -v user="$user" -v may=" $may " '
    { gsub(/^[ \t]+|[ \t]+$/, "") }
    /^Subject:$/ { inside = 1; next }
    !inside || /^$/ || /^Subject Alternative Names:$/ || /^Serial Number:$/ { next }
    /^Events:[ \t]*<none>$/ { next }
    { value = $0 }
    /^Common Name:/ { sub(/^Common Name:[ \t]*/, "", value); named += value == user; list = 0; if (value == user) next }
    /^Organization:/ { sub(/^Organization:[ \t]*/, "", value); list = 0; if (value == "system:nodes") next }
    /^DNS Names:/ { sub(/^DNS Names:[ \t]*/, "", value); list = 1 }
    /^IP Addresses:/ { sub(/^IP Addresses:[ \t]*/, "", value); list = 1 }
    list && value !~ /[ \t]/ && index(may, " " value " ") { next }
    { print }
    END { if (!named) print "another name than that of who asks" }')
  if [ -n "$wrong" ]; then
    printf '%s: %s asks for what the inventory does not say of it (%s)\n' "$name" "$node" "$(echo "$wrong" | tr -s '\n\t' '  ')" >&2
    continue
  fi
  kubectl certificate approve "$name" </dev/null
  [ "$node" != "$wanted" ] || approved=yes
done <<PENDING
$pending
PENDING
[ -z "$wanted" ] || [ -n "$approved" ] || {
  echo "nothing that $wanted asks for can be approved yet" >&2
  exit 1
}
