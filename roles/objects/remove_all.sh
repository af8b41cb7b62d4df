# Removes objects: for each a kind, a namespace, a name and the labels that it must have.
while [ $# -gt 0 ]; do
  remove "$1" "$2" "$3" "$4"
  shift 4
done
