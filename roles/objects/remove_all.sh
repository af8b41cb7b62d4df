# Removes objects of a set with the namespaces that it has made.
set=$1 namespaces=$2; shift 2
# shellcheck disable=SC2086 # each of them
nobody_elses "$set" $namespaces
part_with "$@"
