# Takes what `labelled.sh` has printed off the nodes, and the notes of it. Names without a domain are of feature.node.kubernetes.io.
# named NAMES: one a line.
named() {
  printf '%s\n' "$1" | tr ',' '\n' | sed '/^$/d; /\//!s#^#feature.node.kubernetes.io/#'
}
# removed NAMES: as kubectl is told to remove them.
removed() {
  named "$1" | sed 's#$#-#'
}
noted=nfd.node.kubernetes.io
printf '%s' "$1" | while IFS=';' read -r node labels annotations resources taints; do
  # shellcheck disable=SC2046 # each of them
  [ -z "$labels" ] || kubectl label node "$node" $(removed "$labels") </dev/null
  for resource in $(named "$resources"); do
    kubectl patch node "$node" --subresource=status --type=merge \
      --patch "{\"status\": {\"capacity\": {\"$resource\": null}, \"allocatable\": {\"$resource\": null}}}" </dev/null
  done
  for taint in $(printf '%s\n' "$taints" | tr ',' ' '); do
    said=$(kubectl taint node "$node" "$taint-" </dev/null 2>&1) || case $said in
      # Somebody has taken it away.
      *'not found'*) ;;
      *)
        printf '%s\n' "$said" >&2
        exit 1
        ;;
    esac
  done
  # shellcheck disable=SC2046
  kubectl annotate node "$node" $noted/feature-labels- $noted/feature-annotations- $noted/extended-resources- $noted/taints- \
    $(removed "$annotations") </dev/null
done
