# The machine asks the cluster's DNS first; machine.sh and change.sh stand in front. From $8 on: names of the outside. If
# the cluster's DNS does not answer, or a name that was found before is not found with it, everything is as before.
how=$(mechanism)
case $how in
  *' '*)
    echo "${how%% *} writes /etc/resolv.conf, and muster does not know how to tell it of further servers: set resolvconf_mode: none" >&2
    exit 1
    ;;
esac
shift 7

# ask SERVER NAME: whether it answers with an address (RFC 1035, 4.1). `od` ends when it has the head of the answer.
ask() {
  rest=$2.
  # shellcheck disable=SC2046
  set -- "$1" $({
    printf '\052\052\001\000\000\001\000\000\000\000\000\000'
    while [ -n "$rest" ]; do
      label=${rest%%.*} rest=${rest#*.}
      # shellcheck disable=SC2059
      printf "\\$(printf %03o ${#label})"
      printf %s "$label"
    done
    printf '\000\000\001\000\001'
  } | timeout 5 socat -t 1 - "UDP4:$1:53" 2>/dev/null | od -An -v -tu1 -N12)
  [ $# = 13 ] && [ $(($5 & 15)) = 0 ] && [ $(($8 * 256 + $9)) -gt 0 ]
}

# found NAME...: prints those that the machine finds, whichever way it finds names.
found() {
  for name; do
    (! timeout 20 getent ahosts "$name" >/dev/null 2>&1 || echo "$name") &
  done
  wait
}

# tries COUNT COMMAND: whether it succeeds within so many seconds or so.
tries() {
  left=$1
  shift
  until "$@"; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || return 1
    sleep 1
  done
}

# Where packages come from.
sources() {
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/yum.repos.d/*.repo /etc/zypp/repos.d/*.repo; do
    [ ! -f "$file" ] || sed -n 's|^[^#]*://\([^/:@ $]*\).*|\1|p' "$file"
  done
}

# Everything that is there now is kept, as a whole or not at all.
keep() {
  rm -rf "$kept.new"
  mkdir -p "$kept.new"
  listed nameserver >"$kept.new/own"
  own_search >"$kept.new/search"
  if [ "$how" = resolved ]; then
    all=$(resolvectl dns 2>/dev/null | sed -n 's/^Global: *//p' || :)
    # shellcheck disable=SC2086
    foreign $all >"$kept.new/global"
  fi
  if [ "$how" = plain ] && [ -e /etc/resolv.conf ]; then cat /etc/resolv.conf >"$kept.new/file"; fi
  for path in $(targets "$how"); do
    [ -e "$path" ] || : >"$kept.new/${path##*/}.absent"
  done
  # shellcheck disable=SC2046
  found $(once "$@" $(sources) | tr ' ' '\n' | head -n 12) >"$kept.new/names"
  echo "$server" >"$kept.new/server"
  echo "$how" >"$kept.new/mechanism"
  for file in "$kept.new"/*; do sync "$file"; done
  rm -rf "$kept"
  mv "$kept.new" "$kept"
}

# ours WORD...: what programs are told besides what the machine has itself.
ours() {
  has=" $* "
  for word in $asked $further $search; do
    case $has in *" $word "*) ;; *) echo "$word" ;; esac
  done
}
# noted NAME WORD...
noted() {
  name=$1
  shift
  once "$@" >"$kept/$name.new"
  sync "$kept/$name.new"
  mv -f "$kept/$name.new" "$kept/$name"
}

give_up() {
  echo "$1" >&2
  undo
  exit 1
}

finds_cluster() { [ -n "$(found "kubernetes.default.svc.$domain")" ]; }
# shellcheck disable=SC2046
lost() { [ "$(found $(cat "$kept/names") | sort)" != "$(sort "$kept/names")" ]; }
finds_all() { ! lost; }

if command -v socat >/dev/null && ! tries 60 ask "$server" "kubernetes.default.svc.$domain"; then
  echo "the cluster's DNS does not answer at $server on this machine, which therefore goes on finding names as it does" >&2
  exit 1
fi
if [ -s "$kept/mechanism" ] && [ "$(cat "$kept/mechanism")" != "$how" ]; then
  undo
  how=$(mechanism)
fi
if [ ! -s "$kept/mechanism" ] || is_anothers; then keep "$@"; fi
keep_lease
rm -f "$kept/checked"
# What was told before is known as muster's until it is nowhere any more.
# shellcheck disable=SC2046
told_now=$(ours $(own) $(own_search))
# shellcheck disable=SC2046,SC2086
noted told $(cat "$kept/told" 2>/dev/null || :) $told_now
# shellcheck disable=SC2046
noted server $(cat "$kept/server") "$server"
no_older
for path in $(targets "$how"); do
  mkdir -p "${path%/*}"
  text_of "$path" >"$kept/text"
  into "$path" <"$kept/text" || give_up "$path cannot be written"
done
reload "$how" || give_up "$how does not take what is said in $(targets "$how")"
tries 15 finds_cluster ||
  give_up "names of the cluster are not found by way of $how ($(targets "$how")): what was there before is there again"
tries 3 finds_all || give_up "with the cluster's DNS at $server the machine does not find all of these names, which it found before: \
$(tr '\n' ' ' <"$kept/names"); what was there before is there again"
# shellcheck disable=SC2086
noted told $told_now
noted server "$server"
: >"$kept/checked"
