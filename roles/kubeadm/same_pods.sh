# Static pods of the control plane that go on as they are, although their manifests or the kubelet become others. The kubelet tells
# pods apart by their UID. Where a manifest has none it makes one of all fields that its own minor version knows (../pods.rs).
# pods_outlive_kubelet STAMPS: the manifests get the UIDs that their pods have, so that a kubelet of another minor version finds the same
# pods. Not where the pod is not the manifest's own yet: it has been made before. What was remembered of them (static-pods.sh) follows.
pods_outlive_kubelet() {
  static_pods_are_as_remembered "$1" && remembered=$1/static-pods || remembered=
  for component in $COMPONENTS; do
    manifest=/etc/kubernetes/manifests/$component.yaml
    container=$(running_of "$(containers "$component")")
    { [ -n "$container" ] && [ -e "$manifest" ] && ! grep -q '^  uid:' "$manifest"; } || continue
    info=$(ctr -n k8s.io containers info "$container" 2>/dev/null) || continue
    uid=$(printf '%s\n' "$info" | sed -n 's/^ *"io.kubernetes.pod.uid": "\([0-9a-f]*\)".*/\1/p')
    made=$(printf '%s\n' "$info" | sed -n 's/^ *"CreatedAt": "\([0-9T:-]*\).*/\1/p')
    written=$(date -u -r "$manifest" +%Y-%m-%dT%H:%M:%S)
    { [ -n "$uid" ] && expr "$made" \> "$written" >/dev/null; } || continue
    with_uid=$(mktemp -d)
    cp -p "$manifest" "$with_uid"
    sed "s/^metadata:\$/metadata:\\
  uid: \"$uid\"/" "$manifest" >"$with_uid/$component.yaml"
    place "$with_uid/$component.yaml" /etc/kubernetes/manifests
    rm -rf "$with_uid"
  done
  [ ! -e "$remembered" ] || remember_static_pods "$1"
}
# pods_outlive_kubeadm FOLDER: manifests that kubeadm has written as they are in the folder, but for the UID, are those again, with
# their time.
pods_outlive_kubeadm() {
  for component in $COMPONENTS; do
    [ -e "$1/$component.yaml" ] || continue
    [ "$(sed '/^  uid: /d' "$1/$component.yaml")" != "$(cat "/etc/kubernetes/manifests/$component.yaml")" ] ||
      place "$1/$component.yaml" /etc/kubernetes/manifests
  done
}
