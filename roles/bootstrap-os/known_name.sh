# Whether a name ($1) stands in /etc/hosts, before any comment.
[ -r /etc/hosts ] || exit 1
while read -r _ names; do
  case " ${names%%#*} " in *[[:space:]]"$1"[[:space:]]*) exit 0 ;; esac
done </etc/hosts
exit 1
