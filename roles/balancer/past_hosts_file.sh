# past_hosts_file MARK COMMAND...: a command that sees /etc/hosts without the lines that end with the mark, and asks the name servers
# themselves where systemd-resolved would: it reads the file as it is. Where the mark is nothing it sees all as it is.
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
    case $(readlink -f /etc/resolv.conf) in
      */stub-resolv.conf) mount --bind /run/systemd/resolve/resolv.conf /etc/resolv.conf ;;
    esac
    shift
    exec "$@"' sh "$seen" "$@" || status=$?
  rm -f "$seen"
  return "$status"
}
