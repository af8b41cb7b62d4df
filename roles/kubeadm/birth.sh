# The cluster begins. Certificates, kubeconfigs and manifests of an attempt that was cut off are taken over by kubeadm; only its
# checks would complain about them.
# $1: kubeadm's configuration; $2: where its hash ($3) is kept when all is done; $4: where the state of the kubelet, configured for the
# hash $5, is kept (kubelet_state.sh); $6: the mark of a beginning, by which one that was cut off is told from a cluster that runs;
# $7: what kubeadm leaves out.
config=$1 settled=$2 hash=$3 kubelet_stamp=$4 kubelet=$5 begins=$6 skipped=$7
ignore=DirAvailable--etc-kubernetes-manifests,Port-6443,Port-10250,Port-10257,Port-10259
for component in kube-apiserver kube-controller-manager kube-scheduler; do
  ignore=$ignore,FileAvailable--etc-kubernetes-manifests-$component.yaml
done
mkdir -p "${begins%/*}"
echo "$hash" >"$begins"
# What says that it was done once is of a cluster that kubeadm reset has taken away.
rm -f "$settled"
rm -rf "$FORMER"
systemctl enable -q kubelet
kubeadm init --config "$config" --skip-phases="$skipped" --skip-token-print --ignore-preflight-errors="$ignore"
remember_static_pods "${settled%/*}"
remember_kubelet "$kubelet_stamp" "$kubelet"
echo "$hash" >"$settled"
rm -f "$begins"
