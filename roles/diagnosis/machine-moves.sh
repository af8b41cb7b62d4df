# What moves on a machine that becomes part of a cluster: prints something else than before when a container was made or began
# again, when an image was unpacked, or when etcd's database grew. A container that ends again and again moves three times.
# $1: containerd's folder; $2: etcd's folder.
containerd=$1 etcd=$2
count() { [ -e "$1" ] && echo $# || echo 0; }
echo /var/log/pods/*/*/[0-3].log
count "$containerd"/io.containerd.content.v1.content/blobs/*/*
count "$containerd"/io.containerd.snapshotter.v1.*/snapshots/*
for file in "$etcd"/member/snap/*; do
  [ ! -r "$file" ] || wc -c <"$file"
done
