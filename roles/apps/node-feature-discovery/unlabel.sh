# Takes what `labelled.sh` has printed off the nodes, and the notes of it. Names without a domain are of feature.node.kubernetes.io.
# removed NAMES: as kubectl is told to remove them.
removed() {
  printf '%s\n' "$1" | tr ',' '\n' | sed '/^$/d; /\//!s#^#feature.node.kubernetes.io/#; s#$#-#'
}
noted=nfd.node.kubernetes.io
printf '%s' "$1" | while IFS=';' read -r node labels annotations; do
  # shellcheck disable=SC2046 # each of them
  [ -z "$labels" ] || kubectl label node "$node" $(removed "$labels") </dev/null
  # shellcheck disable=SC2046
  kubectl annotate node "$node" $noted/feature-labels- $noted/feature-annotations- $noted/extended-resources- $noted/taints- \
    $(removed "$annotations") </dev/null
done
