# Prints what members of etcd tell of themselves in their metrics, as far as it is wanted here, each after `member NAME`; and the
# time. kubectl is the program that every control plane has which asks by HTTPS.
# $1: the folder of etcd's certificates; the others: the name of each member, and the URL at which it is reached.
certificates=$1
shift
echo "now $(date +%s)"
while [ $# -gt 0 ]; do
  echo "member $1"
  kubectl --kubeconfig /dev/null --server "$2" --request-timeout 5s --certificate-authority "$certificates/ca.pem" \
    --client-certificate "$certificates/client.pem" --client-key "$certificates/client-key.pem" get --raw /metrics |
    grep -E '^(etcd_server_is_leader|etcd_server_leader_changes_seen_total|etcd_mvcc_db_total_size_in_bytes|etcd_disk_wal_fsync_duration_seconds_bucket|etcd_network_peer_round_trip_time_seconds_bucket|process_start_time_seconds)' ||
    echo silent
  shift 2
done
