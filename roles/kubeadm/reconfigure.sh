# A control plane runs with its new configuration, or goes on with the one that it had.
# $1: kubeadm's configuration; $2: where its hash ($3) is kept when all is done; $4: the folder of the cluster's certificates;
# $5: the administrator's kubeconfig; $6: the folder of the manifests of before.
config=$1 settled=$2 hash=$3 certificates=$4 admin=$5 before=$6
# What was there before a run that was cut off in the middle is what is known to work.
if [ ! -e "$before/complete" ]; then
  rm -rf "$before"
  mkdir -p "$before"
  for component in $COMPONENTS; do
    [ ! -e "/etc/kubernetes/manifests/$component.yaml" ] ||
      cp "/etc/kubernetes/manifests/$component.yaml" "$before/$component.yaml"
  done
  # Whole on the disk before they are said to be: a power cut would leave empty manifests otherwise.
  sync
  echo yes >"$before/complete"
fi
# A join that was cut off before its last phase left a node that is not known as a control plane.
[ -e "$settled" ] || kubeadm init phase mark-control-plane --config "$config"
# Its names and addresses may be others. The API server takes up a new one by itself.
rm -f "$certificates/apiserver.crt" "$certificates/apiserver.key"
kubeadm init phase certs apiserver --config "$config"
# Last, because the API server restarts. Whoever asks whether it is ready must not be answered by the one before.
old=$(containers)
kubeadm init phase control-plane all --config "$config"
if systemctl is-active -q kubelet && ! changed_pods_come_up "$before" "$admin"; then
  why=$(last_words "$failed")
  old=$(containers)
  put_back "$before"
  echo reverted >"$settled"
  # That it is ready again is what comes next; how it ends changes nothing.
  comes_up kube-apiserver "$admin" || :
  remember_static_pods "${settled%/*}"
  rm -rf "$before"
  printf '%s does not run with its new configuration, and has the one before again: %s\n' "$failed" "$why" >&2
  exit 1
fi
remember_static_pods "${settled%/*}"
echo "$hash" >"$settled"
rm -rf "$before"
# What was written for a configuration that is gone: files with a digest in front of their ending. Others are somebody's.
for file in /etc/kubernetes/kube-apiserver/* /etc/kubernetes/kube-scheduler/*; do
  digest=${file%.*}
  case ${digest##*-} in *[!0-9a-f]*) continue ;; ????????????) ;; *) continue ;; esac
  [ ! -e "$file" ] || cat /etc/kubernetes/manifests/kube-*.yaml | grep -qF "$file" || rm -f "$file"
done
