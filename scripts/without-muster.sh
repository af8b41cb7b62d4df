#!/bin/sh
# For scripts that make lab machines a cluster without muster (bench/by-hand.sh, tests/lab/by-kubeadm.sh, tests/lab/by-kubespray.sh):
# they source it.

# unpack BUNDLE FOLDER KUBE [ETCD]: puts the programs of a version of Kubernetes, the images and the rest of a bundle where machines get
# it from; without a version of etcd, one of those that are there.
unpack() {
  rm -rf "$2"; mkdir -p "$2/bin" "$2/cni"
  for file in "$1"/files/*; do
    case ${file##*/} in
      kubelet*"$3"*|kubeadm*"$3"*|kubectl*"$3"*|runc*|flannel-cni*)
        name=${file##*/}; case $name in flannel-cni*) to=$2/cni/flannel ;; *) to=$2/bin/${name%%-*} ;; esac
        gzip -dc "$file" >"$to"; chmod 755 "$to" ;;
      containerd*) tar -xzf "$file" -C "$2" ;;
      cni-plugins*) tar -xzf "$file" -C "$2/cni" ;;
      etcd*"${4-}"*) tar -xzf "$file" -C "$2/bin" --strip-components=1 ;;
    esac
  done
  tar -C "$1/images" -cf "$2/images.tar" .
}

# on HOST COMMAND...: runs a command on a machine of the lab.
on() {
  host=$1; shift
  ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -i "${MUSTER_PRIVATE_KEY_FILE:?run this with muster lab exec}" "root@$host" "$@"
}

# with_pods FIRST NODES: waits until so many nodes are Ready, and all pods.
with_pods() {
  on "$1" sh -es "$2" <<'END'
export KUBECONFIG=/etc/kubernetes/admin.conf
for _ in $(seq 120); do
  if [ "$(kubectl get nodes --no-headers | grep -c ' Ready')" = "$1" ] &&
    kubectl get pods -A --no-headers | awk '{ split($3, r, "/"); n++; if (r[1] != r[2]) w++ } END { exit w > 0 || n < 9 }'; then exit; fi
  sleep 1
done
kubectl get nodes,pods -A >&2
exit 1
END
}
