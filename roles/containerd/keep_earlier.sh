# Notes the container engine that a machine has before it gets ours: its programs where ours will be, its settings, its unit, whether
# it runs, and whether it has images, which are somebody's then.
# $1: the folder of the note; $2: containerd's folder of storage; $3: its settings; $4: its unit; $5: the mark of a reset that has kept
# programs and images of ours; then the programs.
note=$1 storage=$2 config=$3 unit=$4 kept=$5
shift 5
umask 077
# What was noted before such a reset holds still, unless somebody has set up another engine since.
if [ -e "$kept" ] && [ -d "$note" ] && ! is_anothers "$kept" "$config"; then
  rm -f "$kept"
  exit
fi
rm -rf "$note.new" "$note-is-back"
mkdir -p "$note.new/programs"
# What it had before that comes back, too.
[ ! -d "$note" ] || cp -a "$note/." "$note.new/"
[ ! -e "$config" ] || cp -p "$config" "$note.new/config.toml"
# A link, by which it is masked or leads elsewhere, stays one.
if [ -L "$unit" ]; then
  readlink "$unit" >"$note.new/unit-link"
elif [ -e "$unit" ]; then
  cp -p "$unit" "$note.new/unit"
fi
for program; do
  # Those that an earlier run has put there are ours.
  [ ! -e "$program" ] || [ -e "/var/lib/muster/stamps/file$program" ] || cp -p "$program" "$note.new/programs/${program##*/}"
done
! systemctl is-enabled -q containerd 2>/dev/null || : >"$note.new/enabled"
! systemctl is-active -q containerd >/dev/null || : >"$note.new/active"
[ ! -e "$storage/io.containerd.metadata.v1.bolt/meta.db" ] || : >"$note.new/images"
for file in "$note.new"/* "$note.new"/programs/*; do [ ! -f "$file" ] || sync "$file"; done
rm -rf "$note"
mv "$note.new" "$note"
rm -f "$kept"
