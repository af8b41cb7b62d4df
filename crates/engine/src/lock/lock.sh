# What the programs that take, show, renew, give back and break the lock have in common. mod.rs tells the idea.
#
# lock/fence.N     the lock number N: run, boot and uptime in its first line; owner, command and process in a line each;
#                  then boot and uptime of each renewal; then perhaps `released`. The highest number counts.
# lock/work.ID     a program that changes the machine: process, its start, boot, run, kind, name
# jobs/ID/record   the same of a detached program
# share            what the run hands on to other machines: goes with the lock (fan_out/serve.sh)
lock=/var/lib/muster/lock jobs=/var/lib/muster/jobs
read -r boot </proc/sys/kernel/random/boot_id
read -r now rest </proc/uptime
now=${now%.*}

# Whose the lock is, in variables. The state is free, held, stale (not renewed for $life seconds), restarted (the
# machine was, since), or changing (it cannot be said now).
look() {
  fence=0 state=free run= since=$now heard=$now owner= command= process=
  for file in "$lock"/fence.*; do
    number=${file##*.}
    case $number in *[!0-9]*) continue ;; esac
    [ "$number" -le "$fence" ] || fence=$number
  done
  [ "$fence" != 0 ] || return 0
  state=changing
  {
    # A file without its first lines is what a power cut may leave: it never appears otherwise.
    state=restarted
    if read -r run started since && IFS= read -r owner && IFS= read -r command && IFS= read -r process; then
      state=held heard=$since
      while read -r word time; do
        case $word in
          released) state=free ;;
          "$started") heard=$time ;;
          *) started=$word since=$time heard=$time ;;
        esac
      done
    fi
    case $since$heard in *[!0-9]*) state=restarted since=$now heard=$now ;; esac
  } 2>/dev/null <"$lock/fence.$fence"
  [ "$state" = held ] || return 0
  if [ "$started" != "$boot" ] || [ "$heard" -gt "$now" ]; then
    state=restarted
  elif [ "$((now - heard))" -gt "$life" ]; then
    state=stale
  fi
}

show() {
  printf '%s %s %s %s\n- %s\n- %s\n- %s\n' "$state" "$fence" "$((now - since))" "$((now - heard))" "$owner" "$command" "$process"
}

# Whether the program of a record still runs: that very process, not a later one of the same number.
alive() {
  pid='' whose='' kind='' name=''
  read -r pid start at whose kind name <"$1" && [ "$at" = "$boot" ] && read -r stat <"/proc/$pid/stat" || return 1
  set -- ${stat##*) }
  [ "$1" != Z ] && [ "${20}" = "$start" ]
} 2>/dev/null

# work RUN [end]: the programs of other runs that are still at work, two lines each. With `end` the uploads among them
# are ended (what they have brought counts only once it is complete), and what is over is swept away.
work() {
  over=
  for record in "$lock"/work.* "$jobs"/*/record; do
    [ -s "$record" ] || continue
    if ! alive "$record"; then
      over="$over ${record%/record}"
    elif [ "$whose" != "$1" ]; then
      [ "$kind$2" != uploadend ] || kill "$pid" 2>/dev/null
      said=
      [ "$kind" != job ] || said=$(tail -n 1 "${record%/record}/err" 2>/dev/null)
      printf 'work %s %s\n%s\n' "$pid" "$name" "$said"
    fi
  done
  [ -z "$2" ] || [ -z "$over" ] || rm -rf $over
}

# Ends what a run hands on to other machines: the server, if the number is still its own, and then the folder.
end_share() {
  shares=${lock%/*}/share
  [ -e "$shares" ] || return 0
  for file in "$shares"/*/pid; do
    read -r pid <"$file" && grep -q "$shares" "/proc/$pid/cmdline" && kill "$pid"
  done 2>/dev/null
  rm -rf "$shares"
}

# take RUN OWNER COMMAND PROCESS FROM: takes the lock unless it is held; the one number FROM is taken all the same.
# Answers `taken FENCE` or `held 0`, then whose it was or is, then who is still at work.
take() {
  taken=
  [ -d "$lock" ] || mkdir -p -m 0700 "$lock" || return
  for try in 1 2 3 4 5 6 7 8 9; do
    look
    if [ "$state" = held ] && [ "$run" = "$1" ]; then
      # The answer to an earlier question was lost.
      state=free
      echo "taken $fence"
      show
      work "$1" end
      return
    fi
    if [ "$state" = held ] && [ "$fence" != "$5" ]; then
      echo "held 0"
      show
      return
    fi
    [ "$state" != changing ] || continue
    earlier=$(show) mine=$((fence + 1)) new=$lock/new.$$
    printf '%s %s %s\n%s\n%s\n%s\n' "$1" "$boot" "$now" "$2" "$3" "$4" >"$new" || return
    # A file appears under this name complete, and for one of those who try. It tells why not the last time.
    if [ "$try" = 9 ]; then ln "$new" "$lock/fence.$mine"; else ln "$new" "$lock/fence.$mine" 2>/dev/null; fi || {
      rm -f "$new"
      continue
    }
    look
    if [ "$fence" != "$mine" ]; then
      # The name was free because somebody who came later has tidied up already.
      rm -f "$lock/fence.$mine"
      continue
    fi
    # Lower numbers only: somebody may have taken the lock from us by now.
    old=
    for file in "$lock"/fence.*; do [ "${file##*.}" -ge "$mine" ] || old="$old $file"; done
    rm -rf "$lock"/new.* $old
    end_share
    taken=$mine
    printf '%s\n%s\n' "taken $mine" "$earlier"
    work "$1" end
    return
  done
  return 1
}

# renew FENCE RUN, release FENCE RUN: answer whose it is where it is not theirs any more.
renew() {
  look
  if [ "$fence" = "$1" ] && [ "$run" = "$2" ]; then echo "$boot $now" >>"$lock/fence.$fence"; else show; fi
}
release() {
  look
  [ "$fence" = "$1" ] && [ "$run" = "$2" ] || return 0
  end_share
  for record in "$lock"/work.* "$jobs"/*; do [ ! -e "$record" ] || break; done
  if [ "$fence" = 1 ] && [ ! -e "$record" ]; then
    # The machine's first lock, and nothing was changed under it: the machine is left as it was.
    rm -f "$lock/fence.1"
    rmdir "$lock" "${lock%/*}" 2>/dev/null
    return 0
  fi
  work "$2" end
  echo released >>"$lock/fence.$fence"
}
