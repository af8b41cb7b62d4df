# Nothing of a restore is left but that it was; the marker goes last.
# $1: the folder of etcd's data; $2: the old data where it is not needed any more, or nothing; $3: the marker; $4: where it is kept.
set -e
data=$1 old=$2 marker=$3 kept=$4
rm -rf "$data/muster-restore"
[ -z "$old" ] || rm -rf "$old"
[ ! -e "$marker" ] || mv -f "$marker" "$kept"
