# A member of the restored cluster, beside the one that is there. The line in the marker comes last: it says that all is there.
# $1: the folder of etcd's data; $2: the snapshot; $3: the member's name; $4: its peer URL; $5: all members, as etcd is told;
# $6: what makes the cluster another one than each before; $7: by how much the revision grows; $8: the marker; $9: its line.
set -e
data=$1 snapshot=$2 name=$3 url=$4 members=$5 token=$6 bump=$7 marker=$8 line=$9
new=$data/muster-restore/new
rm -f "$marker"
rm -rf "$new"
umask 077
# Whoever watches is told to read all anew, because what he has seen may be from after the snapshot.
etcdutl snapshot restore "$snapshot" --data-dir "$new" --name "$name" --initial-advertise-peer-urls "$url" \
  --initial-cluster "$members" --initial-cluster-token "$token" --bump-revision "$bump" --mark-compacted || {
  # The disk may be full, and etcd needs it.
  rm -rf "$data/muster-restore"
  exit 1
}
rm -f "$snapshot"
sync
echo "$line" >"$marker.part"
mv -f "$marker.part" "$marker"
