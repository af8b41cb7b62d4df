//! Machines made, made again, changed and deleted.

use std::time::Instant;

use serde_json::json;

use crate::fixture::Test;
use crate::services::{NEUTRON, NOVA};

#[test]
#[ignore = "the services of OpenStack are installed first; ./test --all"]
fn machines_are_made_once_are_as_declared_and_are_deleted_to_the_last_port() {
    let Some(test) = Test::begin() else { return };
    let first = test.run(&["machines", "create", "shop"]);
    first.code(0).says("2 machines of shop run").says("next: setup-cluster -i clusters/shop/inventory");
    let requests = test.services().proxy.log();
    println!("to make two machines with all they need took {} requests", requests.len());

    // What was made: a key pair, two ports and that of the router, an address, and so on, each once.
    let left = test.left();
    let number = |kind: &str| left.iter().filter(|object| object.starts_with(kind)).count();
    let kinds =
        ["servers", "keypairs", "ports", "floatingips", "routers", "subnets", "networks", "security_groups"];
    // Of the ports one is the router's way outside, which neutron shows to nobody but administrators.
    assert_eq!(kinds.map(number), [2, 1, 3, 1, 1, 1, 1, 2], "{left:#?}");
    let id = test.read("clusters/shop/identity.yml");
    let id = id.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().trim_matches('"').to_owned();
    let login = test.login();
    for (service, path, key) in [
        (NEUTRON, "/ports", "ports"),
        (NEUTRON, "/networks", "networks"),
        (NEUTRON, "/subnets", "subnets"),
        (NEUTRON, "/routers", "routers"),
        (NEUTRON, "/floatingips", "floatingips"),
        (NEUTRON, "/security-groups", "security_groups"),
        (NOVA, "/servers/detail", "servers"),
    ] {
        let tagged = login.ask(service, "GET", &format!("{path}?tags=muster-cluster={id}"), None);
        let tagged = tagged[key].as_array().unwrap().len();
        assert_eq!(tagged, number(key), "{key} found by their tags");
    }
    // User data as it was given, for whoever may see it.
    let servers = test.services().login("admin");
    let server = login.ask(NOVA, "GET", "/servers?name=shop-worker-1", None)["servers"][0]["id"].clone();
    let server = servers.ask(NOVA, "GET", &format!("/servers/{}", server.as_str().unwrap()), None);
    assert_eq!(server["server"]["OS-EXT-SRV-ATTR:user_data"], "I2Nsb3VkLWNvbmZpZwo=");

    // The second run makes nothing, and asks only what there is.
    let again = test.run(&["machines", "create", "shop"]);
    again.code(0).says("2 machines of shop run");
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(test.changing(), [0; 0], "a second run changes nothing: {:#?}", test.services().proxy.log());
    println!("a second run took {} requests", test.services().proxy.log().len());
    assert_eq!(test.left(), left);

    // The inventory is one that other commands read.
    let inventory = test.run(&["inventory", "-i", "clusters/shop/inventory", "--list"]);
    inventory.code(0);
    let inventory: serde_json::Value = serde_json::from_str(&inventory.stdout).unwrap();
    assert_eq!(inventory["kube_control_plane"]["hosts"], json!(["shop-cp-1"]));
    assert_eq!(inventory["kube_node"]["hosts"], json!(["shop-worker-1"]));
    let worker = &inventory["_meta"]["hostvars"]["shop-worker-1"];
    let gate = inventory["_meta"]["hostvars"]["shop-cp-1"]["ansible_host"].as_str().unwrap();
    assert!(gate.starts_with("203.0.113."), "{gate}");
    assert_eq!(worker["ansible_ssh_common_args"], format!("-J debian@{gate}"));
    assert!(worker["ip"].as_str().unwrap().starts_with("10.8.0."), "{worker}");

    // Nothing is deleted by looking.
    let would = test.run(&["machines", "delete", "shop", "--what-if"]);
    would.code(0).says("12 objects of shop would be removed");
    assert_eq!(would.stdout.lines().count(), 12, "{}", would.stdout);
    assert_eq!(test.left(), left);
    test.delete();
    test.run(&["machines", "delete", "shop", "--yes"]).code(0).says("nothing is left of shop");
}

#[test]
#[ignore = "a minute: three creations"]
fn a_machine_that_was_deleted_comes_back_and_changed_rules_are_followed() {
    let Some(test) = Test::begin() else { return };
    test.run(&["machines", "create", "shop"]).code(0);
    let login = test.login();
    let inventory = test.read("clusters/shop/inventory/hosts.yml");
    // The users' own test: openstack server delete WORKER.
    let id = login.ask(NOVA, "GET", "/servers?name=shop-worker-1", None)["servers"][0]["id"].clone();
    login.ask(NOVA, "DELETE", &format!("/servers/{}", id.as_str().unwrap()), None);
    while !login.ask(NOVA, "GET", "/servers?name=shop-worker-1", None)["servers"]
        .as_array()
        .unwrap()
        .is_empty()
    {
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let listed = test.run(&["machines", "list", "shop"]);
    listed.code(1);
    assert!(listed.stdout.contains("missing"), "{}", listed.stdout);
    test.declare("ssh: [203.0.113.0/24]", "ssh: [198.51.100.0/24]");
    test.run(&["machines", "create", "shop"])
        .code(0)
        .says("1 rule for machines")
        .says("1 rule that the declaration does not want any more");
    // It has its port, and so its address, back.
    assert_eq!(test.read("clusters/shop/inventory/hosts.yml"), inventory);
    let rules = login.ask(NEUTRON, "GET", "/security-group-rules?remote_ip_prefix=198.51.100.0/24", None);
    assert_eq!(rules["security_group_rules"].as_array().unwrap().len(), 1);
    // What is not wanted any more is named, and stays.
    test.declare(
        "count: 1\n    flavor: small\n    image: debian-12\n    user_data",
        "count: 0\n    flavor: small\n    image: debian-12\n    user_data",
    );
    test.run(&["machines", "create", "shop"])
        .code(0)
        .says("the declaration does not want shop-worker-1 any more; nothing was removed");
    test.delete();
}

#[test]
#[ignore = "the services of OpenStack are installed first; ./test --all"]
fn what_others_have_is_neither_taken_nor_removed() {
    let Some(test) = Test::begin() else { return };
    let login = test.login();
    // The same names as the cluster's, without its mark.
    let network = login.ask(NEUTRON, "POST", "/networks", Some(json!({"network": {"name": "shop"}})));
    let group = login.ask(
        NEUTRON,
        "POST",
        "/security-groups",
        Some(json!({"security_group": {"name": "shop-machines"}})),
    );
    test.run(&["machines", "create", "shop"]).code(0);
    let made = login.ask(NEUTRON, "GET", "/networks?name=shop", None)["networks"].as_array().unwrap().clone();
    assert_eq!(made.len(), 2, "one of its own was made beside the other one");
    let ours = made.iter().find(|other| other["id"] != network["network"]["id"]).unwrap();
    // Somebody else's port in the cluster's network: nothing is deleted, and the port is named.
    let port = json!({"port": {"name": "guest", "network_id": ours["id"]}});
    let port = login.ask(NEUTRON, "POST", "/ports", Some(port));
    let all = test.left();
    test.run(&["machines", "delete", "shop", "--yes"])
        .code(1)
        .says("nothing was deleted, because others use what the cluster has")
        .says("port guest");
    assert_eq!(test.left(), all);
    login.ask(NEUTRON, "DELETE", &format!("/ports/{}", port["port"]["id"].as_str().unwrap()), None);
    test.run(&["machines", "delete", "shop", "--yes"]).code(0);
    let others = test.left();
    assert_eq!(others.len(), 2, "{others:?}");
    for (path, object) in [("/networks", &network["network"]), ("/security-groups", &group["security_group"])]
    {
        login.ask(NEUTRON, "DELETE", &format!("{path}/{}", object["id"].as_str().unwrap()), None);
    }
    assert_eq!(test.left(), [""; 0]);
}

#[test]
#[ignore = "a minute: two creations"]
fn a_network_and_a_router_that_are_there_are_used_and_stay() {
    let Some(test) = Test::begin() else { return };
    let login = test.login();
    let network = login.ask(NEUTRON, "POST", "/networks", Some(json!({"network": {"name": "office"}})))["network"]["id"].clone();
    let subnet = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.9.0.0/24"}});
    let subnet = login.ask(NEUTRON, "POST", "/subnets", Some(subnet))["subnet"]["id"].clone();
    let outside = login.ask(NEUTRON, "GET", "/networks?name=public", None)["networks"][0]["id"].clone();
    let router = json!({"router": {"name": "gate", "external_gateway_info": {"network_id": outside}}});
    let router =
        login.ask(NEUTRON, "POST", "/routers", Some(router))["router"]["id"].as_str().unwrap().to_owned();
    login.ask(
        NEUTRON,
        "PUT",
        &format!("/routers/{router}/add_router_interface"),
        Some(json!({"subnet_id": subnet})),
    );
    let before = test.left();
    let gone_again = || {
        test.run(&["machines", "delete", "shop", "--yes"]).code(0);
        assert_eq!(test.left(), before);
    };

    test.declare("range: 10.8.0.0/24\n  dns: [192.0.2.53]", "existing: office");
    test.run(&["machines", "create", "shop"]).code(0);
    let networks = login.ask(NEUTRON, "GET", "/networks", None);
    assert!(
        networks["networks"].as_array().unwrap().iter().all(|network| network["name"] != "shop"),
        "{networks}"
    );
    assert!(test.read("clusters/shop/inventory/hosts.yml").contains("ip: 10.9.0."));
    gone_again();

    // A network of the cluster's own, joined to a router that is there.
    test.declare("existing: office", "range: 10.8.0.0/24\n  router: gate");
    test.run(&["machines", "create", "shop"]).code(0);
    gone_again();

    login.ask(
        NEUTRON,
        "PUT",
        &format!("/routers/{router}/remove_router_interface"),
        Some(json!({"subnet_id": subnet})),
    );
    login.ask(NEUTRON, "DELETE", &format!("/routers/{router}"), None);
    login.ask(NEUTRON, "DELETE", &format!("/networks/{}", network.as_str().unwrap()), None);
    assert_eq!(test.left(), [""; 0]);
}

#[test]
#[ignore = "a minute: six servers"]
fn six_machines_need_few_requests() {
    let Some(test) = Test::begin() else { return };
    test.declare(
        "count: 1\n    flavor: small\n    image: debian-12\n    floating",
        "count: 3\n    flavor: small\n    image: debian-12\n    floating",
    );
    test.declare(
        "count: 1\n    flavor: small\n    image: debian-12\n    user",
        "count: 3\n    flavor: small\n    image: debian-12\n    user",
    );
    let begun = Instant::now();
    test.run(&["machines", "create", "shop"]).code(0).says("6 machines of shop run");
    let (taken, seconds) = (test.services().proxy.log().len(), begun.elapsed().as_secs());
    // A login; lists of flavors, images and the eight kinds; each object; tags of each of neutron's, which takes them in no other
    // way; the router's way into the network; rules for two groups; one look at what has become of it.
    let (neutrons, others) = (4 + 2 + 6 + 3, 1 + 6);
    let least = 1 + 10 + 2 * neutrons + others + 1 + 2 + 1;
    println!("six machines: {taken} requests, where {least} is the least, in {seconds} s");
    assert!(taken * 10 <= least * 13, "{:#?}", test.services().proxy.log());
    let begun = Instant::now();
    test.delete();
    println!("to delete them took {} s", begun.elapsed().as_secs());
}
