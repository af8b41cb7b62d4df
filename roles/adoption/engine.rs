//! What containerd is configured with on a machine that is to be adopted, and would not be any more with muster's configuration.

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use serde_json::Value;

use super::OF_HOST;
use super::engine_config::{self, Tree};
use super::living::refused;
use crate::catalogue::release;
use crate::containerd::Wanted;
use crate::upgrade::versions;

/// The folder of its data where nobody says another one (containerd's `defaults.DefaultRootDir`).
const ROOT: &str = "/var/lib/containerd";

/// What was seen of it; nothing where muster has written it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Engine {
    /// Its configuration, and that of its version where nobody has one.
    has: String,
    usual: String,
    /// Folders that it was given as arguments, `root` and `state`; and where the file systems of containers are that run.
    arguments: BTreeMap<String, String>,
    roots: Vec<String>,
    /// What containers begin with: what is in each file, by its path.
    specs: BTreeMap<String, Value>,
    /// Whether there is something in Docker's folder of certificates of registries.
    has_docker_certs: bool,
    /// Limits of its unit (`LimitNOFILE`), and systemd's own (`DefaultLimitNOFILE`).
    limits: BTreeMap<String, String>,
}

impl Engine {
    /// Takes a line of `engine.sh`; whether it was one.
    pub(super) fn take(&mut self, key: &str, value: &str) -> bool {
        match key {
            "engine_has" => self.has += &format!("{value}\n"),
            "engine_usual" => self.usual += &format!("{value}\n"),
            "engine_spec" => {
                let (path, text) = value.split_once(' ').unwrap_or((value, ""));
                self.specs.insert(path.to_owned(), serde_json::from_str(text).unwrap_or_default());
            }
            "engine_argument" => {
                let argument = value.split_once(' ');
                self.arguments.extend(argument.map(|(name, folder)| (name.to_owned(), folder.to_owned())));
            }
            "engine_root" => self.roots.push(value.to_owned()),
            "engine_docker_certs" => self.has_docker_certs = true,
            "engine_limit" => {
                let limit = value.split_once('=');
                self.limits.extend(limit.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            _ => return false,
        }
        true
    }

    /// Whether its configuration was put in the place of the one that it runs with, and which it has read no more: no kubelet could use
    /// it otherwise. Packages of Docker's have such a file.
    pub(super) fn was_replaced(&self) -> bool {
        Tree::parse(&self.has).is_ok_and(|has| has.turns_kubernetes_off())
    }

    /// What pods of the machine would not have any more.
    pub(super) fn problems(&self, name: &str, wanted: &Wanted) -> Vec<Problem> {
        if self.has.is_empty() {
            return Vec::new();
        }
        let mut parsed = [&self.has, &self.usual, &wanted.config].map(|text| Tree::parse(text));
        if let Ok(has) = &mut parsed[0] {
            self.arguments.iter().for_each(|(name, folder)| has.set(name, folder));
        }
        let [Ok(has), Ok(usual), Ok(will)] = &parsed else {
            let why =
                parsed.iter().find_map(|tree| tree.as_ref().err()).map(|error| error.message().to_owned());
            return vec![refused(
                "containerd",
                format!(
                    "the configuration of containerd of {name} cannot be read: {}",
                    why.unwrap_or_default()
                ),
                "what it has, and what variables say, as TOML",
                "see what is wrong with it (containerd config dump) and with containerd_extra_args, and run again",
            )];
        };
        let mut problems = self.other_limits(name, wanted);
        problems.extend(self.other_root(name, [will, usual]));
        if !has.turns_kubernetes_off() {
            problems.extend(engine_config::problems(name, [has, usual, will], self.has_docker_certs));
            problems.extend(self.other_specs(name, has, will, wanted));
        }
        problems
    }

    /// That containers that run are in another folder than the one in which containerd would look for them, whatever its configuration
    /// says by now.
    fn other_root(&self, name: &str, [will, usual]: [&Tree; 2]) -> Option<Problem> {
        let comes = will.text("root").or_else(|| usual.text("root")).unwrap_or(ROOT);
        let other = self.roots.iter().find(|root| root.as_str() != comes)?;
        Some(refused(
            "containerd_storage_dir",
            format!("containers of {name} run from {other}, and containerd would look for them in {comes}"),
            "the folder in which they are: without it every pod begins anew",
            format!("set containerd_storage_dir: {other}{OF_HOST}"),
        ))
    }

    /// What containers of runtimes that stay would not begin with any more.
    fn other_specs(&self, name: &str, has: &Tree, will: &Tree, wanted: &Wanted) -> Vec<Problem> {
        let mut problems = Vec::new();
        let stay = will.runtimes();
        for runtime in
            has.runtimes().into_iter().filter(|runtime| *runtime == "runc" || stay.contains(runtime))
        {
            let Some(path) = has.base_spec(runtime) else { continue };
            let comes = will.base_spec(runtime);
            let text = comes.and_then(|path| wanted.specs.get(path));
            let spec = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
            let is_same = spec.is_some() && spec.as_ref() == self.specs.get(path);
            // A file of the machine's own stays where it is.
            if is_same || comes == Some(path) {
                continue;
            }
            let file = match runtime {
                "runc" => "cri-base.json",
                _ => path.rsplit('/').next().unwrap_or_default(),
            };
            let named = match runtime {
                "runc" => String::new(),
                _ => {
                    format!(", and base_runtime_spec: {file} of {runtime} in containerd_additional_runtimes")
                }
            };
            problems.push(refused(
                "containerd_base_runtime_specs",
                format!("containers of {runtime} on {name} begin with {path}, and would not any more: limits, for example"),
                "what containers begin with, whenever they restart",
                format!(
                    "copy {path} of {name} into the folder of the inventory as {file}, and set containerd_base_runtime_specs: \
                     {{{file}: \"{{{{ lookup('file', inventory_dir ~ '/{file}') }}}}\"}}{named}"
                ),
            ));
        }
        problems
    }

    /// Limits that containers would have others of from their next restart on: they inherit those of containerd. The numbers of
    /// processes and of core dumps are without a limit with muster unless variables say otherwise.
    fn other_limits(&self, name: &str, wanted: &Wanted) -> Vec<Problem> {
        let of = |unit: &str| {
            let get = |name: String| self.limits.get(&name).cloned();
            Some((get(format!("{unit}Soft"))?, get(unit.to_owned())?))
        };
        let other = |(limit, variable, set): (&str, &str, &Option<String>)| {
            let has = of(&format!("Limit{limit}"))?;
            let comes = match set {
                Some(set) => both(set),
                None => of(&format!("DefaultLimit{limit}"))?,
            };
            let shown = |(soft, hard): &(String, String)| match soft == hard {
                true => hard.clone(),
                // A number of base 60 without quotes.
                false => format!("\"{soft}:{hard}\""),
            };
            (has != comes).then(|| {
                refused(
                    variable,
                    format!(
                        "containers on {name} have Limit{limit}={} of containerd, and would have {} whenever they restart",
                        shown(&has),
                        shown(&comes)
                    ),
                    "the limits that they have",
                    format!("set {variable}: {}{OF_HOST}", shown(&has)),
                )
            })
        };
        [
            ("NOFILE", "containerd_limit_open_file_num", &wanted.open_files),
            ("MEMLOCK", "containerd_limit_mem_lock", &wanted.locked_memory),
        ]
        .into_iter()
        .filter_map(other)
        .collect()
    }
}

/// The soft and the hard limit of what a unit says, in single bytes or files (systemd.exec(5)).
fn both(text: &str) -> (String, String) {
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let number = |text: &str| {
        let text = text.trim();
        let times = |power: u32| {
            let count: Option<u64> = text[..text.len() - 1].parse().ok();
            count.map_or_else(|| text.to_owned(), |count| (count << (10 * power)).to_string())
        };
        match text.chars().last() {
            Some('K') => times(1),
            Some('M') => times(2),
            Some('G') => times(3),
            _ => text.to_owned(),
        }
    };
    (number(soft), number(hard))
}

/// Whether two versions are of the same minor version.
pub(super) fn is_same_minor(one: &str, other: &str) -> bool {
    versions::numbers(one).get(..2) == versions::numbers(other).get(..2)
}

/// The version of containerd that takes the place of one that is newer, with this version of the cluster.
pub(super) fn goes_back(host: &Host, runs: &str, kube: &str) -> Option<String> {
    // That the catalogue has no such version is told for the cluster.
    let comes = release(host, kube).ok()?.file("containerd")?.version.clone();
    versions::is_older(&comes, runs).then_some(comes)
}

/// That containerd would go back to another minor version, which may not read what the newer one has written. Within a minor version
/// what it writes has the same form; there the look tells it (`Row::older_engine`): the catalogue has one containerd for each
/// Kubernetes, so a refusal would leave no way, and running programs of two versions beside each other would be worse.
pub(super) fn cannot_go_back(host: &Host, runs: &str, kube: &str) -> Option<Problem> {
    let comes = goes_back(host, runs, kube).filter(|comes| !is_same_minor(comes, runs))?;
    Some(refused(
        "containerd",
        format!("containerd {runs} runs on {}, and {comes} would take its place", host.name()),
        "a containerd that is not of a newer minor version: data does not go back",
        "muster has one containerd for all versions of Kubernetes: drain the node, install containerd of that minor version there, and \
         uncordon the node; then run again",
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kubespray::tests::{SHELLS, put, run};
    use super::*;

    const SPEC: &str = "/etc/containerd/cri-base.json";

    fn engine(lines: &[&str]) -> Engine {
        let mut engine = Engine::default();
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            assert!(engine.take(key, value), "{line}");
        }
        engine
    }

    fn wanted(config: &str) -> Wanted {
        Wanted { config: config.to_owned(), specs: BTreeMap::new(), open_files: None, locked_memory: None }
    }

    /// As systemd says them where nobody has said any, with the unit's before.
    fn limits(unit: [&str; 4]) -> Vec<String> {
        let names = ["LimitNOFILE", "LimitNOFILESoft", "LimitMEMLOCK", "LimitMEMLOCKSoft"];
        let usual = ["524288", "1024", "8388608", "8388608"];
        let own = names.iter().zip(unit).map(|(name, value)| format!("engine_limit {name}={value}"));
        let of_systemd =
            names.iter().zip(usual).map(|(name, value)| format!("engine_limit Default{name}={value}"));
        own.chain(of_systemd).collect()
    }

    #[test]
    fn limits_that_containers_would_have_others_of_are_told_with_their_lines() {
        let remedies = |unit: [&str; 4], wanted: &Wanted| {
            let limits = limits(unit);
            let lines: Vec<&str> = limits.iter().map(String::as_str).collect();
            let lines = [&["engine_has version = 3"][..], &lines[..]].concat();
            let problems = engine(&lines).problems("node1", wanted);
            problems.into_iter().map(|problem| problem.remedy).collect::<Vec<_>>()
        };
        let none = wanted("version = 3");
        assert!(remedies(["524288", "1024", "8388608", "8388608"], &none).is_empty());
        let kubesprays = ["1048576", "1048576", "infinity", "infinity"];
        let lines =
            ["set containerd_limit_open_file_num: 1048576", "set containerd_limit_mem_lock: infinity"]
                .map(|line| format!("{line}{OF_HOST}"));
        assert_eq!(remedies(kubesprays, &none), lines);
        let said = Wanted {
            open_files: Some("1048576".into()),
            locked_memory: Some("infinity".into()),
            ..wanted("")
        };
        assert!(remedies(kubesprays, &said).is_empty());
        assert_eq!(remedies(["524288", "1024", "8388608", "8388608"], &said).len(), 2);
        let other = remedies(
            ["4096", "1024", "67108864", "67108864"],
            &Wanted { locked_memory: Some("64M".into()), ..wanted("") },
        );
        assert_eq!(other, [format!("set containerd_limit_open_file_num: \"1024:4096\"{OF_HOST}")]);
    }

    #[test]
    fn what_containers_begin_with_is_compared_by_what_is_in_the_files() {
        let table = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]";
        let has = [format!("engine_has {table}"), format!("engine_has base_runtime_spec = '{SPEC}'")];
        let spec = format!("engine_spec {SPEC} {{ \"ociVersion\": \"1.2.1\", \"process\": {{}} }}");
        let seen = engine(&[&has[0], &has[1], &spec]);
        let lost = seen.problems("node1", &wanted(table));
        assert_eq!(lost.len(), 1, "{lost:?}");
        let line = "set containerd_base_runtime_specs: {cri-base.json: \"{{ lookup('file', inventory_dir ~ '/cri-base.json') }}\"}";
        assert!(lost[0].remedy.ends_with(line), "{lost:?}");
        let comes = "/etc/containerd/runtime-specs/cri-base.json";
        let with = |spec: Value| Wanted {
            specs: [(comes.to_owned(), spec.to_string())].into(),
            ..wanted(&format!("{table}\nbase_runtime_spec = \"{comes}\""))
        };
        assert!(seen.problems("node1", &with(json!({ "process": {}, "ociVersion": "1.2.1" }))).is_empty());
        assert_eq!(seen.problems("node1", &with(json!({ "ociVersion": "1.2.1" }))).len(), 1);
    }

    #[test]
    fn the_folder_in_which_containers_are_that_run_is_kept() {
        let remedies = |lines: &[&str], config: &str| {
            let problems = engine(lines).problems("node1", &wanted(config));
            problems.into_iter().map(|problem| problem.remedy).collect::<Vec<_>>()
        };
        let off = "engine_has disabled_plugins = ['cri']";
        let line = format!("set containerd_storage_dir: /data{OF_HOST}");
        assert_eq!(remedies(&[off, "engine_root /data"], ""), [line]);
        assert!(remedies(&[off, "engine_root /data"], "root = '/data'").is_empty());
        assert!(remedies(&[off, "engine_root /var/lib/containerd"], "").is_empty());
        // What it was given as an argument counts before its file.
        let by_argument =
            ["engine_has root = '/usual'", "engine_usual root = '/usual'", "engine_argument root /data"];
        assert_eq!(remedies(&by_argument, "").len(), 1);
        assert!(remedies(&by_argument, "root = '/data'").is_empty());
    }

    #[test]
    fn a_configuration_that_no_kubelet_could_use_is_not_compared() {
        let has =
            ["engine_has root = '/data'", "engine_has disabled_plugins = ['io.containerd.grpc.v1.cri']"];
        let seen = engine(&has);
        assert!(seen.was_replaced() && seen.problems("node1", &wanted("version = 3")).is_empty());
        let seen = engine(&["engine_has disabled_plugins = ['io.containerd.snapshotter.v1.zfs']"]);
        assert!(!seen.was_replaced());
        assert_eq!(seen.problems("node1", &wanted("version = 3")).len(), 1);
    }

    /// containerd, as it prints its configuration; ROOT is where the machine's files are.
    const CONTAINERD: &str = r#"#!/bin/sh
case "$*" in
  "config default") echo "version = 3" ;;
  "config dump")
    echo "root = '/data'"
    echo "    [plugins.'io.containerd.cri.v1.images'.registry.configs.'r:5000'.auth]"
    echo "      password = 'p#w'"
    echo "    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]"
    echo "      base_runtime_spec = 'ROOT/etc/containerd/cri-base.json'"
    ;;
esac
"#;

    /// systemd, of its own limits and of those of containerd's unit.
    const SYSTEMCTL: &str = r#"#!/bin/sh
case "$*" in
  *" containerd") echo LimitNOFILE=1048576 ;;
  *) echo DefaultLimitNOFILE=524288 ;;
esac
"#;

    #[test]
    fn a_machines_engine_is_seen_without_what_is_secret() {
        let program = concat!(include_str!("../preflight/clusters.sh"), include_str!("engine.sh"), "engine");
        for shell in SHELLS {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            let place = root.display().to_string();
            put(root, "bin/containerd", &CONTAINERD.replace("ROOT", &place));
            put(root, "bin/systemctl", SYSTEMCTL);
            put(root, "etc/containerd/cri-base.json", "{\n  \"ociVersion\": \"1.2.1\"\n}\n");
            put(root, "etc/docker/certs.d/r.lan/ca.crt", "");
            let (done, said) = run(shell, root, program, &[]);
            assert!(done && !said.contains("p#w"), "{shell:?}: {said}");
            let seen = engine(&said.lines().collect::<Vec<_>>());
            assert!(
                seen.has.starts_with("root = '/data'\n") && seen.has.contains("      password = \"hidden\""),
                "{said}"
            );
            assert_eq!(seen.usual, "version = 3\n", "{shell:?}");
            let spec = seen.specs.get(&format!("{place}/etc/containerd/cri-base.json"));
            assert_eq!(spec, Some(&json!({ "ociVersion": "1.2.1" })), "{shell:?}: {said}");
            assert!(seen.has_docker_certs, "{shell:?}");
            let limits = ["LimitNOFILE", "DefaultLimitNOFILE"].map(|name| seen.limits[name].as_str());
            assert_eq!(limits, ["1048576", "524288"], "{shell:?}");
            put(root, "var/lib/muster/stamps/containerd.service", "");
            assert_eq!(run(shell, root, program, &[]), (true, String::new()), "{shell:?}");
        }
    }

    #[test]
    fn a_configuration_that_is_no_toml_is_told() {
        let told = engine(&["engine_has [plugins"]).problems("node1", &wanted(""));
        assert!(told.len() == 1 && told[0].found.contains("of node1 cannot be read: "), "{told:?}");
        assert!(engine(&[]).problems("node1", &wanted("[")).is_empty(), "muster has written it");
    }

    #[test]
    fn versions_are_of_one_minor_version() {
        assert!(
            is_same_minor("2.2.3", "2.2.1")
                && !is_same_minor("2.3.0", "2.2.1")
                && !is_same_minor("", "2.2.1")
        );
    }
}
