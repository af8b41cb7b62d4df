# The manifests of the control plane's static pods, by which is seen whether somebody has changed one. $1 of each: the folder of
# stamps.
static_pods() {
  for component in kube-apiserver kube-controller-manager kube-scheduler; do
    [ ! -e "/etc/kubernetes/manifests/$component.yaml" ] || sha256sum "/etc/kubernetes/manifests/$component.yaml"
  done
}
remember_static_pods() {
  mkdir -p "$1"
  static_pods >"$1/static-pods"
}
static_pods_are_as_remembered() {
  [ ! -e "$1/static-pods" ] || [ "$(static_pods)" = "$(cat "$1/static-pods")" ]
}
