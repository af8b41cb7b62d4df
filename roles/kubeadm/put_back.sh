# What a change of the control plane that was cut off has left: what was there before it comes back, and nothing is known as done.
# $1: where it is kept what the control plane has; $2: the folder with what was there; $3: that of the cluster's certificates.
# Not where there is no control plane any more: kubeadm reset has taken it away, and the next one may be of another cluster.
if [ -e /etc/kubernetes/admin.conf ]; then
  put_back "$2" "$3"
  # One that has not come to the end of its join is not known as a control plane.
  [ ! -e "$1" ] || echo reverted >"$1"
  flush "$1"
fi
rm -rf "$2"
