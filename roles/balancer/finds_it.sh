# Whether a machine that is in the cluster finds the API at a URL ($2): more than once, because there may be several behind it.
# past_hosts_file.sh stands in front. $1: which lines of /etc/hosts are passed over.
[ -e /etc/kubernetes/kubelet.conf ] || exit 0
left=6 times=4
while [ "$times" -gt 0 ]; do
  if said=$(past_hosts_file "$1" kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=5s --server="$2" get --raw /readyz 2>&1); then
    times=$((times - 1))
    continue
  fi
  # An API server that does not know this kubelet any more was found all the same.
  case $said in
    *Unauthorized* | *Forbidden*)
      times=$((times - 1))
      continue
      ;;
  esac
  left=$((left - 1))
  [ "$left" -gt 0 ] || { printf '%s\n' "$said"; exit 1; }
  sleep 2
done
