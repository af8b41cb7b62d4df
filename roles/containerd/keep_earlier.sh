# Notes the container engine that a machine has before it gets ours: its settings, its unit, whether it runs, and whether it has
# images, which are somebody's then.
# $1: the folder of the note; $2: containerd's folder of storage; $3: its settings; $4: its unit.
note=$1 storage=$2 config=$3 unit=$4
rm -rf "$note.new" "$note-is-back"
mkdir -p "$note.new"
[ ! -e "$config" ] || cp -p "$config" "$note.new/config.toml"
[ ! -e "$unit" ] || cp -p "$unit" "$note.new/unit"
! systemctl is-enabled -q containerd 2>/dev/null || : >"$note.new/enabled"
! systemctl is-active -q containerd >/dev/null || : >"$note.new/active"
[ ! -e "$storage/io.containerd.metadata.v1.bolt/meta.db" ] || : >"$note.new/images"
for file in "$note.new"/*; do [ ! -e "$file" ] || sync "$file"; done
mv "$note.new" "$note"
