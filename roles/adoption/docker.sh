# docker: says what Docker has on a machine, whether it runs or was given up for containerd. Read-only.
docker() {
  for unit in docker.service cri-dockerd.service cri-docker.service; do
    [ "$(systemctl show -p LoadState --value "$unit")" = loaded ] || continue
    if systemctl is-active -q "$unit"; then say docker "$unit, which runs"; else say docker "$unit, which does not run"; fi
  done
  # Of an engine that it shares with the node, or of one of its own.
  set -- /run/containerd/io.containerd.runtime.v2.task/moby/* /run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/*
  count=0
  for folder; do [ ! -d "$folder" ] || count=$((count + 1)); done
  [ "$count" = 0 ] || say docker "containers: $count"
  [ ! -e /sys/class/net/docker0 ] || say docker 'the bridge docker0'
  if iptables-save 2>/dev/null | grep -q '^:DOCKER'; then say docker 'its chains of iptables'; fi
  [ ! -d /var/lib/docker ] || say docker /var/lib/docker
  if systemctl is-active -q docker.service; then
    case " $(systemctl show -p BoundBy -p RequiredBy --value containerd.service | tr '\n' ' ') " in
      *' docker.service '*) say docker_restarts ;;
    esac
  fi
}
