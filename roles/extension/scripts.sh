# Brings the files of the folder here, and runs scripts one after the other, each for so many seconds ($1) at most. Which have been
# run is written down after each of them.
folder=/var/lib/muster/extension
seconds=$1 files=$2; shift 2
rm -rf "$folder"
mkdir -p -m 700 "$folder"
while [ "$files" -gt 0 ]; do
  printf '%s' "$2" | base64 -d >"$folder/$1"
  files=$((files - 1))
  shift 2
done
while [ $# -gt 0 ]; do
  if [ -n "$1" ]; then
    chmod 700 "$folder/$1"
    status=0
    (cd "$folder" && KUBECONFIG=/etc/kubernetes/admin.conf timeout "$seconds" "./$1" </dev/null >&2) || status=$?
    [ "$status" = 0 ] || {
      rm -rf "$folder"
      case $status in
        # timeout(1) of coreutils, and of older busyboxes.
        124|143) echo "$1 was ended, because it took longer than $seconds seconds" ;;
        *) echo "$1 ended with status $status" ;;
      esac >&2
      exit 1
    }
  fi
  printf '%s' "$2" | kubectl apply --server-side --force-conflicts --field-manager=muster -f -
  shift 2
done
rm -rf "$folder"
