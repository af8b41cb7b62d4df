# The lines of /etc/hosts by which a machine knows the others. $1: what they end with; $2: names of machines whose address is not known
# now, with blanks around each: theirs stay. The others: the lines.
mark=$1 unknown=$2; shift 2
# stale LINE...: prints the lines with the mark that are none of these.
stale() {
  [ -r /etc/hosts ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$mark") ;; *) continue ;; esac
    name=${line%" $mark"}
    case $unknown in *" ${name##* } "*) continue ;; esac
    found=no
    for wanted; do [ "$line" != "$wanted" ] || found=yes; done
    [ $found = yes ] || printf '%s\n' "$line"
  done </etc/hosts
}
# missing LINE...: prints those of these lines that are not there.
missing() {
  for wanted; do
    grep -qxF -e "$wanted" /etc/hosts 2>/dev/null || printf '%s\n' "$wanted"
  done
}
