//! What containerd is configured with on a machine that is to be adopted, and would not be any more with muster's configuration.

use muster_engine::prelude::*;
use serde::Deserialize;

use super::living::refused;

/// Explained in `defaults.yml` of the role containerd.
#[derive(Deserialize)]
pub(super) struct Vars {
    containerd_additional_runtimes: Vec<Runtime>,
    containerd_default_runtime: String,
}

#[derive(Deserialize)]
struct Runtime {
    name: String,
}

/// What its configuration says, as far as pods would miss it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Engine {
    /// Runtimes beside runc.
    runtimes: Vec<String>,
    default: Option<String>,
    /// Registries with mirrors or credentials in the configuration itself.
    registries: Vec<String>,
    /// Plugins that are programs of their own, such as snapshotters.
    proxies: Vec<String>,
}

impl Engine {
    /// Takes a line of `engine.sh`; whether it was one.
    pub(super) fn take(&mut self, key: &str, value: &str) -> bool {
        match key {
            "engine_default" => self.default = Some(value.trim_matches(['"', '\'']).to_owned()),
            "engine_table" => self.take_table(&keys(value)),
            _ => return false,
        }
        true
    }

    fn take_table(&mut self, keys: &[String]) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (list, name) = match keys[..] {
            ["plugins", _, "containerd", "runtimes", name] if name != "runc" => (&mut self.runtimes, name),
            ["plugins", _, "registry", "mirrors" | "configs", name, ..] => (&mut self.registries, name),
            ["proxy_plugins", name, ..] => (&mut self.proxies, name),
            _ => return,
        };
        if !list.iter().any(|known| known == name) {
            list.push(name.to_owned());
        }
    }

    /// What pods of the machine would not have any more.
    pub(super) fn problems(&self, name: &str, vars: &Vars) -> Vec<Problem> {
        let lost = |found: String, remedy: String| {
            refused(
                "containerd",
                format!("containerd of {name} has {found}, and would not any more"),
                "the configuration of containerd that pods need",
                remedy,
            )
        };
        let is_given = |runtime: &&String| {
            vars.containerd_additional_runtimes.iter().any(|given| given.name == **runtime)
        };
        let runtimes = self.runtimes.iter().filter(|runtime| !is_given(runtime)).map(|runtime| {
            lost(
                format!("the runtime {runtime}"),
                format!("add {runtime} to containerd_additional_runtimes, with its type and options (muster docs vars)"),
            )
        });
        let default = self.default.iter().filter(|default| **default != vars.containerd_default_runtime).map(
            |default| {
                lost(
                    format!("{default} as its default runtime"),
                    format!("set containerd_default_runtime: {default}"),
                )
            },
        );
        let registries = self.registries.iter().map(|registry| {
            lost(
                format!("mirrors or credentials of {registry} in config.toml"),
                format!(
                    "write them as containerd_registries_mirrors and containerd_registry_auth, and move them out of config.toml before \
                     (mirrors: /etc/containerd/certs.d/{registry}/hosts.toml; restart containerd)"
                ),
            )
        });
        let proxies = self.proxies.iter().map(|proxy| {
            lost(
                format!("the plugin {proxy} as a program of its own"),
                "write it as containerd_extra_args, and take it out of config.toml before; or leave the machine out".to_owned(),
            )
        });
        runtimes.chain(default).chain(registries).chain(proxies).collect()
    }
}

/// `plugins`, `io.containerd.cri.v1.runtime` and so on of `[plugins.'io.containerd.cri.v1.runtime'.containerd]`: a key of TOML may
/// stand in quotes, and has dots then.
fn keys(table: &str) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut quote = None;
    for letter in table.trim_matches(['[', ']']).chars() {
        match (letter, quote) {
            ('"' | '\'', None) => quote = Some(letter),
            (_, Some(open)) if letter == open => quote = None,
            ('.', None) => keys.push(String::new()),
            _ => keys.last_mut().into_iter().for_each(|key| key.push(letter)),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what containerd 2.2.1 and 1.7.28 print.
    const USUAL: [&[&str]; 2] = [
        &[
            "engine_table [plugins]",
            "engine_table [plugins.'io.containerd.cri.v1.images'.registry]",
            "engine_default 'runc'",
            "engine_table [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]",
            "engine_table [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]",
            "engine_table [proxy_plugins]",
        ],
        &[
            "engine_default \"runc\"",
            "engine_table [plugins.\"io.containerd.grpc.v1.cri\".containerd.default_runtime]",
            "engine_table [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]",
            "engine_table [plugins.\"io.containerd.grpc.v1.cri\".containerd.untrusted_workload_runtime]",
            "engine_table [plugins.\"io.containerd.grpc.v1.cri\".registry.configs]",
        ],
    ];

    fn engine(lines: &[&str]) -> Engine {
        let mut engine = Engine::default();
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap();
            assert!(engine.take(key, value));
        }
        engine
    }

    #[test]
    fn what_pods_need_of_containerds_configuration_is_told_and_its_defaults_are_not() {
        let vars = |runtimes: &[&str], default: &str| Vars {
            containerd_additional_runtimes: runtimes
                .iter()
                .map(|name| Runtime { name: (*name).to_owned() })
                .collect(),
            containerd_default_runtime: default.to_owned(),
        };
        let more = [
            "engine_default 'nvidia'",
            "engine_table [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]",
            "engine_table [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia.options]",
            "engine_table [plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"registry.example.org:5000\".auth]",
            "engine_table [proxy_plugins.stargz]",
        ];
        for usual in USUAL {
            assert_eq!(engine(usual).problems("node1", &vars(&[], "runc")), []);
            let engine = engine(&[usual, &more[..]].concat());
            let found = |vars: &Vars| {
                engine.problems("node1", vars).into_iter().map(|problem| problem.found).collect::<Vec<_>>()
            };
            let all = found(&vars(&[], "runc"));
            assert_eq!(all.len(), 4, "{all:?}");
            for word in
                ["the runtime nvidia", "nvidia as its default", "of registry.example.org:5000 in", "stargz"]
            {
                assert!(all.iter().any(|found| found.contains(word)), "{word}: {all:?}");
            }
            assert_eq!(found(&vars(&["nvidia"], "nvidia")).len(), 2);
        }
    }
}
