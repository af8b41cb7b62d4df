# config_says WORD: what SELinux is after a restart (selinux_config(5)). Where there is no such file nobody asks.
config_says() {
  [ -e /etc/selinux/config ] || return 0
  temporary=$(mktemp /etc/selinux/.muster.XXXXXX)
  trap 'rm -f "$temporary"' EXIT
  cp -p /etc/selinux/config "$temporary"
  sed "s/^SELINUX=.*/SELINUX=$1/" /etc/selinux/config >"$temporary"
  grep -q '^SELINUX=' "$temporary" || echo "SELINUX=$1" >>"$temporary"
  sync "$temporary"
  mv -f "$temporary" /etc/selinux/config
}
# is_now NUMBER: whether the kernel enforces its policy (1) or only tells of it (0).
is_now() {
  [ "$(cat /sys/fs/selinux/enforce)" = "$1" ] || echo "$1" >/sys/fs/selinux/enforce
}
