# Whether a kubeconfig of this machine leads to one of the addresses ($@), be it by a name.
for file in /etc/kubernetes/*.conf; do
  [ -e "$file" ] || continue
  while read -r key value; do
    [ "$key" = server: ] || continue
    host=${value#https://}
    host=${host%:*}
    case $host in
      *[a-z]*) host=$(getent ahostsv4 "$host" | while read -r address _; do echo "$address"; break; done) ;;
    esac
    for address; do
      if [ "$address" = "$host" ]; then exit 0; fi
    done
  done <"$file"
done
exit 1
