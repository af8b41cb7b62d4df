# How files get their content and place: whole on the disk, or not at all.
# flush FILES: what they say is on the disk, of those that there are.
flush() {
  for file in "$@"; do [ ! -e "$file" ] || sync "$file"; done
}
# place FILE FOLDER: a copy of the file is in the folder, and never half of it.
place() {
  cp -p "$1" "$2/.${1##*/}"
  flush "$2/.${1##*/}"
  mv -f "$2/.${1##*/}" "$2/${1##*/}"
}
