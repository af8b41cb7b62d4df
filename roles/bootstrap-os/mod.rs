//! bootstrap-os: an installed operating system becomes one that can run Kubernetes.
//!
//! What is checked is the feature, not how it came to be there: a tool, not a package; a kernel parameter, not a module.

use std::time::Duration;

use muster_engine::prelude::*;
use serde::Deserialize;

use crate::cluster;

#[derive(Deserialize)]
struct Vars {
    override_system_hostname: bool,
    muster_install_packages: bool,
    package_lock_timeout: u32,
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    kubelet_fail_swap_on: bool,
    kubelet_protect_kernel_defaults: bool,
    additional_sysctl: Vec<KernelParameter>,
    kube_override_hostname: String,
}

#[derive(Deserialize)]
struct KernelParameter {
    name: String,
    value: String,
}

/// What the kubelet and the network plugins call, and the package that has it in most distributions.
pub(crate) const TOOLS: [(&str, &str); 8] = [
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("socat", "socat"),
    ("tar", "tar"),
    ("gzip", "gzip"),
];

/// Kernel modules that are loaded at boot where the kernel has them as modules.
const MODULES: &str = "overlay\nbr_netfilter\n";

const MODULES_FILE: &str = "/etc/modules-load.d/kubernetes.conf";
const SYSCTL_FILE: &str = "/etc/sysctl.d/99-kubernetes.conf";

/// Holds the name that the machine had before it got that of its node.
const NAME_BEFORE: &str = "/var/lib/muster/stamps/hostname";

pub(crate) async fn run(host: &Host) -> Result<()> {
    cluster::belongs(host).await?;
    let vars: Vars = host.vars()?;
    let parameters = parameters(&vars);

    let patience = Duration::from_secs(vars.package_lock_timeout.into());
    let mut step = host.step("Name, tools and kernel").limit(Duration::from_secs(600) + patience);
    if vars.override_system_hostname {
        step = step.ensure(hostname(&vars.kube_override_hostname));
    }
    if vars.muster_install_packages {
        let (http, https, none) = (vars.http_proxy.clone(), vars.https_proxy.clone(), vars.no_proxy.clone());
        let proxy = Proxy { http, https, none };
        step = step.ensure_all(TOOLS.map(|(tool, name)| {
            package(tool, name).lock_timeout(vars.package_lock_timeout).proxy(proxy.clone())
        }));
    }
    if vars.kubelet_fail_swap_on {
        step = step.ensure(swap_off()).ensure(no_swap_at_boot());
    }
    let sysctl_d: String = parameters.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    step.ensure(file(MODULES_FILE).content(MODULES))
        .ensure(bridge_netfilter())
        .ensure(file(SYSCTL_FILE).content(sysctl_d))
        .await?;

    host.step("Kernel parameters")
        .ensure_all(parameters.iter().map(|(name, value)| sysctl(name, value).optional()))
        .await?;
    Ok(())
}

/// The kernel parameters: what Kubernetes' documentation and the kubelet ask for.
fn parameters(vars: &Vars) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = [
        ("net.ipv4.ip_forward", "1"),
        ("net.bridge.bridge-nf-call-iptables", "1"),
        ("net.bridge.bridge-nf-call-ip6tables", "1"),
        ("net.ipv4.ip_local_reserved_ports", "30000-32767"),
        ("fs.inotify.max_user_instances", "8192"),
        ("fs.inotify.max_user_watches", "524288"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if vars.kubelet_protect_kernel_defaults {
        let expected = [
            ("kernel.panic", "10"),
            ("kernel.panic_on_oops", "1"),
            ("vm.overcommit_memory", "1"),
            ("vm.panic_on_oom", "0"),
            ("kernel.keys.root_maxkeys", "1000000"),
            ("kernel.keys.root_maxbytes", "25000000"),
        ];
        list.extend(expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    list.extend(vars.additional_sysctl.iter().map(|p| (p.name.clone(), p.value.clone())));
    list
}

fn hostname(name: &str) -> Command {
    command(
        format!("host name {name}"),
        // hostnamectl needs a bus; the kernel and the file are what counts. The file is written in place, because in a container
        // it is a mount, which no rename replaces.
        sh(
            r#"
name=$1 before=$2
if [ ! -e "$before" ]; then
  mkdir -p "${before%/*}"
  cat /proc/sys/kernel/hostname >"$before.new"
  mv -f "$before.new" "$before"
fi
printf '%s\n' "$name" >/etc/hostname; printf %s "$name" >/proc/sys/kernel/hostname || hostname "$name""#,
            [name, NAME_BEFORE],
        ),
        sh(
            r#"[ "$(cat /proc/sys/kernel/hostname)" = "$1" ] && [ "$(cat /etc/hostname 2>/dev/null)" = "$1" ]"#,
            [name],
        ),
    )
}

/// What this role has on a machine. Packages stay where `keep_programs` says so.
pub(crate) fn owned(host: &Host, keep_programs: bool) -> Result<Resources> {
    let vars: Vars = host.vars()?;
    let mut owned = Resources::new();
    if !keep_programs {
        for (tool, name) in TOOLS {
            owned = owned.with(package(tool, name).lock_timeout(vars.package_lock_timeout));
        }
    }
    owned = owned.with(file(MODULES_FILE)).with(file(SYSCTL_FILE));
    Ok(parameters(&vars)
        .into_iter()
        .fold(owned, |all, (name, value)| all.with(sysctl(name, value).optional())))
}

/// The machine's name and its swap are as they were before [`run`] changed them.
pub(crate) fn as_before() -> [Command; 2] {
    [
        command(
            "the host name of before",
            sh(
                r#"
before=$1
read -r name <"$before"
printf '%s\n' "$name" >/etc/hostname; printf %s "$name" >/proc/sys/kernel/hostname || hostname "$name"
rm -f "$before""#,
                [NAME_BEFORE],
            ),
            sh(r#"[ ! -e "$1" ]"#, [NAME_BEFORE]),
        ),
        command(
            "swap of /etc/fstab as before",
            sh0(r#"
temporary=$(mktemp /etc/.muster.XXXXXX)
trap 'rm -f "$temporary"' EXIT
cp -p /etc/fstab "$temporary"
sed 's/^# kubernetes: //' /etc/fstab >"$temporary"
sync "$temporary"
mv -f "$temporary" /etc/fstab
swapon -a || echo 'swap is on again after the next restart'"#),
            sh0("! grep -qs '^# kubernetes: ' /etc/fstab"),
        ),
    ]
}

fn swap_off() -> Command {
    command("swap is off", sh0("swapoff -a"), sh0("[ \"$(wc -l </proc/swaps)\" -le 1 ]"))
}

/// The lines stay in /etc/fstab as comments, so that nobody wonders where they went.
fn no_swap_at_boot() -> Command {
    command(
        "no swap in /etc/fstab",
        sh0(r##"
temporary=$(mktemp /etc/.muster.XXXXXX)
trap 'rm -f "$temporary"' EXIT
cp -p /etc/fstab "$temporary"
awk '!/^[[:space:]]*#/ && $3 == "swap" { print "# kubernetes: " $0; next } { print }' /etc/fstab >"$temporary"
sync "$temporary"
mv -f "$temporary" /etc/fstab"##),
        sh0(
            r#"[ ! -e /etc/fstab ] || ! awk '!/^[[:space:]]*#/ && $3 == "swap" { found = 1 } END { exit !found }' /etc/fstab"#,
        ),
    )
}

/// Bridged pods' packets must pass iptables. Built into some kernels, a module in most.
fn bridge_netfilter() -> Command {
    command(
        "bridges pass iptables",
        sh0("modprobe br_netfilter; modprobe overlay || grep -q overlay /proc/filesystems"),
        sh0("[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]"),
    )
}
