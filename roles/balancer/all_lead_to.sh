# Whether all kubeconfigs of the machine lead where they should, and the kubelet has been told; kubelet_is_told.sh stands in front.
# The arguments: the URL, and others that are as good for the kubelet.
[ ! -e "$pending" ] || exit 1
for name in admin super-admin kubelet; do
  conf=/etc/kubernetes/$name.conf
  if [ -e "$conf" ] && ! leads_to "$conf" "$@"; then exit 1; fi
done
