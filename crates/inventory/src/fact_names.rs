//! Names of what Ansible finds out about machines (its module `setup` on Linux).

/// Facts by their names without `ansible_`, besides those that are named after a network interface.
const FACTS: &[&str] = &[
    "all_ipv4_addresses",
    "all_ipv6_addresses",
    "architecture",
    "bios_date",
    "bios_vendor",
    "bios_version",
    "board_name",
    "board_serial",
    "board_vendor",
    "chassis_serial",
    "chassis_vendor",
    "cmdline",
    "date_time",
    "default_ipv4",
    "default_ipv6",
    "devices",
    "distribution",
    "distribution_file_variety",
    "distribution_major_version",
    "distribution_release",
    "distribution_version",
    "dns",
    "domain",
    "effective_group_id",
    "effective_user_id",
    "env",
    "fips",
    "form_factor",
    "fqdn",
    "hostname",
    "interfaces",
    "is_chroot",
    "kernel",
    "kernel_version",
    "loadavg",
    "local",
    "locally_reachable_ips",
    "lsb",
    "lvm",
    "machine",
    "machine_id",
    "memfree_mb",
    "memory_mb",
    "memtotal_mb",
    "mounts",
    "nodename",
    "os_family",
    "pkg_mgr",
    "proc_cmdline",
    "processor",
    "processor_cores",
    "processor_count",
    "processor_nproc",
    "processor_threads_per_core",
    "processor_vcpus",
    "product_name",
    "product_serial",
    "product_uuid",
    "product_version",
    "python",
    "python_version",
    "real_group_id",
    "real_user_id",
    "selinux",
    "service_mgr",
    "swapfree_mb",
    "swaptotal_mb",
    "system",
    "system_capabilities",
    "system_vendor",
    "uptime_seconds",
    "user_dir",
    "user_gecos",
    "user_gid",
    "user_id",
    "user_shell",
    "user_uid",
    "userspace_architecture",
    "userspace_bits",
    "virtualization_role",
    "virtualization_tech_guest",
    "virtualization_tech_host",
    "virtualization_type",
];

/// How names of network interfaces begin that a number or a place follows, as `eth0` and `enp3s0`
/// (systemd.net-naming-scheme(7), and the kernel's own).
const INTERFACES: &[&str] = &[
    "eth", "eno", "ens", "enp", "enx", "em", "bond", "br", "team", "vlan", "venet", "wlan", "wlp", "wg",
    "tun", "ib",
];

/// Whether a variable is one of Ansible's facts, which a machine has to be asked for.
pub(crate) fn is_fact(variable: &str) -> bool {
    let Some(name) = variable.strip_prefix("ansible_") else { return false };
    let follows = |begin: &str| {
        name.strip_prefix(begin)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '_'))
    };
    FACTS.binary_search(&name).is_ok() || name == "lo" || INTERFACES.iter().any(|begin| follows(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_told_from_variables_of_the_connection() {
        assert!(FACTS.is_sorted(), "they are searched");
        for name in
            ["ansible_default_ipv4", "ansible_eth0", "ansible_enp3s0f1", "ansible_br_ex", "ansible_lo"]
        {
            assert!(is_fact(name), "{name}");
        }
        for name in
            ["ansible_host", "ansible_become", "ansible_user", "ansible_facts", "ansible_ethernet", "eth0"]
        {
            assert!(!is_fact(name), "{name}");
        }
    }
}
