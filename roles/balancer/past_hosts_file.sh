# past_hosts_file MARK COMMAND...: a command that sees /etc/hosts without the lines that end with the mark; it fails where that cannot be
# had. Where it would ask systemd-resolved, which reads the file as it is, it asks the name servers that this one asks. Where the mark is
# nothing it sees all as it is.
past_hosts_file() {
  mark=$1; shift
  if [ -z "$mark" ]; then
    "$@"
    return
  fi
  seen=$(mktemp) status=0
  grep -v "$mark\$" /etc/hosts >"$seen" || :
  # shellcheck disable=SC2016 # it is expanded there
  unshare --mount sh -c '
    set -e
    mount --bind "$1" /etc/hosts
    ! grep -q "^nameserver[[:space:]]*127\.0\.0\.5[34]" /etc/resolv.conf ||
      mount --bind /run/systemd/resolve/resolv.conf /etc/resolv.conf
    shift
    exec "$@"' sh "$seen" "$@" || status=$?
  rm -f "$seen"
  return "$status"
}
