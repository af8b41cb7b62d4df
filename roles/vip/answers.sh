# Prints who has an address ($1) in the network of an interface ($2), which the machine itself does not have; nothing where nobody
# answers for it. Read-only; ping or bash, one of which nearly every machine has, makes the kernel ask.
if command -v ping >/dev/null; then
  ping -c 1 -W 1 "$1" >/dev/null 2>&1 || :
elif command -v bash >/dev/null; then
  # shellcheck disable=SC2016 # for bash
  bash -c ': >"/dev/udp/$0/9"' "$1" 2>/dev/null || :
else
  exit 0
fi
# What the kernel knew before it asks about again, for up to eight seconds.
left=9
while [ "$left" -gt 0 ]; do
  said=$(ip -4 neigh show to "$1" dev "$2" 2>/dev/null)
  case $said in
    *REACHABLE* | *PERMANENT*) printf '%s\n' "$said"; exit 0 ;;
    *STALE* | *DELAY* | *PROBE* | *INCOMPLETE*) ;;
    *) exit 0 ;;
  esac
  left=$((left - 1))
  sleep 1
done
