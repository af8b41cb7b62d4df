# Whether a machine has an address ($1), now and for so many seconds ($2).
left=$2
while [ -n "$(ip -o -4 addr show to "$1/32")" ]; do
  [ "$left" -gt 0 ] || exit 0
  left=$((left - 1))
  sleep 1
done
exit 1
