# Asks the API five times a second at the address that this machine's kubelet has, for so many seconds ($1). Prints how many
# requests failed, and how many there were. They ask for what needs no etcd: that has an election of its own.
one() {
  kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=10s get --raw /version >/dev/null 2>&1 || echo failed
  echo asked
}
end=$(($(date +%s) + $1))
{
  while [ "$(date +%s)" -lt "$end" ]; do
    one &
    sleep 0.2
  done
  wait
} >/tmp/requests
echo "$(grep -c failed /tmp/requests) of $(grep -c asked /tmp/requests)"
