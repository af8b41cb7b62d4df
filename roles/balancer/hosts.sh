# ours MARK FILE: prints the lines of a file like /etc/hosts that end with the mark.
ours() {
  [ -r "$2" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$1") printf '%s\n' "$line" ;; esac
  done <"$2"
}
# wanted LINE...: prints the lines.
wanted() { [ $# = 0 ] || printf '%s\n' "$@"; }
