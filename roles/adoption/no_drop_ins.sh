# Those of the administrator go where what was there before is kept ($1); those of a package are hidden by a link to nothing, which
# outlasts its updates. What runs is not touched. $2: the unit.
drop_ins "$2" | while read -r file; do
  case $file in
    /etc/* | /run/*)
      mkdir -p "$1${file%/*}"
      mv -f "$file" "$1$file"
      ;;
    *)
      link=/etc/systemd/system/$2.service.d/${file##*/}
      mkdir -p "${link%/*}" "$1"
      echo "$link" >>"$1/hidden"
      ln -sf /dev/null "$link"
      ;;
  esac
done
systemctl daemon-reload
