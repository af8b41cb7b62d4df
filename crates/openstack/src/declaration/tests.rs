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

/// Machines that exist.
pub(crate) const EXISTING: &str = "\
version: 1
machines: existing
login:
  user: root
pools:
  - name: cp
    roles: [control_plane]
    addresses: [192.0.2.11]
  - name: worker
    roles: [worker]
    count: 2
    addresses: [192.0.2.12, 192.0.2.13, 192.0.2.14]
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
    wrong_in(GOOD, old, new)
}

#[track_caller]
fn wrong_in(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old}");
    let told = read(&text.replacen(old, new, 1)).unwrap_err();
    told.lines().next().unwrap().strip_prefix("clusters/shop/cluster.yml:").unwrap_or(&told).to_owned()
}

#[test]
fn a_declaration_is_read() {
    let declaration = read(GOOD).unwrap();
    let Source::Cloud(cloud) = &declaration.machines else { panic!("{declaration:?}") };
    assert_eq!(cloud.public_key, "ssh-ed25519 AAAA me@here");
    assert_eq!(cloud.allow.api, ["203.0.113.7/32".parse().unwrap()]);
    assert!(matches!(cloud.network, Network::Own { router: None, .. }));
    let floating = |pool: &Pool| pool.made().unwrap().floating_ip;
    let pools: Vec<_> =
        declaration.pools.iter().map(|pool| (pool.name.as_str(), pool.count, floating(pool))).collect();
    assert_eq!(pools, [("cp", 1, true), ("worker", 2, false)]);
    assert_eq!(declaration.settings.network_plugin, NetworkPlugin::Flannel);
}

#[test]
fn a_declaration_of_machines_that_exist_is_read() {
    let declaration = read(&format!("provider: lab:x\n{EXISTING}    image: one\n")).unwrap();
    assert!(matches!(&declaration.machines, Source::Existing { provider: Some(lab) } if lab == "lab:x"));
    let counts: Vec<u32> = declaration.pools.iter().map(|pool| pool.count).collect();
    assert_eq!(counts, [1, 2], "all addresses, unless there is a count");
    assert_eq!(declaration.image_of("worker-192-0-2-13"), Some("one"));
    assert_eq!(declaration.image_of("cp-192-0-2-11"), None);
}

#[test]
fn what_machines_that_exist_cannot_have_is_told_with_its_place() {
    for (old, new, told) in [
        ("root\n", "root\ncloud: mine\n", "5:8: this is for machines of a cloud; leave it out"),
        ("192.0.2.14", "192.0.2.11", "12:41: 192.0.2.11 is written twice; a machine is in one pool, once"),
        ("192.0.2.14", "node7", "12:41: \"node7\" is no IPv4 address of a machine"),
        ("count: 2", "count: 4", "11:12: 4 machines are wanted, and the pool has 3 addresses"),
        ("count: 2", "flavor: m1", "11:13: this is for machines of a cloud; leave it out"),
        (
            "count: 2",
            "image: '12'",
            "11:12: nobody puts an image on machines that exist, unless there is a provider: name it, or leave image out",
        ),
        ("    addresses: [192.0.2.11]\n", "", "6:11: the pool \"cp\" has no addresses of machines"),
        (
            "name: worker",
            "name: workers-of-the-room",
            "9:11: machines that exist are called after their pool and address: its name has 18 characters at most",
        ),
        ("existing", "exsting", "2:11: \"exsting\" is not known here; did you mean \"existing\"?"),
    ] {
        assert_eq!(wrong_in(EXISTING, old, new), told, "{new}");
    }
    let cloud = wrong("version: 1", "version: 1\nprovider: lab");
    assert_eq!(cloud, "2:11: this is for machines that exist; leave it out");
}

#[test]
fn what_a_cloud_needs_is_named_where_it_is_missing() {
    let whole = wrong("allow:\n  ssh: [203.0.113.0/24]\n  api: [203.0.113.7]\n", "");
    assert!(whole.starts_with("1:10: machines are made in a cloud, and allow is missing"), "{whole}");
    assert_eq!(wrong("    flavor: medium\n", ""), "13:11: the pool \"cp\" of a cloud needs flavor");
    assert_eq!(wrong("    count: 1\n", ""), "13:11: the pool \"cp\" of a cloud needs count");
    assert!(wrong("  public_key: key.pub\n", "").starts_with("3:9: machines of a cloud get a public key"));
}

#[test]
fn what_the_cluster_is_to_be_is_said_once_and_can_be() {
    for (new, told) in [
        (
            "variables: {kube_version: 1.37.2}",
            "13:27: kube_version is set by kubernetes_version of this file; say it there",
        ),
        (
            "apps: [metrics-server]\nvariables: {metrics_server_enabled: false}",
            "14:37: metrics_server_enabled is set by apps: [metrics-server] of this file; say it there",
        ),
        ("kubernetes_version: latest", "13:21: \"latest\" is no version of Kubernetes, such as 1.37.2"),
        ("students: class.csv", "13:11: class.csv cannot be read: entity not found"),
    ] {
        let wrong = read(&format!("{EXISTING}{new}\n")).unwrap_err();
        let first = wrong.lines().next().unwrap();
        assert_eq!(first.strip_prefix("clusters/shop/cluster.yml:"), Some(told), "{new}");
    }
}

#[test]
fn the_schema_for_editors_has_every_key_with_its_meaning() {
    let schema = schema();
    let properties = |of: &serde_json::Value| of["properties"].as_object().unwrap().clone();
    let mut all = properties(&schema);
    for definition in schema["definitions"].as_object().unwrap().values() {
        if definition["properties"].is_object() {
            all.extend(properties(definition));
        }
    }
    for key in [
        "version",
        "machines",
        "public_key",
        "range",
        "ssh",
        "pools",
        "count",
        "addresses",
        "variables",
        "students",
    ] {
        assert!(
            all[key]["description"].as_str().is_some_and(|words| words.ends_with('.')),
            "{key}: {}",
            all[key]
        );
    }
    assert_eq!(schema["additionalProperties"], false);
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
            "3:9: this is no name of a user; it is the one that the machines let in, such as debian",
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
