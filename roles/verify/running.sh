# Whether this many pods of the test are ready; else all of them, as kubectl shows them.
label=$1 wanted=$2
seen=$(kubectl -n kube-system get pods -l "$label" --no-headers -o wide) || exit 1
running=$(echo "$seen" | awk '$2 == "1/1" && $3 == "Running"' | wc -l)
[ "$running" -ge "$wanted" ] || { echo "$seen"; exit 1; }
