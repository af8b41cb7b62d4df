# replace PATH MODE OWNER GROUP: makes PATH a regular file with the words of the function `content`. Nobody ever sees half of
# it, and after a power cut it is the old file or the new one (rename(2)).
# It is made in a folder that only this user can enter (mktemp(1)), and every step begins inside of that folder: so whoever
# else can write to the folder of PATH cannot put a link into its place meanwhile and lead us elsewhere.
replace() {
  [ -d "${1%/*}/" ] || mkdir -p "${1%/*}"
  cd -P "${1%/*}/"
  beside=$(pwd -P)
  own=$(mktemp -d ./.muster.XXXXXX)
  trap 'cd "$beside" && rm -rf "$own"' EXIT
  cd -P "$own"
  [ "$(pwd -P)" = "${beside%/}/${own#./}" ] && [ -O . ] || {
    echo "somebody has put something else into the place of $beside/${own#./}" >&2
    exit 1
  }
  umask 077
  content >new
  chown "$3:$4" new
  chmod "$2" new
  sync new
  mv -f -T new "../${1##*/}"
}
