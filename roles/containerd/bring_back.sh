# The container engine of before is there again, as keep_earlier.sh has noted it. Until all of it is done, the note stays.
# $1: the folder of the note; $2: containerd's settings; $3: its unit; then the programs.
note=$1 config=$2 unit=$3
shift 3
# Ours are gone: what is there now somebody has put there since.
back() {
  [ -e "$1" ] && [ ! -e "$2" ] && [ ! -L "$2" ] || return 0
  mkdir -p "${2%/*}"
  cp -p "$1" "$2.muster"
  sync "$2.muster"
  mv -f "$2.muster" "$2"
}
for program; do back "$note/programs/${program##*/}" "$program"; done
back "$note/config.toml" "$config"
if [ -e "$note/unit-link" ]; then
  [ -e "$unit" ] || ln -sf "$(cat "$note/unit-link")" "$unit"
else
  back "$note/unit" "$unit"
fi
# On the disk before the note of it goes.
sync
systemctl daemon-reload
# What was uninstalled since does not come back, and what does not start is told by whoever looks (earlier.rs).
if systemctl cat containerd >/dev/null 2>&1; then
  [ ! -e "$note/enabled" ] || systemctl enable containerd || :
  [ ! -e "$note/active" ] || systemctl start containerd || :
fi
rm -rf "$note-is-back"
mv "$note" "$note-is-back"
