# Of the images in a container engine that others had used before, those of Kubernetes go. $1: look (whether they are gone), or remove.
# Only our own engine is asked, and started for that if need be.
[ -e /etc/systemd/system/containerd.service ] || exit 0
systemctl -q is-active containerd || { [ "$1" = remove ] && systemctl start containerd; }
images=$(ctr -n k8s.io images ls -q)
[ -n "$images" ] || exit 0
[ "$1" = remove ]
# With the layers that nobody else needs.
printf '%s\n' "$images" | xargs ctr -n k8s.io images rm --sync >/dev/null
