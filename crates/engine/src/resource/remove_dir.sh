# What is mounted below a folder, whether it is a mount itself, and the removal of the folder.
# $1: the folder, as a path without links, as mounts have it; $2: `stays`, where the folder itself is to stay, empty, or nothing.
folder=$1 stays=$2

# each_mount COMMAND...: calls it with each mount point, in the order in which they were mounted. In
# proc_pid_mountinfo(5) the fifth word is the mount point, with \040 for a space.
each_mount() {
  while read -r _ _ _ _ point _; do
    case $point in *'\'*) point=$(printf '%b' "$point") ;; esac
    case $point in "$folder"/*) "$@" "$point" ;; esac
  done </proc/self/mountinfo
}

# Whether the folder is a mount point itself: a disk of its own, which would be there again after the next boot.
is_mount() {
  while read -r _ _ _ _ point _; do
    case $point in *'\'*) point=$(printf '%b' "$point") ;; esac
    [ "$point" != "$folder" ] || return 0
  done </proc/self/mountinfo
  return 1
}

found() {
  last=$1
}

# rm goes into whatever is mounted. So nothing is removed as long as anything is.
remove() {
  last=
  each_mount found
  while [ -n "$last" ]; do
    umount "$last" || {
      echo "$last is mounted and cannot be unmounted, so nothing of $folder was removed" >&2
      exit 1
    }
    last=
    each_mount found
  done
  # What is mounted meanwhile is left alone. busybox's rm has no such option.
  one=--one-file-system
  rm -f "$one" 2>/dev/null || one=
  if [ -n "$stays" ] || is_mount; then
    for entry in "$folder"/* "$folder"/.[!.]* "$folder"/..?*; do
      if [ -e "$entry" ] || [ -L "$entry" ]; then rm -rf $one -- "$entry"; fi
    done
  else
    rm -rf $one -- "$folder"
  fi
}
