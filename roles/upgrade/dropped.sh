# dropped|GROUP|VERSION|RESOURCE|MINOR: what somebody has asked of the machine's API server since it started, and the minor version
# that does not have it any more (Kubernetes' metric apiserver_requested_deprecated_apis; its labels come in the order of their names).
kubectl get --raw /metrics | sed -n '/^apiserver_requested_deprecated_apis{/{
  s/{\(.*\)} 1$/ ,\1,/
  s/.*,group="\([^"]*\)",removed_release="1\.\([0-9]*\)",resource="\([^"]*\)".*,version="\([^"]*\)".*/dropped|\1|\4|\3|\2/p
}'
