use std::io;

use super::*;

pub(crate) const GOOD: &str = "\
version: 1
login:
  user: debian
  public_key: key.pub
network:
  range: 10.8.0.0/24
  dns: [192.0.2.53]
  external: public
allow:
  ssh: [203.0.113.0/24]
  api: [203.0.113.7]
pools:
  - name: cp
    roles: [control_plane]
    count: 1
    flavor: medium
    image: debian-12
    floating_ip: true
  - name: worker
    roles: [worker]
    count: 2
    flavor: large
    image: debian-12
    labels: {disk: ssd}
    taints: ['gpu=yes:NoSchedule']
";

pub(crate) fn read(text: &str) -> Result<Declaration, String> {
    let file = |name: &str| {
        let content = match name {
            "key.pub" => Ok(b"ssh-ed25519 AAAA me@here\n".to_vec()),
            "key" => Ok(b"-----BEGIN OPENSSH PRIVATE KEY-----\n".to_vec()),
            "big" => Ok(vec![b'x'; 60_000]),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        (PathBuf::from(name), content)
    };
    Declaration::read("clusters/shop/cluster.yml", text, &file).map_err(|mistakes| mistakes.to_string())
}

/// What is said first of the declaration with one text in place of another one.
#[track_caller]
fn wrong(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old}");
    let told = read(&GOOD.replacen(old, new, 1)).unwrap_err();
    told.lines().next().unwrap().strip_prefix("clusters/shop/cluster.yml:").unwrap_or(&told).to_owned()
}

#[test]
fn a_declaration_is_read() {
    let declaration = read(GOOD).unwrap();
    assert_eq!(declaration.public_key, "ssh-ed25519 AAAA me@here");
    assert_eq!(declaration.allow.api, ["203.0.113.7/32".parse().unwrap()]);
    let pools: Vec<_> =
        declaration.pools.iter().map(|pool| (pool.name.as_str(), pool.count, pool.floating_ip)).collect();
    assert_eq!(pools, [("cp", 1, true), ("worker", 2, false)]);
    assert!(matches!(declaration.network, Network::Own { router: None, .. }));
    assert_eq!(declaration.network_plugin, NetworkPlugin::Flannel);
}

#[test]
fn what_is_not_in_the_form_is_told_with_its_place_and_what_was_meant() {
    for (old, new, told) in [
        ("pools:", "pool:", "12:1: \"pool\" is not known here; did you mean \"pools\"?"),
        (
            "flavor: medium",
            "flavour: medium",
            "16:5: \"flavour\" is not known here; did you mean \"flavor\"?",
        ),
        (
            "[control_plane]",
            "[control-plane]",
            "14:13: \"control-plane\" is not known here; did you mean \"control_plane\"?",
        ),
        ("version: 1", "version: 2", "1:10: version 2 is not known; this muster reads version 1"),
        ("public_key: key.pub", "public_key: nowhere", "4:15: nowhere cannot be read: entity not found"),
        (
            "public_key: key.pub",
            "public_key: key",
            "4:15: key is a private key; the cloud gets the public one: key.pub",
        ),
        (
            "user: debian",
            "user: 'de bian'",
            "3:9: this is no name of a user; it is the one that the image lets in, such as debian",
        ),
        (
            "10.8.0.0/24",
            "10.8.0.1/24",
            "6:10: 10.8.0.1/24 is an address in a network; the network is 10.8.0.0/24",
        ),
        (
            "10.8.0.0/24",
            "10.8.0.0/30",
            "6:10: this network is too small: /29 is the smallest one that has room for machines",
        ),
        ("192.0.2.53", "dns.example", "7:9: \"dns.example\" is no IPv4 address of a DNS server"),
        (
            "[203.0.113.0/24]",
            "[everywhere]",
            "10:9: \"everywhere\" is no IPv4 network; one is written 203.0.113.0/24",
        ),
        (
            "ssh: [203.0.113.0/24]",
            "ssh: []",
            "10:8: nobody may reach the machines with SSH; name the network of this computer",
        ),
        ("name: worker", "name: cp", "19:11: there are two pools called \"cp\""),
        (
            "name: worker",
            "name: Worker_1",
            "19:11: \"Worker_1\" is no name of a pool; a name has lower-case letters, digits and hyphens, begins with a letter, and has 28 characters at most",
        ),
        ("count: 2", "count: 2000", "21:12: a pool has 1000 machines at most"),
        (
            "roles: [worker]",
            "roles: []",
            "20:12: a pool has one of the roles control_plane and worker, or both",
        ),
        (
            "count: 1",
            "count: 0",
            "13:3: no pool has a control plane: one has roles: [control_plane] and a count of 1 or more",
        ),
        ("floating_ip: true", "user_data: big", "18:16: big has 60000 bytes; a server takes 49149 at most"),
        (
            "range: 10.8.0.0/24",
            "existing: office",
            "7:9: this is for a network that is made; with existing, leave it out",
        ),
    ] {
        assert_eq!(wrong(old, new), told, "{new}");
    }
    assert!(wrong("  - name: cp\n", "  - nam: cp\n").starts_with("13:5: \"nam\" is not known here"));
    assert!(wrong("count: 2", "count: two").starts_with("21:12: "), "{}", wrong("count: 2", "count: two"));
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_file() {
    let text = GOOD
        .replace("  external: public\n", "")
        .replace("count: 2", "count: 2000")
        .replace("key.pub", "nowhere");
    let told = read(&text).unwrap_err();
    let places: Vec<&str> =
        told.lines().filter_map(|line| line.strip_prefix("clusters/shop/cluster.yml:")).collect();
    let places: Vec<&str> = places.iter().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(places, ["4:15", "6:10", "17:18", "20:12"], "{told}");
    assert!(told.contains("nobody would reach machines in this network; name external"), "{told}");
    assert!(told.contains("floating IPs are of an external network; name it"), "{told}");
}

#[test]
fn names_of_clusters_fit_into_hostnames() {
    for name in ["shop", "a", "room-225"] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", "Shop", "1st", "a_b", "a-", "../x", &"a".repeat(29)] {
        assert!(!is_name(name), "{name}");
    }
}
