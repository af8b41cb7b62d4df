# The kubelet stops the static pods of kubespray's load balancer, whose manifests are kept; where no kubelet runs, that is done here.
for name in nginx-proxy haproxy; do
  rm -f "/etc/kubernetes/manifests/$name.yml"
done
for attempt in $(seq 300); do
  left=$(running nginx-proxy haproxy)
  [ -n "$left" ] || exit 0
  if ! systemctl is-active -q kubelet || [ "$attempt" = 200 ]; then
    for id in $left; do ctr -n k8s.io tasks kill -s SIGTERM "$id" || :; done
  fi
  sleep 0.2
done
echo "the load balancer of kubespray's does not stop: $left" >&2
exit 1
