# addresses [yes]: prints what networks of CNI have noted of the cluster's pods, or (yes) of all.
addresses() {
  if [ -n "$1" ]; then
    set -- /var/lib/cni/networks/* /var/lib/cni/results/* /var/lib/cni/cache/results/*
  else
    set -- /var/lib/cni/networks/cbr0 /var/lib/cni/results/cbr0-* /var/lib/cni/results/cni-loopback-* \
      /var/lib/cni/cache/results/cbr0-* /var/lib/cni/cache/results/cni-loopback-*
  fi
  for path; do [ ! -e "$path" ] || printf '%s\n' "$path"; done
}
