# is_empty FOLDER: whether it is a folder with nothing in it, which is no disk of its own and no link.
is_empty() {
  [ -d "$1" ] && [ ! -L "$1" ] && [ -z "$(ls -A "$1")" ] && ! grep -q " $1 " /proc/self/mountinfo
}
