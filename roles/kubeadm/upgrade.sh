# A control plane goes to another version, and with it what the cluster has as a whole: the first one brings kubeadm's configuration,
# the last one kube-proxy. Each `apply` does all that is not done: so it does not matter in which order they come, or where one was
# cut off, as it would for `kubeadm upgrade node`.
# $1: the version; $2: the folder of patches; $3: where the hash of its configuration is kept; $4: that hash, as long as nothing but
# the version differs; $5: what it is when all is done; $6: its own configuration; $7: the folder of the cluster's certificates;
# $8: the administrator's kubeconfig; $9: the folder for what kubeadm has given it.
version=v$1 patches=$2 settled=$3 before=$4 hash=$5 config=$6 certificates=$7 admin=$8 kept=$9
# Left out: kubeadm's checks, because muster has looked at the cluster and brought the images (the job that they start in the cluster
# waits a minute where it cannot run); DNS, which is a role of its own; and kube-proxy where there is to be none.
skipped=preflight,addon/coredns
grep -qsxF 'kind: KubeProxyConfiguration' "$config" || skipped=$skipped,addon/kube-proxy
kubeadm upgrade apply "$version" --yes --patches "$patches" --skip-phases="$skipped"
if [ "$(cat "$settled")" = "$before" ]; then
  # The cluster's configuration has the arguments of one control plane; this one's may be others.
  keep_before "$kept" "$certificates"
  old=$(containers)
  kubeadm init phase control-plane all --config "$config"
  pods_outlive_kubeadm "$kept"
  flush /etc/kubernetes/manifests/kube-*.yaml
  changed_pods_come_up "$kept" "$admin" || goes_back "$kept" "$certificates" "$admin" "$settled"
  remember_static_pods "${settled%/*}"
  echo "$hash" >"$settled"
  rm -rf "$kept"
fi
