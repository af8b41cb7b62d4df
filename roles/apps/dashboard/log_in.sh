# Prints how the dashboard is reached, its certificate, and what the API server answers to the request for a token of an account in
# its namespace: a line each.
namespace=$1 account=$2 seconds=$3
kubectl get service dashboard --namespace "$namespace" \
  -o 'jsonpath={.spec.type} {.spec.ports[0].nodePort} {.status.loadBalancer.ingress[0].ip}{"\n"}' &&
  kubectl get secret certificate --namespace "$namespace" -o 'jsonpath={.data.tls\.crt}{"\n"}' &&
  printf '{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": %s}}' "$seconds" |
  kubectl create --raw "/api/v1/namespaces/$namespace/serviceaccounts/$account/token" -f -
