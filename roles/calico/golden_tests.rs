//! calico's objects beside upstream's real manifest, in the version that a Go module has. `golden.json` records what is another thing
//! in them for the sample group_vars of kubespray's tags, and for other networks than theirs; tests/lab/networks.rs has a real API
//! server take just that. docs/networks.md has a table of what is changed, and by which variables.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use muster_artifacts::{Arch, Sha256};
use muster_testkit::go_module;
use serde::Serialize;
use serde_json::{Map, json};

use super::*;
use crate::catalogue::CATALOGUE;
use crate::objects::parsed;
use crate::preflight::fixture::variables;

/// A commit of upstream's branch release-v3.28, which is the tag's.
const MODULE: &str = "github.com/projectcalico/calico@v1.11.0-cni-plugin.0.20250813170300-a0db560f0520";
const VERSION: &str = "3.28.5";

/// Set to write `golden.json` and the table anew instead of comparing them.
const UPDATE: &str = "UPDATE_DOCS";

/// What several sets of variables come to.
#[derive(Deserialize, Serialize)]
struct Golden {
    what: String,
    inputs: Vec<Input>,
    /// What is another thing than in upstream's manifest, by object: values by what leads to them, null for what is not there. An
    /// object that is left out is null.
    objects: BTreeMap<String, Value>,
}

/// Variables that calico's objects may depend on.
#[derive(Deserialize, Serialize)]
struct Input {
    /// The tags of kubespray whose sample group_vars set just these.
    tags: String,
    variables: Map<String, Value>,
}

/// Values of objects, by kind and name of the object, and by what leads to them in it, with blanks between.
type Leaves = BTreeMap<String, BTreeMap<String, Value>>;

/// Upstream's manifest; `None`, which is said, where it cannot be had.
#[expect(clippy::print_stderr, reason = "who runs the tests is to know that nothing was compared")]
fn upstream() -> Option<String> {
    let sources = go_module::sources(MODULE);
    if sources.is_none() {
        eprintln!("skipped: the Go module proxy does not give calico's manifest");
    }
    Some(fs::read_to_string(sources?.join("manifests/calico-typha.yaml")).unwrap())
}

/// All objects of a manifest but the definitions of kinds.
fn without_definitions(manifest: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = parsed(manifest).unwrap();
    objects.retain(|object| !object.is_null() && object["kind"] != "CustomResourceDefinition");
    objects
}

/// What the role makes of the manifest for variables in YAML; definitions of kinds stay.
fn made_of(manifest: &str, yaml: &str) -> Leaves {
    made_of_version(VERSION, manifest, yaml)
}

/// The same of the manifest of a version.
fn made_of_version(version: &str, manifest: &str, yaml: &str) -> Leaves {
    let vars = variables(&format!("kube_network_plugin: calico\nskydns_server: 10.233.0.3\n{yaml}"));
    let (cluster, vars): (ClusterVars, Vars) = (vars.deserialize().unwrap(), vars.deserialize().unwrap());
    let image = |name: &str| format!("quay.io/calico/{}:v{version}", name.trim_start_matches("calico-"));
    let images = IMAGES.into_iter().map(|name| (name, image(name))).collect();
    let made = patch::patched(manifest, &vars, &images).unwrap();
    let mut definitions: Vec<Value> = parsed(manifest).unwrap();
    definitions.retain(|object| object["kind"] == "CustomResourceDefinition");
    assert!(definitions.len() > 10 && made.definitions == definitions, "{yaml}");
    let objects: Vec<Value> = made.objects.into_iter().chain(resources::of(&vars, &cluster)).collect();
    leaves(&objects)
}

fn leaves(objects: &[Value]) -> Leaves {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |object: &Value| {
        let mut found = BTreeMap::new();
        collect("", object, &mut found);
        (format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"])), found)
    };
    objects.iter().map(of).collect()
}

/// Finds the values of an object. What is in a list is led to by its name or type, if nothing else there has it, and by its number
/// otherwise; a list of plain values is a value.
fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    let deeper = |word: &str| if path.is_empty() { word.to_owned() } else { format!("{path} {word}") };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(&deeper(name), value, found);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (number, item) in list.iter().enumerate() {
                let key = ["name", "type"].into_iter().find(|key| {
                    let same = list.iter().filter(|other| other[key] == item[key]);
                    item[key].is_string() && same.count() == 1
                });
                let word =
                    key.map_or_else(|| number.to_string(), |key| item[key].as_str().unwrap().to_owned());
                let mut item = item.clone();
                if let (Some(key), Some(fields)) = (key, item.as_object_mut()) {
                    fields.remove(key);
                }
                collect(&deeper(&word), &item, found);
            }
        }
        // Upstream's is no JSON before calico's pod has put a number into it.
        Value::String(text) if path == "data cni_network_config" => {
            let network: Value =
                serde_json::from_str(&text.replace("__CNI_MTU__", "\"__CNI_MTU__\"")).unwrap();
            collect(path, &network, found);
        }
        plain => drop(found.insert(path.to_owned(), plain.clone())),
    }
}

/// The values of an object at a place and below it, by what leads to them from there.
fn below<'s>(state: &'s BTreeMap<String, Value>, place: &str) -> Vec<(&'s str, &'s Value)> {
    let found = |(path, value): (&'s String, &'s Value)| {
        let rest = path.strip_prefix(place)?;
        (rest.is_empty() || rest.starts_with(' ')).then(|| (rest.trim_start(), value))
    };
    state.iter().filter_map(found).collect()
}

/// The places at which two states of an object differ. Where one has nothing at all it is one place; and so is a variable of an
/// environment with its value.
fn differing(one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>) -> BTreeSet<String> {
    let all: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing = all.into_iter().filter(|path| one.get(*path) != other.get(*path));
    let place = |path: &String| {
        let without = [one, other].into_iter().find(|state| !state.contains_key(path));
        let mut beginnings = path.match_indices(' ').map(|(end, _)| &path[..end]);
        let empty = without.and_then(|state| beginnings.find(|place| below(state, place).is_empty()));
        let place = empty.unwrap_or(path);
        place.strip_suffix(" value").unwrap_or(place).to_owned()
    };
    differing.map(place).collect()
}

/// As `objects` of [`Golden`].
fn differences(upstream: &Leaves, ours: &Leaves) -> BTreeMap<String, Value> {
    let nothing = BTreeMap::new();
    let mut found = BTreeMap::new();
    for name in upstream.keys().chain(ours.keys()) {
        let Some(ours) = ours.get(name) else {
            found.insert(name.clone(), Value::Null);
            continue;
        };
        let upstream = upstream.get(name).unwrap_or(&nothing);
        let mut changed = Map::new();
        for place in differing(upstream, ours) {
            let values = below(ours, &place);
            if values.is_empty() {
                changed.insert(place.clone(), Value::Null);
            }
            for (rest, value) in values {
                let path = format!("{place} {rest}").trim_end().to_owned();
                if upstream.get(&path) != Some(value) {
                    changed.insert(path, value.clone());
                }
            }
        }
        if !changed.is_empty() {
            found.insert(name.clone(), Value::Object(changed));
        }
    }
    found
}

#[test]
fn the_samples_of_all_tags_of_kubespray_and_other_networks_come_to_the_objects_that_are_recorded() {
    let mut golden: Vec<Golden> = serde_json::from_str(include_str!("golden.json")).unwrap();
    let inputs = golden.iter().flat_map(|golden| &golden.inputs);
    let tags: Vec<&str> = inputs.flat_map(|input| input.tags.split_whitespace()).collect();
    // All that had calico in their samples: between 1.5.0 and v2.1.0 it was flannel, and before 1.3.0 there were none.
    assert_eq!((tags.len(), tags.iter().collect::<BTreeSet<_>>().len()), (80, 80));

    let Some(manifest) = upstream() else { return };
    let upstream = leaves(&without_definitions(&manifest));
    let updates = std::env::var_os(UPDATE).is_some();
    for golden in &mut golden {
        for (number, input) in golden.inputs.iter().enumerate() {
            let lines = input.variables.iter().map(|(name, value)| format!("{name}: {value}\n"));
            let found = differences(&upstream, &made_of(&manifest, &lines.collect::<String>()));
            if updates && number == 0 {
                golden.objects = found.clone();
            }
            assert!(
                golden.objects == found,
                "{} ({:?}) come to other objects: run the tests with {UPDATE}=1, and read the difference; now {}",
                golden.what,
                input.variables,
                serde_json::to_string_pretty(&found).unwrap()
            );
        }
    }
    if updates {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("calico/golden.json");
        fs::write(path, serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
    }
}

/// Variables with other values than their defaults: in each text first the one that it is about, then those without which that one
/// does nothing.
const OTHERS: [&str; 28] = [
    "typha_enabled: true",
    "typha_replicas: 3\ntypha_enabled: true",
    "typha_max_connections_lower_limit: 100\ntypha_enabled: true",
    "typha_prometheusmetricsenabled: true\ntypha_enabled: true",
    "typha_prometheusmetricsport: 9999\ntypha_enabled: true\ntypha_prometheusmetricsenabled: true",
    "calico_network_backend: bird\ncalico_vxlan_mode: Never",
    "calico_mtu: 1440",
    "calico_veth_mtu: 1400",
    "calico_cni_name: other",
    "calico_cni_log_file_path: false",
    "calico_allow_ip_forwarding: true",
    "calico_ipam_host_local: true",
    "calico_ip_auto_method: interface=eth1",
    "calico_endpoint_to_host_action: ACCEPT",
    "calico_felix_prometheusmetricsenabled: true",
    "calico_felix_prometheusmetricsport: 9999\ncalico_felix_prometheusmetricsenabled: true",
    "calico_node_startup_loglevel: info",
    "calico_node_ignorelooserpf: true",
    "calico_use_default_route_src_ipaddr: true",
    "calico_node_extra_envs: {NAME: value}",
    "calico_node_cpu_requests: 100m",
    "calico_node_memory_requests: 100M",
    "calico_node_cpu_limit: 300m",
    "calico_node_memory_limit: 1000M",
    "calico_node_livenessprobe_timeout: 20",
    "calico_node_readinessprobe_timeout: 20",
    "kube_proxy_mode: ipvs",
    "kube_apiserver_node_port_range: 30000-31000\nkube_proxy_mode: ipvs",
];

/// What an object has at a place, as a cell of a table.
fn cell(state: &BTreeMap<String, Value>, place: &str) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = match below(state, place).as_slice() {
        [] => return "–".to_owned(),
        [("" | "value", value)] => plain(value),
        [(rest, value)] => format!("{rest}: {}", plain(value)),
        _ => return "there".to_owned(),
    };
    format!("`{}`", text.replace('|', "\\|"))
}

/// What is changed of upstream's objects, by default and by which variables.
fn table(manifest: &str) -> String {
    let upstream = leaves(&without_definitions(manifest));
    let [defaults, typha] = ["", "typha_enabled: true"].map(|yaml| made_of(manifest, yaml));
    let mut causes: BTreeMap<(&str, String), BTreeSet<&str>> = BTreeMap::new();
    for yaml in OTHERS {
        let (first, needed) = yaml.split_once('\n').unwrap_or((yaml, ""));
        let variable = first.split(':').next().unwrap();
        let (without, with) = (made_of(manifest, needed), made_of(manifest, yaml));
        let mut has_changed = false;
        for object in upstream.keys() {
            let (Some(without), Some(with)) = (without.get(object), with.get(object)) else { continue };
            for place in differing(without, with) {
                has_changed = true;
                causes.entry((object.as_str(), place)).or_default().insert(variable);
            }
        }
        assert!(has_changed, "{yaml} changes none of upstream's objects");
    }
    let mut table =
        format!("| object | what | upstream's {VERSION} | by default | by |\n|---|---|---|---|---|\n");
    for (object, before) in &upstream {
        let is_left_out = !defaults.contains_key(object);
        if is_left_out {
            table += &format!("| {object} | all of it | there | left out | `typha_enabled` |\n");
        }
        // What is left out by default is told as it is when it is there.
        let after = if is_left_out { &typha[object] } else { &defaults[object] };
        let of_variables = causes.keys().filter(|(of, _)| *of == object.as_str());
        let of_variables = of_variables.map(|(_, place)| place.clone());
        let places: BTreeSet<String> = differing(before, after).into_iter().chain(of_variables).collect();
        for place in places {
            let by = causes.get(&(object.as_str(), place.clone())).into_iter().flatten();
            let by: Vec<String> = by.map(|variable| format!("`{variable}`")).collect();
            let (before, after, by) = (cell(before, &place), cell(after, &place), by.join(", "));
            let place = place.trim_start_matches("spec template spec ");
            table += &format!("| {object} | `{place}` | {before} | {after} | {by} |\n");
        }
    }
    table
}

#[test]
fn the_page_has_a_table_of_what_is_changed_of_upstreams_manifest() {
    const HEADING: &str = "\n### What is changed of upstream's manifest\n";
    let Some(manifest) = upstream() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/networks.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(HEADING).unwrap();
    let (words, rest) = rest.split_once("\n|").unwrap();
    let after = &rest[rest.find("\n\n").unwrap() + 1..];
    let now = format!("{before}{HEADING}{words}\n{}{after}", table(&manifest));
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &now).unwrap();
    } else {
        assert!(
            now == page,
            "docs/networks.md has another table than what is changed: run the tests with {UPDATE}=1, and read the difference"
        );
    }
}

/// No Go module has it. It is upstream's, by the sha256 of the catalogue.
#[test]
#[ignore = "it needs upstream's manifest of the default version, which MUSTER_CALICO_MANIFEST names"]
fn the_manifest_of_the_default_version_has_every_place_that_is_changed() {
    let path = std::env::var_os("MUSTER_CALICO_MANIFEST")
        .unwrap_or_else(|| panic!("MUSTER_CALICO_MANIFEST is not set"));
    let manifest = fs::read_to_string(path).unwrap();
    let release = CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).unwrap();
    let version = release.image("calico-node").unwrap().version.clone();
    let sums = include_str!("../catalogue/catalogue.yml");
    let sum = format!("\"{version}\": {{amd64: {}", Sha256::of(manifest.as_bytes()));
    let (_, sums) = sums.split_once("calico-manifest:").unwrap();
    assert!(sums.split_once("calicoctl:").unwrap().0.contains(&sum), "it is not that of {version}");

    let upstream = leaves(&without_definitions(&manifest));
    let golden: Vec<Golden> = serde_json::from_str(include_str!("golden.json")).unwrap();
    for input in golden.iter().flat_map(|golden| &golden.inputs) {
        let lines = input.variables.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let made = made_of_version(&version, &manifest, &lines.collect::<String>());
        // What is changed there of 3.28.5's is changed here, too; and each image is the catalogue's.
        let changed = differences(&upstream, &made);
        for name in ["ConfigMap calico-config", "DaemonSet calico-node", "FelixConfiguration default"] {
            assert!(changed.contains_key(name), "{name} {:?}", input.variables);
        }
        for (name, values) in &made {
            let foreign = values.iter().find(|(place, image)| {
                place.ends_with(" image") && !image.as_str().unwrap().starts_with("quay.io/calico/")
            });
            assert_eq!(foreign, None, "{name}");
        }
    }
    for yaml in OTHERS {
        let (_, needed) = yaml.split_once('\n').unwrap_or((yaml, ""));
        let [without, with] = [needed, yaml].map(|yaml| made_of_version(&version, &manifest, yaml));
        assert!(upstream.keys().any(|object| without.get(object) != with.get(object)), "{yaml}");
    }
}

#[test]
fn values_of_objects_are_found_by_what_leads_to_them() {
    let object = json!({
        "kind": "K",
        "metadata": { "name": "n" },
        "data": { "cni_network_config": "{\"mtu\": __CNI_MTU__}" },
        "list": [{ "name": "a", "value": "1" }, { "name": "b", "value": ["x", "y"] }],
        "twice": [{ "name": "a", "at": 1 }, { "name": "a", "at": 2 }],
    });
    let all = leaves(&[object]);
    let found = &all["K n"];
    for (path, value) in [
        ("data cni_network_config mtu", json!("__CNI_MTU__")),
        ("list a value", json!("1")),
        ("list b value", json!(["x", "y"])),
        ("twice 1 at", json!(2)),
        ("twice 1 name", json!("a")),
    ] {
        assert_eq!(found.get(path), Some(&value), "{path}: {found:?}");
    }
    let other = BTreeMap::from([("list a value".to_owned(), json!("2"))]);
    let upstream = Leaves::from(["K n", "K m"].map(|name| (name.to_owned(), found.clone())));
    let changed = differences(&upstream, &Leaves::from([("K n".to_owned(), other)]));
    assert_eq!(changed["K m"], Value::Null, "it is left out");
    let places = json!({ "data": null, "kind": null, "list a value": "2", "list b": null, "metadata": null, "twice": null });
    assert_eq!(changed["K n"], places);
}
