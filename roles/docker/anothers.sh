# Prints by which file a Docker is known that muster has not set up. $1: the mark of the one that it has.
anothers_docker() {
  [ ! -e "$1" ] || return 0
  for path in /etc/systemd/system/docker.service /etc/systemd/system/docker.service.d /usr/local/lib/systemd/system/docker.service \
    /usr/lib/systemd/system/docker.service /lib/systemd/system/docker.service /etc/docker/daemon.json \
    "$(command -v dockerd || :)"; do
    [ ! -e "$path" ] || { echo "$path"; return 0; }
  done
  # The file of the socket stays when the package goes (RemoveOnStop of systemd.socket(5)): it counts while somebody listens there.
  ! grep -qsE ' (/var)?/run/docker\.sock$' /proc/net/unix || echo /run/docker.sock
}
