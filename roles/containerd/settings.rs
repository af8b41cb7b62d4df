//! Variables that are settings of containerd's under another name (containerd-config.toml(5), containerd's docs/cri/config.md), and
//! runtimes beside runc. What is not set is containerd's own default.

use std::collections::BTreeMap;

use muster_inventory::HostVars;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::registries::{self, Wrong, value};

/// Tables of the configuration.
const RUNTIME: &str = "plugins.\"io.containerd.cri.v1.runtime\"";
const IMAGES: &str = "plugins.\"io.containerd.cri.v1.images\"";

/// What a variable's value is in TOML.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Boolean,
}

use Kind::{Boolean, Number, Text};

/// The variables, the table and the key that each is.
const SETTINGS: [(&str, &str, &str, Kind); 19] = [
    ("containerd_grpc_max_recv_message_size", "grpc", "max_recv_message_size", Number),
    ("containerd_grpc_max_send_message_size", "grpc", "max_send_message_size", Number),
    ("containerd_debug_address", "debug", "address", Text),
    ("containerd_debug_level", "debug", "level", Text),
    ("containerd_debug_format", "debug", "format", Text),
    ("containerd_debug_uid", "debug", "uid", Number),
    ("containerd_debug_gid", "debug", "gid", Number),
    ("containerd_metrics_address", "metrics", "address", Text),
    ("containerd_metrics_grpc_histogram", "metrics", "grpc_histogram", Boolean),
    ("nri_enabled", "plugins.\"io.containerd.nri.v1.nri\"", "disable", Boolean),
    ("containerd_max_container_log_line_size", RUNTIME, "max_container_log_line_size", Number),
    ("containerd_enable_unprivileged_ports", RUNTIME, "enable_unprivileged_ports", Boolean),
    ("containerd_enable_unprivileged_icmp", RUNTIME, "enable_unprivileged_icmp", Boolean),
    ("containerd_enable_selinux", RUNTIME, "enable_selinux", Boolean),
    ("containerd_disable_apparmor", RUNTIME, "disable_apparmor", Boolean),
    (
        "containerd_tolerate_missing_hugetlb_controller",
        RUNTIME,
        "tolerate_missing_hugetlb_controller",
        Boolean,
    ),
    ("containerd_disable_hugetlb_controller", RUNTIME, "disable_hugetlb_controller", Boolean),
    ("containerd_discard_unpacked_layers", IMAGES, "discard_unpacked_layers", Boolean),
    ("containerd_image_pull_progress_timeout", IMAGES, "image_pull_progress_timeout", Text),
];

/// The variable that is a setting of a table, where one is.
pub(crate) fn variable_of(table: &str, key: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|(_, of, name, _)| (*of, *name) == (table, key)).map(|(variable, ..)| *variable)
}

/// A runtime of containers: an entry of `containerd_additional_runtimes`.
#[derive(Deserialize, Serialize)]
struct Runtime {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    base_runtime_spec: Option<String>,
    #[serde(default)]
    options: BTreeMap<String, Value>,
}

/// What the variables say, for the template of the configuration, and the files that it names.
pub(super) struct Settings {
    /// For the template.
    pub(super) extra: Value,
    /// Base specifications of containers: the name of each file and its content.
    pub(super) specs: BTreeMap<String, String>,
    /// Whether the configuration has something that is nobody else's business.
    pub(super) is_secret: bool,
}

/// Everything that variables say of containerd's configuration.
///
/// # Errors
/// What is wrong with them.
pub(super) fn settings(vars: &HostVars) -> Result<Settings, Wrong> {
    let mut tables: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, table, key, kind) in SETTINGS {
        let found: Option<Value> = value(vars, name, "one value")?;
        // An empty text is what kubespray's defaults have for what is not set.
        let found = found.filter(|found| found.as_str().is_none_or(|text| !text.is_empty()));
        let Some(found) = found else { continue };
        let written = match (kind, as_boolean(&found)) {
            (Boolean, Some(says)) => (says != (key == "disable")).to_string(),
            (Number, _) => bare(&found),
            _ => json!(bare(&found)).to_string(),
        };
        tables.entry(table).or_default().push(format!("{key} = {written}"));
    }
    let name = "containerd_extra_runtime_args";
    let more: BTreeMap<String, Value> =
        value(vars, name, "a mapping, as {device_ownership_from_security_context: true}")?;
    tables
        .entry(RUNTIME)
        .or_default()
        .extend(more.iter().map(|(key, value)| format!("{key} = {}", toml(value))));

    let specs = specs(vars)?;
    let runtimes = runtimes(vars, &specs)?;
    let default: Option<String> = value(vars, "containerd_default_runtime", "the name of a runtime")?;
    let default = default.filter(|name| name != "runc");
    if let Some(found) = &default
        && runtimes.iter().all(|runtime| runtime.name != *found)
    {
        let needed = "runc, or a name in containerd_additional_runtimes";
        return Err(Wrong { name: "containerd_default_runtime", found: found.clone(), needed });
    }
    let credentials = registries::credentials(vars)?;
    let args: Option<String> =
        value(vars, "containerd_extra_args", "a text: lines of containerd's config.toml")?;
    let args = args.unwrap_or_default();
    let is_secret = !credentials.is_empty() || !args.trim().is_empty();
    let runtime: Vec<String> = tables.remove(RUNTIME).unwrap_or_default();
    let images: Vec<String> = tables.remove(IMAGES).unwrap_or_default();
    let options = |runtime: &Runtime| -> Vec<String> {
        runtime.options.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect()
    };
    let others: Vec<Value> = runtimes
        .iter()
        .map(|runtime| json!({ "name": runtime.name, "type": runtime.kind, "spec": runtime.base_runtime_spec, "options": options(runtime) }))
        .collect();
    let extra = json!({
        "tables": tables,
        "runtime_settings": runtime,
        "image_settings": images,
        "runtimes": others,
        "default_runtime": default,
        "runc_spec": specs.contains_key(OF_RUNC).then(|| format!("{SPECS}/{OF_RUNC}")),
        "credentials": credentials,
        "extra_args": args.trim_end(),
    });
    Ok(Settings { extra, specs, is_secret })
}

/// The folder of the files of `containerd_base_runtime_specs`, and the one that is runc's, as in kubespray.
pub(super) const SPECS: &str = "/etc/containerd/runtime-specs";
const OF_RUNC: &str = "cri-base.json";

fn specs(vars: &HostVars) -> Result<BTreeMap<String, String>, Wrong> {
    let name = "containerd_base_runtime_specs";
    let needed = "a mapping of names of files, as cri-base.json, to specifications of the OCI";
    let all: BTreeMap<String, Value> = value(vars, name, needed)?;
    let text = |(file, spec): (String, Value)| {
        let wrong = |found: String| Wrong { name, found, needed };
        let spec = match spec {
            Value::String(text) => {
                serde_json::from_str(&text).map_err(|error| wrong(format!("{file}: {error}")))?
            }
            spec => spec,
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        // The version is what the OCI's specification demands of every one.
        if !file.ends_with(".json") || !file.chars().all(allowed) || !spec["ociVersion"].is_string() {
            return Err(wrong(format!("{file}: {}", spec["ociVersion"])));
        }
        Ok((file, format!("{spec:#}\n")))
    };
    all.into_iter().map(text).collect()
}

fn runtimes(vars: &HostVars, specs: &BTreeMap<String, String>) -> Result<Vec<Runtime>, Wrong> {
    let name = "containerd_additional_runtimes";
    let needed =
        "a list, as [{name: crun, type: io.containerd.runc.v2, options: {BinaryName: /usr/local/bin/crun}}]";
    let mut all: Vec<Runtime> = value(vars, name, needed)?;
    for runtime in &mut all {
        let wrong = |found: String, needed| Err(Wrong { name, found, needed });
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if runtime.name.is_empty() || !runtime.name.chars().all(allowed) || runtime.name == "runc" {
            return wrong(runtime.name.clone(), "names of letters, digits, - and _, other than runc");
        }
        match runtime.base_runtime_spec.take() {
            Some(spec) if specs.contains_key(&spec) => {
                runtime.base_runtime_spec = Some(format!("{SPECS}/{spec}"))
            }
            Some(spec) if spec.starts_with('/') => runtime.base_runtime_spec = Some(spec),
            Some(spec) => {
                return wrong(spec, "a base_runtime_spec of containerd_base_runtime_specs, or a path");
            }
            None => {}
        }
    }
    Ok(all)
}

/// A value in TOML. Texts that say a boolean or a number are ones, as templates make texts of everything.
fn toml(value: &Value) -> String {
    match value {
        Value::String(text) if text.parse::<i64>().is_ok() || ["true", "false"].contains(&text.as_str()) => {
            text.clone()
        }
        value => value.to_string(),
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned())
}

fn as_boolean(value: &Value) -> Option<bool> {
    muster_inventory::Value::from_json(value).as_bool()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn config(yaml: &str) -> String {
        let vars = variables(yaml);
        let mut extra = settings(&vars).unwrap().extra;
        let more =
            json!({ "bin_dir": "/usr/local/bin", "pause_image": "pause:1", "restrict_oom_score_adj": false });
        extra.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        vars.render(include_str!("templates/config.toml.j2"), "config.toml", &extra).unwrap()
    }

    #[test]
    fn what_nobody_says_is_not_written() {
        let text = config("containerd_debug_address: ''\ncontainerd_default_runtime: runc");
        let tables: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(tables.len(), 7, "{text}");
        assert!(text.ends_with("SystemdCgroup = true\n") && !text.contains("\n\n\n"), "{text}");
    }

    #[test]
    fn each_variable_is_a_line_of_its_table() {
        let yaml = "nri_enabled: false\ncontainerd_debug_level: debug\ncontainerd_metrics_address: 127.0.0.1:1338\n\
                    containerd_enable_unprivileged_ports: 'no'\ncontainerd_max_container_log_line_size: '-1'\n\
                    containerd_image_pull_progress_timeout: 10m\ncontainerd_extra_runtime_args: {drain_exec_sync_io_timeout: 5s, x: true}\n";
        let text = config(yaml);
        for part in [
            "\n[debug]\nlevel = \"debug\"\n",
            "\n[metrics]\naddress = \"127.0.0.1:1338\"\n",
            "\n[plugins.\"io.containerd.nri.v1.nri\"]\ndisable = true\n",
            "snapshotter = \"overlayfs\"\nimage_pull_progress_timeout = \"10m\"\n",
            "restrict_oom_score_adj = false\nmax_container_log_line_size = -1\nenable_unprivileged_ports = false\n\
             drain_exec_sync_io_timeout = \"5s\"\nx = true\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        // Each of them, in this order, so that none is left out.
        let all = [
            "containerd_grpc_max_recv_message_size",
            "containerd_grpc_max_send_message_size",
            "containerd_debug_address",
            "containerd_debug_level",
            "containerd_debug_format",
            "containerd_debug_uid",
            "containerd_debug_gid",
            "containerd_metrics_address",
            "containerd_metrics_grpc_histogram",
            "nri_enabled",
            "containerd_max_container_log_line_size",
            "containerd_enable_unprivileged_ports",
            "containerd_enable_unprivileged_icmp",
            "containerd_enable_selinux",
            "containerd_disable_apparmor",
            "containerd_tolerate_missing_hugetlb_controller",
            "containerd_disable_hugetlb_controller",
            "containerd_discard_unpacked_layers",
            "containerd_image_pull_progress_timeout",
        ];
        assert_eq!(SETTINGS.map(|(variable, ..)| variable), all);
        for (variable, _, key, _) in SETTINGS {
            let text = config(&format!("{variable}: 1"));
            assert!(text.contains(&format!("\n{key} = ")), "{variable}: {text}");
        }
    }

    #[test]
    fn the_service_has_the_limits_that_variables_say() {
        let unit = |yaml: &str| {
            let extra = json!({ "bin_dir": "/b", "proxies": null, "restrict_oom_score_adj": false });
            variables(yaml)
                .render(include_str!("templates/containerd.service.j2"), "containerd.service", &extra)
                .unwrap()
        };
        let usual = unit("");
        assert!(usual.contains("LimitNPROC=infinity\nLimitCORE=infinity\nOOM"), "{usual}");
        let said = unit(
            "containerd_limit_proc_num: 1048576\ncontainerd_limit_core: 0\ncontainerd_limit_open_file_num: 1024\n\
             containerd_limit_mem_lock: 65536",
        );
        let lines = "LimitNPROC=1048576\nLimitCORE=0\nLimitNOFILE=1024\nLimitMEMLOCK=65536\n";
        assert!(said.contains(lines), "{said}");
    }

    #[test]
    fn runtimes_specifications_credentials_and_lines_of_the_user() {
        let yaml = "containerd_default_runtime: kata\ncontainerd_extra_args: |\n  imports = []\n\
                    containerd_registry_auth: [{registry: 'r.lan:5000', username: u, password: 'p\"w'}]\n\
                    containerd_base_runtime_specs: {cri-base.json: {ociVersion: 1.1.0}, k.json: '{\"ociVersion\": \"1.0.2\"}'}\n\
                    containerd_additional_runtimes: [{name: kata, type: io.containerd.kata.v2, base_runtime_spec: k.json, \
                    options: {Root: '', SystemdCgroup: 'true'}}]\n";
        let text = config(yaml);
        for part in [
            "\nimports = []\n",
            "\n[plugins.\"io.containerd.cri.v1.images\".registry.configs.\"r.lan:5000\".auth]\nusername = \"u\"\npassword = \"p\\\"w\"\n",
            "\n[plugins.\"io.containerd.cri.v1.runtime\".containerd]\ndefault_runtime_name = \"kata\"\n",
            "runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\nbase_runtime_spec = \"/etc/containerd/runtime-specs/cri-base.json\"\n",
            "runtimes.kata]\nruntime_type = \"io.containerd.kata.v2\"\nbase_runtime_spec = \"/etc/containerd/runtime-specs/k.json\"\n",
            "runtimes.kata.options]\nRoot = \"\"\nSystemdCgroup = true\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let told = settings(&variables(yaml)).unwrap();
        assert!(told.is_secret && told.specs["k.json"].contains("\"ociVersion\": \"1.0.2\""));
        assert!(!settings(&variables("")).unwrap().is_secret);
    }

    #[test]
    fn what_containerd_would_not_find_is_told() {
        let rows = [
            ("containerd_default_runtime: kata", "kata"),
            ("containerd_additional_runtimes: [{name: runc, type: x}]", "runc"),
            ("containerd_additional_runtimes: [{name: a, type: x, base_runtime_spec: b.json}]", "b.json"),
            ("containerd_additional_runtimes: [{name: a}]", "missing field `type`"),
            ("containerd_base_runtime_specs: {config.toml: {ociVersion: '1'}}", "config.toml: \"1\""),
            ("containerd_base_runtime_specs: {a.json: {}}", "a.json: null"),
        ];
        for (yaml, expected) in rows {
            assert_eq!(settings(&variables(yaml)).err().unwrap().found, expected, "{yaml}");
        }
    }
}
