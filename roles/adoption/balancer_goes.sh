# kubespray's load balancer goes from a machine; its manifest is kept. $1: the name of the node; $2: the port at which nobody may look for
# the API any more, or nothing where another load balancer takes its place.
if [ -n "$2" ]; then
  for _ in $(seq 60); do
    who=$(led "$2")
    [ -n "$who" ] || break
    sleep 1
  done
  [ -z "$who" ] || {
    printf 'the API is still asked at 127.0.0.1:%s, by %s\nkubespray'\''s load balancer stays there; for one of muster'\''s in its place set loadbalancer_apiserver_localhost: true\n' \
      "$2" "$(echo $who)" >&2
    exit 1
  }
fi
manifests | while read -r manifest; do rm -f "$manifest"; done
they_end balancers "$1" || {
  echo "kubespray's load balancer does not stop: $left" >&2
  exit 1
}
