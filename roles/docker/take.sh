# Docker on this machine is muster's from now on, which is noted before any of it is there. anothers.sh stands in front.
# $1: the mark; $2: Docker's folder, which the mark names.
found=$(anothers_docker "$1")
[ -z "$found" ] || {
  echo "somebody else's Docker is there: $found" >&2
  exit 1
}
mkdir -p "${1%/*}"
printf '%s\n' "$2" >"$1.new"
sync "$1.new"
mv -f "$1.new" "$1"
