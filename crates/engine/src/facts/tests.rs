use std::process::Command;

use super::*;

fn parts(parts: &[(&str, &str)]) -> Facts {
    let text: String = parts.iter().map(|(name, lines)| format!("\n==> {name} <==\n{lines}\n")).collect();
    Facts::parse(&text)
}

#[test]
fn facts_of_this_very_machine_are_read_with_every_shell() {
    for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
        let program =
            Command::new(shell[0]).args(&shell[1..]).args(["-c", include_str!("../facts.sh")]).output();
        let Ok(out) = program else {
            assert_eq!(shell[0], "busybox", "every machine that builds this has {shell:?}");
            continue;
        };
        let facts = Facts::parse(&String::from_utf8_lossy(&out.stdout));
        assert!(out.status.success(), "{shell:?}");
        assert!(out.stderr.is_empty(), "{shell:?}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(facts.memory_mb > 100, "{shell:?}: {facts:?}");
        assert_eq!(facts.cpus as usize, std::thread::available_parallelism().unwrap().get(), "{shell:?}");
        assert!(!facts.kernel.is_empty() && !facts.boot_id.is_empty(), "{shell:?}");
        assert!(facts.clock_ahead.abs() < 5, "{shell:?}");
        assert!(facts.os.contains_key("ID"), "{shell:?}");
        assert!(facts.has_tool("tar") && !facts.has_tool("ss2"), "{shell:?}");
        assert!(
            facts.capabilities != 0 || facts.readonly.contains(&"/etc".to_owned()),
            "{shell:?}: {facts:?}"
        );
    }
}

#[test]
fn the_default_address_is_the_one_of_the_default_route() {
    let addresses = "1: lo inet 127.0.0.1/8 scope host lo\n2: eth1 inet 192.0.2.9/24 scope global\n\
                     3: eth0 inet 198.51.100.7/24 brd 198.51.100.255 scope global eth0";
    let facts = parts(&[("addresses", addresses), ("routes", "default via 198.51.100.1 dev eth0")]);
    assert_eq!(facts.default_ip(), Some("198.51.100.7".parse().unwrap()));
    assert_eq!(facts.interface_of("192.0.2.9".parse().unwrap()), Some("eth1"));
    let facts = parts(&[("addresses", "2: eth1 inet 192.0.2.9/24")]);
    assert_eq!(facts.default_ip(), Some("192.0.2.9".parse().unwrap()), "a machine without a default route");
}

#[test]
fn memory_is_what_the_container_may_use() {
    let meminfo = "MemTotal:       24684096 kB\nMemFree: 1 kB\nSwapTotal: 2097148 kB";
    let of = |file, limit| parts(&[("/proc/meminfo", meminfo), (file, limit)]).memory_mb;
    assert_eq!(of("/sys/fs/cgroup/memory.max", "max"), 24105);
    assert_eq!(of("/sys/fs/cgroup/memory.max", "536870912"), 512);
    assert_eq!(of("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"), 24105);
    assert_eq!(parts(&[("/proc/meminfo", meminfo)]).swap_mb, 2047);
}

#[test]
fn a_feature_is_there_or_can_be_had() {
    let modules = "/lib/modules/6.1.0/modules.dep:kernel/drivers/net/vxlan/vxlan.ko\n\
                   /lib/modules/6.1.0/modules.builtin:kernel/net/bridge/br_netfilter.ko";
    let (all, none) = ("CapEff:\t000001ffffffffff", "CapEff:\t0000000000000000");
    let facts = parts(&[
        ("modules", modules),
        ("/proc/self/status", all),
        ("/proc/filesystems", "nodev\tsysfs\nnodev\toverlay\n\text4"),
        ("existing", "/sys/module/ip_vs"),
    ]);
    assert_eq!(facts.features, ["br_netfilter", "ip_vs", "overlay"]);
    assert!(facts.can_have_feature("vxlan") && !facts.has_feature("vxlan"));
    assert!(!facts.can_have_feature("nf_tables"), "nowhere");
    assert!(
        !parts(&[("modules", modules), ("/proc/self/status", none)]).can_have_feature("vxlan"),
        "may not load it"
    );
    let closed =
        [("modules", modules), ("/proc/self/status", all), ("/proc/sys/kernel/modules_disabled", "1")];
    assert!(!parts(&closed).can_have_feature("vxlan"), "the kernel takes no more modules");
}

#[test]
fn cgroups_of_both_versions_are_known() {
    let two = parts(&[("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids")]);
    assert_eq!((two.cgroup, two.controllers.len()), (2, 5));
    let cgroups = "#subsys_name hierarchy num_cgroups enabled\ncpu 1 5 1\nmemory 0 29 0\npids 8 29 1";
    let one = parts(&[("/proc/cgroups", cgroups), ("existing", "/sys/fs/cgroup/memory")]);
    assert_eq!((one.cgroup, one.controllers), (1, vec!["cpu".to_owned(), "pids".into()]));
    assert_eq!(parts(&[("/proc/cgroups", cgroups)]).cgroup, 0, "not mounted");
}

#[test]
fn swap_is_known_now_and_at_boot() {
    let facts = parts(&[
        ("/proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100"),
        ("/etc/fstab", "# /dev/sdb none swap sw\nUUID=1 none swap sw 0 0\nUUID=2 / ext4 defaults 0 1"),
    ]);
    assert_eq!(facts.swaps, ["/dev/zram0"]);
    assert_eq!(facts.swap_entries, ["UUID=1 none swap sw 0 0"]);
}

#[test]
fn processors_are_counted_as_the_kernel_lists_them() {
    for (list, expected) in [("0", 1), ("0-7", 8), ("0-3,6,8", 6), ("0-4294967295,1", u32::MAX), ("", 0)] {
        assert_eq!(parts(&[("/sys/devices/system/cpu/online", list)]).cpus, expected, "{list}");
    }
}

#[test]
fn addresses_of_ipv6_that_go_are_none() {
    let facts = parts(&[(
        "addresses",
        "2: e    inet6 2001:db8::1/64 scope global dynamic mngtmpaddr \n2: e    inet6 2001:db8::2/64 scope global temporary dynamic \n\
         2: e    inet6 2001:db8::3/64 scope global deprecated dynamic \n2: e    inet6 2001:db8::4/64 scope global dadfailed tentative \n\
         2: e    inet 192.0.2.1/24 scope global deprecated e",
    )]);
    let found: Vec<String> = facts.addresses.iter().map(|address| address.ip.to_string()).collect();
    assert_eq!(found, ["2001:db8::1", "192.0.2.1"]);
}

#[test]
fn facts_have_ansibles_names_for_expressions() {
    let facts = parts(&[
        ("machine", "x86_64"),
        ("/proc/sys/kernel/hostname", "node1.example.org"),
        ("/etc/os-release", "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble"),
        (
            "addresses",
            "1: lo    inet 127.0.0.1/8 scope host lo\n2: br-ex    inet 192.0.2.9/20 scope global br-ex\n\
             2: br-ex    inet 198.51.100.7/24 scope global br-ex\n2: br-ex    inet6 2001:db8::9/64 scope global",
        ),
        ("routes", "default via 192.0.2.1 dev br-ex src 192.0.2.9\n192.0.2.0/20 dev br-ex scope link"),
        ("/sys/class/net/br-ex/address", "02:00:00:00:00:09"),
        ("/etc/resolv.conf", "nameserver 192.0.2.53\nsearch a.example b.example"),
    ]);
    let named: std::collections::BTreeMap<String, serde_json::Value> =
        facts.of_ansible().into_iter().map(|(name, value)| (name, value.to_json())).collect();
    let rows = [
        ("/ansible_default_ipv4/address", "192.0.2.9"),
        ("/ansible_default_ipv4/network", "192.0.0.0"),
        ("/ansible_default_ipv4/netmask", "255.255.240.0"),
        ("/ansible_default_ipv4/gateway", "192.0.2.1"),
        ("/ansible_default_ipv4/interface", "br-ex"),
        ("/ansible_br_ex/ipv4/broadcast", "192.0.15.255"),
        ("/ansible_br_ex/ipv4_secondaries/0/address", "198.51.100.7"),
        ("/ansible_br_ex/ipv6/0/address", "2001:db8::9"),
        ("/ansible_br_ex/macaddress", "02:00:00:00:00:09"),
        ("/ansible_all_ipv4_addresses/1", "198.51.100.7"),
        ("/ansible_hostname", "node1"),
        ("/ansible_nodename", "node1.example.org"),
        ("/ansible_architecture", "x86_64"),
        ("/ansible_distribution", "Ubuntu"),
        ("/ansible_distribution_major_version", "24"),
        ("/ansible_os_family", "Debian"),
        ("/ansible_dns/search/1", "b.example"),
    ];
    let all = serde_json::to_value(&named).unwrap();
    for (pointer, expected) in rows {
        assert_eq!(
            all.pointer(pointer).and_then(serde_json::Value::as_str),
            Some(expected),
            "{pointer}: {all:#}"
        );
    }
}
