# Puts programs that have arrived into their places: STAMPS SHA256 VERSION ARRIVED, and for one that is a file UNPACK (a command)
# PATH, for members of an archive NAME PATH of each.
stamps=$1 sha256=$2 version=$3 arrived=$4
shift 4

# place TEMPORARY PATH: a program in a temporary file of the same file system is flushed, stamped, and renamed over the old
# one. That changes neither its size nor its times nor its inode; so there is never a program of ours without a stamp.
place() {
  chmod 0755 "$1"
  sync "$1"
  mkdir -p "$stamps/file${2%/*}"
  printf '%s\n' "$sha256 $(stat -c '%s %Y %i' "$1")" "$version" >"$stamps/file$2"
  mv -f "$1" "$2"
}

# install UNPACK PATH
install() {
  mkdir -p "${2%/*}"
  temporary=$(mktemp "${2%/*}/.muster.XXXXXX")
  trap 'rm -f "$temporary"' EXIT
  $1 "$arrived" >"$temporary"
  place "$temporary" "$2"
  rm -f "$arrived"
}

# unpack NAME PATH ...
unpack() {
  mkdir -p "${2%/*}"
  folder=$(mktemp -d "${2%/*}/.muster.XXXXXX")
  trap 'rm -rf "$folder"' EXIT
  tar -xzf "$arrived" -C "$folder"
  while [ $# -gt 0 ]; do
    place "$folder/$1" "$2"
    shift 2
  done
  rm -f "$arrived"
}
