# Whether API servers of this cluster answer by a name ($1), however often each URL is asked ($2 times).
# The others: the URLs.
name=$1 times=$2; shift 2
while [ "$times" -gt 0 ]; do
  for url; do
    said=$(kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=5s \
      --server="$url" --tls-server-name="$name" get --raw /readyz 2>&1) || { printf '%s: %s\n' "$url" "$said"; sleep 1; exit 1; }
  done
  times=$((times - 1))
done
