# Whether muster has set up the machine, and no adoption is under way on it. $1: the mark of one.
is_ours() { [ ! -e "$1" ] && [ -e /var/lib/muster/stamps/kubelet-config ]; }
