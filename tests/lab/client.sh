# Asks the API five times a second for so many seconds ($1): at the address $2, else at the one that this machine's kubelet has.
# Prints how many requests failed, and how many there were. They ask for what needs no etcd: that has an election of its own.
seconds=$1 server=$2
one() {
  kubectl --kubeconfig /etc/kubernetes/kubelet.conf ${server:+--server "$server"} --request-timeout=10s get --raw /version \
    >/dev/null 2>&1 || echo failed
  echo asked
}
end=$(($(date +%s) + seconds))
requests=$(mktemp)
{
  while [ "$(date +%s)" -lt "$end" ]; do
    one &
    sleep 0.2
  done
  wait
} >"$requests"
echo "$(grep -c failed "$requests") of $(grep -c asked "$requests")"
