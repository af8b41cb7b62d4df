//! What is in use of the API that a version of Kubernetes does not have any more: as each API server counts it, and with the objects
//! that somebody has written in it.

use std::collections::BTreeSet;

use futures::future::join_all;
use muster_engine::prelude::*;
use muster_inventory::some_names;
use serde::Deserialize;

use crate::cluster::Standing;
use crate::common::kube_minor;
use crate::kubectl::kubectl;

/// A part of the API, and the minor version that does not have it any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Dropped {
    group: String,
    version: String,
    resource: String,
    minor: u32,
}

/// What keeps the cluster from a version because it is in use, and that version does not have it.
///
/// # Errors
/// A control plane cannot be asked.
pub(super) async fn problems(host: &Host, known: &Standing, wanted: &str) -> Result<Vec<Problem>> {
    // Each counts what it was asked itself.
    let asked = known.planes.iter().map(|plane| async move {
        host.cluster().host(plane)?.query(kubectl!(include_str!("dropped.sh"), [""; 0])).await
    });
    let mut dropped = BTreeSet::new();
    for answer in join_all(asked).await {
        // One that is away is told elsewhere.
        let Ok(answer) = answer else { continue };
        dropped.extend(answer.output.lines().filter_map(Dropped::parse));
    }
    dropped.retain(|part| part.minor <= kube_minor(wanted));
    let mut problems = Vec::new();
    for part in dropped {
        problems.push(part.problem(&part.written(host, known).await?));
    }
    Ok(problems)
}

impl Dropped {
    /// Takes a line that `dropped.sh` prints.
    fn parse(line: &str) -> Option<Self> {
        let ["dropped", group, version, resource, minor] = line.split('|').collect::<Vec<_>>()[..] else {
            return None;
        };
        let [group, version, resource] = [group, version, resource].map(str::to_owned);
        Some(Self { group, version, resource, minor: minor.parse().ok()? })
    }

    /// `flowcontrol.apiserver.k8s.io/v1beta3`, as objects name it.
    fn api_version(&self) -> String {
        let slash = if self.group.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.group, self.version)
    }

    /// The objects that somebody has written in it, with who did. The first API server that answers knows them all.
    async fn written(&self, host: &Host, known: &Standing) -> Result<Vec<String>> {
        for plane in &known.planes {
            // By the version that clients prefer: whoever asks by the old one uses it, and the next look would find that.
            let list = kubectl!(
                r#"version=$(kubectl get --raw "/apis/$1" | sed -n 's/.*"preferredVersion":{[^}]*"version":"\([^"]*\)".*/\1/p')
[ -n "$version" ] && [ "$version" != "$2" ] || exit 1
kubectl get --raw "/apis/$1/$version/$3?limit=500""#,
                [self.group.as_str(), &self.version, &self.resource]
            );
            match host.cluster().host(plane)?.query(list).await {
                Ok(answer) if answer.status == 0 => return Ok(self.written_in(&answer.output)),
                _ => {}
            }
        }
        Ok(Vec::new())
    }

    /// Those of a list: the API server keeps book of the version in which each writer has set its fields.
    fn written_in(&self, list: &str) -> Vec<String> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Object>,
        }
        #[derive(Deserialize)]
        struct Object {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            #[serde(default)]
            namespace: String,
            name: String,
            #[serde(default)]
            managed_fields: Vec<Writer>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Writer {
            #[serde(default)]
            manager: String,
            #[serde(default)]
            api_version: String,
        }
        let list: List = serde_json::from_str(list).unwrap_or(List { items: Vec::new() });
        let written = |Object { metadata }: Object| {
            let writer =
                metadata.managed_fields.into_iter().find(|by| by.api_version == self.api_version())?;
            let slash = if metadata.namespace.is_empty() { "" } else { "/" };
            Some(format!("{}{slash}{} by {}", metadata.namespace, metadata.name, writer.manager))
        };
        list.items.into_iter().filter_map(written).collect()
    }

    fn problem(&self, written: &[String]) -> Problem {
        let what = format!("{} of {}", self.resource, self.api_version());
        let objects = match written {
            [] => String::new(),
            written => format!("; written in it: {}", some_names(written)),
        };
        Problem {
            check: "API".into(),
            found: format!("{what} is in use, and Kubernetes 1.{} does not have it{objects}", self.minor),
            needed: "objects and programs that use what the new version has".into(),
            remedy: "move them to the newer version of that API (Kubernetes' \"Deprecated API Migration Guide\"); who asks for it is in \
                     the API server's audit log. Each API server counts since it was started: on one control plane after the other, \
                     pkill kube-apiserver"
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an API server says of what it was asked for, among much else.
    const METRICS: &str = r#"# TYPE apiserver_requested_deprecated_apis gauge
apiserver_requested_deprecated_apis{group="",removed_release="",resource="componentstatuses",subresource="",version="v1"} 1
apiserver_requested_deprecated_apis{group="flowcontrol.apiserver.k8s.io",removed_release="1.37",resource="flowschemas",subresource="status",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="",removed_release="1.99",resource="endpoints",subresource="",version="v1"} 1
apiserver_request_total{group="flowcontrol.apiserver.k8s.io",resource="flowschemas",version="v1"} 7
"#;

    #[test]
    fn every_shell_finds_what_is_dropped() {
        let program = "kubectl() { printf '%s' \"$METRICS\"; }\n".to_owned() + include_str!("dropped.sh");
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let mut sh = std::process::Command::new(shell[0]);
            sh.args(&shell[1..]).args(["-c", &program, "dropped.sh"]).env("METRICS", METRICS);
            let printed = sh.output().unwrap();
            assert!(printed.status.success() && printed.stderr.is_empty(), "{shell:?} {printed:?}");
            let printed = String::from_utf8(printed.stdout).unwrap();
            let found: Vec<Dropped> = printed.lines().filter_map(Dropped::parse).collect();
            let told: Vec<(String, u32)> = found
                .iter()
                .map(|part| (part.resource.clone() + " " + &part.api_version(), part.minor))
                .collect();
            let flow = "flowschemas flowcontrol.apiserver.k8s.io/v1beta3".to_owned();
            assert_eq!(told, [(flow, 37), ("endpoints v1".to_owned(), 99)], "{shell:?}");
        }
    }

    #[test]
    fn the_objects_are_named_that_somebody_has_written_in_it() {
        let part = Dropped::parse("dropped|networking.k8s.io|v1beta1|servicecidrs|37").unwrap();
        let list = r#"{"items":[
            {"metadata":{"name":"kubernetes","managedFields":[{"manager":"kube-apiserver","apiVersion":"networking.k8s.io/v1"}]}},
            {"metadata":{"name":"more","namespace":"course","managedFields":[
                {"manager":"kube-controller-manager","apiVersion":"networking.k8s.io/v1"},
                {"manager":"helm","apiVersion":"networking.k8s.io/v1beta1"}]}}]}"#;
        assert_eq!(part.written_in(list), ["course/more by helm"]);
        assert!(part.written_in("").is_empty());
        let told =
            "servicecidrs of networking.k8s.io/v1beta1 is in use, and Kubernetes 1.37 does not have it";
        assert_eq!(part.problem(&[]).found, told);
        assert_eq!(
            part.problem(&part.written_in(list)).found,
            format!("{told}; written in it: course/more by helm")
        );
    }
}
