# etcd as a static pod of this machine's kubelet, for the unit of etcd: whoever starts, stops or asks for a member does so by that unit,
# wherever it runs. Where there is no kubelet yet, or it does not bring up the pod, etcd is a process of the unit's. ctl.sh stands in
# front.
# $1: the folder of etcd's certificates; $2: the name of the node; $3: the folder of etcd's program; $4: the folder of its data;
# $5: how much memory it may have, as Kubernetes writes it, or nothing; $6: run, which ends when etcd does not run any more; or end.
set -u
node=$2 bin=$3 data=$4 memory=$5 action=$6
manifests=/etc/kubernetes/manifests
# Not etcd.yaml, by which a machine is known whose etcd is kubeadm's.
manifest=$manifests/etcd-member.yaml
# The UID of the pod, and `seen` when it has run. While this is there the pod may run; like it, it does not outlive the machine's start.
note=/run/muster-etcd-pod

# processes: those of the pod. Their cgroups say so whatever containerd and the kubelet do.
processes() {
  grep -lsF "pod$uid" /proc/[0-9]*/cgroup | sed 's|/cgroup$||; s|.*/||'
}
# member: whether etcd runs in the pod. Sets $pid.
member() {
  for pid in $(processes); do
    is_etcd && return
  done
  return 1
}
is_etcd() {
  { read -r name <"/proc/$pid/comm" && [ "$name" = etcd ]; } 2>/dev/null
}

# end: the pod does not run, nor begin. A kubelet that works ends it, with its sandbox. One that was about to begin it, or does not end it,
# is killed, and so knows nothing of it any more when systemd has started it again. etcd takes some 15 s to end while API servers
# watch it.
end() {
  [ -e "$note" ] || return 0
  read -r uid seen <"$note"
  [ -n "$uid" ] || return 1
  rm -f "$manifest"
  forgotten=
  [ "$seen" = seen ] || forget
  for attempt in $(seq 150); do
    left=$(processes)
    [ -n "$left" ] || { rm -f "$note" "$note.log"; return 0; }
    [ "$attempt" != 80 ] || forget
    if [ -n "$forgotten" ] || ! systemctl is-active -q kubelet; then
      [ "$attempt" -lt 120 ] && signal=TERM || signal=KILL
      for id in $left; do kill -s "$signal" "$id" 2>/dev/null || :; done
    fi
    sleep 0.5
  done
  echo "the pod of etcd does not end: processes $left" >&2
  return 1
}
noted() {
  echo "$1" >"$note.new"
  mv -f "$note.new" "$note"
}
forget() {
  systemctl kill -s KILL kubelet 2>/dev/null || :
  forgotten=yes
  # What it had asked of containerd a moment ago.
  sleep 2
}

# The environment as systemd has read it from the files of the unit; Kubernetes would take $(NAME) for a variable.
environment() {
  cat /etc/etcd.env /etc/etcd.initial.env 2>/dev/null | sed -n 's/^\([A-Z][A-Z0-9_]*\)=.*/\1/p' | sort -u | while read -r name; do
    value=$(printenv "$name") || continue
    printf "        - {name: %s, value: '%s'}\n" "$name" "$(printf %s "$value" | sed "s/'/''/g; s/[$]/\$\$/g")"
  done
}
# What runs are the machine's own programs, so that there is one etcd, whose version and hash are known. Of the image nothing runs.
pod() {
  limits=
  [ -z "$memory" ] || limits="limits: {memory: $memory}"
  cat <<END
apiVersion: v1
kind: Pod
metadata:
  uid: "$uid"
  name: etcd
  namespace: kube-system
  labels: {component: etcd, tier: control-plane}
spec:
  hostNetwork: true
  # A Service called etcd would give it variables that look like settings.
  enableServiceLinks: false
  priorityClassName: system-node-critical
  securityContext:
    seccompProfile: {type: RuntimeDefault}
    # Its files keep their labels where containerd has SELinux.
    seLinuxOptions: {type: spc_t}
  containers:
    - name: etcd
      image: $image
      imagePullPolicy: IfNotPresent
      command: [/usr/local/bin/etcd]
      env:
        - {name: PATH, value: /usr/local/bin}
        - {name: ETCDCTL_ENDPOINTS, value: 'https://127.0.0.1:2379'}
        - {name: ETCDCTL_CACERT, value: '$certificates/ca.pem'}
        - {name: ETCDCTL_CERT, value: '$certificates/member.pem'}
        - {name: ETCDCTL_KEY, value: '$certificates/member-key.pem'}
$(environment)
      resources:
        requests: {cpu: 100m, memory: 100Mi}
        $limits
      securityContext:
        allowPrivilegeEscalation: false
      readinessProbe:
        exec: {command: [/usr/local/bin/etcdctl, endpoint, health]}
        periodSeconds: 10
        timeoutSeconds: 10
      volumeMounts:
        - {name: data, mountPath: '$data'}
        - {name: certificates, mountPath: '$certificates', readOnly: true}
        - {name: etcd, mountPath: /usr/local/bin/etcd, readOnly: true}
        - {name: etcdctl, mountPath: /usr/local/bin/etcdctl, readOnly: true}
        - {name: etcdutl, mountPath: /usr/local/bin/etcdutl, readOnly: true}
  volumes:
    - {name: data, hostPath: {path: '$data', type: Directory}}
    - {name: certificates, hostPath: {path: '$certificates', type: Directory}}
    - {name: etcd, hostPath: {path: '$bin/etcd', type: File}}
    - {name: etcdctl, hostPath: {path: '$bin/etcdctl', type: File}}
    - {name: etcdutl, hostPath: {path: '$bin/etcdutl', type: File}}
END
}
# begin: the kubelet brings up the pod. $image: that of sandboxes, which every node has.
begin() {
  uid=
  # Another one where anything of it is, and the same to a kubelet of another version (roles/pods.rs).
  uid=$({ echo "$node"; pod; } | sha256sum | cut -c 1-32)
  [ -n "$uid" ] || return 1
  noted "$uid"
  mkdir -p "$manifests"
  (umask 077 && pod >"$manifests/.etcd-member")
  mv -f "$manifests/.etcd-member" "$manifest"
  # A machine that has just started is busy.
  for attempt in $(seq 160); do
    if member; then
      noted "$uid seen"
      return
    fi
    sleep 0.5
  done
  return 1
}

# The newest log of the pod since it began is the unit's, too. Each start of its container has another one.
follow_log() {
  newest=
  for file in "/var/log/pods/kube-system_etcd-${node}_$uid"/etcd/*.log; do
    if [ "$file" -nt "$manifest" ] && { [ -z "$newest" ] || [ "$file" -nt "$newest" ]; }; then newest=$file; fi
  done
  [ "$newest" != "$followed" ] || return 0
  [ -z "$followed" ] || kill "$(cat "$note.log")" 2>/dev/null || :
  followed=$newest
  {
    tail -n +1 -F "$newest" 2>/dev/null &
    echo $! >"$note.log"
    wait
  } | while read -r _ _ _ line; do printf '%s\n' "$line"; done &
}
# serves: whether the member knows a leader: etcd itself says no earlier that it is ready.
serves() {
  case $(ctl endpoint status -w json 2>/dev/null) in
    *'"leader":'[1-9]*) ;;
    *) return 1 ;;
  esac
}
# watch: until etcd does not run any more. The kubelet has a minute to start a container again that has ended.
watch() {
  followed='' ready='' away=0
  while [ "$away" -lt 30 ]; do
    if [ ! -e "$manifest" ]; then
      echo "$manifest is gone, by which the kubelet runs etcd" >&2
      return
    fi
    follow_log
    if is_etcd || member; then away=0; else away=$((away + 1)); fi
    if [ -z "$ready" ] && serves; then
      systemd-notify --ready
      ready=yes
    fi
    if [ -n "$ready" ]; then sleep 2; else sleep 0.5; fi
  done
  echo 'the kubelet does not run etcd any more' >&2
}

if [ "$action" = end ]; then
  end
  exit
fi
end || exit 1
image=$(sed -n 's/^ *sandbox = "\(.*\)"$/\1/p' /etc/containerd/config.toml 2>/dev/null)
if [ -n "$image" ] && [ -e /etc/kubernetes/kubelet.conf ] && systemctl is-active -q kubelet; then
  if begin; then
    watch
    exit 1
  fi
  echo 'the kubelet does not bring up the pod of etcd, which runs as a process of its own instead' >&2
  end || exit 1
fi
exec "$bin/etcd"
