# What a restore has to know of a machine; ctl.sh stands in front.
# $1: the folder of etcd's certificates; $2: the folder of its data; $3: a folder on the disk to which files are brought.
data=$2
df -Pk "$data" "$3"
say() { printf '%s %s\n' "$1" "$2"; }
[ ! -e /etc/etcd.env ] || ! command -v etcdutl >/dev/null || say ready yes
[ -e "$data/muster-restore/new" ] || say taken yes
systemctl is-enabled -q etcd || say disabled yes
if systemctl is-active -q etcd; then
  say status "$(ctl endpoint status -w json)"
  ! ctl get health >/dev/null || say healthy yes
  say members "$(ctl member list -w json)"
elif [ -e "$data/member/snap/db" ]; then
  say stopped "$(etcdutl snapshot status "$data/member/snap/db" -w json)"
fi
