# What is mounted at a folder and below it, and the removal of the folder. Its one parameter is the folder, as a path without
# links, as mounts have it.
folder=$1

# each_mount COMMAND...: calls it with each mount point, in the order in which they were mounted. In
# proc_pid_mountinfo(5) the fifth word is the mount point, with \040 for a space.
each_mount() {
  while read -r _ _ _ _ point _; do
    case $point in *'\'*) point=$(printf '%b' "$point") ;; esac
    case $point in "$folder" | "$folder"/*) "$@" "$point" ;; esac
  done </proc/self/mountinfo
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
  rm -rf $one -- "$folder"
}
