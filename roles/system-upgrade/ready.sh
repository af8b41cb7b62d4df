# Whether the node is Ready as it is since the machine was started last. $1: its name; $2: the boot.
said=$(kubectl get node "$1" -o 'jsonpath={.status.nodeInfo.bootID} {.status.conditions[?(@.type=="Ready")].status}')
[ "$said" = "$2 True" ] || {
  echo "Ready: ${said#* }, as of the boot ${said% *}"
  exit 1
}
