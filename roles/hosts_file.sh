# hosts_become: /etc/hosts holds what the function `hosts` prints, which may read what it held before. In place, because in a container
# the file is a mount; so the new text is kept, whole, until it is there, and what was cut off is finished first.
hosts_new=/var/lib/muster/hosts.new
hosts_become() {
  mkdir -p "${hosts_new%/*}"
  finish_hosts
  [ -e /etc/hosts ] || : >/etc/hosts
  hosts "$@" >"$hosts_new.part"
  sync "$hosts_new.part"
  mv -f "$hosts_new.part" "$hosts_new"
  finish_hosts
}
finish_hosts() {
  [ -e "$hosts_new" ] || return 0
  cat "$hosts_new" >/etc/hosts
  sync /etc/hosts
  rm -f "$hosts_new"
}
# Whether nothing was cut off.
hosts_are_whole() { [ ! -e "$hosts_new" ]; }
