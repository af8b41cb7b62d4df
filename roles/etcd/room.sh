# needs FOLDER KIB WHAT: where a folder has less room than that, the program ends before anything is written.
needs() {
  free=$(df -Pk "$1" | tail -n 1 | { read -r _ _ _ free _ && echo "$free"; })
  if [ "$free" -lt "$2" ]; then
    echo "$3 needs $2 KiB in $1, and $free KiB are free there" >&2
    exit 1
  fi
}
# needs_for_snapshot FOLDER DATA: the same for a snapshot of the member with this folder of data: it is as large as its database.
needs_for_snapshot() {
  [ -e "$2/member/snap/db" ] || return 0
  size=$(wc -c <"$2/member/snap/db")
  needs "$1" $((size / 1024 + 1)) 'a snapshot'
}
