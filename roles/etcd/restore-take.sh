# The restored data takes the place of the old, by two renames in one file system; etcd does not run. What was cut off goes on.
# $1: the folder of etcd's data; $2: where the old data goes, within it.
set -e
data=$1 old=$2 new=$1/muster-restore/new
if systemctl is-active -q etcd || [ -e /run/muster-etcd-pod ]; then
  echo 'etcd runs, and must not while its data is replaced' >&2
  exit 1
fi
if [ -e "$data/member" ] && [ -e "$new/member" ]; then
  mv -T "$data/member" "$old"
fi
[ ! -e "$new/member" ] || mv -T "$new/member" "$data/member"
sync
rm -rf "$new"
