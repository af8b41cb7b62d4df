# serve SHARE ADDRESS PORT HOST_KEY USER_KEY: lets the machines of this run read what this one keeps for them, through an
# sshd of its own. Nobody's configuration or authorized_keys are touched, and the one key it lets in can do nothing
# but read files of this folder. It ends with the folder, and with the run's hold on the machine's lock.
share=$1
umask 077
cd / && mkdir -p "$share" || exit 1
sshd=$(command -v sshd) || { echo 'there is no sshd' >&2; exit 1; }
printf '%s' "$4" >"$share/host"
cat >"$share/give" <<'END'
set -f
set -- $SSH_ORIGINAL_COMMAND
case $1$2 in '' | *[!0-9a-f]*) exit 1 ;; esac
exec tail -c "+$(($2 + 1))" "${0%/*}/$1"
END
# bash reads ~/.bashrc when sshd starts it, but not below another shell.
echo "restrict,environment=\"SHLVL=1\",command=\"/bin/sh $share/give\" $5" >"$share/keys"
# Without PAM sshd refuses root where root's password is locked (LOCKED_PASSWD_PREFIX), though no password is used.
pam=no
! grep -q '^root:!' /etc/shadow 2>/dev/null || pam=yes
cat >"$share/config" <<END
ListenAddress $2
Port $3
HostKey $share/host
AuthorizedKeysFile $share/keys
PidFile $share/pid
UsePAM $pam
StrictModes no
PermitRootLogin yes
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserRC no
AllowUsers $(id -un)
PermitUserEnvironment yes
UseDNS no
LoginGraceTime 20
MaxStartups 20
END
"$sshd" -f "$share/config" -E "$share/log" </dev/null >/dev/null 2>&1 3>&-
# It writes its number when it listens.
tries=0
until [ -s "$share/pid" ]; do
  tries=$((tries + 1))
  if [ "$tries" = 30 ] || grep -q 'Cannot bind\|fatal' "$share/log" 2>/dev/null; then
    tail -n 1 "$share/log" >&2
    exit 1
  fi
  sleep 0.1 2>/dev/null || sleep 1
done
read -r server <"$share/pid"
(
  trap '' HUP
  while [ -e "$share/pid" ] && mine && [ -z "$(find "/var/lib/muster/lock/fence.$fence" -mmin +1)" ]; do sleep 2; done
  # Where its file is gone it has ended already, and its number may be another process's.
  [ ! -e "$share/pid" ] || kill "$server"
  rm -rf "$share"
) </dev/null >/dev/null 2>&1 3>&- &
