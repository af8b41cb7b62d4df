# A snapshot of this machine's member, taken by a timer; ctl.sh and room.sh stand in front.
# $1: the folder of etcd's certificates; $2: the folder of snapshots; $3: how many are kept; $4: the folder of etcd's data.
set -eu
folder=$2 keep=$3
umask 077
mkdir -p "$folder"
# What was cut off, and what is not whole in the end, does not stay.
rm -f "$folder/.new" "$folder/.new.part"
trap 'rm -f "$folder/.new" "$folder/.new.part"' EXIT
needs_for_snapshot "$folder" "$4"
# It takes as long as the database is large.
# shellcheck disable=SC2034 # ctl reads it
patience=600s
ctl snapshot save "$folder/.new"
etcdutl snapshot status "$folder/.new"
new=$folder/etcd-$(date -u +%Y%m%dT%H%M%SZ).db
mv -f "$folder/.new" "$new"
# The clock was wrong once, or is wrong now: what bears a later time is not newer, and goes first.
find "$folder" -maxdepth 1 -name 'etcd-????????T??????Z.db' | LC_ALL=C sort | awk -v new="$new" -v keep="$keep" '
  $0 == new { next }
  $0 > new { later[++l] = $0; next }
  { earlier[++e] = $0 }
  END { for (i = 1; i <= l + e && i <= l + e + 1 - keep; i++) print i <= l ? later[i] : earlier[i - l] }' |
  while read -r path; do
    echo "$path goes" >&2
    rm -f "$path"
  done
