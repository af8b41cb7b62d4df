# The lines with the mark ($1) are these.
mark=$1; shift
hosts() {
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$mark") ;; *) printf '%s\n' "$line" ;; esac
  done </etc/hosts
  wanted "$@"
}
hosts_become "$@"
