# job ID PROGRAM: starts a program that goes on when the connection is lost, unless it was started before, and passes on
# what it writes until it is over. Asked again it only passes on. The program says that it runs by putting itself into
# the record and removing its text.
job=/var/lib/muster/jobs/$1 started=
umask 077
mkdir -p -m 0700 /var/lib/muster/jobs
if mkdir "$job" 2>/dev/null; then
  : >"$job/out"
  : >"$job/err"
  eval "$3"
  printf '%s' "$2" >"$job/program"
  # A scope of its own, because logind may end what a session leaves behind (KillUserProcesses in logind.conf(5)).
  launch='
if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
  systemd-run --quiet --scope /bin/sh "$1/program"
fi
[ ! -e "$1/program" ] || exec /bin/sh "$1/program"'
  session=setsid
  command -v setsid >/dev/null || session=
  $session /bin/sh -c "$launch" sh "$job" </dev/null >"$job/out" 2>"$job/err" 3>&- &
  started=$!
fi

# Whoever made the folder may be about to write the record. One who has not done so in ten seconds cannot any more.
tries=0
until [ -s "$job/record" ]; do
  tries=$((tries + 1))
  if [ "$tries" = 50 ]; then
    mv "$job" "$job.gone" && rm -rf "$job.gone"
    exit 1
  fi
  sleep 0.2 2>/dev/null || sleep 1
done

over() {
  [ -s "$job/record" ] || return 1
  read -r pid start at rest <"$job/record" || return 1
  read -r boot </proc/sys/kernel/random/boot_id
  [ "$at" = "$boot" ] && read -r stat <"/proc/$pid/stat" || return 0
  set -- ${stat##*) }
  [ "$1" != Z ] && [ "${20}" = "$start" ] || return 0
  # As long as the record is ours the program is about to begin, unless what was to begin it has ended.
  [ "$pid" = $$ ] && [ -n "$started" ] || return 1
  read -r stat <"/proc/$started/stat" || return 0
  case ${stat##*) } in Z*) return 0 ;; esac
  return 1
} 2>/dev/null

exec 4<"$job/err"
part='' last=
until [ -n "$last" ]; do
  # Asked before the reading, so that nothing is missed that was written before the end.
  ! over || last=yes
  while IFS= read -r line <&4; do
    printf '%s\n' "$part$line" >&2
    part=
  done
  part=$part$line
  [ -n "$last" ] || sleep 0.2 2>/dev/null || sleep 1
done
[ -z "$part" ] || printf '%s\n' "$part" >&2
cat "$job/out" >&3
