# A snapshot of this machine's member, taken by a timer; ctl.sh stands in front.
# $1: the folder of etcd's certificates; $2: the folder of snapshots; $3: how many are kept.
set -eu
folder=$2 keep=$3
umask 077
mkdir -p "$folder"
# It takes as long as the database is large.
# shellcheck disable=SC2034 # ctl reads it
patience=600s
ctl snapshot save "$folder/.new"
etcdutl snapshot status "$folder/.new"
mv -f "$folder/.new" "$folder/etcd-$(date -u +%Y%m%dT%H%M%SZ).db"
find "$folder" -maxdepth 1 -name 'etcd-????????T??????Z.db' | sort -r | tail -n "+$((keep + 1))" | while read -r path; do rm -f "$path"; done
