# etcd as a static pod of this machine's kubelet, for the unit of etcd: whoever starts, stops or asks for a member does so by that unit,
# wherever it runs. Where there is no kubelet yet, or etcd does not come to serve in the pod, it is a process of the unit's. ctl.sh stands
# in front.
# $1: the folder of etcd's certificates; $2: the name of the node; $3: the folder of etcd's program; $4: the folder of its data;
# $5: how much memory it may have, as Kubernetes writes it, or nothing. It ends when etcd does not run any more.
# Or `end` alone: the pod ends.
set -u
manifests=/etc/kubernetes/manifests
# Not etcd.yaml, by which a machine is known whose etcd is kubeadm's.
manifest=$manifests/etcd-member.yaml
# The UID of the pod, and `served` when it has. While this is there the pod may run; like it, it does not outlive the machine's start.
note=/run/muster-etcd-pod
# A pod has failed: etcd is a process until somebody asks for a pod again, by removing this, or the machine restarts. A member that
# cannot start would have its kubelet killed again and again.
failed=/run/muster-etcd-pod-failed

# clock: sets $now, in seconds. Nobody sets this clock, and a round of what waits may take long.
clock() {
  read -r now _ </proc/uptime
  now=${now%.*}
}
# processes: those of the pod. Their cgroups say so whatever containerd and the kubelet do.
processes() {
  grep -lsF "pod$uid" /proc/[0-9]*/cgroup | sed 's|/cgroup$||; s|.*/||'
}
# member: whether etcd runs in the pod. Sets $pid.
member() {
  is_etcd && return
  for pid in $(processes); do
    is_etcd && return
  done
  return 1
}
is_etcd() {
  { read -r name <"/proc/$pid/comm" && [ "$name" = etcd ]; } 2>/dev/null
}

# end: the pod does not run, nor begin. A kubelet that works ends it, with its sandbox, and etcd takes some 15 s for it while API servers
# watch it. One that does not end it is killed, and so knows nothing of it any more when systemd has started it again. It has less time
# for a pod that has never served: where it has not seen the API since it started it ends none. Where nothing of that pod is to be seen
# it may be about to begin it, and has none.
end() {
  [ -e "$note" ] || [ -e "$manifest" ] || return 0
  uid='' served='' forgotten=''
  { read -r uid served <"$note"; } 2>/dev/null || :
  if [ -z "$uid" ]; then
    uid=$(sed -n 's/^  uid: "\(.*\)"$/\1/p' "$manifest" 2>/dev/null)
    noted "$uid"
  fi
  rm -f "$manifest"
  if [ -z "$uid" ]; then
    echo "$note does not say which pod of etcd may run: when the machine has restarted none does" >&2
    return 1
  fi
  clock
  begun=$now
  patience=40
  [ -n "$served" ] || patience=20
  [ -n "$served" ] || [ -n "$(processes)" ] || forget
  while left=$(processes) && [ -n "$left" ]; do
    clock
    waited=$((now - begun))
    if [ "$waited" -ge 85 ]; then
      echo "the pod of etcd does not end: processes $left" >&2
      return 1
    fi
    [ "$waited" -lt "$patience" ] || forget
    if [ -n "$forgotten" ] || ! systemctl is-active -q kubelet; then
      [ "$waited" -lt 60 ] && signal=TERM || signal=KILL
      for id in $left; do kill -s "$signal" "$id" 2>/dev/null || :; done
    fi
    sleep 0.5
  done
  rm -f "$note"
}
noted() {
  echo "$1" >"$note.new" && mv -f "$note.new" "$note"
}
forget() {
  [ -z "$forgotten" ] || return 0
  forgotten=yes
  # Not what it has started, as mounts.
  systemctl kill --kill-who=main -s KILL kubelet 2>/dev/null || :
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
$(environment)
      resources:
        # The limit may be as low as one likes, and a request must not be above it.
        requests: {cpu: 100m, memory: 0}
        $limits
      securityContext:
        # The data is root's, and the image says another user.
        runAsUser: 0
        runAsGroup: 0
        runAsNonRoot: false
        allowPrivilegeEscalation: false
      readinessProbe:
        exec:
          command:
            - /usr/local/bin/etcdctl
            - --endpoints=https://127.0.0.1:2379
            - '--cacert=$certificates/ca.pem'
            - '--cert=$certificates/member.pem'
            - '--key=$certificates/member-key.pem'
            - endpoint
            - health
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
# begin: the kubelet is told of the pod, or nothing is. $image: that of sandboxes, which every node has.
begin() {
  uid=
  # Another one where anything of it is, and the same to a kubelet of another version (roles/pods.rs).
  uid=$({ echo "$node"; pod; } | sha256sum | cut -c 1-32)
  [ -n "$uid" ] && noted "$uid" && mkdir -p "$manifests" && (umask 077 && pod >"$manifests/.etcd-member") &&
    mv -f "$manifests/.etcd-member" "$manifest"
}

# tell: what is new in the pod's log is the unit's, too. Each start of its container has another one, which counts as one of $starts.
tell() {
  newest=$manifest
  for file in "/var/log/pods/kube-system_etcd-${node}_$uid"/etcd/*.log; do
    [ ! "$file" -nt "$newest" ] || newest=$file
  done
  [ -z "$log" ] || tell_more
  case $newest in
    "$log" | "$manifest") ;;
    *)
      log=$newest told=0 starts=$((starts + 1))
      tell_more
      ;;
  esac
}
tell_more() {
  size=$({ wc -c <"$log"; } 2>/dev/null) || return 0
  # The kubelet begins a long one anew.
  [ "$size" -ge "$told" ] || told=0
  [ "$size" -eq "$told" ] || tail -c "+$((told + 1))" "$log" | head -c "$((size - told))" | sed 's/^[^ ]* [^ ]* [^ ]* //'
  told=$size
}
# serves: whether the member knows a leader: etcd itself says no earlier that it is ready.
serves() {
  case $(ctl endpoint status -w json 2>/dev/null) in
    *'"leader":'[1-9]*) ;;
    *) return 1 ;;
  esac
}
# watch: until etcd does not run any more, or has ended before it ever served. Sets $served. A kubelet that is busy, or waits before it
# starts a container again, has a minute. A member that waits for a majority runs on: after a while its unit counts as started, so that
# systemd does not end it.
watch() {
  pid='' log='' starts=0 served='' ready=''
  clock
  begun=$now last=$now
  while [ -e "$manifest" ]; do
    tell
    clock
    if member; then
      last=$now
      if [ -z "$served" ] && serves; then
        noted "$uid served"
        served=yes
      fi
      if [ -z "$ready" ] && { [ -n "$served" ] || [ $((now - begun)) -ge 80 ]; }; then
        systemd-notify --ready
        ready=yes
      fi
    fi
    if [ $((now - last)) -ge 60 ] || { [ -z "$served" ] && [ "$starts" -gt 1 ]; }; then
      echo 'the kubelet does not run etcd, or not for long' >&2
      return
    fi
    if [ -n "$served" ]; then sleep 2; else sleep 0.5; fi
  done
  echo "$manifest is gone, by which the kubelet runs etcd" >&2
  exit 1
}

if [ "$1" = end ]; then
  end
  exit
fi
node=$2 bin=$3 data=$4 memory=$5
image=$(sed -n '/^ *sandbox = "\(.*\)"$/{s//\1/p;q;}' /etc/containerd/config.toml 2>/dev/null)
if [ ! -e "$failed" ] && [ -n "$image" ] && [ -e /etc/kubernetes/kubelet.conf ] && systemctl is-active -q kubelet; then
  if begin; then
    watch
    [ -z "$served" ] || exit 1
  fi
  echo 'etcd has not come to serve as a static pod, and runs as a process of its own instead' >&2
  : >"$failed"
  end || exit 1
fi
exec "$bin/etcd"
