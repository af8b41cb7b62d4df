# may_ask_for NOTE NODES: prints what kubelets may ask for: a node each, its name and that. Of a node of which the name alone is given,
# because its address is not known at the moment, what is noted holds. $1: the note; then the nodes.
may_ask_for() {
  note=$1
  shift
  for node; do
    case $node in
      *' '*) printf '%s\n' "$node" ;;
      *)
        [ -e "$note" ] || continue
        while IFS= read -r line; do
          case $line in "$node "*) printf '%s\n' "$line" ;; esac
        done <"$note"
        ;;
    esac
  done
}
