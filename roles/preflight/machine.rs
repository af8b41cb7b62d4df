//! The machine itself: its system, its memory, its kernel, and what is installed on it.

use muster_artifacts::Arch;
use muster_engine::prelude::Problem;

use super::Machine;
use super::findings::{Findings, problem};
use crate::bootstrap_os;
use crate::common::kube_minor;

/// Everything about the machine itself.
pub(super) fn check(machine: &Machine, findings: &mut Findings) {
    findings.object(service_manager(machine));
    findings.object(distribution(machine));
    findings.refuse(architecture(machine));
    findings.object(memory(machine));
    findings.object(cgroups(machine));
    findings.refuse(controllers(machine));
    findings.warn(cgroup_version(machine));
    findings.object(kernel_version(machine));
    findings.object(kernel_for_cilium(machine));
    findings.refuse(kernel_features(machine));
    findings.refuse(tools(machine));
    findings.refuse(time_service(machine));
    findings.refuse(read_only(machine));
    findings.refuse(swap_of_the_host(machine));
    findings.warn(swap_that_returns(machine));
    findings.warn(selinux(machine));
}

fn service_manager(machine: &Machine) -> Option<Problem> {
    (!machine.facts.systemd).then(|| {
        problem(
            "service manager",
            "not systemd",
            "a system that systemd runs",
            "install one, or start this one with systemd",
        )
    })
}

/// os-release(5) IDs of the distributions that kubespray knows.
const DISTRIBUTIONS: [&str; 21] = [
    "almalinux",
    "amzn",
    "centos",
    "clear-linux-os",
    "coreos",
    "debian",
    "fedora",
    "flatcar",
    "kylin",
    "ol",
    "opencloudos",
    "openeuler",
    "opensuse",
    "opensuse-leap",
    "opensuse-tumbleweed",
    "rhel",
    "rocky",
    "sles",
    "ubuntu",
    "uos",
    "uniontech",
];

fn distribution(machine: &Machine) -> Option<Problem> {
    let os = &machine.facts.os;
    let of = |key: &str| os.get(key).map(String::as_str).unwrap_or_default().to_ascii_lowercase();
    // What is made from a known one counts as known.
    let known =
        format!("{} {}", of("ID"), of("ID_LIKE")).split_whitespace().any(|id| DISTRIBUTIONS.contains(&id));
    if known || machine.vars.allow_unsupported_distribution_setup {
        return None;
    }
    let found = os.get("PRETTY_NAME").cloned().unwrap_or_else(|| "unknown".into());
    Some(problem(
        "distribution",
        found,
        "Debian, Ubuntu, a relative of RHEL, SUSE, Flatcar, ...",
        "set allow_unsupported_distribution_setup: true to try it",
    ))
}

fn architecture(machine: &Machine) -> Option<Problem> {
    Arch::of_machine(&machine.facts.arch).is_none().then(|| {
        problem(
            "architecture",
            machine.facts.arch.as_str(),
            "amd64 or arm64",
            "take another machine: there are no programs for it",
        )
    })
}

fn memory(machine: &Machine) -> Option<Problem> {
    let needs = [
        (
            machine.duties.control_plane,
            machine.vars.minimal_master_memory_mb,
            "a control plane",
            "minimal_master_memory_mb",
        ),
        (machine.duties.node, machine.vars.minimal_node_memory_mb, "a node", "minimal_node_memory_mb"),
    ];
    let unmet = needs.into_iter().filter(|(is_one, least, ..)| *is_one && machine.facts.memory_mb < *least);
    let (_, least, what, variable) = unmet.max_by_key(|(_, least, ..)| *least)?;
    Some(problem(
        "memory",
        format!("{} MB", machine.facts.memory_mb),
        format!("at least {least} MB on {what}"),
        format!("give the machine more memory, or set {variable}"),
    ))
}

fn cgroups(machine: &Machine) -> Option<Problem> {
    (machine.facts.cgroup == 0).then(|| {
        problem(
            "cgroups",
            "none",
            "cgroups, mounted at /sys/fs/cgroup",
            "use a kernel with cgroups; in a container, mount them",
        )
    })
}

/// What the kubelet limits pods with.
fn controllers(machine: &Machine) -> Option<Problem> {
    const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
    let lacks = |controller: &&&str| !machine.facts.controllers.iter().any(|c| c == **controller);
    let missing: Vec<&str> = NEEDED.iter().filter(lacks).copied().collect();
    (machine.facts.cgroup != 0 && !missing.is_empty()).then(|| {
        let switches: Vec<_> = missing.iter().map(|name| format!("cgroup_enable={name}")).collect();
        problem(
            "cgroups",
            format!("no controller for {}", missing.join(", ")),
            format!("the controllers {}", NEEDED.join(", ")),
            format!("add {} to the kernel's command line and restart", switches.join(" ")),
        )
    })
}

/// Kubernetes 1.35 and later refuse cgroup v1 unless told not to (KEP-5573); the kubelet is told.
fn cgroup_version(machine: &Machine) -> Option<Problem> {
    (machine.facts.cgroup == 1 && kube_minor(&machine.cluster.kube_version) >= 35).then(|| {
        problem(
            "cgroups",
            "version 1",
            "version 2: Kubernetes is giving up version 1, which still works here",
            "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line when you can",
        )
    })
}

/// Cilium's programs need a kernel of 5.10 (its "System Requirements").
fn kernel_for_cilium(machine: &Machine) -> Option<Problem> {
    let node = machine.duties.control_plane || machine.duties.node;
    (node && machine.vars.kube_network_plugin == "cilium" && kernel(machine) < (5, 10)).then(|| {
        problem(
            "kernel",
            machine.facts.kernel.as_str(),
            "5.10 or later for kube_network_plugin cilium",
            "install a later kernel, or set kube_network_plugin: calico",
        )
    })
}

/// kube-proxy's nftables mode needs a kernel of 5.13 (Kubernetes' "Virtual IPs and Service Proxies").
fn kernel_version(machine: &Machine) -> Option<Problem> {
    (machine.vars.proxy_mode() == "nftables" && kernel(machine) < (5, 13)).then(|| {
        problem(
            "kernel",
            machine.facts.kernel.as_str(),
            "5.13 or later for kube_proxy_mode nftables",
            "install a later kernel, or set kube_proxy_mode: iptables",
        )
    })
}

/// The first two numbers of the kernel's version.
fn kernel(machine: &Machine) -> (u32, u32) {
    let mut numbers =
        machine.facts.kernel.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn kernel_features(machine: &Machine) -> Vec<Problem> {
    let (vars, node) = (machine.vars, machine.duties.control_plane || machine.duties.node);
    let flannel = vars.kube_network_plugin == "flannel";
    let vxlan = match vars.kube_network_plugin.as_str() {
        "flannel" => "flannel_backend_type vxlan",
        "cilium" => "cilium_tunnel_mode vxlan",
        _ => "calico_vxlan_mode",
    };
    // A machine does not tell of Geneve.
    let geneve = vars.kube_network_plugin == "cilium" && vars.cilium_tunnel_mode == "geneve";
    let ipip = vars.kube_network_plugin == "calico" && vars.calico_ipip_mode != "Never";
    let needs = [
        (node && vars.containerd_snapshotter == "overlayfs", "overlay", "containerd_snapshotter overlayfs"),
        (node, "br_netfilter", "pods behind a bridge"),
        (node && vars.vxlan_port().is_some() && !geneve, "vxlan", vxlan),
        (node && ipip, "ipip", "calico_ipip_mode"),
        (node && vars.proxy_mode() == "ipvs", "ip_vs", "kube_proxy_mode ipvs"),
        (node && vars.network_policies_enabled, "ip_set", "network_policies_enabled"),
        (
            node && vars.proxy_mode() == "nftables" && !machine.seen.nf_tables,
            "nf_tables",
            "kube_proxy_mode nftables",
        ),
    ];
    let missing =
        needs.into_iter().filter(|(needed, feature, _)| *needed && !machine.facts.can_have_feature(feature));
    missing
        .map(|(_, feature, what)| {
            let otherwise = match feature {
                "vxlan" if flannel => ", or set flannel_backend_type: host-gw",
                "ip_vs" | "nf_tables" => ", or set kube_proxy_mode: iptables",
                "ip_set" => ", or set network_policies_enabled: false",
                _ => "",
            };
            let remedy = match (machine.facts.container.as_str(), feature) {
                ("", "vxlan") => {
                    format!("install the kernel's other modules (Ubuntu: linux-modules-extra){otherwise}")
                }
                ("", _) => format!("install a kernel, or modules for it, with {feature}{otherwise}"),
                _ => {
                    format!("load it on the machine that runs this container: modprobe {feature}{otherwise}")
                }
            };
            problem(
                "kernel",
                format!("no {feature}, nor a module that could be loaded"),
                format!("{feature}, for {what}"),
                remedy,
            )
        })
        .collect()
}

fn tools(machine: &Machine) -> Option<Problem> {
    let facts = machine.facts;
    let node = machine.duties.control_plane || machine.duties.node;
    let tools = bootstrap_os::tools(node && machine.vars.network_policies_enabled);
    let missing = tools.filter(|(tool, _)| !facts.has_tool(tool));
    let installs = machine.vars.muster_install_packages && !facts.package_manager.is_empty();
    // Without `ip` the machine's addresses cannot be seen, and everything else depends on them.
    let missing: Vec<_> = missing.filter(|(tool, _)| !installs || *tool == "ip").collect();
    let tools: Vec<&str> = missing.iter().map(|(tool, _)| *tool).collect();
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    (!missing.is_empty()).then(|| {
        let remedy = match facts.package_manager.as_str() {
            "" => "put them into the machine's image: there is no package manager".to_owned(),
            manager => format!("{manager} install {}", packages.join(" ")),
        };
        problem("tools", format!("no {}", tools.join(", ")), "the commands that Kubernetes calls", remedy)
    })
}

/// One that is missing is installed, where it can be.
fn time_service(machine: &Machine) -> Option<Problem> {
    let manager = machine.facts.package_manager.as_str();
    let installs = machine.vars.muster_install_packages && !manager.is_empty();
    (!machine.seen.keeps_time && !installs).then(|| {
        let remedy = match manager {
            "" => "put chrony into the machine's image, because there is no package manager; or set ntp_enabled: false".to_owned(),
            manager => format!("{manager} install chrony, or set ntp_enabled: false"),
        };
        problem("time service", "none", "chrony, ntpd, OpenNTPD or systemd-timesyncd, because ntp_enabled is true", remedy)
    })
}

fn read_only(machine: &Machine) -> Vec<Problem> {
    let needed = [machine.seen.bin_dir.as_str(), "/etc", "/var/lib", "/opt/bin"];
    let mut folders: Vec<&str> =
        needed.into_iter().filter(|d| machine.facts.readonly.iter().any(|r| r == d)).collect();
    folders.dedup();
    folders
        .into_iter()
        .map(|folder| {
            let remedy = format!(
                "mount a file system there that can be written, or remount it: mount -o remount,rw {folder}"
            );
            problem("file system", format!("{folder} is read-only"), format!("{folder} to write to"), remedy)
        })
        .collect()
}

/// A container sees the swap of the machine that runs it, and cannot switch it off.
fn swap_of_the_host(machine: &Machine) -> Option<Problem> {
    let facts = machine.facts;
    (machine.vars.kubelet_fail_swap_on && !facts.container.is_empty() && !facts.swaps.is_empty()).then(|| {
        problem(
            "swap",
            format!("{} MB of the machine that runs this container", facts.swap_mb),
            "no swap",
            "switch it off there: swapoff -a, or set kubelet_fail_swap_on: false",
        )
    })
}

/// Swap is switched off, and what would switch it on at the next boot is known, and masked.
fn swap_that_returns(machine: &Machine) -> Option<Problem> {
    let facts = machine.facts;
    let known = !machine.seen.swap_sources.is_empty();
    (machine.vars.kubelet_fail_swap_on && facts.container.is_empty() && !facts.swaps.is_empty() && !known).then(|| {
        problem(
            "swap",
            format!("{}, and neither /etc/fstab nor a unit of systemd has switched it on", facts.swaps.join(", ")),
            "no swap, after a restart either",
            "it is switched off now; find what switches it on (/etc/rc.local, a service with swapon), or look after the next restart: \
             cat /proc/swaps",
        )
    })
}

fn selinux(machine: &Machine) -> Option<Problem> {
    let goes = machine.vars.preinstall_selinux_state.as_deref().is_some_and(|state| state != "enforcing");
    (machine.facts.selinux == "Enforcing" && !goes).then(|| {
        problem(
            "SELinux",
            "enforcing",
            "permissive, or a policy for containers",
            "set preinstall_selinux_state: permissive; or install container-selinux",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    type Change = fn(&mut Fixture);

    fn found(change: Change) -> (Vec<String>, Vec<String>) {
        let mut fixture = Fixture::good();
        change(&mut fixture);
        let mut findings = Findings::new(fixture.vars.ignore_assert_errors);
        check(&fixture.machine(), &mut findings);
        let texts = |list: &[Problem]| list.iter().map(|p| format!("{}: {}", p.check, p.found)).collect();
        (texts(&findings.problems), texts(&findings.warnings))
    }

    fn with_policies(fixture: &mut Fixture) {
        fixture.vars.network_policies_enabled = true;
    }

    #[test]
    fn a_good_machine_passes() {
        assert_eq!(found(|_| {}), (Vec::new(), Vec::new()));
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_wrong_with_a_machine_is_found() {
        let rows: [(Change, &str); 40] = [
            (|f| f.facts.systemd = false, "service manager: not systemd"),
            (|f| f.os("ID", "slackware"), "distribution: Example Linux 1"),
            (|f| { f.os("ID", "raspbian"); f.os("ID_LIKE", "debian") }, ""),
            (|f| { f.os("ID", "slackware"); f.vars.allow_unsupported_distribution_setup = true }, ""),
            (|f| f.facts.arch = "riscv64".into(), "architecture: riscv64"),
            (|f| f.facts.arch = "arm64".into(), ""),
            (|f| f.facts.memory_mb = 498, "memory: 498 MB"),
            (|f| { f.facts.memory_mb = 1200; f.duties.control_plane = false }, ""),
            (|f| { f.facts.memory_mb = 498; f.duties.control_plane = false; f.duties.node = false }, ""),
            (|f| { f.facts.memory_mb = 498; f.vars.minimal_master_memory_mb = 400; f.vars.minimal_node_memory_mb = 400 }, ""),
            (|f| f.facts.cgroup = 0, "cgroups: none"),
            (|f| f.facts.controllers.retain(|c| c != "memory"), "cgroups: no controller for memory"),
            (|f| f.vars.kube_proxy_mode = "nftables".into(), "kernel: no nf_tables, nor a module that could be loaded"),
            (|f| { f.vars.kube_proxy_mode = "nftables".into(); f.seen.nf_tables = true }, ""),
            (|f| { f.vars.kube_network_plugin = "cilium".into(); f.facts.kernel = "5.4.0-150".into() }, "kernel: 5.4.0-150"),
            (|f| { f.vars.kube_network_plugin = "cilium".into(); f.facts.kernel = "5.10.0-8".into() }, ""),
            (|f| { f.vars.kube_network_plugin = "cilium".into(); f.facts.features.retain(|feature| feature != "vxlan") },
             "kernel: no vxlan, nor a module that could be loaded"),
            (|f| { f.vars.kube_network_plugin = "cilium".into(); f.vars.cilium_tunnel_mode = "geneve".into();
                   f.facts.features.retain(|feature| feature != "vxlan") }, ""),
            (|f| { f.vars.kube_proxy_mode = "nftables".into(); f.seen.nf_tables = true; f.facts.kernel = "5.10.0-8".into() },
             "kernel: 5.10.0-8"),
            (|f| f.vars.kube_proxy_mode = "ipvs".into(), "kernel: no ip_vs, nor a module that could be loaded"),
            (|f| { f.vars.kube_proxy_mode = "ipvs".into(); f.vars.kube_proxy_remove = true }, ""),
            (|f| { f.vars.kube_proxy_mode = "nftables".into(); f.vars.kube_proxy_remove = true; f.facts.kernel = "5.10.0-8".into() }, ""),
            (|f| f.facts.features.retain(|n| n != "overlay"), "kernel: no overlay, nor a module that could be loaded"),
            (|f| f.facts.features.retain(|n| n != "br_netfilter"), "kernel: no br_netfilter, nor a module that could be loaded"),
            (|f| f.facts.features.retain(|n| n != "vxlan"), "kernel: no vxlan, nor a module that could be loaded"),
            (|f| { f.facts.features.retain(|n| n != "vxlan"); f.facts.modules = vec!["vxlan".into()]; f.facts.capabilities = u64::MAX }, ""),
            (|f| { f.facts.features.retain(|n| n != "vxlan"); f.vars.flannel_backend_type = "host-gw".into() }, ""),
            (|f| { f.vars.kube_network_plugin = "calico".into(); f.vars.calico_ipip_mode = "Always".into() },
             "kernel: no ipip, nor a module that could be loaded"),
            (|f| { f.facts.tools.retain(|t| t != "conntrack"); f.facts.package_manager = String::new() }, "tools: no conntrack"),
            (|f| f.facts.tools.retain(|t| t != "conntrack"), ""),
            (|f| f.facts.tools.retain(|t| t != "ip"), "tools: no ip"),
            (|f| { with_policies(f); f.facts.features.push("ip_set".into()) }, ""),
            (|f| { with_policies(f); f.facts.package_manager = String::new(); f.facts.features.push("ip_set".into()) },
             "tools: no ipset"),
            (with_policies, "kernel: no ip_set, nor a module that could be loaded"),
            (|f| { f.facts.tools.retain(|t| t != "socat"); f.vars.muster_install_packages = false }, "tools: no socat"),
            (|f| { f.seen.keeps_time = false; f.vars.muster_install_packages = false }, "time service: none"),
            (|f| { f.seen.keeps_time = false; f.facts.package_manager.clear() }, "time service: none"),
            (|f| { f.facts.readonly = vec!["/usr".into(), "/usr/local/bin".into()]; f.seen.bin_dir = "/opt/bin".into() }, ""),
            (|f| { f.facts.readonly = vec!["/opt/bin".into()]; f.seen.bin_dir = "/opt/bin".into() }, "file system: /opt/bin is read-only"),
            (|f| { f.facts.container = "docker".into(); f.facts.swaps = vec!["/dev/sda2".into()]; f.facts.swap_mb = 2047 },
             "swap: 2047 MB of the machine that runs this container"),
        ];
        for (row, (change, expected)) in rows.into_iter().enumerate() {
            assert_eq!(found(change).0.join("; "), expected, "row {row}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn what_does_no_harm_is_a_warning() {
        let rows: [(Change, &str); 7] = [
            (|f| f.facts.cgroup = 1, "cgroups: version 1"),
            (|f| { f.facts.cgroup = 1; f.cluster.kube_version = "1.34.4".into() }, ""),
            (|f| f.facts.selinux = "Enforcing".into(), "SELinux: enforcing"),
            (|f| { f.facts.selinux = "Enforcing".into(); f.vars.preinstall_selinux_state = Some("permissive".into()) }, ""),
            (|f| f.facts.swaps = vec!["/dev/sdb".into()], "swap: /dev/sdb, and neither /etc/fstab nor a unit of systemd has switched it on"),
            (|f| { f.facts.swaps = vec!["/dev/sda2".into()]; f.seen.swap_sources = vec!["/etc/fstab /dev/sda2".into()] }, ""),
            (|f| { f.facts.memory_mb = 498; f.vars.ignore_assert_errors = true }, "memory: 498 MB"),
        ];
        for (row, (change, expected)) in rows.into_iter().enumerate() {
            let (problems, warnings) = found(change);
            assert_eq!((problems, warnings.join("; ")), (Vec::new(), expected.to_owned()), "row {row}");
        }
    }

    #[test]
    fn what_does_without_a_missing_module_is_told() {
        let mut fixture = Fixture::good();
        fixture.vars.kube_proxy_mode = "ipvs".into();
        let remedy = |fixture: &Fixture| kernel_features(&fixture.machine())[0].remedy.clone();
        assert!(remedy(&fixture).ends_with("with ip_vs, or set kube_proxy_mode: iptables"));
        fixture.facts.container = "docker".into();
        assert!(remedy(&fixture).ends_with("modprobe ip_vs, or set kube_proxy_mode: iptables"));
    }

    #[test]
    fn the_stricter_need_for_memory_is_told() {
        let mut fixture = Fixture::good();
        fixture.facts.memory_mb = 498;
        let told = memory(&fixture.machine()).unwrap();
        assert_eq!(told.needed, "at least 1500 MB on a control plane");
        assert_eq!(told.remedy, "give the machine more memory, or set minimal_master_memory_mb");
        fixture.duties.control_plane = false;
        assert_eq!(memory(&fixture.machine()).unwrap().needed, "at least 1024 MB on a node");
    }
}
