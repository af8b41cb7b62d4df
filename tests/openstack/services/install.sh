#!/bin/bash
# install.sh FOLDER - installs keystone, glance, placement, neutron and nova, unmodified, into a Python environment of their own.
# What is there already stays. Needs python3.11 with venv, and a package index that pip is configured for.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
lock=$(sha256sum "$here/requirements.lock" | cut -c1-16)
[ ! -e "$folder/installed-$lock" ] || exit 0
python=$(command -v python3.11) || { echo "python3.11 is not there" >&2; exit 1; }
mkdir -p "$folder"
rm -rf "$folder/venv" "$folder/uv" "$folder"/installed-*
"$python" -m venv "$folder/uv"
"$folder/uv/bin/pip" install --quiet --disable-pip-version-check uv
"$folder/uv/bin/uv" --quiet venv --python "$python" "$folder/venv"
"$folder/uv/bin/uv" --quiet pip install --no-cache --python "$folder/venv/bin/python" --requirement "$here/requirements.lock"
touch "$folder/installed-$lock"
