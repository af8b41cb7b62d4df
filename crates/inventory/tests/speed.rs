//! Large inventories are read quickly even by an unoptimised build; a wrong algorithm is far outside
//! these limits.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_inventory::{GroupRules, Inventory, VarsBuilder};

fn within<T>(limit: Duration, what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    assert!(took < limit, "{what} took {took:?}, more than {limit:?}");
    println!("{what}: {took:?}");
    result
}

fn large(hosts: usize) -> String {
    let mut text = String::from("[all]\n");
    for n in 0..hosts {
        writeln!(
            text,
            "node{n} ansible_host=10.{}.{}.{} ip=10.0.0.1 etcd_member_name=etcd{n}",
            n / 65536,
            n / 256 % 256,
            n % 256
        )
        .unwrap();
    }
    text.push_str("[kube_control_plane]\nnode[0:2]\n[etcd:children]\nkube_control_plane\n[kube_node]\n");
    for n in 0..hosts {
        writeln!(text, "node{n}").unwrap();
    }
    text.push_str("[k8s_cluster:children]\nkube_node\nkube_control_plane\n");
    text
}

#[test]
fn ten_thousand_hosts() {
    let text = large(10_000);
    let inventory = within(Duration::from_secs(4), "reading", || {
        Inventory::from_ini("hosts", &text, GroupRules::new()).unwrap()
    });
    assert_eq!(inventory.hosts().len(), 10_000);
    let chosen = within(Duration::from_secs(2), "choosing", || {
        inventory.select("kube_node:!kube_control_plane:!node99*").unwrap().len()
    });
    assert_eq!(chosen, 10_000 - 3 - 111);
    let vars = within(Duration::from_secs(4), "gathering", || {
        VarsBuilder::new(Arc::new(inventory)).build().unwrap()
    });
    within(Duration::from_secs(8), "listing", || vars.list_json());
}

#[test]
fn variables_of_a_thousand_hosts() {
    let inventory = Inventory::from_ini("hosts", &large(1000), GroupRules::new()).unwrap();
    let mut defaults = String::from("v0: '{{ ansible_host }}'\n");
    for n in 1..50 {
        writeln!(defaults, "v{n}: '{{{{ v{} }}}}/{n}{{{{ groups.kube_node | length }}}}'", n % 7).unwrap();
    }
    defaults.push_str("v7: x\n");
    let vars =
        VarsBuilder::new(Arc::new(inventory)).defaults("defaults", &defaults).unwrap().build().unwrap();
    let resolved = within(Duration::from_secs(40), "resolving", || {
        vars.inventory()
            .hosts()
            .map(|host| vars.host(host.name()).unwrap().resolve_all().len())
            .sum::<usize>()
    });
    assert_eq!(resolved, 1000 * 53);
}
