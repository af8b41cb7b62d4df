# $1: containerd's folder of storage. What containerd has in it goes, and nothing that others may have put beside it.
folder=$1
# What containerd had mounted to unpack an image, when it was killed; the innermost first.
mounted() {
  points=
  while read -r id parent device root point rest; do
    case $point in "$folder"/io.containerd.* | "$folder"/tmpmounts/*) points="$point $points" ;; esac
  done </proc/self/mountinfo
}
mounted
for point in $points; do umount "$point" || umount -l "$point"; done
mounted
[ -z "$points" ] || { echo "still mounted: $points" >&2; exit 1; }
rm -rf "$folder"/io.containerd.* "$folder"/tmpmounts
