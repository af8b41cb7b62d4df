# Whether API servers of this cluster answer by a name ($2), however often each URL is asked ($3 times); past_hosts_file.sh stands in
# front. $1: which lines of /etc/hosts are passed over. The others: the URLs.
over=$1 name=$2 times=$3; shift 3
while [ "$times" -gt 0 ]; do
  for url; do
    said=$(past_hosts_file "$over" kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=5s \
      --server="$url" --tls-server-name="$name" get --raw /readyz 2>&1) || { printf '%s: %s\n' "$url" "$said"; sleep 1; exit 1; }
  done
  times=$((times - 1))
done
