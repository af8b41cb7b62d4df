# A configuration is kept as it is, as a whole or not at all. $1: where; $2: its path; $3: the unit that reads it.
put_back "$1"
rm -rf "$1.new"
mkdir -p "$1.new"
printf '%s\n' "$2" >"$1.new/path"
printf '%s\n' "$3" >"$1.new/unit"
[ ! -e "$2" ] || cp -p "$2" "$1.new/file"
for file in "$1.new"/*; do sync "$file"; done
mv "$1.new" "$1"
