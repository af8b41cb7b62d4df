# The workload by hand, as one program for sh: what every tool here is compared with. Needs nothing but coreutils.
# It gets its values as positional parameters: floor ROOT NAME; the six files come in as functions' here-documents.
floor() {
root=$1 name=$2 changed=0
PATH=$PATH:/usr/sbin:/sbin
arch=$(uname -m) kernel=$(uname -r) hostname=$(uname -n) distribution=$(. /etc/os-release; echo "${NAME%% *}")

directory() { # PATH MODE
  [ "$(stat -c '%F %a' "$root/$1" 2>/dev/null)" = "directory $2" ] && return
  mkdir -p "$root/$1"; chmod "$2" "$root/$1"; changed=$((changed + 1))
}
content() { # PATH CONTENT
  [ "$(cat "$root/$1" 2>/dev/null; printf x)" = "$2
x" ] && [ "$(stat -c %a "$root/$1")" = 644 ] && return
  printf '%s\n' "$2" >"$root/$1.new"; chmod 644 "$root/$1.new"; sync "$root/$1.new"; mv -f "$root/$1.new" "$root/$1"
  changed=$((changed + 1))
}
symlink() { # PATH TARGET
  [ "$(readlink "$root/$1")" = "$2" ] && return
  ln -sfn "$2" "$root/$1"; changed=$((changed + 1))
}

directory app 755
directory app/conf.d 755
directory app/data 750
directory app/log 755
directory app/bin 755
directory app/tmp 700
FILES
content app/motd "$hostname: $distribution on $arch"
content app/app.conf "[app]
name = $name
root = $root/app
kernel = $kernel
[listener1]
port = 8080
[listener2]
port = 8081
[listener3]
port = 8082"
content app/limits "# Limits of $name
* soft nofile 65536
* hard nofile 65536
* soft nproc 65536
* hard nproc 65536
* soft memlock 65536
* hard memlock 65536"
content app/env "APP_ROOT=$root/app
APP_HOST=$name
APP_ARCH=$arch"
symlink app/current app.conf
symlink app/logs log
grep -qxF 'export APP=1' "$root/profile" || { echo 'export APP=1' >>"$root/profile"; changed=$((changed + 1)); }
[ -e "$root/app/created" ] || { uname -a >"$root/app/created"; changed=$((changed + 1)); }
echo "changed=$changed"
}
