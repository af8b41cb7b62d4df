//! containerd's configuration, setting by setting, whichever version of containerd prints it; and what of it would be lost.

use std::collections::{BTreeMap, BTreeSet};

use muster_engine::prelude::Problem;
use serde_json::{Value, json};
use toml_edit::{Document, Item, Table, TableLike, TomlError};

use super::OF_HOST;
use super::compared;
use super::living::refused;
use crate::containerd::variable_of;

/// containerd 2's two plugins for Kubernetes, and the one of containerd 1 whose settings they have.
const RUNTIME: &str = "io.containerd.cri.v1.runtime";
const IMAGES: &str = "io.containerd.cri.v1.images";
const OF_1: &str = "io.containerd.grpc.v1.cri";

/// Settings of containerd 1's plugin that are those of images in containerd 2 (its docs/cri/config.md).
const OF_IMAGES: [&str; 7] = [
    "disable_snapshot_annotations",
    "image_decryption",
    "image_pull_progress_timeout",
    "image_pull_with_sync_fs",
    "max_concurrent_downloads",
    "registry",
    "stats_collect_period",
];

/// Those that containerd 2 has where containerd 1 had them.
const OF_STREAMS: [&str; 6] = [
    "disable_tcp_service",
    "enable_tls_streaming",
    "stream_idle_timeout",
    "stream_server_address",
    "stream_server_port",
    "x509_key_pair_streaming",
];

/// Settings beside those of the role's list that have a variable.
const VARIABLES: [(&[&str], &str); 4] = [
    (&["root"], "containerd_storage_dir"),
    (&["state"], "containerd_state_dir"),
    (&["plugins", IMAGES, "snapshotter"], "containerd_snapshotter"),
    (&["plugins", RUNTIME, "containerd", "default_runtime_name"], "containerd_default_runtime"),
];

/// Folders with what registries are reached by: muster's, and Docker's, in which containerd 2.2 looks, too.
const CERTS: &str = "/etc/containerd/certs.d";
const DOCKERS_CERTS: &str = "/etc/docker/certs.d";

/// Settings by the tables that they are in and their names, which are containerd 2's.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<Vec<String>, Value>);

impl Tree {
    /// Reads a configuration.
    ///
    /// # Errors
    /// It is no TOML.
    pub(super) fn parse(text: &str) -> Result<Self, TomlError> {
        let document = Document::parse(text)?;
        let mut tree = Self::default();
        tree.take(&[], document.as_table());
        // Before containerd 2.2 there was one folder of network plugins.
        let cni = |last: &str| ["plugins", RUNTIME, "cni", last].map(str::to_owned).to_vec();
        if let Some(dir) = tree.0.remove(&cni("bin_dir")).filter(|dir| *dir != json!("")) {
            tree.0.insert(cni("bin_dirs"), json!([dir]));
        }
        Ok(tree)
    }

    fn take(&mut self, above: &[String], table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let key: Vec<String> = above.iter().cloned().chain([name.to_owned()]).collect();
            match item.as_table_like() {
                Some(table) => self.take(&key, table),
                None => drop(self.0.insert(of_2(key), of_item(item))),
            }
        }
    }

    /// The runtimes of containers.
    pub(super) fn runtimes(&self) -> BTreeSet<&str> {
        self.within(&["plugins", RUNTIME, "containerd", "runtimes"])
    }

    /// The file with what containers of a runtime begin with, where there is one.
    pub(super) fn base_spec(&self, runtime: &str) -> Option<&str> {
        let key = ["plugins", RUNTIME, "containerd", "runtimes", runtime, "base_runtime_spec"];
        let path = self.0.get(&key.map(str::to_owned)[..])?.as_str()?;
        (!path.is_empty()).then_some(path)
    }

    /// Sets one that is in no table.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(vec![name.to_owned()], json!(value));
    }

    /// The text of one that is in no table.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(&[name.to_owned()][..])?.as_str()
    }

    /// Whether it turns off the plugin by which a kubelet uses containerd.
    pub(super) fn turns_kubernetes_off(&self) -> bool {
        let off = self.0.get(&["disabled_plugins".to_owned()][..]).and_then(Value::as_array);
        let plugins = ["cri", OF_1, RUNTIME, IMAGES];
        off.is_some_and(|off| off.iter().filter_map(Value::as_str).any(|plugin| plugins.contains(&plugin)))
    }

    /// The names of what is in a table.
    fn within(&self, table: &[&str]) -> BTreeSet<&str> {
        let is_in = |key: &[String]| key.len() > table.len() && table.iter().zip(key).all(|(a, b)| a == b);
        self.0.keys().filter(|key| is_in(key.as_slice())).map(|key| key[table.len()].as_str()).collect()
    }
}

/// A setting by containerd 2's name.
fn of_2(mut key: Vec<String>) -> Vec<String> {
    if key.len() < 3 || key[0] != "plugins" || key[1] != OF_1 || OF_STREAMS.contains(&key[2].as_str()) {
        return key;
    }
    if key[2] == "sandbox_image" {
        return ["plugins", IMAGES, "pinned_images", "sandbox"].map(str::to_owned).to_vec();
    }
    let of_snapshots = ["snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers"];
    let is_of_snapshots = key.len() == 4 && key[2] == "containerd" && of_snapshots.contains(&key[3].as_str());
    if is_of_snapshots {
        key.remove(2);
    }
    let is_of_images = is_of_snapshots || OF_IMAGES.contains(&key[2].as_str());
    key[1] = if is_of_images { IMAGES } else { RUNTIME }.to_owned();
    key
}

fn of_item(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => of_value(value),
        Item::Table(table) => of_table(table),
        Item::ArrayOfTables(tables) => tables.iter().map(of_table).collect(),
    }
}

fn of_table(table: &Table) -> Value {
    table.iter().map(|(name, item)| (name.to_owned(), of_item(item))).collect()
}

fn of_value(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => json!(span(text.value())),
        Toml::Integer(number) => json!(number.value()),
        Toml::Float(number) => json!(number.value()),
        Toml::Boolean(says) => json!(says.value()),
        Toml::Datetime(time) => json!(time.value().to_string()),
        Toml::Array(items) => items.iter().map(of_value).collect(),
        Toml::InlineTable(fields) => {
            fields.iter().map(|(name, value)| (name.to_owned(), of_value(value))).collect()
        }
    }
}

/// `5m` of `5m0s`: a span of time is written in both ways.
fn span(text: &str) -> String {
    let minutes = text.strip_suffix("m0s").map_or_else(|| text.to_owned(), |text| format!("{text}m"));
    minutes.strip_suffix("h0m").map_or_else(|| minutes.clone(), |hours| format!("{hours}h"))
}

/// What would be lost of what a machine `has`. Where `will`, muster's configuration, says nothing, the default of the version that
/// prints it counts, the `usual`: so that only what somebody has set is told. `docker_certs`: whether there is something in the folder
/// of Docker's in which containerd 2.2 looks.
pub(super) fn problems(name: &str, [has, usual, will]: [&Tree; 3], docker_certs: bool) -> Vec<Problem> {
    let lost = |found: String, remedy: String| {
        refused(
            "containerd",
            format!("containerd of {name} has {found}, and would not any more"),
            "the configuration of containerd that pods need",
            remedy,
        )
    };
    let wanted = will.runtimes();
    let lost_runtimes: BTreeSet<&str> = has
        .runtimes()
        .into_iter()
        .filter(|runtime| *runtime != "runc" && !wanted.contains(runtime))
        .collect();
    let mut problems: Vec<Problem> = lost_runtimes
        .iter()
        .map(|runtime| {
            lost(
                format!("the runtime {runtime}"),
                format!("add {runtime} to containerd_additional_runtimes, with its type and options (muster docs vars)"),
            )
        })
        .collect();
    let registries: BTreeSet<&str> = ["mirrors", "configs"]
        .into_iter()
        .flat_map(|table| has.within(&["plugins", IMAGES, "registry", table]))
        .collect();
    problems.extend(registries.into_iter().map(|registry| {
        lost(
            format!("mirrors or credentials of {registry} in config.toml"),
            format!(
                "write them as containerd_registries_mirrors and containerd_registry_auth, and move them out of config.toml before \
                 (mirrors: {CERTS}/{registry}/hosts.toml; restart containerd)"
            ),
        )
    }));
    for (key, value) in &has.0 {
        let words: Vec<&str> = key.iter().map(String::as_str).collect();
        let is_of_lost = matches!(words[..],
            ["plugins", RUNTIME, "containerd", "runtimes", runtime, ..] if lost_runtimes.contains(runtime));
        let comes = will.0.get(key).or_else(|| usual.0.get(&as_runcs(key))).unwrap_or(&Value::Null);
        let plain = |value: &Value| plain(&words, value, docker_certs);
        if !is_of_lost && !is_told_elsewhere(&words) && plain(value) != plain(comes) {
            let (shown, remedy) = told(&words, value);
            let check = remedy.check;
            problems.push(Problem { check: check.into(), ..lost(shown, remedy.line) });
        }
    }
    problems
}

/// The same setting of runc: what it has by default other runtimes have as well.
fn as_runcs(key: &[String]) -> Vec<String> {
    let mut key = key.to_vec();
    let is_of_runtime = key.len() > 5 && key[1] == RUNTIME && key[2] == "containerd" && key[3] == "runtimes";
    if is_of_runtime {
        key[4] = "runc".to_owned();
    }
    key
}

/// Settings that muster has in a way of its own (containerd's own score, the image of sandboxes, which are those of new pods), and
/// those that are compared by what they mean: cgroups by those that are there, specifications by what is in the files, imported
/// files by their settings.
fn is_told_elsewhere(key: &[&str]) -> bool {
    matches!(
        key,
        ["version" | "imports" | "oom_score"]
            | ["plugins", IMAGES, "pinned_images", "sandbox"]
            | ["plugins", IMAGES, "registry", "mirrors" | "configs", ..]
            | ["plugins", RUNTIME, "restrict_oom_score_adj" | "systemd_cgroup"]
            | ["plugins", RUNTIME, "containerd", "runtimes", _, "base_runtime_spec"]
            | ["plugins", RUNTIME, "containerd", "runtimes", "runc", "options", "SystemdCgroup"]
    )
}

/// A value as it is compared: nothing where it says no more than that, the usual program or the usual folder.
fn plain(key: &[&str], value: &Value, docker_certs: bool) -> Value {
    let text = value.as_str().unwrap_or_default();
    let is_nothing = match key {
        ["debug", "level"] => ["", "info"].contains(&text),
        ["debug", "format"] => ["", "text"].contains(&text),
        ["plugins", RUNTIME, "containerd", "runtimes", "runc", "options", "BinaryName"] => {
            ["", "runc"].contains(&text.rsplit('/').next().unwrap_or_default())
        }
        ["plugins", IMAGES, "registry", "config_path"] => {
            let is_usual = |path: &str| ["", CERTS].contains(&path) || path == DOCKERS_CERTS && !docker_certs;
            text.split(':').all(|path| is_usual(path.trim_end_matches('/')))
        }
        _ => *value == json!(false) || compared::is_unset(value),
    };
    if is_nothing { Value::Null } else { value.clone() }
}

/// What keeps a setting: the variable, and what to do.
struct Remedy {
    check: &'static str,
    line: String,
}

impl Remedy {
    fn new(check: &'static str, line: String) -> Self {
        Self { check, line }
    }
}

/// A setting as it is told, and what keeps it.
fn told(key: &[&str], value: &Value) -> (String, Remedy) {
    let (last, above) = key.split_last().unwrap_or((&"", &[][..]));
    let table = table(above);
    let place = if table.is_empty() { String::new() } else { format!(" in [{table}]") };
    // What is said to registries may be secret.
    let shown = match key {
        ["plugins", IMAGES, "registry", "headers" | "auths", ..] => format!("{last}{place}"),
        _ => format!("{last} = {value}{place}"),
    };
    let of_list = VARIABLES.iter().find(|(setting, _)| *setting == key).map(|(_, variable)| *variable);
    let remedy = match (of_list.or_else(|| variable_of(&table, last)), key) {
        (Some("nri_enabled"), _) => {
            Remedy::new("nri_enabled", format!("set nri_enabled: {}{OF_HOST}", *value != json!(true)))
        }
        (Some(variable), _) => {
            Remedy::new(variable, format!("set {variable}: {value}{OF_HOST}"))
        }
        (None, ["plugins", RUNTIME, _]) => Remedy::new(
            "containerd_extra_runtime_args",
            format!("add to containerd_extra_runtime_args: {{{last}: {value}}}"),
        ),
        (None, ["plugins", RUNTIME, "containerd", "runtimes", runtime, "options", _]) if *runtime != "runc" => {
            Remedy::new(
                "containerd_additional_runtimes",
                format!("add to the options of {runtime} in containerd_additional_runtimes: {{{last}: {value}}}"),
            )
        }
        (None, ["plugins", IMAGES, "registry", "config_path"]) => Remedy::new(
            "containerd",
            format!("move what is in the other folders to {CERTS}, and take them out of config_path; restart containerd"),
        ),
        (None, ["plugins", RUNTIME | IMAGES, ..]) => Remedy::new(
            "containerd",
            "no variable is for it: if pods do without, take it out of config.toml and restart containerd; else leave the cluster \
             with the tool that has made it"
                .to_owned(),
        ),
        (None, _) => Remedy::new(
            "containerd_extra_args",
            match table.is_empty() {
                true => format!("add to containerd_extra_args the line {last} = {value}"),
                false => format!("add to containerd_extra_args, in this table, the line {last} = {value}"),
            },
        ),
    };
    (shown, remedy)
}

/// A table's name in TOML: `plugins."io.containerd.cri.v1.runtime"`.
fn table(key: &[&str]) -> String {
    let word = |name: &&str| {
        let is_bare = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if is_bare { (*name).to_owned() } else { json!(name).to_string() }
    };
    key.iter().map(word).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
#[path = "engine_config_tests.rs"]
mod tests;
