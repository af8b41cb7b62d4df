# Users that were made and that none of the arguments names go, and their groups where nobody else is in them. Homes stay.
for noted in /var/lib/muster/stamps/users/*; do
  [ -e "$noted" ] || continue
  name=${noted##*/}
  for wanted; do
    [ "$wanted" != "$name" ] || continue 2
  done
  if grep -q "^$name:" /etc/passwd; then
    if command -v userdel >/dev/null; then userdel "$name"; else deluser "$name"; fi
  fi
  group=$(cat "$noted")
  if [ -n "$group" ] && grep -q "^$group:" /etc/group; then
    if command -v groupdel >/dev/null; then groupdel "$group" || :; else delgroup "$group" || :; fi
  fi
  rm -f "$noted"
done
rmdir /var/lib/muster/stamps/users 2>/dev/null || :
