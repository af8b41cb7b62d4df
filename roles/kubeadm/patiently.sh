# patiently PROGRAM...: runs it, and again up to twice if an API server that has much to do did not answer it in time, which it does
# not wait for itself. $said: a file for what it says of errors; $pause: for how many seconds the server is left alone.
patiently() {
  for left in 2 1 0; do
    status=0
    "$@" 2>"$said" || status=$?
    cat "$said" >&2
    if [ "$status" = 0 ] || [ "$left" = 0 ]; then return "$status"; fi
    grep -qE 'Client\.Timeout|i/o timeout|TLS handshake timeout|connection refused|etcdserver: ' "$said" || return "$status"
    sleep "$pause"
  done
}
