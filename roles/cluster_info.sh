# cluster_info KEY VALUE: what machines read that join by hand says something else; kubeadm writes it only when a cluster begins.
cluster_info() {
  info=$(kubectl -n kube-public get configmap cluster-info --ignore-not-found -o 'jsonpath={.data.kubeconfig}')
  [ -n "$info" ] || return 0
  patch=$(
    printf 'data:\n  kubeconfig: |\n'
    printf '%s\n' "$info" | while IFS= read -r line; do
      case $line in
        *" $1: "*) line="${line%%" $1: "*} $1: $2" ;;
      esac
      printf '    %s\n' "$line"
    done
  )
  kubectl -n kube-public patch configmap cluster-info --type=merge --patch "$patch"
}
