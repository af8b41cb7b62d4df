# What takes a file on the machine, whichever way its bytes come: FILE SHA256 SIZE SHARE, and more. It is sent as one line
# (`Script::one_line`), so each line ends with a `;` where the next one is another command.
# SHARE is the folder in which what has arrived is kept for other machines; empty: it is not kept.
PATH=$PATH:/usr/sbin:/sbin;
umask 077;
file=$1 sha256=$2 size=$3 share=$4 part=$1.part;
shift 4;

# Ends one process that has the part open.
end_writer() {
  for descriptor in /proc/[0-9]*/fd/*; do
    [ "$descriptor" -ef "$part" ] || continue;
    process=${descriptor#/proc/};
    kill -9 "${process%%/*}";
    return;
  done 2>/dev/null;
  return 1;
};

# How many bytes are there.
at() {
  stat -c %s "$part" 2>/dev/null || echo 0;
};

# The part has one name, so that the next attempt finds it; whoever still writes to it, for an attempt before, is ended.
prepare() {
  mkdir -p "${file%/*}" || exit 1;
  ended=0;
  [ ! -e "$part" ] || while end_writer; do
    ended=$((ended + 1));
    [ "$ended" -lt 1000 ] || exit 1;
  done;
};

# Whether there is so much room that what is kept for others does no harm: it takes no room twice, but keeps it, which
# matters where disks are memory. df says kilobytes.
is_plenty() {
  df -Pk "${file%/*}" | { read -r _ && read -r _ _ _ free _ && [ "$free" -gt $((size / 256)) ]; };
};

# Everything has come: is it what its sha256 says? The name that says so must not be there before the bytes are on the
# disk, because power may be lost. `mine` and `refused` are the guard's: the lock is looked at again before the file counts.
finish() {
  [ "$(at)" -ge "$size" ] || { echo "$(at) of $size bytes have arrived" >&2; exit 1; };
  echo "$sha256  $part" | sha256sum -c >/dev/null 2>&1 || { rm -f "$part"; exit 65; };
  sync "$part" || exit 1;
  mine || exit "$refused";
  if [ -n "$share" ] && is_plenty; then
    mkdir -p "$share" && ln -f "$part" "$share/$sha256" && echo kept;
  fi;
  mv -f "$part" "$file";
};

# receive FROM: the rest, from its byte FROM on, comes from standard input. What is there beyond is cut off.
receive() {
  prepare;
  { dd of="$part" bs=1 count=0 seek="$1" 2>/dev/null </dev/null && cat >>"$part"; } || exit 1;
  finish;
};

# Tells every second how much has come, and gives up when nothing came for ten.
watch() {
  last='' idle=0;
  while sleep 1 >/dev/null 2>&1 && kill -0 "$ssh"; do
    now=$(at);
    echo "muster-at $now";
    if [ "$now" != "$last" ]; then idle=0; else idle=$((idle + 1)); fi;
    [ "$idle" -lt 10 ] || { echo "nothing comes"; kill "$ssh"; };
    last=$now;
  done;
};

# fetch ADDRESS PORT KEY SERVER_KEY: the rest comes from another machine. KEY is the client's private key, with | for line
# breaks. ssh never reads a configuration, an agent or anybody's known hosts. The ciphers and the key exchange are the
# fastest that every sshd has.
fetch() {
  address=$1 port=$2 key=$3 server_key=$4;
  prepare;
  command -v ssh >/dev/null || { echo "there is no ssh" >&2; exit 127; };
  mkdir -p "$share" || exit 1;
  keys=$(mktemp -d "$share/.XXXXXX") || exit 1;
  ssh='' watch='';
  trap 'rm -rf "$keys"' EXIT;
  trap 'kill $ssh $watch; exit 1' HUP INT TERM;
  printf '%s\n' "$key" | tr '|' '\n' >"$keys/key";
  echo "muster $server_key" >"$keys/known";
  ssh -F none -T -n -i "$keys/key" -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes \
    -o PreferredAuthentications=publickey -o ConnectTimeout=5 -o HostKeyAlias=muster \
    -o HostKeyAlgorithms=ssh-ed25519 -o StrictHostKeyChecking=yes -o UserKnownHostsFile="$keys/known" \
    -o GlobalKnownHostsFile=/dev/null -o Ciphers=aes128-gcm@openssh.com,aes128-ctr \
    -o KexAlgorithms=curve25519-sha256@libssh.org -o LogLevel=ERROR -l "$(id -un)" -p "$port" "$address" \
    "$sha256 $(at)" </dev/null >>"$part" &
  ssh=$!;
  watch </dev/null >&2 &
  watch=$!;
  wait "$ssh";
  kill "$watch";
  finish;
};
