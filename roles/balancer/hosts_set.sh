# The lines with the mark ($1) are these; kubelet_is_told.sh stands in front. $2: "moves", where a name is at another address than
# before.
mark=$1 moves=$2; shift 2
# with_wanted FILE LINE...: prints a file with them.
with_wanted() {
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$mark") ;; *) printf '%s\n' "$line" ;; esac
  done <"$1"
  shift
  wanted "$@"
}
hosts() { with_wanted /etc/hosts "$@"; }
# A kubelet goes on with the connection that it has, until it starts anew.
# shellcheck disable=SC2154 # kubelet_is_told.sh
if [ -n "$moves" ] && [ -e /etc/kubernetes/kubelet.conf ]; then : >"$pending"; fi
# A pod in the network of the machine, as that of kube-proxy, keeps the copy that the kubelet has made for it when it began, also where
# the machine had no such line then. They come first: when the machine has the lines, nobody looks any more.
for copy in /var/lib/kubelet/pods/*/etc-hosts; do
  { read -r header <"$copy"; } 2>/dev/null || continue
  # So the kubelet begins that of a pod which has the machine's.
  if [ "$header" = '# Kubernetes-managed hosts file (host network).' ]; then
    text=$(with_wanted "$copy" "$@")
    printf '%s\n' "$text" >"$copy"
  fi
done
hosts_become "$@"
[ -z "$moves" ] || tell_kubelet
