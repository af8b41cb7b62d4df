#!/bin/bash
# up.sh FOLDER STATE PORT - starts keystone, glance, placement, neutron and nova on 127.0.0.1: ports PORT to PORT+4. FOLDER is where
# install.sh has installed them, STATE keeps their data. Databases are SQLite's, messages stay within a process (fake://), nova's
# hypervisor is its own fake one: servers are objects with everything but a system inside. Process ids are in STATE/pid; clouds.yaml
# in STATE has the clouds `admin` and `demo`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$(cd "$1" && pwd)/venv
state=$(mkdir -p "$2" && cd "$2" && pwd)
host=127.0.0.1
keystone=$3 glance=$(($3 + 1)) placement=$(($3 + 2)) neutron=$(($3 + 3)) nova=$(($3 + 4))
python=$venv/bin/python
export PATH="$venv/bin:$PATH" PYTHONPATH="$here" PYTHONWARNINGS=ignore PYTHONDONTWRITEBYTECODE=1 no_proxy=$host
mkdir -p "$state"/{etc,log,db,images,staging,tasks,lock,nova,neutron,pid}

# How a service logs in at keystone.
login() {
  cat <<END
www_authenticate_uri = http://$host:$keystone/v3
auth_url = http://$host:$keystone/v3
auth_type = password
username = $1
password = service
project_name = service
user_domain_id = default
project_domain_id = default
region_name = RegionOne
END
}
database() {
  printf 'connection = sqlite:///%s/db/%s.db?timeout=60\nsqlite_synchronous = false\n' "$state" "$1"
}
common() {
  printf '[DEFAULT]\nlog_file = %s/log/%s.log\nuse_stderr = false\n' "$state" "$1"
}

{
  common keystone
  cat <<END
[database]
$(database keystone)
[identity]
password_hash_rounds = 4
[token]
provider = fernet
[fernet_tokens]
key_repository = $state/etc/fernet
[fernet_receipts]
key_repository = $state/etc/fernet
[credential]
key_repository = $state/etc/credential
END
} >"$state/etc/keystone.conf"
{
  common glance
  cat <<END
transport_url = fake://
enabled_backends = file:file
[database]
$(database glance)
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = $state/images
[os_glance_staging_store]
filesystem_store_datadir = $state/staging
[os_glance_tasks_store]
filesystem_store_datadir = $state/tasks
[keystone_authtoken]
$(login glance)
[paste_deploy]
flavor = keystone
config_file = $venv/etc/glance/glance-api-paste.ini
[oslo_concurrency]
lock_path = $state/lock
END
} >"$state/etc/glance-api.conf"
{
  common placement
  cat <<END
[api]
auth_strategy = keystone
[keystone_authtoken]
$(login placement)
[placement_database]
$(database placement)
sync_on_startup = true
END
} >"$state/etc/placement.conf"
{
  common neutron
  cat <<END
state_path = $state/neutron
core_plugin = ml2
service_plugins = router
transport_url = fake://
auth_strategy = keystone
api_paste_config = $venv/etc/neutron/api-paste.ini
dhcp_agent_notification = false
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
[database]
$(database neutron)
[keystone_authtoken]
$(login neutron)
[nova]
$(login nova)
[ml2]
type_drivers = local,flat,vxlan
project_network_types = vxlan
mechanism_drivers = bindall
extension_drivers = port_security
[ml2_type_flat]
flat_networks = *
[ml2_type_vxlan]
vni_ranges = 1:1000
[oslo_concurrency]
lock_path = $state/lock
END
} >"$state/etc/neutron.conf"
{
  common nova
  cat <<END
host = control
state_path = $state/nova
transport_url = fake://
compute_driver = fakevirt.Driver
my_ip = $host
periodic_fuzzy_delay = 0
service_down_time = 86400
[database]
$(database nova_cell1)
[api_database]
$(database nova_api)
[api]
auth_strategy = keystone
[keystone_authtoken]
$(login nova)
[service_user]
send_service_user_token = true
$(login nova)
[placement]
$(login placement)
[neutron]
$(login neutron)
[glance]
$(login glance)
[conductor]
workers = 1
[scheduler]
workers = 1
[vnc]
enabled = false
[oslo_concurrency]
lock_path = $state/lock
END
} >"$state/etc/nova.conf"
export OS_KEYSTONE_CONFIG_DIR=$state/etc OS_GLANCE_CONFIG_DIR=$state/etc OS_PLACEMENT_CONFIG_DIR=$state/etc
export OS_NEUTRON_CONFIG_DIR=$state/etc OS_NEUTRON_CONFIG_FILES=neutron.conf OS_NOVA_CONFIG_DIR=$state/etc
cp "$venv/etc/nova/api-paste.ini" "$state/etc/api-paste.ini"
cat >"$state/clouds.yaml" <<END
clouds:
  admin:
    auth: {auth_url: "http://$host:$keystone", username: admin, password: admin, project_name: admin,
           user_domain_id: default, project_domain_id: default}
    region_name: RegionOne
  demo:
    auth: {auth_url: "http://$host:$keystone/v3", username: demo, password: demo, project_name: demo,
           user_domain_name: Default, project_domain_name: Default}
    region_name: RegionOne
END
export OS_CLIENT_CONFIG_FILE=$state/clouds.yaml
# nova-compute refuses its second start without it.
[ -e "$state/nova/compute_id" ] || cat /proc/sys/kernel/random/uuid >"$state/nova/compute_id"

# start NAME COMMAND...
start() {
  local name=$1
  shift
  setsid "$@" >"$state/log/$name.out" 2>&1 </dev/null &
  echo $! >"$state/pid/$name"
}
# answers NAME PORT: waits until it does.
answers() {
  for _ in $(seq 3000); do
    (exec 3<>"/dev/tcp/$host/$2") 2>/dev/null && return 0
    kill -0 "$(cat "$state/pid/$1")" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 does not answer:" >&2
  tail -20 "$state/log/$1.out" >&2
  return 1
}

if [ ! -e "$state/db/done" ]; then
  mkdir -p "$state"/etc/{fernet,credential}
  chmod 700 "$state"/etc/{fernet,credential}
  (
    manage() { keystone-manage --config-file "$state/etc/keystone.conf" "$@"; }
    manage fernet_setup --keystone-user root --keystone-group root
    manage credential_setup --keystone-user root --keystone-group root
    manage db_sync
    # Without the internal address the other services answer 500.
    url=http://$host:$keystone/v3
    manage bootstrap --bootstrap-password admin --bootstrap-public-url "$url" --bootstrap-internal-url "$url" \
      --bootstrap-admin-url "$url" --bootstrap-region-id RegionOne
    glance-manage --config-file "$state/etc/glance-api.conf" db_sync
    "$python" "$here/databases.py" neutron "sqlite:///$state/db/neutron.db"
    manage() { nova-manage --config-file "$state/etc/nova.conf" "$@"; }
    manage api_db sync
    manage cell_v2 map_cell0 --database_connection "sqlite:///$state/db/nova_cell0.db?timeout=60"
    manage db sync
    manage cell_v2 create_cell --name cell1
  ) >"$state/log/databases.out" 2>&1 || { tail -20 "$state/log/databases.out" >&2; exit 1; }
elif [ "$(cat "$state/db/done")" != "$state $keystone" ]; then
  # A state that was kept: paths and ports in its databases are those of before.
  "$python" "$here/databases.py" moved "$state" "$keystone"
fi
start keystone "$python" "$here/serve.py" keystone.wsgi.api:application "$keystone"
answers keystone "$keystone"
[ -e "$state/db/done" ] || "$python" "$here/seed.py" $host "$glance" "$placement" "$neutron" "$nova"
start placement "$python" "$here/serve.py" placement.wsgi.api:application "$placement"
start glance "$python" "$here/serve.py" glance.wsgi.api:application "$glance"
start neutron "$python" "$here/serve.py" neutron.wsgi.api:application "$neutron"
answers placement "$placement"
answers glance "$glance"
answers neutron "$neutron"
start nova "$python" "$here/nova_all.py" "$nova" host-a host-b host-c
answers nova "$nova"
[ -e "$state/db/done" ] || "$python" "$here/seed.py" flavors
echo "$state $keystone" >"$state/db/done"
