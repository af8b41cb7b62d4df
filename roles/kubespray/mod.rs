//! kubespray's variables, of all its ages: what each comes to here. `keys.yml` holds them, this the mechanism.

mod remarks;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use muster_inventory::{HostVars, Kind, Renames, Value};
use serde::Deserialize;

use crate::common::nearest;
use crate::reference;

pub use remarks::{Remark, Verdict, remarks};

/// The contents of `keys.yml`, which explains them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    renamed: BTreeMap<String, String>,
    reworded: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    defaults: BTreeMap<String, String>,
    refused: Vec<Group>,
    absent: Vec<Group>,
    lost: Vec<Group>,
}

/// Variables of which the same is to be said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    keys: BTreeMap<String, Option<Vec<serde_json::Value>>>,
    why: String,
    #[serde(default)]
    samples: BTreeMap<String, Vec<serde_json::Value>>,
    #[serde(default)]
    parts: Vec<String>,
    remedy: Option<String>,
    #[serde(default)]
    remedies: BTreeMap<String, String>,
    #[serde(default)]
    ignorable: bool,
}

#[expect(clippy::expect_used, reason = "the text is compiled in, and a test parses it")]
static KEYS: LazyLock<Keys> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("keys.yml")).expect("keys.yml is correct"));

/// What kubespray's roles set and group_vars read, where muster has no variable of the name: to be given to
/// [`muster_inventory::VarsBuilder::fallbacks`].
pub const DERIVED: &str = include_str!("derived.yml");

/// Variables that have another name now, and values that are other words.
pub fn renames() -> Renames {
    let names = KEYS.renamed.iter().fold(Renames::new(), |renames, (old, new)| renames.add(old, new));
    let words =
        KEYS.reworded.iter().flat_map(|(name, words)| words.iter().map(move |(old, new)| (name, old, new)));
    words.fold(names, |renames, (name, old, new)| renames.add_word(name, old, Value::from_json(new)))
}

/// What becomes of a variable that kubespray has and no role; `None` for one that kubespray has not either, and for one that
/// is probably a mistyped one of muster's.
pub fn about(name: &str) -> Option<Remark> {
    let entries = entries(name);
    if remarks::mistyped(name, &entries, reference::variables().map(|variable| variable.name)).is_some() {
        return None;
    }
    let entry = entries.into_iter().next()?;
    let (verdict, why) = match entry.harmless {
        Some(_) => (entry.verdict, entry.group.why.clone()),
        None => (Verdict::Quiet, entry.why_quiet()),
    };
    Some(Remark { name: name.to_owned(), verdict, why, places: Vec::new() })
}

/// What a group says of a name: the values about which nothing is to be said, `None` for a part.
struct Entry {
    verdict: Verdict,
    group: &'static Group,
    harmless: Option<Harmless>,
    exact: bool,
}

impl Entry {
    /// Why nothing is to be said.
    fn why_quiet(&self) -> String {
        let keys: Vec<&str> = self.group.keys.keys().map(String::as_str).collect();
        match keys.as_slice() {
            _ if self.harmless.is_some() => "it says what is done anyway".to_owned(),
            [key] => format!("it belongs to {key}"),
            // What is refused is asked for by any of them; what is absent or lost is so for one reason.
            [_, ..] if self.verdict == Verdict::Refused => format!("it belongs to {}", keys.join(" or ")),
            _ => self.group.why.clone(),
        }
    }

    /// Whether a value of this variable is one that kubespray's own samples set.
    fn is_of_samples(&self, name: &str, value: &Value, vars: &HostVars) -> bool {
        self.group.samples.get(name).is_some_and(|values| Harmless(Some(values)).holds(value, vars))
    }
}

/// Everything that is said of a name where it is named most exactly.
fn entries(name: &str) -> Vec<Entry> {
    let groups =
        [(Verdict::Refused, &KEYS.refused), (Verdict::Absent, &KEYS.absent), (Verdict::Lost, &KEYS.lost)];
    let mut found: Vec<Entry> = Vec::new();
    let mut best = 0;
    for (verdict, groups) in groups {
        for group in groups {
            let keys = group.keys.iter().map(|(key, values)| (key, Some(Harmless(values.as_deref()))));
            for (pattern, harmless) in keys.chain(group.parts.iter().map(|part| (part, None))) {
                let fit = fit(pattern, name);
                if fit > best {
                    best = fit;
                    found.clear();
                }
                if fit > 0 && fit == best {
                    found.push(Entry { verdict, group, harmless, exact: pattern == name });
                }
            }
        }
    }
    found
}

/// How exactly a pattern names something: 0 for not at all, most for the whole name.
fn fit(pattern: &str, name: &str) -> usize {
    let matches = match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(begin), _) => name.starts_with(begin),
        (_, Some(end)) => name.ends_with(end),
        _ if pattern == name => return usize::MAX,
        _ => false,
    };
    if matches { pattern.len() } else { 0 }
}

/// Values that say what muster does anyway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Harmless(Option<&'static [serde_json::Value]>);

impl Harmless {
    /// Whether a value is one of them.
    pub(crate) fn holds(self, value: &Value, vars: &HostVars) -> bool {
        // Nothing after the colon: it is as if it were not set.
        if value.kind == Kind::Null {
            return true;
        }
        let Some(values) = self.0 else { return is_nothing(value) };
        values.iter().any(|known| match known {
            serde_json::Value::Bool(known) => value.as_bool() == Some(*known),
            // A default of kubespray that is worked out, as most of those that name folders.
            serde_json::Value::String(text) if text.contains("{{") => {
                vars.resolve(&Value::from(text.as_str())).is_ok_and(|known| text_of(&known) == text_of(value))
            }
            known => text_of(&Value::from_json(known)) == text_of(value),
        })
    }
}

/// Whether a value says no: false, 0, or nothing at all; of a mapping with a switch, the switch.
fn is_nothing(value: &Value) -> bool {
    if let Some(switch) = value.as_map().and_then(|map| map.get("enabled")) {
        return is_nothing(switch);
    }
    let text = text_of(value);
    value.as_bool() == Some(false) || ["", "[]", "{}"].contains(&text.as_str())
}

/// A value as it would be in a file, without quotes around a text.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_json().to_string(), |text| text.trim().to_owned())
}

/// A variable some of whose values are refused.
pub(crate) struct Refusal {
    pub(crate) name: &'static str,
    pub(crate) harmless: Harmless,
    /// What it should be.
    pub(crate) needed: &'static str,
    /// How to make it so.
    remedy: String,
    remedies: &'static BTreeMap<String, String>,
    /// Whether a run is possible all the same.
    pub(crate) ignorable: bool,
}

impl Refusal {
    /// How to make a value what it should be. One that is nearly a value that is named is taken for it.
    pub(crate) fn remedy(&self, value: &Value) -> String {
        let text = text_of(value);
        if let Some(remedy) = self.remedies.get(&text) {
            return remedy.clone();
        }
        // Others are taken without a word for those who have them from kubespray.
        let is_named = |value: &&str| words(self.needed).any(|word| word == *value);
        let allowed: Vec<&str> = self
            .harmless
            .0
            .unwrap_or_default()
            .iter()
            .filter_map(|value| value.as_str())
            .filter(is_named)
            .collect();
        match nearest(&text, &allowed) {
            Some(meant) => format!("set {}: {meant}", self.name),
            None => self.remedy.clone(),
        }
    }
}

/// The words of a clause, those with hyphens as one.
fn words(clause: &str) -> impl Iterator<Item = &str> {
    clause.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_')
}

/// Every variable some of whose values are refused.
pub(crate) fn refusals() -> impl Iterator<Item = Refusal> {
    KEYS.refused.iter().flat_map(|group| {
        group.keys.iter().map(|(name, values)| {
            let first = values.as_deref().and_then(<[_]>::first).map_or("false".to_owned(), |value| {
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            });
            Refusal {
                name,
                harmless: Harmless(values.as_deref()),
                needed: &group.why,
                remedy: group.remedy.clone().unwrap_or_else(|| format!("set {name}: {first}")),
                remedies: &group.remedies,
                ignorable: group.ignorable,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::reference;

    #[test]
    fn a_name_stands_in_one_place_and_a_pattern_has_one_star_at_an_end() {
        let mut names = BTreeSet::new();
        for group in [&KEYS.refused, &KEYS.absent, &KEYS.lost].into_iter().flatten() {
            assert!(!group.why.ends_with('.'), "{}", group.why);
            for name in group.keys.keys().chain(&group.parts) {
                let middle = name.strip_prefix('*').or_else(|| name.strip_suffix('*')).unwrap_or(name);
                assert!(!middle.is_empty() && !middle.contains('*'), "{name}");
                // Some values of these are refused, and others get a word.
                let twice =
                    ["container_manager", "etcd_deployment_type", "dns_mode"].contains(&name.as_str());
                assert!(names.insert(name) || twice, "{name} is there twice");
            }
        }
    }

    #[test]
    fn what_muster_has_is_not_called_absent_or_lost() {
        let own: BTreeSet<&str> = reference::variables().map(|variable| variable.name).collect();
        let called: Vec<&String> = [&KEYS.absent, &KEYS.lost]
            .into_iter()
            .flatten()
            .flat_map(|group| group.keys.keys().chain(&group.parts))
            .filter(|name| own.contains(name.as_str()))
            .filter(|name| {
                ![
                    "container_manager",
                    "etcd_deployment_type",
                    "dns_mode",
                    "resolvconf_mode",
                    "external_cloud_provider",
                ]
                .contains(&name.as_str())
            })
            .collect();
        // Documented so that they can be compared with the catalogue.
        assert_eq!(called, ["containerd_version"]);
        for (old, new) in &KEYS.renamed {
            assert!(own.contains(new.as_str()) && !own.contains(old.as_str()), "{old}: {new}");
        }
        assert!(KEYS.reworded.keys().all(|name| own.contains(name.as_str())), "{:?}", KEYS.reworded);
        assert!(KEYS.defaults.keys().all(|name| own.contains(name.as_str())), "{:?}", KEYS.defaults);
    }

    /// What the group_vars of kubespray's tags read in expressions (those with `is defined` aside) and do not set themselves:
    /// `scripts/kubespray-tags.sh` reads them all.
    #[test]
    fn what_kubesprays_samples_read_is_worked_out() {
        let vars = crate::preflight::fixture::variables("");
        for (name, expected) in [
            ("kube_service_subnets", r#""10.233.0.0/18""#),
            ("kubelet_config_dir", r#""/etc/kubernetes/dynamic_kubelet_dir""#),
            ("gcr_image_repo", r#""gcr.io""#),
        ] {
            let value = vars.get(name).unwrap().map(|value| value.to_json().to_string());
            assert_eq!(value.as_deref(), Some(expected), "{name}");
        }
        let vars = crate::preflight::fixture::variables("enable_dual_stack_networks: true");
        for (name, expected) in [
            ("kube_service_subnets", "10.233.0.0/18,fd85:ee78:d8a6:8607::1000/116"),
            ("kube_pods_subnets", "10.233.64.0/18,fd85:ee78:d8a6:8607::1:0000/112"),
        ] {
            assert_eq!(vars.get(name).unwrap().unwrap().as_str(), Some(expected), "{name}");
        }
    }

    #[test]
    fn the_most_exact_pattern_wins() {
        for (name, why) in [
            ("cilium_cert_dir", "flannel, calico, cilium"),
            ("docker_image_repo", "where programs"),
            ("docker_version", "Docker, where container_manager"),
            ("containerd_runtimes", "no runtime but runc"),
            ("containerd_oom_score", "containerd has the score"),
            ("argocd_image_repo", "where programs"),
        ] {
            let found = entries(name);
            assert!(
                found.len() == 1 && found[0].group.why.starts_with(why),
                "{name}: {}",
                found[0].group.why
            );
        }
        assert!(entries("of_my_own").is_empty());
    }

    #[test]
    fn what_is_nearly_an_allowed_value_is_taken_for_it() {
        let remedy = |name: &str, value: &str| {
            refusals().find(|refusal| refusal.name == name).unwrap().remedy(&Value::from(value))
        };
        for (name, value, expected) in [
            ("kube_proxy_mode", "IPVS", "set kube_proxy_mode: ipvs"),
            ("kube_proxy_mode", "nftable", "set kube_proxy_mode: nftables"),
            ("kube_proxy_mode", "userspace", "set kube_proxy_mode: iptables"),
            ("kube_network_plugin", "calicoo", "set kube_network_plugin: calico"),
            ("kube_network_plugin", "Calico", "set kube_network_plugin: calico"),
            ("kube_network_plugin", "romana", "set kube_network_plugin: flannel"),
            ("kube_network_plugin", "Cilium", "set kube_network_plugin: cilium"),
            ("flannel_backend_type", "hostgw", "set flannel_backend_type: host-gw"),
            ("container_manager", "dockr", "set container_manager: docker"),
            ("dns_mode", "kubedn", "set dns_mode: coredns"),
        ] {
            assert_eq!(remedy(name, value), expected, "{value}");
        }
    }

    /// Plugins that kubespray has or had, each with what is to be set instead: a table of `docs/networks.md` has them all.
    #[test]
    fn of_each_network_that_is_not_there_it_is_said_what_to_set() {
        let refusal = refusals().find(|refusal| refusal.name == "kube_network_plugin").unwrap();
        let page = include_str!("../../docs/networks.md");
        let expected = [
            ("canal", "set kube_network_plugin: calico, which has the same policies"),
            ("cloud", "set kube_network_plugin: none, and let the cloud route"),
            ("contiv", "set kube_network_plugin: calico or cilium; Contiv is not developed any more"),
            (
                "kube-ovn",
                "set kube_network_plugin: custom_cni, with its manifests in custom_cni_manifests; or cilium",
            ),
            (
                "kube-router",
                "set kube_network_plugin: flannel, and network_policies_enabled: true for kube-router's policies; or \
                 custom_cni, with its manifests",
            ),
            ("macvlan", "set kube_network_plugin: none, and install the plugin yourself"),
            (
                "multus",
                "set kube_network_plugin to the network of the pods, and put Multus' objects into the folder extension",
            ),
            (
                "ovn4nfv",
                "set kube_network_plugin: calico or cilium; kubespray does not install OVN4NFV any more either",
            ),
            ("weave", "set kube_network_plugin: calico or flannel; Weave Net is not developed any more"),
        ];
        assert!(
            refusal.remedies.keys().eq(expected.iter().map(|(plugin, _)| plugin)),
            "one is not looked at"
        );
        for (plugin, remedy) in expected {
            let value = Value::from(plugin);
            assert!(!refusal.harmless.holds(&value, &crate::preflight::fixture::variables("")), "{plugin}");
            assert_eq!(refusal.remedy(&value), remedy, "{plugin}");
            assert!(page.contains(&format!("\n| `{plugin}` | ")), "docs/networks.md has no row of {plugin}");
        }
    }
}
