# leads_to FILE URL...: whether a kubeconfig leads to one of these.
leads_to() {
  conf=$1; shift
  while read -r key value; do
    if [ "$key" = server: ]; then
      for good; do
        [ "$value" != "$good" ] || return 0
      done
    fi
  done <"$conf"
  return 1
}
