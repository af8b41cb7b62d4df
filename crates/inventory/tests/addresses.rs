//! The `ipaddr` family. Expected values were worked out by hand from netaddr's rules, which the
//! collection `ansible.utils` documents; the collection itself is not part of ansible-core.

use std::sync::Arc;

use muster_inventory::{GroupRules, Inventory, VarsBuilder};
use serde_json::json;

#[test]
fn addresses_and_networks() {
    let inventory = Inventory::from_ini("hosts", "h\n", GroupRules::new()).unwrap();
    let vars = "service: 10.233.0.0/18\nhost: 192.168.1.5/24\nv6: fd85:ee78:d8a6:8607::1000/116\nlist: [10.0.0.1, nonsense, 'fe80::1', 192.168.0.0/16]\n";
    let vars = VarsBuilder::new(Arc::new(inventory)).defaults("vars", vars).unwrap().build().unwrap();
    let host = vars.host("h").unwrap();
    let cases = [
        // What kubespray's own variables ask for.
        ("service | ipaddr('net') | ipaddr(1) | ipaddr('address')", json!("10.233.0.1")),
        (
            "service | ansible.utils.ipaddr('net') | ansible.utils.ipaddr(3) | ansible.utils.ipaddr('address')",
            json!("10.233.0.3"),
        ),
        ("v6 | ipaddr('net') | ipaddr(1) | ipaddr('address')", json!("fd85:ee78:d8a6:8607::1001")),
        ("'fd00::1' | ipwrap", json!("[fd00::1]")),
        ("'10.0.0.1' | ipwrap", json!("10.0.0.1")),
        ("'name.example' | ipwrap", json!("name.example")),
        ("'fd00::/64' | ipwrap", json!("[fd00::]/64")),
        // Every query.
        ("'10.0.0.1' | ipaddr", json!("10.0.0.1")),
        ("host | ipaddr", json!("192.168.1.5/24")),
        ("'nonsense' | ipaddr", json!(false)),
        ("'' | ipaddr", json!(false)),
        ("'10.0.0.256' | ipaddr", json!(false)),
        ("'10.0.0.1/33' | ipaddr", json!(false)),
        ("'10.0.0.1/255.255.255.0' | ipaddr('prefix')", json!(24)),
        ("list | ipaddr", json!(["10.0.0.1", "fe80::1", "192.168.0.0/16"])),
        ("list | ipv4", json!(["10.0.0.1", "192.168.0.0/16"])),
        ("list | ipv6", json!(["fe80::1"])),
        ("host | ipaddr('address')", json!("192.168.1.5")),
        ("service | ipaddr('address')", json!(null)),
        ("'10.0.0.1' | ipaddr('address')", json!("10.0.0.1")),
        ("host | ipaddr('net')", json!(null)),
        ("service | ipaddr('net')", json!("10.233.0.0/18")),
        ("host | ipaddr('subnet')", json!("192.168.1.0/24")),
        ("host | ipaddr('network/prefix')", json!("192.168.1.0/24")),
        ("host | ipaddr('network')", json!("192.168.1.0")),
        ("host | ipaddr('netmask')", json!("255.255.255.0")),
        ("host | ipaddr('hostmask')", json!("0.0.0.255")),
        ("host | ipaddr('broadcast')", json!("192.168.1.255")),
        ("host | ipaddr('prefix')", json!(24)),
        ("host | ipaddr('size')", json!(256)),
        ("host | ipaddr('size_usable')", json!(254)),
        ("host | ipaddr('host')", json!("192.168.1.5/24")),
        ("host | ipaddr('host/prefix')", json!("192.168.1.5/24")),
        ("service | ipaddr('host/prefix')", json!(false)),
        ("host | ipaddr('gateway')", json!("192.168.1.5/24")),
        ("host | ipaddr('first_usable')", json!("192.168.1.1")),
        ("host | ipaddr('last_usable')", json!("192.168.1.254")),
        ("host | ipaddr('next_usable')", json!("192.168.1.6")),
        ("host | ipaddr('previous_usable')", json!("192.168.1.4")),
        ("host | ipaddr('range_usable')", json!("192.168.1.1-192.168.1.254")),
        ("'10.0.0.0/31' | ipaddr('range_usable')", json!("10.0.0.0-10.0.0.1")),
        ("'10.0.0.1/31' | ipaddr('peer')", json!("10.0.0.0")),
        ("'10.0.0.1' | ipaddr('int')", json!(167772161)),
        ("'10.0.0.1' | ipaddr('revdns')", json!("1.0.0.10.in-addr.arpa.")),
        ("'10.0.0.1' | ipaddr('private')", json!("10.0.0.1")),
        ("'8.8.8.8' | ipaddr('private')", json!(false)),
        ("'8.8.8.8' | ipaddr('public')", json!("8.8.8.8")),
        ("'127.0.0.1' | ipaddr('loopback')", json!("127.0.0.1")),
        ("'224.0.0.1' | ipaddr('multicast')", json!("224.0.0.1")),
        ("'169.254.25.10' | ipaddr('link-local')", json!("169.254.25.10")),
        ("host | ipaddr('type')", json!("address")),
        ("service | ipaddr('type')", json!("network")),
        ("host | ipaddr('bool')", json!(true)),
        ("'10.1.2.3' | ipaddr('10.0.0.0/8')", json!("10.1.2.3")),
        ("'11.1.2.3' | ipaddr('10.0.0.0/8')", json!(false)),
        ("service | ipaddr(0)", json!("10.233.0.0/18")),
        ("service | ipaddr('-1')", json!("10.233.63.255/18")),
        ("service | ipaddr(99999)", json!(false)),
        ("'::ffff:10.0.0.1' | ipaddr('ipv4')", json!("10.0.0.1/32")),
        // The others of the family.
        ("'192.168.0.0/16' | ipsubnet(20)", json!("16")),
        ("'192.168.0.0/16' | ipsubnet(20, 1)", json!("192.168.16.0/20")),
        ("'192.168.0.0/16' | ipsubnet(20, -1)", json!("192.168.240.0/20")),
        ("'192.168.144.5' | ipsubnet(20)", json!("192.168.144.0/20")),
        ("'192.168.0.0/16' | ipsubnet(8)", json!(false)),
        ("'10.0.0.0/8' | nthhost(305)", json!("10.0.1.49")),
        ("'10.0.0.0/30' | nthhost(9)", json!(false)),
        ("'10.0.0.255' | ipmath(1)", json!("10.0.1.0")),
        ("'10.0.0.1' | ipmath(-1)", json!("10.0.0.0")),
        ("'192.168.122.1/24' | next_nth_usable(2)", json!("192.168.122.3")),
        ("'192.168.122.1/24' | previous_nth_usable(2)", json!(null)),
        ("'10.0.0.0/8' | network_in_network('10.1.0.0/16')", json!(true)),
        ("'10.0.0.0/24' | network_in_usable('10.0.0.255')", json!(false)),
        ("['10.0.0.1', '11.0.0.1'] | reduce_on_network('10.0.0.0/8')", json!(["10.0.0.1"])),
        ("['10.0.0.0/25', '10.0.0.128/25'] | cidr_merge", json!(["10.0.0.0/24"])),
        ("['10.0.0.1', '10.0.0.200'] | cidr_merge('span')", json!("10.0.0.0/24")),
        ("'10.0.0.1' | ip4_hex", json!("0a000001")),
        ("'10.0.0.1' is ansible.utils.ipv4_address", json!(true)),
        ("'fd00::/8' is ansible.utils.ipv6_address", json!(false)),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(expression, expected)| match host.evaluate(expression) {
            Ok(value) if value.to_json() == *expected => None,
            Ok(value) => Some(format!("{expression}: {} instead of {expected}", value.to_json())),
            Err(error) => Some(format!("{expression}: {error}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for unknown in
        ["'10.0.0.1' | ipaddr('first_usable')", "'10.0.0.1' | ipaddr('nonsense')", "nowhere | ipaddr"]
    {
        assert!(host.evaluate(unknown).is_err(), "{unknown}");
    }
}
