# What was kept of before an adoption ($1) goes; the links that hide drop-ins of packages go before, which are listed in it.
if [ -e "$1/hidden" ]; then
  while read -r link; do
    [ "$(readlink "$link")" != /dev/null ] || rm -f "$link"
  done <"$1/hidden"
fi
rm -rf "$1"
