# addresses YES NAMES: prints what networks of CNI have noted of the cluster's pods, whose network is cbr0 or one of these (with blanks
# between them); or (yes) of all. Both may be empty.
addresses() {
  if [ -n "$1" ]; then
    set -- /var/lib/cni/networks/* /var/lib/cni/results/* /var/lib/cni/cache/results/*
  else
    names=$2
    set --
    for name in $names cbr0; do
      set -- "$@" "/var/lib/cni/networks/$name" "/var/lib/cni/results/$name"-* "/var/lib/cni/cache/results/$name"-*
    done
    set -- "$@" /var/lib/cni/results/cni-loopback-* /var/lib/cni/cache/results/cni-loopback-*
  fi
  for path; do [ ! -e "$path" ] || printf '%s\n' "$path"; done
}
