# ours MARK: prints the lines of /etc/hosts that end with the mark.
ours() {
  [ -r /etc/hosts ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$1") printf '%s\n' "$line" ;; esac
  done </etc/hosts
}
# wanted LINE...: prints the lines.
wanted() { [ $# = 0 ] || printf '%s\n' "$@"; }
