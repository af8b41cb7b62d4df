//! Variables from every place, resolved for a host.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_inventory::{GroupRules, Inventory, Kind, Value, Vars, VarsBuilder, VarsError};
use serde::Deserialize;

fn rules() -> GroupRules {
    GroupRules::new()
        .alias("kube-master", "kube_control_plane")
        .alias("kube_master", "kube_control_plane")
        .alias("kube-node", "kube_node")
        .alias("k8s-cluster", "k8s_cluster")
        .union("k8s_cluster", &["kube_control_plane", "kube_node"])
}

fn vars(ini: &str, defaults: &str) -> Arc<Vars> {
    let inventory = Inventory::from_ini("hosts.ini", ini, rules()).unwrap();
    VarsBuilder::new(Arc::new(inventory)).defaults("role/defaults.yml", defaults).unwrap().build().unwrap()
}

fn get(vars: &Vars, host: &str, name: &str) -> Kind {
    vars.host(host).unwrap().get(name).unwrap().unwrap().kind
}

const INI: &str = "node1 ansible_host=10.0.0.1\nnode2 ip=10.0.0.2\n[kube-master]\nnode1\n[kube-node]\nnode1\nnode2\n[all:vars]\nport=6443\n";

#[test]
fn values_are_lazy_and_recursive() {
    let vars = vars(
        INI,
        "bin_dir: /usr/local/bin\nkubelet: '{{ bin_dir }}/kubelet'\naddress: '{{ ip | default(ansible_host) }}:{{ port }}'\nnumber: '{{ port }}'\nlist: ['{{ bin_dir }}', 1]\nasked: '{{ missing.deep.er | default(\"no\") }}'\nmasters: '{{ groups[\"kube_control_plane\"] }}'\nother: '{{ hostvars[\"node2\"].address }}'",
    );
    assert_eq!(get(&vars, "node1", "kubelet"), Kind::Raw("/usr/local/bin/kubelet".into()));
    assert_eq!(get(&vars, "node1", "address"), Kind::Raw("10.0.0.1:6443".into()));
    assert_eq!(get(&vars, "node2", "address"), Kind::Raw("10.0.0.2:6443".into()));
    assert_eq!(get(&vars, "node1", "number"), Kind::Int(6443));
    assert_eq!(get(&vars, "node1", "asked"), Kind::Raw("no".into()));
    assert_eq!(get(&vars, "node1", "other"), Kind::Raw("10.0.0.2:6443".into()));
    let masters = vars.host("node2").unwrap().get("masters").unwrap().unwrap().to_json();
    assert_eq!(masters, serde_json::json!(["node1"]));
}

#[test]
fn old_and_new_group_names_are_one() {
    let inventory = Inventory::from_ini("hosts.ini", INI, rules()).unwrap();
    assert_eq!(inventory.group("kube_control_plane"), ["node1"]);
    assert_eq!(inventory.group("kube-master"), ["node1"]);
    assert_eq!(inventory.group("k8s-cluster"), ["node1", "node2"]);
    assert_eq!(inventory.select("kube_node:!kube-master").unwrap(), ["node2"]);
}

#[test]
fn undefined_is_told_with_its_chain() {
    let vars = vars(INI, "a: '{{ b }}'\nb: 'x{{ nowhere }}'\n");
    let error = vars.host("node1").unwrap().get("a").unwrap_err().to_string();
    assert!(error.contains("role/defaults.yml:2:4"), "{error}");
    assert!(error.contains("nowhere"), "{error}");
    assert!(error.contains("used by \"a\" (role/defaults.yml:1:4)"), "{error}");
}

#[test]
fn a_circle_is_told() {
    let vars = vars(INI, "a: '{{ b }}'\nb: '{{ c }}'\nc: '{{ a }}'\n");
    let error = vars.host("node1").unwrap().get("a").unwrap_err();
    assert!(matches!(&error, VarsError::Cycle { links, .. } if links.len() == 3), "{error:?}");
}

#[derive(Debug, Deserialize, PartialEq)]
struct Wanted {
    port: u16,
    enabled: bool,
    names: Vec<String>,
    extra: Option<String>,
    mode: Mode,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Ipvs,
    Iptables,
}

#[test]
fn structs_are_read_leniently() {
    let vars = vars(INI, "enabled: 'yes'\nnames: [a, 1]\nmode: ipvs\nbroken: '{{ nowhere }}'\n");
    let wanted: Wanted = vars.host("node1").unwrap().deserialize().unwrap();
    let expected = Wanted {
        port: 6443,
        enabled: true,
        names: vec!["a".into(), "1".into()],
        extra: None,
        mode: Mode::Ipvs,
    };
    assert_eq!(wanted, expected);
}

#[test]
fn a_list_and_a_mapping_without_a_value_are_empty() {
    #[derive(Debug, Deserialize)]
    struct Wanted {
        names: Vec<String>,
        labels: BTreeMap<String, String>,
    }
    let wanted: Wanted = vars(INI, "names:\nlabels: ~\n").host("node1").unwrap().deserialize().unwrap();
    assert!(wanted.names.is_empty() && wanted.labels.is_empty(), "{wanted:?}");
    let error =
        vars(INI, "names: a\nlabels: []\n").host("node1").unwrap().deserialize::<Wanted>().unwrap_err();
    assert!(error.to_string().contains("must be a list"), "{error}");
}

#[test]
fn all_problems_are_told_at_once() {
    let vars = vars(INI, "port: x\nenabled: maybe\nmode: userspace\n");
    let vars = {
        vars.set_fact("node1", "port", Value::from("eighty")).unwrap();
        vars
    };
    let error = vars.host("node1").unwrap().deserialize::<Wanted>().unwrap_err();
    let VarsError::Invalid { problems, .. } = &error else { panic!("{error:?}") };
    let names: Vec<&str> = problems.iter().map(|problem| problem.variable.as_str()).collect();
    assert_eq!(names, ["enabled", "mode", "names", "port"], "{error}");
    assert!(error.to_string().contains("role/defaults.yml:2:10"), "{error}");
}

#[test]
fn templates_see_variables_and_their_own() {
    let vars = vars(INI, "bin_dir: /opt/bin\n");
    let host = vars.host("node1").unwrap();
    let text = host
        .render(
            "{% for h in groups.kube_node %}\n{{ h }} {{ bin_dir }} {{ mine }}\n{% endfor %}\n",
            "t.j2",
            &serde_json::json!({"mine": 5}),
        )
        .unwrap();
    assert_eq!(text, "node1 /opt/bin 5\nnode2 /opt/bin 5\n");
    let error = host.render("one\ntwo {{ nope }}\n", "t.j2", &()).unwrap_err().to_string();
    assert!(error.contains("t.j2:2") && error.contains("two {{ nope }}"), "{error}");
}

#[test]
fn facts_win_and_forget_what_was_remembered() {
    let vars = vars(INI, "a: 1\nb: '{{ a }}'\n");
    assert_eq!(get(&vars, "node1", "b"), Kind::Int(1));
    vars.set_fact("node1", "a", Value::from(2)).unwrap();
    assert_eq!(get(&vars, "node1", "b"), Kind::Int(2));
    assert_eq!(get(&vars, "node2", "b"), Kind::Int(1));
}

#[test]
fn variables_are_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Vars>();
    is_shared::<muster_inventory::HostVars>();
    is_shared::<Inventory>();
}

/// The deepest chain that is followed fits into the stack of a small thread, and a deeper one is an
/// error, not a crash.
#[test]
fn long_chains_fit_a_small_stack() {
    let chain = |length: usize| -> String {
        let links: String = (0..length).map(|n| format!("v{n}: \"x{{{{ v{} }}}}\"\n", n + 1)).collect();
        format!("{links}v{length}: end\n")
    };
    let resolve = |length: usize| {
        let vars = vars(INI, &chain(length));
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn(move || vars.host("node1").unwrap().get("v0")).unwrap().join().unwrap()
    };
    let end = resolve(40).unwrap().unwrap();
    assert_eq!(end.as_str(), Some(format!("{}end", "x".repeat(40)).as_str()));
    assert!(matches!(resolve(200), Err(VarsError::TooDeep { .. })));
}

/// What is wrong is said in the user's own words, with the place.
#[test]
fn messages_name_what_is_wrong() {
    let defaults = "d: {k: v}\nlist: [1]\nlong: |\n  one\n  {{ nowhere }}\n";
    let vars = vars(INI, defaults);
    let host = vars.host("node1").unwrap();
    let message = |template: &str| host.resolve(&template.into()).unwrap_err().to_string();
    let cases = [
        ("{{ nowhere }}", "`nowhere` is undefined"),
        ("{{ nowhere.x | lower }}", "`nowhere` is undefined"),
        ("{% if prot > 1 %}{% endif %}", "`prot` is undefined (did you mean `port`?)"),
        ("{{ d.x['y'].z }}", "`d.x.y.z` is undefined"),
        ("{{ (d | items).x.y }}", "`(d | items).x.y` is undefined"),
        ("{{ hostvars['z'].ip }}", "`hostvars.z.ip` is undefined"),
        ("{{ 'x' | nosuch }}", "filter nosuch is unknown"),
        ("{{ list.append(1) }}", "\"append\" would change a value in place"),
        (
            "{{ lookup('hashi_vault', 'x') }}",
            "the lookup \"hashi_vault\" is not supported; supported are dict, env",
        ),
        ("{{ 'v1' is version('1.2', '<') }}", "is one of them written with a \"v\"?"),
        ("{{ port + 'x' }}", "in `port + 'x'`"),
        ("{{ unclosed", "unexpected end of input"),
    ];
    for (template, expected) in cases {
        let message = message(template);
        assert!(message.contains(expected), "{template}: {message}");
        assert!(!message.contains("__"), "{template}: {message}");
    }
    let place = host.get("long").unwrap_err().to_string();
    assert!(
        place.starts_with("role/defaults.yml:5:3: cannot resolve \"long\" for the host node1: `nowhere`"),
        "{place}"
    );
}

#[test]
fn extra_variables_win_and_have_types_when_they_are_written_as_data() {
    let inventory = Arc::new(Inventory::from_ini("hosts.ini", INI, rules()).unwrap());
    let build = |arguments: &[&str]| {
        let builder = VarsBuilder::new(Arc::clone(&inventory));
        arguments.iter().try_fold(builder, |builder, argument| builder.extra_vars(argument))?.build()
    };
    let vars = build(&["port=1 name='two words'", "{\"typed\": true, \"port\": 2}", "later=x"]).unwrap();
    assert_eq!(get(&vars, "node1", "port"), Kind::Int(2));
    assert_eq!(get(&vars, "node1", "name"), Kind::Raw("two words".into()));
    assert_eq!(get(&vars, "node1", "typed"), Kind::Bool(true));
    vars.set_fact("node1", "port", Value::from(3)).unwrap();
    assert_eq!(get(&vars, "node1", "port"), Kind::Int(2));
    for wrong in ["port", "x='open", "[1, 2]", "{a", "@/nonexistent"] {
        assert!(build(&[wrong]).is_err(), "{wrong}");
    }
}

/// `vars` and `hostvars` hold everything, themselves too; printing them must end.
#[test]
fn everything_can_be_printed() {
    let vars = vars(INI, "a: 1\nb: '{{ a }}'\n");
    let host = vars.host("node1").unwrap();
    for template in [
        "{{ hostvars }}",
        "x {{ hostvars }}",
        "{{ vars }}",
        "x {{ vars }}",
        "{{ hostvars | to_json }}",
        "{{ vars | dict2items }}",
    ] {
        let value = host.resolve(&template.into()).unwrap();
        assert!(value.to_json().to_string().contains("10.0.0.1"), "{template}");
    }
    assert_eq!(host.evaluate("hostvars['node2']['b']").unwrap().as_i64(), Some(1));
    assert_eq!(host.evaluate("lookup('varnames', '^b$')").unwrap().as_str(), Some("b"));
}

#[test]
fn facts_are_known_once_a_machine_was_read_and_not_before() {
    let vars = vars(
        INI,
        "ip: \"{{ ansible_default_ipv4.address | default(ansible_host) }}\"\nfamily: \"{{ ansible_facts['os_family'] }}\"\n\
         of_other: \"{{ hostvars['node2'].ansible_eth0.ipv4.address }}\"\nhas: \"{{ ansible_eth1 is defined }}\"\n\
         peers: \"{{ groups['all'] | map('extract', hostvars, 'family') | list }}\"\n",
    );
    let host = vars.host("node1").unwrap();
    for name in ["ip", "family", "of_other", "has", "peers"] {
        let error = host.get(name).unwrap_err();
        assert!(error.needs_facts(), "{name}: {error}");
    }
    let told = host.get("of_other").unwrap_err().to_string();
    assert!(told.contains("needs `ansible_eth0`, which is read from the machine node2"), "{told}");
    let facts = |address: &str| {
        let json = serde_json::json!({
            "ansible_default_ipv4": { "address": address }, "ansible_os_family": "Debian",
            "ansible_eth0": { "ipv4": { "address": address } },
        });
        let map = json.as_object().unwrap().clone();
        map.into_iter().map(|(name, value)| (name, Value::from_json(&value)))
    };
    vars.set_facts("node1", facts("192.0.2.1")).unwrap();
    assert_eq!(get(&vars, "node1", "ip"), Kind::Raw("192.0.2.1".into()));
    assert_eq!(get(&vars, "node1", "family"), Kind::Raw("Debian".into()));
    assert_eq!(get(&vars, "node1", "has"), Kind::Bool(false), "known not to be there");
    assert!(host.get("of_other").unwrap_err().needs_facts(), "of a machine that was not read");
    vars.set_facts("node2", facts("192.0.2.2")).unwrap();
    assert_eq!(get(&vars, "node1", "of_other"), Kind::Raw("192.0.2.2".into()));
    vars.set_facts("node1", facts("192.0.2.9")).unwrap();
    assert_eq!(get(&vars, "node1", "ip"), Kind::Raw("192.0.2.9".into()), "read anew");
}

#[test]
fn fallbacks_are_read_by_templates_and_not_listed() {
    let inventory = Arc::new(Inventory::from_ini("hosts.ini", INI, rules()).unwrap());
    let builder =
        VarsBuilder::new(inventory).defaults("role", "net: 10.0.0.0/8\nmine: '{{ nets }}'\n").unwrap();
    let vars = builder.fallbacks("other", "nets: '{{ net }}'\nnet: none\n").unwrap().build().unwrap();
    assert_eq!(get(&vars, "node1", "mine"), Kind::Raw("10.0.0.0/8".into()));
    let host = vars.host("node1").unwrap();
    assert!(host.raw().contains_key("mine") && !host.raw().contains_key("nets"));
    assert!(!vars.list_json().to_string().contains("nets"), "as ansible-inventory");
    assert_eq!(host.explain("nets").len(), 1);
}

#[test]
fn mappings_are_merged_where_hash_behaviour_says_so() {
    let build = |merge: bool| {
        let inventory = Arc::new(Inventory::from_ini("hosts.ini", INI, rules()).unwrap());
        let builder = VarsBuilder::new(inventory).merge_hashes(merge);
        let builder = builder.defaults("role", "d: {a: 1, b: {x: 1, y: 2}, l: [1]}\n").unwrap();
        builder.extra_vars("{d: {b: {y: 3}, l: [2], c: 4}}").unwrap().build().unwrap()
    };
    let json = |vars: &Vars| vars.host("node1").unwrap().get("d").unwrap().unwrap().to_json().to_string();
    assert_eq!(json(&build(false)), r#"{"b":{"y":3},"l":[2],"c":4}"#);
    let merged = build(true);
    assert_eq!(json(&merged), r#"{"a":1,"b":{"x":1,"y":3},"l":[2],"c":4}"#);
    assert_eq!(merged.host("node1").unwrap().raw()["d"].to_json().to_string(), json(&merged));
}

#[test]
fn a_mapping_may_refer_to_its_own_parts() {
    let vars = vars(
        INI,
        "root: {a: '{{ root.b }}', b: '{{ root.c.d }}', c: {d: 1}}\nloop: {a: '{{ loop.b }}', b: '{{ loop.a }}'}\n\
         whole: {a: '{{ whole }}'}\n",
    );
    let root = vars.host("node1").unwrap().get("root").unwrap().unwrap();
    assert_eq!(root.to_json().to_string(), r#"{"a":1,"b":1,"c":{"d":1}}"#);
    for name in ["loop", "whole"] {
        assert!(vars.host("node1").unwrap().get(name).is_err(), "{name} is a circle");
    }
}

#[test]
fn what_cannot_be_changed_in_place_is_made_with_what_the_hint_says() {
    let vars = vars(INI, "names: [a, b]\n");
    let host = vars.host("node1").unwrap();
    let json = |template: &str| host.resolve(&template.into()).unwrap().to_json().to_string();
    let hint = host
        .resolve(&"{% set r = [] %}{% for n in names %}{% set _ = r.append(n) %}{% endfor %}{{ r }}".into());
    assert!(hint.unwrap_err().to_string().contains("{% set ns = namespace(x=[]) %}"));
    assert_eq!(
        json(
            "{% set ns = namespace(x=[]) %}{% for n in names %}{% set ns.x = ns.x + [n] %}{% endfor %}{{ ns.x }}"
        ),
        r#"["a","b"]"#
    );
    assert_eq!(
        json(
            "{% set ns = namespace(x={}) %}{% for n in names %}{% set ns.x = ns.x | combine({n: 1}) %}{% endfor %}{{ ns.x }}"
        ),
        r#"{"a":1,"b":1}"#
    );
    assert_eq!(json("{{ dict(names | zip([1, 2])) }}"), r#"{"a":1,"b":2}"#);
    assert_eq!(json("{{ dict([['a', 1]], b=2) }}"), r#"{"a":1,"b":2}"#);
    assert_eq!(json("{{ dict({'a': 1}) }}"), r#"{"a":1}"#);
}
