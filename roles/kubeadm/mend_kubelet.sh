# What a change of a kubelet that was cut off has left: it gets back what it had before. Without it a control plane that has lost its
# power has no API server, which would have to say what the kubelet is given.
if [ -e /etc/kubernetes/kubelet.conf ]; then
  put_former_back
  start_kubelet || :
  # Where it does not run with that either, there is something else.
  ! kubelet_comes_up || rm -rf "$FORMER"
else
  # It is no node any more, and its next cluster may be another one.
  rm -rf "$FORMER"
fi
