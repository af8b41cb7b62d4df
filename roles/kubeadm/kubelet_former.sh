# How a kubelet starts anew with another configuration, and gets the one before back where it does not run with that.
# What it starts with: its unit, and what kubeadm writes.
STARTS_WITH='/etc/systemd/system/kubelet.service /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env'
# Prints the number of its process; 0 where there is none.
kubelet_process() {
  process=$(systemctl show -p MainPID kubelet)
  echo "${process#MainPID=}"
}
# Prints where it says whether it is healthy; nothing where it is told not to.
kubelet_healthz() {
  address=127.0.0.1 port=10248
  while read -r key value; do
    case $key in
      healthzBindAddress:) address=$(echo "$value" | tr -d "\"'") ;;
      healthzPort:) port=$value ;;
    esac
  done </var/lib/kubelet/config.yaml
  case $address in *:*) address="[$address]" ;; esac
  [ "$port" = 0 ] || echo "http://$address:$port"
}
# Whether it says so. kubectl is on each machine, and curl is not.
kubelet_answers() {
  server=$(kubelet_healthz)
  [ -z "$server" ] ||
    kubectl --kubeconfig /dev/null --request-timeout=5s --server="$server" get --raw /healthz >/dev/null 2>&1
}
# keep_former: what a healthy kubelet starts with is kept. What was kept before a change that was cut off is what is known to work.
keep_former() {
  [ ! -e "$FORMER/complete" ] || return 0
  rm -rf "$FORMER"
  [ "$(kubelet_process)" != 0 ] && kubelet_answers || return 0
  mkdir -p -m 700 "$FORMER"
  for file in $STARTS_WITH; do
    [ ! -e "$file" ] || cp -p "$file" "$FORMER/${file##*/}"
  done
  # Whole on the disk before it is said to be, and that before anything is changed: a power cut would leave empty files otherwise.
  flush "$FORMER"/*
  echo yes >"$FORMER/complete"
  flush "$FORMER/complete"
}
# put_former_back: it starts with that again.
put_former_back() {
  for file in $STARTS_WITH; do
    former=$FORMER/${file##*/}
    if [ ! -e "$former" ]; then
      rm -f "$file"
    elif [ "$(cat "$former")" != "$(cat "$file" 2>/dev/null)" ]; then
      place "$former" "${file%/*}"
    fi
  done
}
# kubelet_comes_up: whether a kubelet that has just started works: the same process has answered for four seconds. It does not if
# there was none for six seconds in all, or after a minute.
kubelet_comes_up() {
  now=0 well=0 without=0
  for _ in $(seq 60); do
    last=$now
    now=$(kubelet_process)
    if [ "$now" = 0 ]; then
      without=$((without + 1))
      [ "$without" -lt 6 ] || return 1
    fi
    [ "$now" != 0 ] && [ "$now" = "$last" ] && kubelet_answers && well=$((well + 1)) || well=0
    [ "$well" -lt 4 ] || return 0
    sleep 1
  done
  return 1
}
# kubelet_last_words SECONDS: why it has ended since then, in one line: the last complaint before its end, or what it said last. A
# panic has many lines about where it was in its program.
kubelet_last_words() {
  journalctl --quiet --no-pager --output=cat --unit=kubelet --since="@$1" 2>/dev/null | awk '
    unfinished { why = why $0; unfinished = 0; next }
    /^kubelet.service: Main process exited/ { if (why != "") said = why; why = ""; next }
    /^(panic|fatal error|Error): / || /^[EF][0-9]/ { why = $0; unfinished = /=<$/; next }
    !/^(kubelet.service|systemd|Started |Stopped |Stopping )/ { last = $0 }
    END {
      if (said == "") said = why != "" ? why : last
      sub(/^[EFIW][0-9]+ [0-9:.]+ +[0-9]+ [^]]*\] /, "", said)
      print substr(said, 1, 1000)
    }'
}
