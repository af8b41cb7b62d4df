# Commands of a machine, for tests in a folder, which is @.
# units/NAME holds the state of a unit: active or not, enabled or not, as systemctl says it.
systemctl() {
  for last_word; do :; done
  active=inactive enabled=
  [ ! -e "@/units/$last_word" ] || read -r active enabled <"@/units/$last_word"
  case $1 in
    show) printf 'LoadState=loaded\nActiveState=%s\nUnitFileState=%s\nNeedDaemonReload=no\n' "$active" "$enabled" ;;
    restart) echo "active $enabled" >"@/units/$last_word" ;;
    stop) echo "failed $enabled" >"@/units/$last_word" ;;
    reset-failed) [ "$active" != failed ] || echo "inactive $enabled" >"@/units/$last_word" ;;
    enable) echo "$active enabled" >"@/units/$last_word" ;;
    disable | unmask) echo "$active disabled" >"@/units/$last_word" ;;
    mask) echo "$active masked" >"@/units/$last_word" ;;
    is-enabled) [ "$enabled" = enabled ] ;;
    daemon-reload) ;;
    *) echo "systemctl $*" >>"@/wrong" ;;
  esac
}

# What is mounted is what devices/ holds under the name of the mount point; it is there as long as it is mounted. One that
# is busy stays.
umount() {
  if [ -e "@/busy" ]; then
    echo "umount: $1: target is busy." >&2
    return 32
  fi
  while read -r a b c d point rest; do
    [ "$(printf '%b' "$point")" = "$1" ] || echo "$a $b $c $d $point $rest"
  done <"@/mountinfo" >"@/mountinfo.new"
  mv "@/mountinfo.new" "@/mountinfo"
  mkdir -p "@/devices"
  mv "$1" "@/devices/${1##*/}"
  mkdir "$1"
}

