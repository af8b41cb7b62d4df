# What was kept of before an adoption ($1) goes; the links that hide drop-ins of packages go before, which are listed in it.
if [ -e "$1/hidden" ]; then
  while read -r link; do
    [ "$(readlink "$link")" != /dev/null ] || rm -f "$link"
  done <"$1/hidden"
fi
# Those of the container engine that was there before are where they were.
for file in "$1"/etc/systemd/system/containerd.service.d/*.conf; do
  there=${file#"$1"}
  if [ -e "$file" ] && [ ! -e "$there" ]; then
    mkdir -p "${there%/*}"
    mv "$file" "$there"
  fi
done
systemctl daemon-reload
rm -rf "$1"
