# addresses YES NAME: prints what networks of CNI have noted of the cluster's pods, whose network is cbr0 or this one; or (yes) of
# all. Both may be empty.
addresses() {
  if [ -n "$1" ]; then
    set -- /var/lib/cni/networks/* /var/lib/cni/results/* /var/lib/cni/cache/results/*
  elif [ -n "$2" ]; then
    set -- "/var/lib/cni/networks/$2" "/var/lib/cni/results/$2"-* "/var/lib/cni/cache/results/$2"-* \
      /var/lib/cni/networks/cbr0 /var/lib/cni/results/cbr0-* /var/lib/cni/results/cni-loopback-* \
      /var/lib/cni/cache/results/cbr0-* /var/lib/cni/cache/results/cni-loopback-*
  else
    set -- /var/lib/cni/networks/cbr0 /var/lib/cni/results/cbr0-* /var/lib/cni/results/cni-loopback-* \
      /var/lib/cni/cache/results/cbr0-* /var/lib/cni/cache/results/cni-loopback-*
  fi
  for path; do [ ! -e "$path" ] || printf '%s\n' "$path"; done
}
