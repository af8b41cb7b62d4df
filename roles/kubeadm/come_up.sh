# How static pods of the control plane begin anew with other manifests. What comes of one is known by its containers: the kubelet
# makes another one each time that a program has ended, at first at once, then after 10, 20, 40 seconds.
COMPONENTS='kube-apiserver kube-controller-manager kube-scheduler'
# Prints the containers of these components, or of one, those that have ended too.
containers() {
  for component in ${1:-$COMPONENTS}; do
    ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$component,labels.\"io.kubernetes.pod.namespace\"==kube-system" 2>/dev/null || :
  done | tr '\n' ' '
}
# Whether the API server of this machine is ready. $1: the administrator's kubeconfig.
api_server_is_ready() {
  set -- --kubeconfig "$1" --request-timeout=5s
  # shellcheck disable=SC2154 # own_api_server.sh stands in front
  [ -z "$server" ] || set -- "$@" --server="$server"
  kubectl "$@" get --raw /readyz >/dev/null 2>&1
}
# Prints the one of these containers that runs.
running_of() {
  ctr -n k8s.io tasks ls 2>/dev/null | while read -r container _ status; do
    case " $1 " in *" $container "*) [ "$status" != RUNNING ] || echo "$container" ;; esac
  done
}
# end_deaf MANIFEST: the API server of before, which had this manifest, is ended when it listens to nobody any more. One of kubeadm's
# waits for all who watch until the kubelet kills it, half a minute later, and only then the next one begins: meanwhile nobody is
# answered, and nodes that ask here alone are taken for lost. muster's let them go by themselves (arguments.rs).
end_deaf() {
  [ -e "$1" ] || return 0
  port=$(sed -n 's/^ *- --secure-port=//p' "$1")
  port=$(printf ':%04X' "${port:-6443}")
  former=''
  for container in $(containers kube-apiserver); do
    case " $old " in *" $container "*) former="$former $container" ;; esac
  done
  deaf=0
  for _ in $(seq 60); do
    running=$(running_of "$former")
    [ -n "$running" ] || return 0
    # proc_net_tcp(5): the own address is the second word, 0A is a socket that listens.
    if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
      awk -v port="$port" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'; then
      deaf=0
    else
      deaf=$((deaf + 1))
    fi
    # What was asked before has its answer by then.
    if [ "$deaf" = 3 ]; then
      for container in $running; do ctr -n k8s.io tasks kill -s SIGKILL "$container" 2>/dev/null || :; done
      return 0
    fi
    sleep 1
  done
}
# comes_up COMPONENT ADMIN: whether a component whose manifest is another one works: the API server is ready, another program has run
# for four seconds. It does not if it has begun three times and no more, or if five minutes have passed. $old has the containers that
# were there before.
comes_up() {
  begun='' count=0 left=300 steady=0 last=''
  while [ "$left" -gt 0 ]; do
    for container in $(containers "$1"); do
      # shellcheck disable=SC2154 # whoever calls it has set it
      case " $old $begun " in
        *" $container "*) ;;
        *) begun="$begun $container" count=$((count + 1)) ;;
      esac
    done
    if [ "$count" -gt 0 ]; then
      if [ "$1" = kube-apiserver ]; then
        ! api_server_is_ready "$2" || return 0
      else
        running=$(running_of "$begun")
        [ -n "$running" ] && [ "$running" = "$last" ] && steady=$((steady + 1)) || steady=0
        last=$running
        [ "$steady" -lt 4 ] || return 0
      fi
      [ "$count" -lt 3 ] || [ -n "$(running_of "$begun")" ] || return 1
    fi
    left=$((left - 1))
    sleep 1
  done
  return 1
}
# changed_pods_come_up FOLDER ADMIN: whether those work whose manifests differ from the ones in the folder. The one that does not is
# left in $failed.
changed_pods_come_up() {
  is_as_in "$1" kube-apiserver || end_deaf "$1/kube-apiserver.yaml"
  for failed in $COMPONENTS; do
    is_as_in "$1" "$failed" || comes_up "$failed" "$2" || return 1
  done
}
# Whether the manifest of a component is the one in a folder.
is_as_in() {
  [ "$(cat "$1/$2.yaml" 2>/dev/null)" = "$(cat "/etc/kubernetes/manifests/$2.yaml" 2>/dev/null)" ]
}
# What a component said last, in one line. One that has only just begun has said nothing yet: then the one before it has.
last_words() {
  # shellcheck disable=SC2045 # the names of these files have no blanks
  for log in $(ls -t /var/log/pods/kube-system_"$1"-*/"$1"/*.log 2>/dev/null); do
    [ -s "$log" ] || continue
    tail -n 3 "$log" | sed 's/^[^ ]* std[a-z]* [FP] //' | tr '\n' ' '
    return 0
  done
}
# keep_before FOLDER CERTIFICATES: what the control plane runs with is kept in the folder: its manifests, and its certificate. What was
# there before a run that was cut off in the middle is what is known to work.
keep_before() {
  [ ! -e "$1/complete" ] || return 0
  rm -rf "$1"
  mkdir -p -m 700 "$1"
  for component in $COMPONENTS; do
    [ ! -e "/etc/kubernetes/manifests/$component.yaml" ] ||
      cp -p "/etc/kubernetes/manifests/$component.yaml" "$1/$component.yaml"
  done
  # Not one without the other.
  if [ -s "$2/apiserver.key" ] && [ -s "$2/apiserver.crt" ]; then
    for name in apiserver.key apiserver.crt; do cp -p "$2/$name" "$1/$name"; done
  fi
  # Whole on the disk before they are said to be, and that before anything is changed: a power cut would leave empty files otherwise.
  flush "$1"/*
  echo yes >"$1/complete"
  flush "$1/complete"
}
# put_back FOLDER CERTIFICATES: they are those of the folder again.
put_back() {
  for component in $COMPONENTS; do
    [ -e "$1/$component.yaml" ] && ! is_as_in "$1" "$component" || continue
    # To the kubelet a file whose name begins with a dot is no manifest.
    place "$1/$component.yaml" /etc/kubernetes/manifests
  done
  for name in apiserver.key apiserver.crt; do
    [ ! -e "$1/$name" ] || [ "$(cat "$1/$name")" = "$(cat "$2/$name" 2>/dev/null)" ] || place "$1/$name" "$2"
  done
}
# goes_back FOLDER CERTIFICATES ADMIN SETTLED: the control plane has what it had before, because $failed does not run with something
# else; says so, and ends.
goes_back() {
  why=$(last_words "$failed")
  old=$(containers)
  put_back "$1" "$2"
  [ ! -e "$4" ] || echo reverted >"$4"
  # That it is ready again is what comes next; how it ends changes nothing.
  comes_up kube-apiserver "$3" || :
  remember_static_pods "${4%/*}"
  rm -rf "$1"
  printf '%s does not run with its new configuration, and has the one before again: %s\n' "$failed" "$why" >&2
  exit 1
}
