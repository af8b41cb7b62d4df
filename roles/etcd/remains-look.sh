# What is left of etcd and of a control plane on a machine; ctl.sh stands in front. Nothing is changed.
# $1: the folder of etcd's certificates; $2: the folder of its data.
data=$2
say() { printf '%s %s\n' "$1" "$2"; }
for folder in /etc/kubernetes/manifests /etc/kubernetes/waiting-manifests /etc/kubernetes/fenced-manifests; do
  [ ! -e "$folder/kube-apiserver.yaml" ] || say plane yes
done
if [ -r /etc/etcd.env ] && [ -e "$data/member/snap/db" ] && command -v etcdutl >/dev/null; then
  while read -r line; do
    case $line in
      ETCD_NAME=*) say name "${line#*=}" ;;
    esac
  done </etc/etcd.env
  # One that was only prepared has not begun: etcd starts by itself, with its own data.
  if [ -e /var/lib/muster/etcd-restore ]; then
    if [ ! -e "$data/muster-restore/new" ] || ! systemctl is-enabled -q etcd; then say restoring yes; fi
  fi
  say size "$(wc -c <"$data/member/snap/db")"
  # When the newest file of the log was written to, in seconds since 1970.
  for file in "$data"/member/wal/*.wal; do stat -c 'written %Y' "$file"; done | sort -k 2n | tail -n 1
  # The database of a member that runs is locked.
  if systemctl is-active -q etcd && status=$(ctl endpoint status -w json); then
    say status "$status"
    ! ctl get health >/dev/null || say healthy yes
    # Of this member alone, without a majority; etcdctl of 3.5 knows no --consistency.
    { ctl member list --consistency=s 2>/dev/null || ctl member list || :; } | while read -r line; do say voter "$line"; done
  else
    say stopped "$(timeout 60 etcdutl snapshot status "$data/member/snap/db" -w json)"
  fi
fi
