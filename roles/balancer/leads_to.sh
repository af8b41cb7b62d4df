# leads_to FILE URL...: whether a kubeconfig leads to the first of these; the kubelet's, whether it does to any.
leads_to() {
  conf=$1 first=$2; shift
  [ "${conf##*/}" = kubelet.conf ] || set -- "$first"
  while read -r key value; do
    if [ "$key" = server: ]; then
      for good; do
        [ "$value" != "$good" ] || return 0
      done
    fi
  done <"$conf"
  return 1
}
