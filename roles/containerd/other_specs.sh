# $1: the folder of specifications; the others: the names of those that are wanted.
folder=$1; shift
# others: prints the names of those that are not.
others() {
  for path in "$folder"/*; do
    [ -e "$path" ] || continue
    found=no
    for name; do [ "$path" != "$folder/$name" ] || found=yes; done
    [ $found = yes ] || printf '%s\n' "${path##*/}"
  done
}
