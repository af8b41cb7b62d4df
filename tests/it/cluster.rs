//! Clusters as declarations, without a machine: what is said of them, and what is refused before anybody is asked.

use std::fs;

use muster_testkit::sshd::Sshd;

use crate::fixture::{Test, muster};

const EXISTING: &str = "\
version: 1
machines: existing
login: {user: root}
kubernetes_version: 1.37.2
pools:
  - name: cp
    roles: [control_plane]
    addresses: [192.0.2.11]
  - name: worker
    roles: [worker]
    addresses: [192.0.2.12, 192.0.2.13]
    count: 1
";

fn shop(declaration: &str) -> Test {
    muster().file("clusters/shop/cluster.yml", declaration)
}

#[test]
fn a_plan_says_what_would_be_done_and_nothing_is_written() {
    let ended = shop(EXISTING).run(&["cluster", "plan", "shop"]).code(1).nothing_written();
    ended.stderr_has(&["shop: 2 machines to be made"]).stdout_has(&[
        "shop-cp-192-0-2-11",
        "shop-worker-192-0-2-12",
        "made, and joins",
    ]);
}

#[test]
fn clusters_are_listed_a_line_each_with_those_that_cannot_be_read() {
    let test = shop(EXISTING).file("clusters/room/cluster.yml", "version: 1\n");
    let ended = test.run(&["cluster", "list"]).code(1).nothing_written();
    assert!(ended.stdout.contains("1 cp, 1 worker") && ended.stdout.contains("none yet"), "{}", ended.stdout);
    assert!(ended.stdout.contains("room") && ended.stdout.contains("missing field"), "{}", ended.stdout);
    muster().run(&["cluster", "list"]).code(1).stderr_has(&["there is no clusters/NAME/cluster.yml"]);
}

#[test]
fn each_mistake_is_told_with_its_place_and_what_was_meant_and_nothing_is_changed() {
    let text = EXISTING
        .replace("192.0.2.13", "192.0.2.11")
        .replace("kubernetes_version: 1.37.2", "kubernetes_version: new\nstudents: class.csv");
    let test = shop(&text);
    for command in ["plan", "apply", "delete", "status"] {
        test.run(&["cluster", command, "shop"]).code(4).nothing_written().stderr_has(&[
            "clusters/shop/cluster.yml:4:21: \"new\" is no version of Kubernetes, such as 1.37.2",
            "clusters/shop/cluster.yml:5:11: ",
            "class.csv cannot be read",
            "clusters/shop/cluster.yml:12:29: 192.0.2.11 is written twice",
        ]);
    }
    let app = shop(&format!("{EXISTING}apps: [metrics-servr]\n")).run(&["cluster", "plan", "shop"]);
    app.code(4).stderr_has(&[
        "cluster.yml:13:8: there is no app \"metrics-servr\"; did you mean \"metrics-server\"?",
    ]);
    muster().run(&["cluster", "plan", "shop"]).code(5).stderr_has(&["there is no clusters/shop/cluster.yml"]);
    shop(EXISTING).run(&["cluster", "apply", "shpo"]).code(5).stderr_has(&["did you mean shop?"]);
    let machines = shop(EXISTING).run(&["machines", "create", "shop"]).code(4).nothing_written();
    machines.stderr_has(&["is of machines that exist", "muster cluster apply shop"]);
}

#[test]
fn machines_that_do_not_come_are_waited_for_so_long_and_the_next_run_knows_that_they_are_new() {
    let mut sshd = Sshd::start();
    let text = EXISTING
        .replace("192.0.2.11", "127.0.0.1")
        .replace("192.0.2.12, 192.0.2.13", "127.0.0.2")
        .replace("kubernetes_version: 1.37.2", &format!("variables: {{ansible_port: {}}}", sshd.port()));
    let text = text.replace(
        "{user: root}",
        &format!("{{user: {}, private_key: {}}}", sshd.user(), sshd.key().display()),
    );
    sshd.stop();
    let test = shop(&text);
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    let test = test.set("MUSTER_KNOWN_HOSTS", known_hosts);
    let apply = ["cluster", "apply", "shop", "--boot-time", "1s"];
    test.run(&apply).code(1).stderr_has(&[
        "wrote clusters/shop/inventory/hosts.yml",
        "after 1.0s these cannot be worked on:\nshop-cp-127-0-0-1: ",
        "run the same command again: it goes on with them",
    ]);
    let inventory = fs::read_to_string(test.folder().join("clusters/shop/inventory/hosts.yml")).unwrap();
    assert!(
        inventory.contains("  shop-cp-127-0-0-1:\n      ansible_host: 127.0.0.1\n      ip: 127.0.0.1\n"),
        "{inventory}"
    );
    let new = fs::read_to_string(test.folder().join("clusters/shop/inventory/.muster/newcomers")).unwrap();
    assert_eq!(new, "cp-127-0-0-1\nworker-127-0-0-2\n");
    // Nobody is there to type the name.
    test.run(&["cluster", "delete", "shop"]).code(5).stderr_has(&["there is no terminal to ask"]);
    let kept = fs::read_to_string(test.folder().join("clusters/shop/inventory/hosts.yml")).unwrap();
    assert_eq!(kept, inventory);
    let other = test.run_in_terminal(&["cluster", "delete", "shop"], "shopping\n").code(1);
    assert!(
        other.stdout.contains("To go on, type: shop") && other.stdout.contains("nothing was changed"),
        "{}",
        other.stdout
    );
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let schema = muster().run(&["cluster", "schema"]).code(0).stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(
        schema["properties"]["pools"].is_object() && schema["$schema"].as_str().unwrap().contains("draft-07")
    );
}

#[test]
fn a_file_for_cluster_api_becomes_a_declaration() {
    let tfvars =
        "cloud_provider = \"gx\"\nexternal = \"ext01\"\nworker_count = 2\nkind_flavor = \"SCS-1V:4:10\"\n";
    let test = muster().file("environment-gx.tfvars", tfvars);
    let init = ["init", "--from-clusterctl", "environment-gx.tfvars", "--name", "shop"];
    test.run(&init).code(0).stderr_has(&[
        "wrote clusters/shop/cluster.yml",
        "environment-gx.tfvars:4: kind_flavor was not taken: there is no management cluster",
        "muster cluster plan shop",
    ]);
    let written = fs::read_to_string(test.folder().join("clusters/shop/cluster.yml")).unwrap();
    assert!(written.contains("cloud: \"gx\"") && written.contains("count: 2"), "{written}");
    test.run(&init).code(5).nothing_written().stderr_has(&["clusters/shop/cluster.yml is there already"]);
    // What nobody could know is told by its place.
    let plan = test.run(&["cluster", "plan", "shop"]).code(4);
    plan.stderr_has(&["nobody may reach the machines with SSH; name the network of this computer"]);
    let broken = muster().file("x.tfvars", "external\n").run(&["init", "--from-clusterctl", "x.tfvars"]);
    broken
        .code(4)
        .nothing_written()
        .stderr_has(&["x.tfvars:1: this is no assignment, key = value: external"]);
}
