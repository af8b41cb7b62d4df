# patiently PROGRAM...: runs it, and again up to twice if an API server that has much to do did not answer it in time, and that was soon
# clear. $said: a file for what it says of errors; $pause: for how many seconds the server is left alone.
patiently() {
  for left in 2 1 0; do
    status=0 begun=$(date +%s)
    "$@" 2>"$said" || status=$?
    cat "$said" >&2
    if [ "$status" = 0 ] || [ "$left" = 0 ] || [ $(($(date +%s) - begun)) -gt 60 ]; then return "$status"; fi
    grep -qE 'Client\.Timeout exceeded|TLS handshake timeout|etcdserver: ' "$said" || return "$status"
    sleep "$pause"
  done
}
