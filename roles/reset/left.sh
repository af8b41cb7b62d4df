# What is left of the cluster, a line for each; traces.sh stands in front.
# $4: paths that must be gone, one after the other with spaces; $5: units that must not run, in the same way.
paths=$4 units=$5
traces
for path in $paths; do
  # A disk of its own stays, with nothing on it; and a link, with the folder that it leads to.
  if [ -d "$path" ] && [ -z "$(ls -A "$path")" ]; then
    if [ -L "$path" ] || grep -q " $path " /proc/self/mountinfo; then continue; fi
  fi
  if [ -L "$path" ] && [ ! -e "$path" ]; then continue; fi
  if [ -e "$path" ] || [ -L "$path" ]; then echo "file $path"; fi
done
for unit in $units; do
  case $(systemctl is-active "$unit" 2>/dev/null) in
    active | activating | reloading) echo "unit $unit is running" ;;
  esac
done
