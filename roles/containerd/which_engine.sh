# Prints what tells one container engine from another that is set up later: a package's unit stays when ours goes.
# $1: containerd's settings.
which_engine() {
  {
    systemctl cat containerd || :
    cat "$1" || :
  } 2>/dev/null | sha256sum
}
# Whether there is one, and another than a reset that kept programs and images has left. $1: its mark; $2: containerd's settings.
is_anothers() {
  [ -s "$1" ] && systemctl cat containerd >/dev/null 2>&1 && [ "$(cat "$1")" != "$(which_engine "$2")" ]
}
