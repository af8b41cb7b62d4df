# past_hosts_file MARK COMMAND...: a command that sees /etc/hosts without the lines that end with the mark, and asks the name servers
# themselves: systemd-resolved would read the file as it is. Where the mark is nothing it sees all as it is.
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
    mount --bind "$1" /etc/hosts
    servers=/run/systemd/resolve/resolv.conf
    [ ! -e "$servers" ] || mount --bind "$servers" /etc/resolv.conf
    shift
    exec "$@"' sh "$seen" "$@" || status=$?
  rm -f "$seen"
  return "$status"
}
