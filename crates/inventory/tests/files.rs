//! Inventories and variables as files on disk: names, secrets, warnings.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use muster_inventory::{
    GroupRules, Inventory, InventoryError, LayerKind, LoadOptions, Renames, Source, Vars, VarsBuilder,
    VaultSecrets,
};

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn rules() -> GroupRules {
    GroupRules::new()
        .alias("kube-master", "kube_control_plane")
        .alias("kube-node", "kube_node")
        .alias("k8s-cluster", "k8s_cluster")
        .union("k8s_cluster", &["kube_control_plane", "kube_node"])
}

fn load(root: &Path, source: &str) -> Result<Inventory, InventoryError> {
    let options = LoadOptions { rules: rules(), ..LoadOptions::default() };
    Inventory::load(&[Source::Path(root.join(source))], &options)
}

fn vars(files: &[(&str, &str)]) -> (tempfile::TempDir, Arc<Vars>) {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), files);
    let inventory = load(root.path(), "hosts").unwrap();
    let vars = VarsBuilder::new(Arc::new(inventory)).playbook_dir(root.path()).build().unwrap();
    (root, vars)
}

fn text(vars: &Vars, host: &str, name: &str) -> String {
    vars.host(host).unwrap().get(name).unwrap().unwrap().to_json().to_string()
}

#[test]
fn files_of_old_and_new_names_belong_to_one_group() {
    let (_root, vars) = vars(&[
        ("hosts", "[kube_control_plane]\nnew\n[kube-node]\nold\n"),
        ("group_vars/k8s-cluster/net.yml", "everywhere: yes\nwho: cluster\n"),
        ("group_vars/kube-master.yml", "who: old name\nonly_old: 1\n"),
        ("group_vars/kube_control_plane.yml", "who: new name\n"),
        ("group_vars/kube_node.yml", "who: node\n"),
    ]);
    assert_eq!(text(&vars, "new", "who"), "\"new name\"");
    assert_eq!(text(&vars, "new", "only_old"), "1");
    assert_eq!(text(&vars, "old", "who"), "\"node\"");
    assert_eq!(text(&vars, "old", "everywhere"), "true");
    let host = vars.host("old").unwrap();
    for group in ["kube-node", "kube_node", "k8s-cluster", "k8s_cluster"] {
        assert!(host.evaluate(&format!("'{group}' in group_names")).unwrap().as_bool().unwrap(), "{group}");
        assert!(
            host.evaluate(&format!("inventory_hostname in groups['{group}']")).unwrap().as_bool().unwrap(),
            "{group}"
        );
    }
    // What the user did not write is not shown as if they had.
    assert!(!vars.list_json().to_string().contains("k8s_cluster"));
}

#[test]
fn every_place_of_a_variable_is_told() {
    let (root, vars) = vars(&[
        ("hosts", "[kube-node]\nn v=line\n[all:vars]\nv=all\n[kube-node:vars]\nv=group\n"),
        ("group_vars/all.yml", "# comment\nv: file\n"),
        ("host_vars/n.yml", "v: host\n"),
    ]);
    vars.set_fact("n", "v", "set".into()).unwrap();
    let explained = vars.host("n").unwrap().explain("v");
    let kinds: Vec<LayerKind> = explained.iter().map(|definition| definition.kind).collect();
    use LayerKind::{AllFile, AllVars, GroupVars, HostFile, HostLine, SetFact};
    assert_eq!(kinds, [SetFact, HostFile, HostLine, AllFile, GroupVars, AllVars]);
    let place = explained[3].origin().unwrap().to_string();
    assert_eq!(place, format!("{}/group_vars/all.yml:2:4", root.path().display()));
}

#[test]
fn renamed_variables_are_mapped_and_said() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[("hosts", "n old=1\n"), ("group_vars/all.yml", "both: 1\nboth_new: 2\n")]);
    let renames = Renames::new().add("old", "new").add("both", "both_new");
    let inventory = Arc::new(load(root.path(), "hosts").unwrap());
    let vars = VarsBuilder::new(inventory).renames(renames).build().unwrap();
    assert_eq!((text(&vars, "n", "new"), text(&vars, "n", "both_new")), ("1".to_owned(), "2".to_owned()));
    let said: Vec<&str> = vars.warnings().iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "\"old\" is now called \"new\"",
            "\"both\" is the old name of \"both_new\", which is given too and wins",
        ]
    );
}

#[test]
fn former_words_for_values_are_mapped_and_said() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        &[("hosts", "n v=strict\nm v=other\n"), ("group_vars/all.yml", "old: 1\nw: strict\nempty: ''\n")],
    );
    let renames = Renames::new().add("old", "v").add_word("v", "strict", true.into()).add_word(
        "v",
        "disabled",
        false.into(),
    );
    let renames = renames.add_word("empty", "", 0_i64.into());
    let inventory = Arc::new(load(root.path(), "hosts").unwrap());
    let vars = VarsBuilder::new(inventory).renames(renames).build().unwrap();
    let of = |host: &str, name: &str| {
        vars.host(host).unwrap().get(name).unwrap().map(|value| value.to_json().to_string()).unwrap()
    };
    assert_eq!([of("n", "v"), of("m", "v")], ["true", "\"other\""]);
    assert_eq!(of("n", "w"), "\"strict\"", "that of another variable stays");
    assert_eq!(of("n", "empty"), "0", "of what is empty nothing is said");
    let said: Vec<&str> = vars.warnings().iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(said, ["\"strict\" of \"v\" is now written true", "\"old\" is now called \"v\""]);
}

#[test]
fn what_users_set_is_listed_and_what_their_templates_use_is_marked() {
    let (_root, vars) = vars(&[
        ("hosts", "n ansible_host=1 mine=line\n[empty]\n"),
        ("group_vars/all.yml", "mine: x\nbin_dir: ['{{ mine }}']\ngroups: 1\n"),
        ("group_vars/empty.yml", "nobody: 1\n"),
    ]);
    let written = vars.written();
    let listed: Vec<(&str, bool)> = written.iter().map(|set| (set.name.as_str(), set.mentioned)).collect();
    assert_eq!(listed, [("bin_dir", false), ("mine", true), ("nobody", false)]);
    let place = written[1].origin.as_ref().unwrap().to_string();
    assert!(place.ends_with("group_vars/all.yml:1:7"), "{place}");
}

#[test]
fn what_nobody_reads_is_told() {
    let (_root, vars) = vars(&[
        ("hosts", "[web]\nh\n"),
        ("group_vars/wbe.yml", "a: 1\n"),
        ("group_vars/web/x.yml", "b: 1\n"),
    ]);
    let said = vars.warnings()[0].to_string();
    assert!(
        said.ends_with("group_vars: no group is called like wbe.yml (is it meant for \"web\"?)"),
        "{said}"
    );

    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[("dir/inventory.cfg", "h\n"), ("dir/group_vars/all.yml", "a: 1\n")]);
    let inventory = load(root.path(), "dir").unwrap();
    assert!(inventory.warnings()[0].message.contains("inventory.cfg is skipped because of its name"));
}

#[test]
fn a_folder_is_read_with_its_ini_files_and_a_mark_of_the_byte_order_is_no_part_of_a_name() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        &[("dir/hosts.ini", "\u{feff}[all]\nh\n"), ("dir/group_vars/all.yml", "\u{feff}a: 1\n")],
    );
    let inventory = load(root.path(), "dir").unwrap();
    assert_eq!(inventory.group("all"), ["h"]);
    let vars = VarsBuilder::new(Arc::new(inventory)).build().unwrap();
    assert_eq!(text(&vars, "h", "a"), "1");
}

#[test]
fn passwords_are_made_once_and_kept() {
    let (root, vars) = vars(&[
        ("hosts", "a\nb\n"),
        (
            "group_vars/all.yml",
            "secret: \"{{ lookup('password', inventory_dir + '/credentials/x length=15 chars=ascii_letters,digits') }}\"\n",
        ),
    ]);
    let made = text(&vars, "a", "secret");
    assert_eq!(made.len(), 17, "{made}");
    assert!(made.trim_matches('"').chars().all(|c| c.is_ascii_alphanumeric()), "{made}");
    assert_eq!(made, text(&vars, "b", "secret"));
    let file = root.path().join("credentials/x");
    assert_eq!(fs::read_to_string(&file).unwrap().trim_end(), made.trim_matches('"'));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(root.path().join("credentials")).unwrap().permissions().mode() & 0o777, 0o700);
    fs::write(&file, "changed salt=abc\n").unwrap();
    let again = VarsBuilder::new(Arc::new(load(root.path(), "hosts").unwrap())).build().unwrap();
    assert_eq!(text(&again, "a", "secret"), "\"changed\"");
}

#[test]
fn many_threads_agree_on_one_password() {
    let (root, vars) =
        vars(&[("hosts", "h[1:16]\n"), ("group_vars/all.yml", "s: \"{{ lookup('password', 'p') }}\"\n")]);
    let threads: Vec<_> = (1..=16)
        .map(|n| {
            let vars = Arc::clone(&vars);
            std::thread::spawn(move || text(&vars, &format!("h{n}"), "s"))
        })
        .collect();
    let made: std::collections::BTreeSet<String> =
        threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "no temporary file is left: {left:?}");
}

/// `plain: hush` with the password `swordfish`, made by ansible-vault.
fn encrypted() -> String {
    let data = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/inventories/vault.json"),
    );
    let json: serde_json::Value = serde_json::from_str(&data.unwrap()).unwrap();
    json["_encrypted"]["encrypted-file:group_vars/all.yml"].as_str().unwrap().to_owned()
}

#[test]
fn secrets_need_their_password_and_are_not_shown() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[("hosts", "h\n"), ("group_vars/all.yml", &encrypted())]);
    let build = |passwords: &[&str]| {
        let mut secrets = VaultSecrets::new();
        passwords.iter().for_each(|password| secrets.add("default", password.as_bytes()));
        VarsBuilder::new(Arc::new(load(root.path(), "hosts").unwrap())).secrets(secrets).build()
    };
    let error = |passwords: &[&str]| build(passwords).unwrap_err().to_string();
    assert!(error(&[]).contains("no vault password was given"));
    assert!(error(&["wrong"]).contains("none of the vault passwords given decrypts it"));
    let vars = build(&["wrong", "swordfish\n"]).unwrap();
    assert_eq!(text(&vars, "h", "open"), "\"hush\"");
    let origin = vars.host("h").unwrap().explain("secret")[0].origin().unwrap().clone();
    assert_eq!((origin.line(), origin.excerpt().as_str()), (1, ""));
    #[derive(Debug, serde::Deserialize)]
    struct Wants {
        #[allow(dead_code, reason = "it cannot be read")]
        open: Vec<bool>,
    }
    let told = vars.host("h").unwrap().deserialize::<Wants>().unwrap_err().to_string();
    assert!(told.contains("something that is not shown") && !told.contains("hush"), "{told}");

    let damaged = encrypted().replacen('3', "4", 1);
    write(root.path(), &[("group_vars/all.yml", &damaged)]);
    assert!(error(&["swordfish"]).contains("vault") || error(&["swordfish"]).contains("damaged"));
}

#[test]
fn an_encrypted_value_fails_only_when_it_is_used() {
    let vault: String = encrypted().lines().map(|line| format!("  {line}\n")).collect();
    let (_root, vars) = vars(&[
        ("hosts", "h\n"),
        ("group_vars/all.yml", &format!("a: !vault |\n{vault}b: '{{{{ a }}}}'\nc: 1\n")),
    ]);
    assert_eq!(text(&vars, "h", "c"), "1");
    let error = vars.host("h").unwrap().get("b").unwrap_err().to_string();
    assert!(
        error.contains("all.yml:1:4: cannot read \"a\"") && error.contains("no vault password"),
        "{error}"
    );
}

#[test]
fn errors_show_the_place() {
    let root = tempfile::tempdir().unwrap();
    let error = |text: &str, name: &str| {
        write(root.path(), &[(name, text)]);
        let error = load(root.path(), name).unwrap_err().to_string();
        error.replace(&format!("{}/", root.path().display()), "")
    };
    assert_eq!(
        error("[web]\nh a=1\n  x y z=2 # c\n", "hosts"),
        "hosts:3:5: expected key=value, found \"y\"; a value with spaces must be in quotes: key='a b'\n   |\n 3 |   x y z=2 # c\n   |     ^"
    );
    assert_eq!(
        error("all:\n  hosts:\n    a: [1\n", "hosts.yml").lines().next().unwrap(),
        "hosts.yml:4:1: not valid YAML: while parsing a flow sequence, expected ',' or ']'"
    );
    for (text, hint) in [
        ("all: {}\nweb\nother: {}\n", " (is a colon missing behind a name in a line above?)\n"),
        ("all:\n  hosts\n  vars: {}\n", " (is a colon missing behind a name in a line above, or "),
    ] {
        assert!(error(text, "hosts.yml").contains(hint), "{text}");
    }
    assert!(
        error("[p:children]\nq\n", "hosts")
            .contains("hosts:2:1: [p:children] names the group \"q\", which is declared nowhere")
    );
    assert!(error("plugin: aws_ec2\n", "hosts.yml").contains("inventory plugin"));
    assert!(load(root.path(), "nowhere").unwrap_err().to_string().contains("host1,"));
}

#[test]
fn a_failing_script_says_why() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let run = |body: &str| {
        let path = root.path().join("inv");
        write(root.path(), &[("inv", &format!("#!/bin/sh\n{body}\n"))]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        load(root.path(), "inv").map(|inventory| inventory.hosts().len()).map_err(|error| error.to_string())
    };
    assert_eq!(run("echo '{\"g\": [\"a\", \"b\"], \"_meta\": {\"hostvars\": {}}}'"), Ok(2));
    assert!(run("echo broken >&2; exit 3").unwrap_err().contains("broken"));
    assert!(run("echo not json").unwrap_err().contains("did not print JSON"));
    assert!(run("echo '[]'").unwrap_err().contains("JSON object"));
}

#[test]
fn lists_of_hosts_in_every_shorthand() {
    let hosts = |text: &str| {
        let inventory =
            Inventory::load(&[Source::HostList(text.to_owned())], &LoadOptions::default()).unwrap();
        inventory.hosts().map(|host| host.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(hosts("10.1.1.<4,5,6>"), ["10.1.1.4", "10.1.1.5", "10.1.1.6"]);
    assert_eq!(hosts("10.1.1.{4,5,6},x"), ["10.1.1.4", "10.1.1.5", "10.1.1.6", "x"]);
    assert_eq!(hosts("10.1.1.[4:6],"), ["10.1.1.4", "10.1.1.5", "10.1.1.6"]);
    assert_eq!(hosts("10.146.225.4 .5 .6"), ["10.146.225.4", "10.146.225.5", "10.146.225.6"]);
    assert_eq!(hosts("10.0.1.1 .2.7"), ["10.0.1.1", "10.0.2.7"]);
    assert_eq!(hosts("node{1..3}.lab"), ["node1.lab", "node2.lab", "node3.lab"]);
    assert_eq!(hosts("pc<01-03>,"), ["pc01", "pc02", "pc03"]);
    assert_eq!(hosts("[2001:db8::1]:22,"), ["2001:db8::1"]);
    let inventory =
        Inventory::load(&[Source::HostList("core@10.0.0.1:2222,".to_owned())], &LoadOptions::default())
            .unwrap();
    let host = inventory.host("10.0.0.1").unwrap();
    assert_eq!(host.vars()["ansible_user"].as_str(), Some("core"));
    assert_eq!(host.vars()["ansible_port"].as_i64(), Some(2222));
    for wrong in ["10.1.1.<4,5", "10.1.1.<4,5,>", "n{,1}", "n{1,,2}", "n{}"] {
        let list = Source::HostList(wrong.to_owned());
        assert!(Inventory::load(&[list], &LoadOptions::default()).is_err(), "{wrong}");
    }
}

#[test]
fn arguments_are_paths_or_lists_of_hosts() {
    for list in ["a,b", "a,", "10.1.1.<4,5>", "10.146.225.4 .5", "core@10.0.0.1", "10.0.0.7", "n{1..3}"] {
        assert_eq!(Source::from_argument(list), Source::HostList(list.to_owned()));
    }
    for path in ["hosts", "inventory/hosts.ini", "./a", "/etc/ansible/hosts"] {
        assert_eq!(Source::from_argument(path), Source::Path(path.into()));
    }
}

#[test]
fn a_file_of_hosts_is_a_pattern() {
    let (root, vars) = vars(&[("hosts", "h[1:4]\n"), ("failed", "h3\n\n h1 \n"), ("wrong", "h9\n")]);
    let select = |file: &str| vars.inventory().select(&format!("@{}/{file}", root.path().display()));
    assert_eq!(select("failed").unwrap(), ["h3", "h1"]);
    assert!(
        select("wrong")
            .unwrap_err()
            .to_string()
            .contains("\"h9\" matches no host and no group; did you mean \"h")
    );
    assert!(select("nowhere").unwrap_err().to_string().contains("cannot read the file"));
}

/// The variables of a sample of 2017 say what they said.
#[test]
fn the_oldest_sample_can_be_resolved() {
    let (_root, vars) = vars(&[
        (
            "hosts",
            "node1 ansible_ssh_host=1.2.3.4 ip=10.3.0.1\n[kube-master]\nnode1\n[kube-node]\nnode1\n[k8s-cluster:children]\nkube-node\nkube-master\n",
        ),
        (
            "group_vars/all.yml",
            "cert_management: \"{{ 'vault' if groups.get('vault', None) else 'script' }}\"\nbootstrap_os: coreos\n",
        ),
        (
            "group_vars/k8s-cluster.yml",
            "kube_api_pwd: \"{{ lookup('password', inventory_dir + '/credentials/kube_user length=15 chars=ascii_letters,digits') }}\"\nkube_users:\n  kube:\n    pass: \"{{kube_api_pwd}}\"\n    role: admin\nkube_service_addresses: 10.233.0.0/18\nkube_apiserver_ip: \"{{ kube_service_addresses|ipaddr('net')|ipaddr(1)|ipaddr('address') }}\"\nkube_proxy_nodeport_addresses: >-\n  {%- if kube_proxy_nodeport_addresses_cidr is defined -%}\n  [{{ kube_proxy_nodeport_addresses_cidr }}]\n  {%- else -%}\n  []\n  {%- endif -%}\n",
        ),
    ]);
    let host = vars.host("node1").unwrap();
    for (name, result) in host.resolve_all() {
        assert!(result.is_ok(), "{name}: {result:?}");
    }
    assert_eq!(text(&vars, "node1", "cert_management"), "\"script\"");
    assert_eq!(text(&vars, "node1", "kube_apiserver_ip"), "\"10.233.0.1\"");
    assert_eq!(text(&vars, "node1", "kube_proxy_nodeport_addresses"), "[]");
    assert_eq!(host.evaluate("kube_users.kube.pass | length").unwrap().as_i64(), Some(15));
}
