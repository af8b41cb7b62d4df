//! bootstrap-os: an installed operating system becomes one that can run Kubernetes.
//!
//! What is checked is the feature, not how it came to be there: a tool, not a package; a kernel parameter, not a module.

pub(crate) mod clock;
mod distributions;
mod known_hosts;
mod selinux;
pub(crate) mod users;

use std::time::Duration;

use muster_engine::prelude::*;
use muster_inventory::HostVars;
use serde::Deserialize;

use crate::addresses;
use crate::calico;
use crate::catalogue::wants_app;
use crate::cilium;
use crate::cluster;
use crate::proxies;
use crate::resolvconf;

#[derive(Deserialize)]
struct Vars {
    override_system_hostname: bool,
    populate_inventory_to_hosts_file: bool,
    muster_install_packages: bool,
    package_lock_timeout: u32,
    kubelet_fail_swap_on: bool,
    kubelet_protect_kernel_defaults: bool,
    additional_sysctl: Vec<KernelParameter>,
    kube_override_hostname: String,
    kube_network_plugin: String,
    ipv6_stack: bool,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[
    Read::own::<Vars>(),
    Read::own::<clock::Vars>(),
    Read::own::<distributions::Vars>(),
    Read::own::<selinux::Vars>(),
    Read::own::<users::Vars>(),
];

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

/// What shows and removes the sets of addresses that network policies leave on a machine, where there are some (`roles/apps`).
pub(crate) const OF_POLICIES: (&str, &str) = ("ipset", "ipset");

/// The tools of a machine, on which network policies may be kept to.
pub(crate) fn tools(has_policies: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    TOOLS.into_iter().chain(has_policies.then_some(OF_POLICIES))
}

/// The packages of its distribution, by the names that most have, with which a machine is provided where it lacks what they bring; by its
/// variables, or, without any, those that every machine needs.
///
/// # Errors
/// A variable has a value that it cannot have.
pub fn packages(vars: Option<&HostVars>) -> Result<Vec<String>> {
    let Some(vars) = vars else { return Ok(TOOLS.map(|(_, package)| package.to_owned()).into()) };
    let named = tools(wants_app(vars, "network-policies")?).map(|(_, package)| package.to_owned());
    Ok(named.chain(vars.deserialize::<clock::Vars>()?.package()).collect())
}

/// Kernel modules that are loaded at boot where the kernel has them as modules.
const MODULES: &str = "overlay\nbr_netfilter\n";

const MODULES_FILE: &str = "/etc/modules-load.d/kubernetes.conf";
/// Its name comes after that of a link to /etc/sysctl.conf (`99-sysctl.conf` in Debian and its kin): the last one wins at each boot.
const SYSCTL_FILE: &str = "/etc/sysctl.d/99-zz-kubernetes.conf";
/// Where an older muster had it.
const FORMER_SYSCTL_FILE: &str = "/etc/sysctl.d/99-kubernetes.conf";

/// Holds the name that the machine had before it got that of its node.
const NAME_BEFORE: &str = "/var/lib/muster/stamps/hostname";

/// Holds the line that /etc/hosts got.
const HOSTS_LINE: &str = "/var/lib/muster/stamps/hosts";

pub(crate) async fn run(host: &Host) -> Result<()> {
    cluster::may_set_up(host).await?;
    let vars: Vars = host.vars()?;
    let parameters = parameters(&vars);

    let patience = Duration::from_secs(vars.package_lock_timeout.into());
    let mut step = host.step("Name, tools and kernel").limit(Duration::from_secs(600) + patience);
    step = step.ensure(match vars.populate_inventory_to_hosts_file {
        true => known_hosts::known(host)?,
        false => known_hosts::unknown(),
    });
    if vars.override_system_hostname {
        step = step
            .ensure(hostname(&vars.kube_override_hostname))
            .ensure(own_name(host, &vars.kube_override_hostname));
    }
    if vars.muster_install_packages {
        let proxy = proxies::of_packages(host)?;
        let patient = |package: Package| package.lock_timeout(vars.package_lock_timeout).proxy(proxy.clone());
        if let Some(epel) = distributions::epel(host).map(patient) {
            step = if distributions::wants_epel(host)? { step.ensure(epel) } else { step.remove(epel) };
        }
        let tools = tools(wants_app(host.all_vars(), "network-policies")?);
        step = step.ensure_all(tools.map(|(tool, name)| patient(package(tool, name))));
    }
    if vars.kubelet_fail_swap_on {
        step = step.ensure_all(no_swap_at_boot()).ensure(swap_off());
    }
    step = step
        .ensure_all(resolvconf::left_alone(host)?)
        .ensure_all(selinux::wanted(host)?)
        .ensure_all(users::wanted(host)?);
    step = distributions::told(host, step)?;
    if vars.kube_network_plugin == "calico" {
        step = step.ensure(calico::interfaces_left_alone());
    }
    if !clock::is_configured(host)? {
        step = step.ensure(clock::as_before());
    }
    let sysctl_d: String = parameters.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    step.ensure(file(MODULES_FILE).content(MODULES))
        .ensure(bridge_netfilter())
        .ensure(file(SYSCTL_FILE).content(sysctl_d))
        .ensure(no_former_sysctl_file())
        .await?;

    host.step("Kernel parameters")
        .ensure(is_noted(OF_KUBE_PROXY))
        .ensure_all((vars.kube_network_plugin == cilium::NAME).then(|| is_noted(OF_CILIUM)))
        .ensure_all(parameters.iter().map(|(name, value)| sysctl(name, value).optional()))
        .await?;
    clock::run(host).await
}

/// Whether packets of IPv6 are handed on, to pods and from them.
const FORWARDS_IPV6: &str = "net.ipv6.conf.all.forwarding";

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
    if vars.ipv6_stack {
        list.push((FORWARDS_IPV6.to_owned(), "1".to_owned()));
    }
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

/// The file of an older muster is gone; one of this name that somebody else has written stays.
fn no_former_sysctl_file() -> Command {
    command(
        format!("no {FORMER_SYSCTL_FILE}"),
        sh(r#"rm -f "$1""#, [FORMER_SYSCTL_FILE]),
        sh(
            r#"
[ -e "$1" ] || exit 0
case $(cat "$1") in
  'net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1'*) exit 1 ;;
esac"#,
            [FORMER_SYSCTL_FILE],
        ),
    )
}

/// What kube-proxy sets, so that a service is found at 127.0.0.1, and does not take back.
const OF_KUBE_PROXY: (&str, &str) = ("net.ipv4.conf.all.route_localnet", "1");

/// What cilium sets, so that no packet of its own is taken for one with a false sender, and does not take back.
const OF_CILIUM: (&str, &str) = ("net.ipv4.conf.all.rp_filter", "0");

/// How the machine had a parameter before another program's value was there is noted where a sysctl notes it, so that a reset brings it
/// back.
fn is_noted((name, theirs): (&str, &str)) -> Command {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let stamp = format!("/var/lib/muster/stamps/sysctl/{name}");
    command(
        format!("{name} of before is noted"),
        sh(
            r#"mkdir -p "${2%/*}"
cat "$1" >"$2.new"
sync "$2.new"
mv -f "$2.new" "$2""#,
            [&path, &stamp],
        ),
        // One that is set already is somebody's, or was set by that program before this was noted.
        sh(
            r#"[ ! -e "$1" ] || [ -e "$2" ] || [ "$(cat "$1")" = "$3" ]"#,
            [path.as_str(), stamp.as_str(), theirs],
        ),
    )
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
  sync "$before.new"
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

/// What this role has on a machine. Packages stay where `keep_programs` says so, and packets are forwarded where somebody else
/// `forwards`.
pub(crate) fn owned(host: &Host, keep_programs: bool, forwards: bool) -> Result<Resources> {
    let vars: Vars = host.vars()?;
    let mut owned = Resources::new();
    if !keep_programs {
        for (tool, name) in tools(true) {
            owned = owned.with(package(tool, name).lock_timeout(vars.package_lock_timeout));
        }
        owned = clock::packages(host)?.fold(owned, Resources::with);
        let epel = distributions::epel(host).map(|epel| epel.lock_timeout(vars.package_lock_timeout));
        owned = epel.into_iter().fold(owned, Resources::with);
    }
    owned = owned.with(file(MODULES_FILE)).with(file(SYSCTL_FILE)).with(distributions::apt_file());
    owned = owned.with(resolvconf::owned());
    owned = [OF_KUBE_PROXY, OF_CILIUM]
        .into_iter()
        .fold(owned, |all, (name, theirs)| all.with(sysctl(name, theirs).optional()));
    Ok(parameters(&vars)
        .into_iter()
        .filter(|(name, _)| !forwards || !["net.ipv4.ip_forward", FORWARDS_IPV6].contains(&name.as_str()))
        .fold(owned, |all, (name, value)| all.with(sysctl(name, value).optional())))
}

/// Prints the interfaces for which somebody else than the cluster needs packets to be forwarded (Docker's, libvirt's, those of a
/// virtual private network), where muster has switched that on and it is on.
pub(crate) const FORWARDING: &str = r#"
stamp=/var/lib/muster/stamps/sysctl/net.ipv4.ip_forward
if [ -e "$stamp" ] && [ "$(cat "$stamp")" != 1 ]; then
  for path in /sys/class/net/*; do
    if [ "$path" = /sys/class/net/cni0 ]; then continue; fi
    if [ -e "$path/bridge" ] || [ -e "$path/tun_flags" ] || grep -qsx DEVTYPE=wireguard "$path/uevent"; then
      echo "${path##*/}"
    fi
  done
fi"#;

/// The machine's name, its swap, its time service, SELinux, users and restarts are as they were before [`run`] changed them.
pub(crate) fn as_before() -> [Command; 9] {
    [
        clock::as_before(),
        distributions::as_before(),
        selinux::as_before(),
        users::gone(),
        no_former_sysctl_file(),
        known_hosts::unknown(),
        removal(
            "lines of ours in /etc/hosts",
            sh(
                concat!(
                    include_str!("../hosts_file.sh"),
                    r#"
line=$(cat "$1")
# grep(1): 1 where no line is left.
hosts() { grep -vxF -e "$line" /etc/hosts || [ $? = 1 ]; }
hosts_become
rm -f "$1""#
                ),
                [HOSTS_LINE],
            ),
            sh(r#"[ ! -e "$1" ]"#, [HOSTS_LINE]),
        ),
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
            "swap as before",
            sh0(r#"
masked=/var/lib/muster/stamps/masked
if [ -e "$masked" ]; then
  while read -r unit; do
    [ "$(readlink "$unit" || :)" != /dev/null ] || rm -f "$unit"
    [ ! -e "$unit.kubernetes-off" ] || mv -f "$unit.kubernetes-off" "$unit"
  done <"$masked"
fi
[ ! -d /run/systemd/system ] || systemctl daemon-reload
if [ -e /etc/fstab ]; then
  temporary=$(mktemp /etc/.muster.XXXXXX)
  trap 'rm -f "$temporary"' EXIT
  cp -p /etc/fstab "$temporary"
  sed 's/^# kubernetes: //' /etc/fstab >"$temporary"
  sync "$temporary"
  mv -f "$temporary" /etc/fstab
fi
rm -f "$masked"
swapon -a || echo 'swap is on again after the next restart'"#),
            sh0(r#"[ ! -e /var/lib/muster/stamps/masked ] && ! grep -qs '^# kubernetes: ' /etc/fstab"#),
        ),
    ]
}

fn swap_off() -> Command {
    command("swap is off", sh0("swapoff -a"), sh0("[ \"$(wc -l </proc/swaps)\" -le 1 ]"))
}

/// The machine knows its own name, whatever name servers say: sudo and others wait for an answer otherwise.
fn own_name(host: &Host, name: &str) -> Command {
    let address = addresses::ip(host).map_or_else(|_| "127.0.1.1".to_owned(), |ip| ip.to_string());
    command(
        format!("{name} in /etc/hosts"),
        sh(
            concat!(
                include_str!("../hosts_file.sh"),
                r#"
mkdir -p "${3%/*}"
printf '%s %s\n' "$2" "$1" >"$3.new"
sync "$3.new"
mv -f "$3.new" "$3"
# Its last line may have no end.
hosts() {
  while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done </etc/hosts
  cat "$1"
}
hosts_become "$3""#
            ),
            [name, &address, HOSTS_LINE],
        ),
        sh(include_str!("known_name.sh"), [name]),
    )
}

/// A snippet in which `swap_sources` prints what switches swap on at the next boot.
macro_rules! swap_sources {
    ($text:expr) => {
        sh0(concat!(include_str!("swap_sources.sh"), $text))
    };
}

/// What switches swap on at the next boot, a line each.
pub(crate) const SWAP_SOURCES: &str = concat!(include_str!("swap_sources.sh"), "swap_sources\n");

/// systemd switches swap on at every boot: what fstab says, partitions of that type (systemd-gpt-auto-generator(8)), zram.
/// All of it is wanted by one target; what does not ask that is masked by itself.
fn no_swap_at_boot() -> [Command; 2] {
    let target = command(
        "swap.target is masked",
        sh(concat!(include_str!("mask.sh"), r#"mask "$1""#), ["/etc/systemd/system/swap.target"]),
        sh(r#"[ "$(readlink "$1")" = /dev/null ]"#, ["/etc/systemd/system/swap.target"]),
    );
    let never = command(
        "nothing switches swap on at boot",
        swap_sources!(concat!(include_str!("mask.sh"), include_str!("swap_never.sh"))),
        swap_sources!(r#"[ -z "$(swap_sources)" ]"#),
    );
    [target, never]
}

/// Bridged pods' packets must pass iptables. Built into some kernels, a module in most.
fn bridge_netfilter() -> Command {
    command(
        "bridges pass iptables",
        sh0("modprobe br_netfilter; modprobe overlay || grep -q overlay /proc/filesystems"),
        sh0("[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]"),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Runs a program for a machine whose files are in a folder.
    fn run(root: &Path, program: &str) -> String {
        let folder = root.display().to_string();
        let mut program = program.to_owned();
        for top in ["/etc", "/run", "/usr/lib", "/lib", "/var/lib"] {
            for before in [" ", "\"", "<"] {
                program = program.replace(&format!("{before}{top}/"), &format!("{before}{folder}{top}/"));
            }
        }
        let out = Command::new("dash").args(["-euc", &program]).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().replace(&folder, "")
    }

    #[test]
    fn machines_hand_packets_of_ipv6_on_where_the_cluster_has_it() {
        let set = |yaml: &str| {
            let vars = crate::preflight::fixture::variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
            parameters(&vars.deserialize().unwrap()).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let (one, mut both) = (set(""), set("ipv6_stack: true"));
        assert!(!one.iter().any(|name| name == FORWARDS_IPV6));
        let at = both.iter().position(|name| name == FORWARDS_IPV6).unwrap();
        both.remove(at);
        assert_eq!(both, one);
    }

    #[test]
    fn whatever_switches_swap_on_at_boot_is_found_and_switched_off() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let never =
            concat!(include_str!("swap_sources.sh"), include_str!("mask.sh"), include_str!("swap_never.sh"));
        for folder in [
            "etc/systemd/system",
            "run/systemd/generator",
            "usr/lib/systemd/system-generators",
            "usr/lib/systemd/system",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        assert_eq!(run(root, SWAP_SOURCES), "", "a machine without swap");
        let write = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
        write(
            "etc/fstab",
            "/dev/sda1 / ext4 defaults 0 1\n  # /dev/sda3 none swap sw 0 0\nUUID=1 none swap sw 0 0\n",
        );
        write("run/systemd/generator/dev-sda2.swap", "");
        write("etc/systemd/system/swapfile.swap", "[Swap]\nWhat=/swapfile\n");
        write("usr/lib/systemd/system-generators/zram-generator", "");
        for service in ["zramswap", "zram-config", "dphys-swapfile"] {
            write(&format!("usr/lib/systemd/system/{service}.service"), "");
        }
        symlink("/dev/null", root.join("etc/systemd/system/masked.swap")).unwrap();
        let found = run(root, SWAP_SOURCES);
        let expected = [
            "/etc/fstab UUID=1",
            "unit swapfile.swap",
            "unit dev-sda2.swap",
            "generator zram-generator",
            "unit zramswap.service",
            "unit zram-config.service",
            "unit dphys-swapfile.service",
        ];
        assert_eq!(found.lines().collect::<Vec<_>>(), expected);
        run(root, never);
        assert_eq!(run(root, SWAP_SOURCES), "", "nothing is left");
        // What was masked before is not muster's to undo.
        let masked = fs::read_to_string(root.join("var/lib/muster/stamps/masked")).unwrap();
        assert!(
            masked.contains("/etc/systemd/system/swapfile.swap\n") && !masked.contains("/masked.swap"),
            "{masked}"
        );
        let kept = fs::read_to_string(root.join("etc/systemd/system/swapfile.swap.kubernetes-off")).unwrap();
        assert_eq!(kept, "[Swap]\nWhat=/swapfile\n");
        let fstab = fs::read_to_string(root.join("etc/fstab")).unwrap();
        assert!(
            fstab.starts_with("/dev/sda1 /") && fstab.contains("\n# kubernetes: UUID=1 none swap"),
            "{fstab}"
        );
    }
}
