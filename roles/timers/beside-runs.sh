# A run of muster does what it does undisturbed: it is waited for, for five minutes.
left=30
while look; [ "$state" = held ]; do
  [ "$left" -gt 0 ] || { echo "a run of muster is at work on this machine: next time" >&2; exit 1; }
  left=$((left - 1))
  sleep 10
  read -r now rest </proc/uptime
  now=${now%.*}
done
