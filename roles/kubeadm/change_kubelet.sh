# The kubelet runs with another configuration, or goes on with the one that it had.
# $1: the folder of patches; $2: where the hash of its configuration ($3) is kept (kubelet_state.sh); $4: its unit's file; $5: what
# that holds.
patches=$1 stamp=$2 hash=$3 unit=$4 text=$5
keep_former
if ! configure_kubelet "$patches" "$stamp"; then
  # It still runs as it did.
  [ ! -e "$FORMER/complete" ] || put_former_back
  exit 1
fi
printf '%s' "$text" | cat >"$unit.muster"
chmod 644 "$unit.muster"
flush "$unit.muster"
mv -f "$unit.muster" "$unit"
began=$(date +%s)
# How it ends is seen below.
start_kubelet || :
if ! kubelet_comes_up; then
  why=$(kubelet_last_words "$began")
  [ "$now" = 0 ] || why="it does not answer at $(kubelet_healthz); it said last: $why"
  if [ ! -e "$FORMER/complete" ]; then
    printf 'kubelet does not run, and there is no configuration with which it ran before: %s\n' "$why" >&2
    exit 1
  fi
  put_former_back
  start_kubelet || :
  if kubelet_comes_up; then
    rm -rf "$FORMER"
    printf 'kubelet does not run with its new configuration, and has the one before again: %s\n' "$why" >&2
  else
    printf 'kubelet does not run with its new configuration, nor with the one before: %s\n' "$why" >&2
  fi
  exit 1
fi
rm -rf "$FORMER"
remember_kubelet "$stamp" "$hash"
