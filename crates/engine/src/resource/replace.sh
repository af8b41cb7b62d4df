# replace PATH MODE OWNER GROUP: makes PATH a regular file with the words of the function `content`. Nobody ever sees half of
# it, and after a power cut it is the old file or the new one (rename(2)).
# Somebody else may be able to write to the folder of PATH, and put links into the place of whatever is there at any moment. So
# the file is made in a folder that only this user can enter (mktemp(1)), and every step begins inside of that folder.
replace() {
  enter "${1%/*}"
  beside=$PWD
  sweep
  own=$(mktemp -d ./.muster.XXXXXX)
  trap 'cd "$beside" && rm -rf "$own"' EXIT
  cd -P "$own" || exit
  case $PWD:$(stat -c %a .):$(ls -A .) in
    "${beside%/}/${own#./}":*700:) [ -O . ] || foul "$PWD" ;;
    *) foul "${beside%/}/${own#./}" ;;
  esac
  umask 077
  set -C
  content >new
  chown -h "$3:$4" new
  chmod "$2" new
  sync new
  mv -f -T new "../${1##*/}"
}

# sweep: removes from the folder here what writes have left that were killed more than a day ago. Only the file that a write makes
# is removed, and the folder around it when that is empty: whatever else somebody has put into its place stays.
sweep() {
  for old in ./.muster.??????; do
    [ -d "$old" ] || continue
    if (
      cd -P "$old" || exit
      [ -O . ] && [ "$(stat -c %a .)" = 700 ] && [ -n "$(find . -prune -mtime +0)" ] || exit
      case $PWD:$(ls -A .) in "${beside%/}/${old#./}": | "${beside%/}/${old#./}":new) rm -f new ;; *) exit 1 ;; esac
    ); then rmdir "$old" || continue; fi
  done
}

# enter FOLDER: goes there, and makes what is missing of it. A link on the way is followed only where root alone can have put it.
enter() {
  cd /
  rest=${1#/}/
  while [ -n "$rest" ]; do
    name=${rest%%/*} rest=${rest#*/} before=${PWD%/}
    [ -n "$name" ] || continue
    if [ -L "$name" ]; then
      case $(stat -c %u:%A .) in 0:?????-??-?) cd -P "$name" || exit ;; *) foul "$before/$name" ;; esac
    else
      mkdir -p "$name"
      cd -P "$name" || exit
      [ "$PWD" = "$before/$name" ] || foul "$before/$name"
    fi
  done
}

foul() {
  echo "$1 is not what it was a moment ago, or a link that somebody else than root can have put there: nothing was written" >&2
  exit 1
}
