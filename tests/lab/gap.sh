# Asks the API five times a second for so many seconds ($1) at the address $2. Prints the longest time between two answers, in
# milliseconds, and how many there were. It is asked for what needs no etcd: that has an election of its own.
seconds=$1 server=$2
one() {
  kubectl --kubeconfig /etc/kubernetes/kubelet.conf --server "$server" --request-timeout=2s get --raw /version >/dev/null 2>&1 &&
    date +%s%3N
}
answers=$(mktemp)
date +%s%3N >"$answers"
end=$(($(date +%s) + seconds))
while [ "$(date +%s)" -lt "$end" ]; do
  one >>"$answers" &
  sleep 0.2
done
wait
date +%s%3N >>"$answers"
sort -n "$answers" | awk 'NR > 1 && $1 - last > longest { longest = $1 - last } { last = $1 } END { print longest, NR - 2 }'
