# A user of the system with its group. $1: its name; $2: its group; $3: what is said of it; $4: its home, or nothing for the usual one;
# $5: yes, where the home is made; $6: its shell, or nothing; $7: yes for one with a low number. What is made is noted before it is.
noted=/var/lib/muster/stamps/users/$1
mkdir -p "${noted%/*}"
group=
grep -q "^$2:" /etc/group || group=$2
if [ ! -e "$noted" ]; then
  printf '%s\n' "$group" >"/var/lib/muster/stamps/user.new"
  sync /var/lib/muster/stamps/user.new
  mv -f /var/lib/muster/stamps/user.new "$noted"
fi
if command -v useradd >/dev/null; then
  system=
  [ "$7" != yes ] || system=--system
  # shellcheck disable=SC2086
  [ -z "$group" ] || groupadd $system "$group"
  create=--no-create-home
  [ "$5" != yes ] || create=--create-home
  # shellcheck disable=SC2086
  useradd $system $create --gid "$2" --comment "$3" ${4:+--home-dir "$4"} ${6:+--shell "$6"} "$1"
else
  # busybox, as in Alpine.
  system=
  [ "$7" != yes ] || system=-S
  # shellcheck disable=SC2086
  [ -z "$group" ] || addgroup $system "$group"
  create=-H
  [ "$5" != yes ] || create=
  # shellcheck disable=SC2086
  adduser -D $system $create -G "$2" -g "$3" ${4:+-h "$4"} ${6:+-s "$6"} "$1"
fi
