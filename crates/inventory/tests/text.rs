//! Any text at all: no panic, no hang, and an error instead.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod entry;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use muster_inventory::{Inventory, LoadOptions, Source, VarsBuilder};
use proptest::prelude::*;

use entry::{host, rules};

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
    fn any_text_as_an_inventory(text in any::<String>()) {
        entry::inventory("hosts.ini", &text);
        entry::inventory("hosts.yml", &text);
    }

    #[test]
    fn inventory_pieces_as_any_form(text in inventory_like()) {
        for name in ["hosts", "hosts.yml", "hosts.ini"] {
            entry::inventory(name, &text);
        }
    }

    #[test]
    fn any_text_as_variables(text in any::<String>()) {
        entry::variables(&text);
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
        entry::template(&text);
    }

    #[test]
    fn template_pieces(text in template_like()) {
        entry::template(&text);
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

/// What the fuzz targets begin with, and what they once found.
#[test]
fn the_corpus_of_the_fuzz_targets() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for folder in ["ini", "yaml", "template"] {
        let files: Vec<_> =
            fs::read_dir(corpus.join(folder)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "{folder}");
        for file in files {
            let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
            match folder {
                "ini" => entry::inventory("hosts.ini", &text),
                "yaml" => {
                    entry::inventory("hosts.yml", &text);
                    entry::variables(&text);
                }
                _ => entry::template(&text),
            }
        }
    }
}
