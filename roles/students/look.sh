# Prints what students need to know of the cluster, and all namespaces and the objects of the students, as JSON. The key of
# the administrator stays on the machine.
# Who is at another machine does not find the API at this one's 127.0.0.1.
awk -v own="${server:-}" '$1 == "server:" { server = $2 ~ /^https:\/\/127\.0\.0\.1:/ ? own : $2 } $1 == "certificate-authority-data:" { authority = $2 }
  END { printf "{\"server\": \"%s\", \"authority\": \"%s\"}\n", server, authority }' /etc/kubernetes/admin.conf
# listed WORDS: prints them; what kubectl says beside it only where it fails.
listed() {
  { said=$(kubectl get "$@" --show-managed-fields -o json 2>&1 >&3); } 3>&1 || { printf '%s\n' "$said"; exit 1; }
}
listed namespaces
kinds=serviceaccounts,rolebindings.rbac.authorization.k8s.io,resourcequotas,limitranges,networkpolicies.networking.k8s.io
listed "$kinds" --all-namespaces --selector "$1"
