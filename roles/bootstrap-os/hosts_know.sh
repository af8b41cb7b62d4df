hosts() {
  gone=$(stale "$@")
  while IFS= read -r line || [ -n "$line" ]; do
    case "
$gone
" in
      *"
$line
"*) [ -z "$line" ] || continue ;;
    esac
    printf '%s\n' "$line"
  done </etc/hosts
  missing "$@"
}
hosts_become "$@"
