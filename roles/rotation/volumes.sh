# The kubelet has told its pods of the new authority: their volumes have it wherever they have the old one. It looks after each
# volume about once a minute. $1: a line of the old certificate; $2: one of the new one.
late=0
for path in /var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/kube-api-access-*/ca.crt; do
  grep -qsxF -e "$1" "$path" || continue
  # A pod that has just gone has no volume any more.
  grep -qsxF -e "$2" "$path" || [ ! -e "$path" ] || late=$((late + 1))
done
[ "$late" = 0 ] || {
  echo "$late volumes of pods have only the old authority"
  exit 1
}
