# The container engine of before is there again, as keep_earlier.sh has noted it. Until all of it is done, the note stays.
# $1: the folder of the note; $2: containerd's settings; $3: its unit.
note=$1 config=$2 unit=$3
if [ -e "$note/config.toml" ]; then
  mkdir -p "${config%/*}"
  cp -p "$note/config.toml" "$config"
fi
[ ! -e "$note/unit" ] || cp -p "$note/unit" "$unit"
systemctl daemon-reload
[ ! -e "$note/enabled" ] || systemctl enable containerd
[ ! -e "$note/active" ] || systemctl start containerd ||
  echo 'the containerd that was here before does not start: journalctl -u containerd' >&2
rm -rf "$note-is-back"
mv "$note" "$note-is-back"
