# A control plane runs with its new configuration, or goes on with the one that it had.
# $1: kubeadm's configuration; $2: where is kept what this is known by when all is done ($3); $4: the folder of the cluster's
# certificates; $5: the administrator's kubeconfig; $6: the folder for what was there before.
config=$1 settled=$2 noted=$3 certificates=$4 admin=$5 before=$6
keep_before "$before" "$certificates"
# Its names and addresses may be others. The API server takes up a new certificate by itself.
new_certificate "$config" "$certificates"
# Last, because the API server restarts. Whoever asks whether it is ready must not be answered by the one before.
old=$(containers)
kubeadm init phase control-plane all --config "$config"
pods_outlive_kubeadm "$before"
# Not half of them after a power cut.
flush /etc/kubernetes/manifests/kube-*.yaml
# One that somebody stopped would start nothing.
systemctl is-active -q kubelet || systemctl start kubelet || :
# One that has failed for long is started again only after minutes, unless the kubelet has itself started since.
if is_as_in "$before" kube-apiserver && ! api_server_is_ready "$admin" && [ -z "$(running_of "$old")" ]; then
  systemctl restart kubelet
fi
if systemctl is-active -q kubelet && ! changed_pods_come_up "$before" "$admin"; then
  goes_back "$before" "$certificates" "$admin" "$settled"
fi
remember_static_pods "${settled%/*}"
# A join that was cut off before its last phase left a node that is not known as a control plane. Not earlier: the API may be this
# machine's alone.
if [ ! -e "$settled" ] || [ "$(cat "$settled")" = reverted ]; then
  kubeadm init phase mark-control-plane --config "$config"
fi
echo "$noted" >"$settled"
# What a recovery has put aside, which had given this machine up, is not of use any more.
rm -rf "$before" /etc/kubernetes/fenced-manifests
# What was written for a configuration that is gone: files with a digest in front of their ending. Others are somebody's.
for file in /etc/kubernetes/kube-apiserver/* /etc/kubernetes/kube-scheduler/*; do
  digest=${file%.*}
  case ${digest##*-} in *[!0-9a-f]*) continue ;; ????????????) ;; *) continue ;; esac
  [ ! -e "$file" ] || cat /etc/kubernetes/manifests/kube-*.yaml | grep -qF "$file" || rm -f "$file"
done
