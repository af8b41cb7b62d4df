//! Any text at all: no panic, no hang, and an error instead.

use std::sync::Arc;

use muster_inventory::{GroupRules, Inventory, LoadOptions, Source, VarsBuilder};
use proptest::prelude::*;

fn rules() -> GroupRules {
    GroupRules::new().alias("kube-node", "kube_node").union("k8s_cluster", &["kube_node"])
}

fn host() -> Arc<muster_inventory::Vars> {
    let inventory = Inventory::from_ini("hosts", "h\n[web]\nh\n", rules()).unwrap();
    let vars = "a: 1\nlist: [1, [2, x]]\nmap: {k: {l: m}}\ntext: some text\n";
    VarsBuilder::new(Arc::new(inventory)).defaults("vars", vars).unwrap().build().unwrap()
}

/// Lines made of the pieces that inventories are made of: nearer to the edges than random text.
fn inventory_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "[",
        "]",
        "[web]",
        "[web:children]",
        "[all:vars]",
        "[x:vars]",
        ":",
        "=",
        "a",
        "b[1:3]",
        "c[a:c]",
        "[01:10:2]",
        "h:22",
        "[::1]:22",
        "x=1",
        "y='a b'",
        "z=\"",
        "'",
        "\\",
        "#",
        ";",
        " ",
        "\t",
        "\n",
        "\n",
        "\n",
        "---",
        "{",
        "}",
        "all:",
        "hosts:",
        "vars:",
        "children:",
        "- ",
        "  ",
        "!vault |",
        "&a",
        "*a",
        "<<: *a",
        "{{ a }}",
        "ü",
        "\u{0}",
        "1e9",
        "[1:999999999999]",
        "?",
        "|",
        ">",
        "~",
        "kube-node",
        "ansible_group_priority=x",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn template_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{{ a }}",
        " a",
        ".b",
        "['k']",
        "[0]",
        "[1:]",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "|",
        "default(1)",
        "map(attribute='x')",
        "ipaddr('net')",
        "regex_replace('(', '\\1')",
        "combine({'a': 1})",
        "to_yaml",
        "flatten",
        "int",
        "list",
        "map",
        "text",
        "if ",
        "else",
        "endif",
        "for i in list",
        "endfor",
        "set x = ",
        "is ",
        "not ",
        "defined",
        "version('1', '<')",
        "match('a*')",
        "'",
        "\"",
        "\\",
        "%",
        "~",
        "+",
        "-",
        "*",
        "**",
        "/",
        "//",
        "==",
        "<",
        ",",
        ":",
        "1",
        "0",
        "99999999999",
        "1.5",
        "none",
        "true",
        "lookup('env', 'X')",
        "raw",
        "endraw",
        "macro m()",
        "endmacro",
        "\n",
        "ü",
        "range(10)",
        "loop.index",
        "hostvars",
        "groups",
        "x",
        "split(',')",
        ".items()",
        ".get('k')",
        "json_query('x')",
        "range(99999999)",
    ]);
    prop::collection::vec(piece, 0..25).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #[test]
    fn any_text_as_ini(text in any::<String>()) {
        let _result = Inventory::from_ini("hosts", &text, rules());
    }

    #[test]
    fn inventory_pieces_as_any_form(text in inventory_like()) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["hosts", "hosts.yml", "hosts.ini"] {
            let path = dir.path().join(name);
            std::fs::write(&path, &text).unwrap();
            if let Ok(inventory) = Inventory::load(&[Source::Path(path)], &LoadOptions { rules: rules(), ..LoadOptions::default() }) {
                // What was read can be shown and asked, whatever it was.
                let inventory = Arc::new(inventory);
                let vars = VarsBuilder::new(Arc::clone(&inventory)).build().unwrap();
                prop_assert!(vars.list_json().is_object());
                prop_assert_eq!(inventory.select("all").unwrap().len(), inventory.hosts().len());
                for host in inventory.hosts() {
                    let _values = vars.host(host.name()).unwrap().resolve_all();
                }
            }
        }
    }

    #[test]
    fn any_text_as_variables(text in any::<String>()) {
        let inventory = Arc::new(Inventory::from_ini("hosts", "h\n", rules()).unwrap());
        let _vars = VarsBuilder::new(Arc::clone(&inventory)).defaults("vars", &text).and_then(VarsBuilder::build);
        let _extra = VarsBuilder::new(inventory).extra_vars(&format!("{{{text}"));
    }

    #[test]
    fn any_text_as_a_pattern(text in any::<String>()) {
        let inventory = Inventory::from_ini("hosts", "a\nb\n[g]\nn[1:9]\n", rules()).unwrap();
        let _hosts = inventory.select(&text);
    }

    #[test]
    fn any_text_as_a_host_list(text in "[-a-z0-9.,:<>{}@ \\[\\]]{0,30}") {
        let _inventory = Inventory::load(&[Source::HostList(text)], &LoadOptions::default());
    }

    #[test]
    fn any_text_as_a_template(text in any::<String>()) {
        let vars = host();
        let host = vars.host("h").unwrap();
        let _rendered = host.render(&text, "template", &());
        let _resolved = host.resolve(&format!("{{{{ {text} }}}}").as_str().into());
    }

    #[test]
    fn template_pieces(text in template_like()) {
        let vars = host();
        let host = vars.host("h").unwrap();
        let _rendered = host.render(&text, "template", &());
        let _resolved = host.resolve(&text.as_str().into());
    }

    /// A text without marks is itself, whatever else it holds.
    #[test]
    fn plain_text_is_itself(text in "[^{]*") {
        let vars = host();
        let resolved = vars.host("h").unwrap().resolve(&text.as_str().into()).unwrap();
        prop_assert_eq!(resolved.as_str(), Some(text.as_str()));
    }

    /// What is written as JSON is read as the same data by YAML.
    #[test]
    fn json_is_yaml(map in prop::collection::btree_map("[a-z]{1,5}", prop::collection::vec(any::<i64>(), 0..4), 0..6)) {
        let text = serde_json::to_string(&map).unwrap();
        let inventory = Arc::new(Inventory::from_ini("hosts", "h\n", rules()).unwrap());
        let vars = VarsBuilder::new(inventory).defaults("json", &text).unwrap().build().unwrap();
        let read: serde_json::Map<String, serde_json::Value> =
            vars.host("h").unwrap().raw().into_iter().map(|(name, value)| (name, value.to_json())).collect();
        prop_assert_eq!(serde_json::Value::Object(read), serde_json::to_value(&map).unwrap());
    }
}
