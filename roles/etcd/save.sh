# Saves a snapshot of a member on its machine; ctl.sh and room.sh stand in front. Prints its size, its SHA-256, and what etcdutl says
# of it.
# $1: the folder of etcd's certificates; $2: the file; $3: the folder of etcd's data.
file=$2
# What was cut off has another name until it is whole.
rm -f "$file" "$file.part"
mkdir -p "${file%/*}"
umask 077
needs_for_snapshot "${file%/*}" "$3"
# It takes as long as the database is large.
# shellcheck disable=SC2034 # ctl reads it
patience=600s
ctl snapshot save "$file" >&2 || {
  rm -f "$file" "$file.part"
  exit 1
}
size=$(wc -c <"$file")
sum=$(sha256sum "$file")
said=$(etcdutl snapshot status "$file" -w json)
printf '%s %s %s\n' "$size" "${sum%% *}" "$said"
