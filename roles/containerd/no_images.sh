# $1: containerd's folder of storage. What containerd has in it goes, and nothing that others may have put beside it.
folder=$1
if grep -q " $folder/[^ ]* " /proc/self/mountinfo; then
  echo "something is mounted below $folder" >&2
  exit 1
fi
rm -rf "$folder"/io.containerd.* "$folder"/tmpmounts
