//! What charts are told of the cluster (`.Capabilities`): its version and its APIs. In a namespace or not is each kind by that, too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The APIs of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Apis {
    /// The version of Kubernetes.
    pub(super) version: String,
    /// `apps/v1`, and `apps/v1/Deployment`.
    pub(super) versions: BTreeSet<String>,
    /// Whether objects of a kind are in a namespace, by group and kind.
    namespaced: BTreeMap<(String, String), bool>,
}

impl Apis {
    /// Those of a cluster of which nothing but its version is known: helm knows the usual ones by itself.
    pub(crate) fn of_version(version: &str) -> Self {
        Self { version: version.to_owned(), ..Self::default() }
    }

    /// Those of a cluster that has told them (`apis.sh`).
    ///
    /// # Errors
    /// That was something else.
    pub(super) fn told(printed: &str) -> Result<Self, String> {
        let mut answers = serde_json::Deserializer::from_str(printed).into_iter::<Value>();
        let version = answers.next().and_then(Result::ok);
        let version = version.as_ref().and_then(|version| version["gitVersion"].as_str());
        let version = version.ok_or_else(|| format!("the cluster has not told its version: {printed}"))?;
        let mut apis = Self::of_version(version);
        for line in printed[answers.byte_offset()..].lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [api] => {
                    apis.versions.insert(api.to_owned());
                }
                // Of `NAME SHORTNAMES APIVERSION NAMESPACED KIND` the second one may be missing.
                [_, .., api, namespaced @ ("true" | "false"), kind] => {
                    apis.add(api, kind, namespaced == "true");
                }
                _ => {}
            }
        }
        Ok(apis)
    }

    /// Takes in the kinds that an object defines, if it does. Whether one was new is returned.
    pub(super) fn learn(&mut self, definition: &Value) -> bool {
        if definition["kind"] != "CustomResourceDefinition" {
            return false;
        }
        let spec = &definition["spec"];
        let [Some(group), Some(kind)] = [&spec["group"], &spec["names"]["kind"]].map(Value::as_str) else {
            return false;
        };
        let versions = spec["versions"].as_array().into_iter().flatten();
        let served = versions.filter(|version| version["served"] != false);
        let mut is_new = false;
        for version in served.filter_map(|version| version["name"].as_str()) {
            is_new |= self.add(&format!("{group}/{version}"), kind, spec["scope"] == "Namespaced");
        }
        is_new
    }

    fn add(&mut self, api: &str, kind: &str, namespaced: bool) -> bool {
        let group = api.split_once('/').map_or("", |(group, _)| group);
        self.namespaced.insert((group.to_owned(), kind.to_owned()), namespaced);
        self.versions.insert(api.to_owned()) | self.versions.insert(format!("{api}/{kind}"))
    }

    /// Gives an object the namespace of its release, as helm does: where its kind has one and it says none itself. Where the kind
    /// has none, it says none.
    pub(super) fn place(&self, object: &mut Value, namespace: &str) {
        let [Some(api), Some(kind)] = [&object["apiVersion"], &object["kind"]].map(Value::as_str) else {
            return;
        };
        let group = api.split_once('/').map_or("", |(group, _)| group);
        let namespaced = self.namespaced.get(&(group.to_owned(), kind.to_owned())).copied();
        let Some(metadata) = object["metadata"].as_object_mut() else { return };
        match namespaced {
            Some(false) => {
                metadata.remove("namespace");
            }
            // Where nobody says another one that is the namespace.
            Some(true) if namespace != "default" => {
                let said = metadata.entry("namespace").or_insert(Value::Null);
                if said.as_str().is_none_or(str::is_empty) {
                    *said = namespace.into();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PRINTED: &str = "{\n  \"major\": \"1\",\n  \"gitVersion\": \"v1.36.3\"\n}\napps/v1\nmetrics.k8s.io/v1beta1\nv1\n\
        pods                po      v1         true    Pod\n\
        namespaces          ns      v1         false   Namespace\n\
        deployments         deploy  apps/v1    true    Deployment\n\
        error: unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1: the server is currently unable\n";

    #[test]
    fn what_a_cluster_tells_is_understood() {
        let apis = Apis::told(PRINTED).unwrap();
        assert_eq!(apis.version, "v1.36.3");
        let versions = apis.versions.iter().map(String::as_str).collect::<Vec<_>>();
        let expected =
            ["apps/v1", "apps/v1/Deployment", "metrics.k8s.io/v1beta1", "v1", "v1/Namespace", "v1/Pod"];
        assert_eq!(versions, expected);
        assert!(Apis::told("Forbidden").unwrap_err().contains("Forbidden"));
    }

    #[test]
    fn definitions_are_learned_once() {
        let mut apis = Apis::default();
        let definition = |scope: &str| {
            json!({
                "kind": "CustomResourceDefinition",
                "spec": {
                    "group": "a.io", "scope": scope, "names": { "kind": "Room" },
                    "versions": [{ "name": "v1", "served": true }, { "name": "v0", "served": false }],
                },
            })
        };
        assert!(apis.learn(&definition("Cluster")) && !apis.learn(&definition("Cluster")));
        assert!(!apis.learn(&json!({ "kind": "ConfigMap" })));
        assert_eq!(apis.versions.iter().collect::<Vec<_>>(), ["a.io/v1", "a.io/v1/Room"]);
    }

    #[test]
    fn objects_are_in_the_namespace_of_their_release_where_their_kind_has_one() {
        let apis = Apis::told(PRINTED).unwrap();
        let placed = |api: &str, kind: &str, said: Value, namespace: &str| {
            let mut object = json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "a" } });
            if !said.is_null() {
                object["metadata"]["namespace"] = said;
            }
            apis.place(&mut object, namespace);
            object["metadata"].get("namespace").cloned()
        };
        assert_eq!(placed("apps/v1", "Deployment", Value::Null, "shop"), Some(json!("shop")));
        assert_eq!(placed("apps/v1", "Deployment", json!("other"), "shop"), Some(json!("other")));
        // As it is with objects that are written so.
        assert_eq!(placed("apps/v1", "Deployment", Value::Null, "default"), None);
        assert_eq!(placed("v1", "Namespace", json!("shop"), "shop"), None);
        assert_eq!(placed("b.io/v1", "Unknown", Value::Null, "shop"), None);
    }
}
