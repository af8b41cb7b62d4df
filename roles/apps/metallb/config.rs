//! `metallb_config`: which addresses MetalLB may give away, and where its pods run. Its form is kubespray's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use muster_inventory::HostVars;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The namespace of MetalLB in upstream's manifest.
pub(super) const NAMESPACE: &str = "metallb-system";

/// The pools, and where the pods run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    address_pools: BTreeMap<String, Pool>,
    layer2: Option<Vec<String>>,
    pub(super) speaker: Placement,
    pub(super) controller: Placement,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pool {
    ip_range: Vec<String>,
    #[serde(default = "yes")]
    auto_assign: bool,
    #[serde(default)]
    avoid_buggy_ips: bool,
}

fn yes() -> bool {
    true
}

/// On which nodes pods run, and how many of them. The last two are not kubespray's, but are found in inventories.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Placement {
    pub(super) nodeselector: Option<Map<String, Value>>,
    pub(super) tolerations: Option<Vec<Value>>,
    pub(super) affinity: Option<Map<String, Value>>,
    pub(super) replicas: Option<u16>,
}

/// The first and the last address of a range.
type Range = (Ipv4Addr, Ipv4Addr);

impl Config {
    /// The configuration of a machine's variables.
    ///
    /// # Errors
    /// What in it cannot be, in words.
    pub(crate) fn of(vars: &HostVars) -> Result<Self, String> {
        let Some(value) = vars.get("metallb_config").map_err(|error| error.to_string())? else {
            return Ok(Self::default());
        };
        let value = value.to_json();
        if !value["layer3"].is_null() {
            return Err("layer3: muster sets up no BGP; addresses are announced by layer2".to_owned());
        }
        let config: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if config.speaker.replicas.is_some() {
            return Err("speaker.replicas: a speaker runs on each node".to_owned());
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let mut known: Vec<(Range, &str)> = Vec::new();
        for (name, pool) in &self.address_pools {
            for text in &pool.ip_range {
                let range = range(text).ok_or_else(|| {
                    format!(
                        "address_pools.{name}: {text:?} is neither FIRST-LAST nor ADDRESS/LENGTH, of IPv4"
                    )
                })?;
                let twice = known.iter().find(|(other, _)| other.0 <= range.1 && range.0 <= other.1);
                if let Some((_, other)) = twice {
                    return Err(format!("address_pools.{name}: {text} has addresses that {other} has, too"));
                }
                known.push((range, name));
            }
        }
        let unknown = self.layer2.iter().flatten().find(|name| !self.address_pools.contains_key(*name));
        unknown.map_or(Ok(()), |name| Err(format!("layer2: there is no pool {name:?} in address_pools")))
    }

    /// The pools and their announcement, as objects of MetalLB.
    pub(super) fn objects(&self) -> Vec<Value> {
        let object = |kind: &str, name: &str, spec: Value| {
            let metadata = json!({ "name": name, "namespace": NAMESPACE });
            json!({ "apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec })
        };
        let pool = |(name, pool): (&String, &Pool)| {
            let spec = json!({
                "addresses": pool.ip_range,
                "autoAssign": pool.auto_assign,
                "avoidBuggyIPs": pool.avoid_buggy_ips,
            });
            object("IPAddressPool", name, spec)
        };
        let announced = self.address_pools.keys().filter(|name| {
            self.layer2.as_ref().is_none_or(|announced| announced.iter().any(|other| other == *name))
        });
        let announced =
            announced.map(|name| object("L2Advertisement", name, json!({ "ipAddressPools": [name] })));
        self.address_pools.iter().map(pool).chain(announced).collect()
    }

    /// Whether an address is in a pool.
    pub(crate) fn has(&self, address: Ipv4Addr) -> bool {
        let mut ranges = self.address_pools.values().flat_map(|pool| &pool.ip_range);
        ranges.any(|text| range(text).is_some_and(|(first, last)| (first..=last).contains(&address)))
    }

    /// All ranges, for people.
    pub(super) fn ranges(&self) -> String {
        let ranges = self.address_pools.values().flat_map(|pool| &pool.ip_range);
        ranges.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

fn range(text: &str) -> Option<Range> {
    if let Some((first, last)) = text.split_once('-') {
        let range: Range = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        return (range.0 <= range.1).then_some(range);
    }
    let net: Ipv4Net = text.trim().parse().ok()?;
    Some((net.network(), net.broadcast()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn config(yaml: &str) -> Result<Config, String> {
        Config::of(&variables(&format!("metallb_config: {yaml}\n")))
    }

    #[test]
    fn pools_become_objects() {
        let two = "{address_pools: {a: {ip_range: [192.0.2.1-192.0.2.9]}, b: {ip_range: [198.51.100.0/28], auto_assign: false}}";
        let kinds = |yaml: &str| {
            let objects = config(yaml).unwrap().objects();
            objects
                .iter()
                .map(|o| format!("{} {}", o["kind"], o["metadata"]["name"]).replace('"', ""))
                .collect::<Vec<_>>()
        };
        let pools = ["IPAddressPool a", "IPAddressPool b", "L2Advertisement a", "L2Advertisement b"];
        assert_eq!(kinds(&format!("{two}}}")), pools);
        assert_eq!(
            kinds(&format!("{two}, layer2: [b]}}")),
            ["IPAddressPool a", "IPAddressPool b", "L2Advertisement b"]
        );
        assert!(kinds("{}").is_empty());
        let config = config(&format!("{two}}}")).unwrap();
        let spec = &config.objects()[1]["spec"];
        assert_eq!((&spec["addresses"], &spec["autoAssign"]), (&json!(["198.51.100.0/28"]), &json!(false)));
        assert_eq!(config.ranges(), "192.0.2.1-192.0.2.9, 198.51.100.0/28");
    }

    #[test]
    fn what_cannot_be_is_told() {
        let why = |yaml: &str| config(yaml).unwrap_err();
        let pool = |range: &str| why(&format!("{{address_pools: {{a: {{ip_range: [{range}]}}}}}}"));
        assert!(
            pool("192.0.2.9-192.0.2.1").starts_with("address_pools.a: \"192.0.2.9-192.0.2.1\" is neither")
        );
        assert!(pool("home").contains("neither"));
        assert_eq!(
            pool("192.0.2.0/28, 192.0.2.15-192.0.2.20"),
            "address_pools.a: 192.0.2.15-192.0.2.20 has addresses that a has, too"
        );
        assert_eq!(why("{layer2: [a]}"), "layer2: there is no pool \"a\" in address_pools");
        assert!(why("{layer3: {metallb_peers: {}}}").contains("no BGP"));
        assert!(why("{pools: {}}").contains("pools"));
        assert!(why("{speaker: {replicas: 2}}").starts_with("speaker.replicas"));
    }
}
