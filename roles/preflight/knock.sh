# Tries every target at once, and prints those that cannot be reached. What is refused is reached: nothing listens there yet. Only
# bash can open a connection without a program of its own; a machine without it is not asked.
# The parameters: for each target an address, a port, and tcp or udp.
command -v bash >/dev/null && command -v timeout >/dev/null || exit 0
# shellcheck disable=SC2016 # for bash
knock='
exec 3<>"/dev/$2/$0/$1" || exit 1
[ "$2" = udp ] || exit 0
printf muster >&3
# It ends at once when the machine says that no program is there.
read -r -t 2 -u 3'
while [ $# -gt 0 ]; do
  (
    said=$(timeout 3 bash -c "$knock" "$1" "$2" "$3" 2>&1)
    case $? in
      0) exit ;;
      1) case $said in *unreachable* | *"No route to host"* | *prohibited* | *"not permitted"*) ;; *) exit ;; esac ;;
    esac
    printf '%s %s %s\n' "$1" "$2" "$3"
  ) &
  shift 3
done
wait
