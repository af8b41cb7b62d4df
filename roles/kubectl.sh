# kubectl as the cluster's administrator, on a control plane. What fails because the API server is away for a moment (it
# restarts, or etcd elects a leader) is tried again each second for half a minute; every other answer is final.
kubectl() (
  # What comes through a pipe comes once.
  input=
  case " $* " in *' - '*) input=$(cat) ;; esac
  [ -z "${server:-}" ] || set -- --server="$server" "$@"
  end=
  while :; do
    {
      said=$(printf '%s\n' "$input" |
        command kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s "$@" 2>&1 >&4) &&
        failed=0 || failed=$?
    } 4>&1
    [ -z "$said" ] || printf '%s\n' "$said" >&2
    case $failed:$said in
      0:* | *'failed calling webhook'*) exit "$failed" ;;
      *'refused'* | *'Unable to connect to the server'* | *'TLS handshake timeout'* | *'connection reset'*) ;;
      *'http2: client connection lost'* | *'unexpected EOF'* | *'(ServiceUnavailable)'* | *'(Timeout)'*) ;;
      *'(TooManyRequests)'* | *'unable to handle the request'* | *'etcdserver: '*) ;;
      *) exit "$failed" ;;
    esac
    # Nobody asks for the time where nothing fails: each program that is started here is started for each student, too.
    now=$(date +%s)
    [ -n "$end" ] || end=$((now + 30))
    [ "$now" -lt "$end" ] || exit "$failed"
    sleep 1
  done
)
