# Whether a name ($1) stands in /etc/hosts, before any comment.
[ -r /etc/hosts ] || exit 1
while read -r _ names; do
  for name in $names; do
    case $name in
      '#'*) break ;;
      "$1") exit 0 ;;
    esac
  done
done </etc/hosts
exit 1
