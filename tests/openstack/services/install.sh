#!/bin/bash
# install.sh CACHE - installs keystone, glance, placement, neutron and nova, unmodified, into a Python environment of their own in
# CACHE, unless they are there. Prints two folders: where they are, and where a state that up.sh has made once may be kept. Both are
# named after the contents that they are made from, so that a change makes new ones. The packages come from the index that pip is
# configured for.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
packages=$(sha256sum "$here/requirements.lock" | cut -c1-16)
scripts=$(cat "$here/requirements.lock" "$here"/*.py "$here"/*.sh | sha256sum | cut -c1-16)
folder=$1/$packages
if [ ! -e "$folder/installed" ]; then
  python=$(command -v python3.11) || { echo "python3.11 is missing" >&2; exit 1; }
  rm -rf "$folder"
  mkdir -p "$folder"
  "$python" -m venv "$folder/uv" >&2 || { echo "python3.11 has no module venv (Debian's python3.11-venv)" >&2; exit 1; }
  "$folder/uv/bin/pip" install --quiet --disable-pip-version-check --retries 1 uv ||
    { echo "the package index that pip is configured for does not give uv" >&2; exit 1; }
  "$folder/uv/bin/uv" --quiet venv --python "$python" "$folder/venv"
  "$folder/uv/bin/uv" --quiet pip install --no-cache --python "$folder/venv/bin/python" --requirement "$here/requirements.lock"
  rm -rf "$folder/uv"
  touch "$folder/installed"
fi
printf '%s\n%s\n' "$folder" "$1/state-$scripts"
