//! NetworkManager, where it is at work, leaves calico's interfaces alone: it would take routes and addresses from them that it has not
//! given them (calico's documentation, "Configure NetworkManager").

use muster_engine::prelude::*;

const FILE: &str = "/etc/NetworkManager/conf.d/muster-calico.conf";
/// Says that it was told: a file alone may have come just before a run was cut off.
const TOLD: &str = "/var/lib/muster/stamps/network-manager";

const CONTENT: &str = "# Written by muster: these are calico's.
[keyfile]
unmanaged-devices+=interface-name:cali*;interface-name:tunl*;interface-name:vxlan.calico";

/// It is told.
pub(crate) fn interfaces_left_alone() -> Command {
    command(
        "NetworkManager leaves calico's interfaces alone",
        sh(
            r#"path=$1 told=$2 content=$3
mkdir -p "${path%/*}" "${told%/*}"
rm -f "$told"
printf '%s\n' "$content" >"$path.new"
sync "$path.new"
mv -f "$path.new" "$path"
systemctl reload NetworkManager
: >"$told""#,
            [FILE, TOLD, CONTENT],
        ),
        sh(
            r#"[ -d /etc/NetworkManager ] || exit 0
[ -e "$2" ] && [ "$(cat "$1")" = "$3" ] || ! systemctl -q is-active NetworkManager"#,
            [FILE, TOLD, CONTENT],
        ),
    )
}

/// It is not told any more.
pub(crate) fn interfaces_of_nobody() -> Command {
    removal(
        format!("file {FILE}"),
        sh(
            r#"rm -f "$1"
! systemctl -q is-active NetworkManager || systemctl reload NetworkManager
rm -f "$2""#,
            [FILE, TOLD],
        ),
        sh(r#"[ ! -e "$1" ] && [ ! -e "$2" ]"#, [FILE, TOLD]),
    )
}
