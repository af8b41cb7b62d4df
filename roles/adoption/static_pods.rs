//! The static pods of a control plane beside those that kubeadm would make of the inventory: arguments, environment, what they see of the
//! machine, and what somebody has put into a manifest besides. Whatever would be lost with an adoption is refused with the variable that
//! keeps it. What kubeadm gives by itself is that of its `phases/controlplane` (1.30 to 1.37).

use std::fmt::Display;

use muster_engine::prelude::Problem;
use serde_json::{Map, Value, json};

use super::compared::{extra_args, is_same};
use super::kubelet::joined;
use super::living::refused;
use super::of_kubeadm::{self, Own};
use crate::objects::parsed;

/// A program of a control plane: the name of its container, its part of kubeadm's configuration, and the variables for arguments and
/// for files and folders of the machine.
struct Program {
    name: &'static str,
    part: &'static str,
    arguments: &'static str,
    volumes: &'static str,
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "kube-apiserver",
        part: "apiServer",
        arguments: "kube_kubeadm_apiserver_extra_args",
        volumes: "apiserver_extra_volumes",
    },
    Program {
        name: "kube-controller-manager",
        part: "controllerManager",
        arguments: "kube_kubeadm_controller_extra_args",
        volumes: "controller_manager_extra_volumes",
    },
    Program {
        name: "kube-scheduler",
        part: "scheduler",
        arguments: "kube_kubeadm_scheduler_extra_args",
        volumes: "scheduler_extra_volumes",
    },
];

/// How the API server finds etcd: the same members with other certificates. Who they are is compared by itself.
const OF_ETCD: [&str; 4] = ["etcd-servers", "etcd-cafile", "etcd-certfile", "etcd-keyfile"];

/// What kubespray writes down though it is what the programs do anyway (their `--help`), or though it does nothing here.
const SAID_NEEDLESSLY: [(&str, &str); 18] = [
    ("allow-privileged", "true"),
    ("anonymous-auth", "true"),
    ("authorization-mode", "Node,RBAC"),
    ("configure-cloud-routes", "false"),
    ("config", "/etc/kubernetes/kubescheduler-config.yaml"),
    ("default-not-ready-toleration-seconds", "300"),
    ("default-unreachable-toleration-seconds", "300"),
    ("enable-aggregator-routing", "false"),
    ("endpoint-reconciler-type", "lease"),
    ("etcd-compaction-interval", "5m0s"),
    ("event-ttl", "1h0m0s"),
    ("leader-elect-lease-duration", "15s"),
    ("leader-elect-renew-deadline", "10s"),
    ("node-monitor-period", "5s"),
    ("request-timeout", "1m0s"),
    ("service-account-lookup", "true"),
    ("storage-backend", "etcd3"),
    ("terminated-pod-gc-threshold", "12500"),
];

/// Authorities of the machine's own, which kubeadm lets the programs see where they are there.
const AUTHORITIES: [&str; 6] = [
    "/etc/ssl/certs",
    "/etc/pki",
    "/etc/pki/",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

/// Where kubeadm up to 1.35 lets the controller manager look for volume plugins.
const VOLUME_PLUGINS: &str = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec";

/// The fields that kubeadm writes, of a pod's specification and of its container, and those that say nothing or are told by themselves.
const OF_SPEC: [&str; 6] =
    ["containers", "hostNetwork", "priority", "priorityClassName", "securityContext", "volumes"];
const OF_CONTAINER: [&str; 15] = [
    "args",
    "command",
    "env",
    "image",
    "imagePullPolicy",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeMounts",
];

/// A static pod as its manifest has it.
#[derive(Debug, Default)]
pub(super) struct StaticPod {
    program: String,
    /// Names and values, in their order; a name may stand there several times.
    pub(super) arguments: Vec<(String, String)>,
    spec: Value,
    container: Value,
}

impl StaticPod {
    /// Of a manifest.
    ///
    /// # Errors
    /// Why it is none of this program.
    pub(super) fn parse(program: &str, manifest: &str) -> Result<Self, String> {
        let pod = parsed::<Value>(manifest)?.pop().unwrap_or_default();
        let spec = pod.get("spec").cloned().unwrap_or_default();
        let container = items(&spec["containers"]).find(|container| container["name"] == program).cloned();
        let container = container.ok_or_else(|| format!("it has no container {program}"))?;
        let words = ["command", "args"].into_iter().flat_map(|list| items(&container[list]));
        let words = joined(words.filter_map(Value::as_str));
        let argument = |word: &String| {
            let argument = word.strip_prefix("--")?;
            let (name, value) = argument.split_once('=').unwrap_or((argument, "true"));
            Some((name.to_owned(), value.to_owned()))
        };
        let arguments = words.iter().filter_map(argument).collect();
        Ok(Self { program: program.to_owned(), arguments, spec, container })
    }

    /// Of etcd: what its environment says as arguments, too.
    pub(super) fn with_environment(self) -> Self {
        let of = |entry: &Value| {
            let name = entry["name"].as_str()?.strip_prefix("ETCD_")?;
            Some((name.to_lowercase().replace('_', "-"), entry["value"].as_str()?.to_owned()))
        };
        let more: Vec<_> = items(&self.container["env"]).filter_map(of).collect();
        Self { arguments: [self.arguments, more].concat(), ..self }
    }

    /// What it would not have any more. `asked`, `wanted`: kubeadm's configuration as it is, and as it would be; `patches`: the value of
    /// `kubeadm_patches`.
    pub(super) fn problems(&self, own: &Own, asked: &Value, wanted: &Value, patches: &Value) -> Vec<Problem> {
        let Some(program) = PROGRAMS.iter().find(|program| program.name == self.program) else {
            return Vec::new();
        };
        let patches = items(patches).filter(|patch| patch["target"] == program.name);
        let patches: Vec<&Value> = patches.map(|patch| &patch["patch"]).collect();
        let mut problems = self.arguments_lost(program, own, asked, wanted, &patches);
        problems.extend(self.volumes_lost(program, asked, wanted, &patches));
        problems.extend(self.more_lost(program, &patches));
        problems
    }

    fn arguments_lost(
        &self,
        program: &Program,
        own: &Own,
        asked: &Value,
        wanted: &Value,
        patches: &[&Value],
    ) -> Vec<Problem> {
        let given = extra_args(wanted, program.part);
        let by_kubeadm =
            of_kubeadm::arguments(program.name, own, asked, given.contains_key("authorization-config"));
        let patched: Vec<(&str, &str)> =
            patches.iter().flat_map(|patch| words(patch)).filter_map(argument).collect();
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.arguments {
            if !names.contains(&name.as_str()) && !OF_ETCD.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let mut problems = Vec::new();
        for name in names {
            let has: Vec<&str> =
                self.arguments.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect();
            let default =
                by_kubeadm.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
            let first = given.get(name).map(String::as_str).or(default);
            let more = patched.iter().filter(|(known, _)| *known == name).map(|(_, value)| *value);
            let will: Vec<&str> = first.into_iter().chain(more).collect();
            if will.is_empty() && has.iter().all(|value| says_nothing(program.name, name, value)) {
                continue;
            }
            for (place, value) in has.iter().enumerate() {
                let instead = will.get(place);
                if instead.is_some_and(|will| is_same(will, value)) {
                    continue;
                }
                let instead = match instead {
                    Some(value) if given.contains_key(name) || place > 0 => {
                        format!("{value} in the inventory")
                    }
                    Some(value) => format!("kubeadm gives {value}"),
                    None => "none in the inventory".to_owned(),
                };
                problems.push(refused(
                    if place == 0 { program.arguments } else { "kubeadm_patches" },
                    format!("{} runs with --{name}={value}, {instead}", program.name),
                    "the arguments that it has",
                    match place {
                        0 => format!(
                            "add to {}: {{{name}: {value:?}}}, or set the variable that stands for it (muster docs vars)",
                            program.arguments
                        ),
                        // A variable gives an argument once.
                        _ => format!(
                            "add to kubeadm_patches: {{target: {}, type: json, patch: [{{op: add, path: \
                             /spec/containers/0/command/-, value: {:?}}}]}}",
                            program.name,
                            format!("--{name}={value}")
                        ),
                    },
                ));
            }
        }
        let has = |name: &str| self.arguments.iter().any(|(known, _)| known == name);
        let absent = by_kubeadm.iter().filter(|(name, _)| !given.contains_key(*name) && !has(name));
        problems.extend(absent.map(|(name, value)| {
            refused(
                program.arguments,
                format!("{} runs without --{name}, and kubeadm gives it --{name}={value}", program.name),
                "the arguments that it has",
                format!(
                    "if the cluster is to have it: write it into /etc/kubernetes/manifests/{}.yaml; a cluster without it cannot be taken \
                     over",
                    program.name
                ),
            )
        }));
        problems
    }

    /// Files and folders of the machine that it would not see any more.
    fn volumes_lost(
        &self,
        program: &Program,
        asked: &Value,
        wanted: &Value,
        patches: &[&Value],
    ) -> Vec<Problem> {
        let certificates = asked["certificatesDir"].as_str().unwrap_or("/etc/kubernetes/pki");
        let of_etcd = ["caFile", "certFile", "keyFile"].map(|file| &asked["etcd"]["external"][file]);
        let of_etcd =
            of_etcd.map(|file| file.as_str().and_then(|file| file.rsplit_once('/')).unwrap_or_default().0);
        let plugins = self.arguments.iter().find(|(name, _)| name == "flex-volume-plugin-dir");
        let plugins = plugins.map_or(VOLUME_PLUGINS, |(_, path)| path.as_str());
        let is_needless = |path: &str| {
            let mut of = SAID_NEEDLESSLY.iter().filter(|(_, value)| *value == path);
            of.any(|(name, _)| !extra_args(wanted, program.part).contains_key(*name))
        };
        let is_kubeadms = |path: &str| {
            path == certificates
                || of_etcd.contains(&path)
                || ["/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf"]
                    .contains(&path)
                || path.trim_end_matches('/') == plugins.trim_end_matches('/')
                || AUTHORITIES
                    .iter()
                    .any(|known| path == *known || known.ends_with('/') && path.starts_with(known))
                || is_needless(path)
        };
        let will = &wanted[program.part]["extraVolumes"];
        let lost = |mount: &Value| {
            let (name, at) = (mount["name"].as_str()?, mount["mountPath"].as_str()?);
            let volume = items(&self.spec["volumes"]).find(|volume| volume["name"] == name)?;
            let read_only = mount["readOnly"].as_bool().unwrap_or(false);
            let Some(path) = volume["hostPath"]["path"].as_str() else {
                return (!is_patched(patches, volume))
                    .then(|| self.patch(program, format!("the volume {name}"), "volumes"));
            };
            let stays = |will: &Value| {
                let writes = !will["readOnly"].as_bool().unwrap_or(false);
                will["hostPath"] == path && will["mountPath"] == at && (writes || read_only)
            };
            if path == at && is_kubeadms(path) || items(will).any(stays) || is_patched(patches, volume) {
                return None;
            }
            let kind = volume["hostPath"]["type"].as_str().filter(|kind| !kind.is_empty());
            let kind = kind.map_or_else(String::new, |kind| format!(", pathType: {kind}"));
            Some(refused(
                program.volumes,
                format!(
                    "{} sees {path} of the machine{}, and would not any more",
                    program.name,
                    if path == at { String::new() } else { format!(" as {at}") }
                ),
                "the files and folders that it sees",
                format!(
                    "add to {}: {{name: {name}, hostPath: {path}, mountPath: {at}, readOnly: {read_only}{kind}}}; not if a variable of \
                     muster's stands for what it reads there, which muster writes into a folder of its own",
                    program.volumes
                ),
            ))
        };
        items(&self.container["volumeMounts"]).filter_map(lost).collect()
    }

    /// The environment, other containers, and fields that kubeadm does not write.
    fn more_lost(&self, program: &Program, patches: &[&Value]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for entry in items(&self.container["env"]).filter(|entry| !is_patched(patches, entry)) {
            let name = entry["name"].as_str().unwrap_or_default();
            // A proxy's address may have a password in it, and so is not shown.
            let what = format!("{name} in its environment");
            problems.push(self.patch(
                program,
                what,
                &format!("containers: [{{name: {}, env: [{{name: {name}, value: VALUE}}]}}]", program.name),
            ));
        }
        for list in ["containers", "initContainers"] {
            let others = items(&self.spec[list]).filter(|other| other["name"] != program.name);
            for other in others.filter(|other| !is_patched(patches, &json!({ "name": other["name"] }))) {
                let what = format!("the container {} beside it", other["name"].as_str().unwrap_or_default());
                problems.push(self.patch(program, what, list));
            }
        }
        let is_more = |known: &[&str], name: &str, value: &Value| {
            !known.contains(&name)
                && name != "initContainers"
                && !is_patched(patches, &json!({ name: value }))
        };
        for (name, _) in fields(&self.spec).filter(|(name, value)| is_more(&OF_SPEC, name, value)) {
            problems.push(self.patch(program, format!("{name} in its pod"), name));
        }
        for (name, _) in fields(&self.container).filter(|(name, value)| is_more(&OF_CONTAINER, name, value)) {
            let how = format!("containers: [{{name: {}, {name}: VALUE}}]", program.name);
            problems.push(self.patch(program, format!("{name} in its container"), &how));
        }
        problems
    }

    /// That something would be lost for which there is no variable but that of patches. `how`: the fields of the pod's specification.
    fn patch(&self, program: &Program, what: impl Display, how: &str) -> Problem {
        let how = if how.contains(':') { how.to_owned() } else { format!("{how}: VALUE") };
        refused(
            "kubeadm_patches",
            format!("{} has {what}, and would not any more", program.name),
            "a pod with everything that it has",
            format!(
                "add to kubeadm_patches, with what /etc/kubernetes/manifests/{0}.yaml has there: {{target: {0}, patch: {{spec: {{{how}}}}}}}",
                program.name
            ),
        )
    }
}

/// Whether an argument says nothing. How many API servers there are counts for another way to find them than `lease`; an IPv6 socket
/// takes IPv4, too; the part of the pods' network that a node has is compared by itself.
fn says_nothing(program: &str, name: &str, value: &str) -> bool {
    ["apiserver-count", "node-cidr-mask-size-ipv4"].contains(&name)
        || program == "kube-apiserver" && name == "bind-address" && ["::", "0.0.0.0"].contains(&value)
        || SAID_NEEDLESSLY.iter().any(|(known, usual)| *known == name && is_same(usual, value))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn fields(mapping: &Value) -> impl Iterator<Item = (&String, &Value)> {
    mapping.as_object().into_iter().flatten()
}

/// `--name=value`.
fn argument(word: &str) -> Option<(&str, &str)> {
    word.strip_prefix("--")?.split_once('=')
}

/// All texts of a document.
fn words(document: &Value) -> Vec<&str> {
    match document {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(words).collect(),
        Value::Object(fields) => fields.values().flat_map(words).collect(),
        _ => Vec::new(),
    }
}

/// Whether something in patches has all fields of an object, word by word.
fn is_patched(patches: &[&Value], object: &Value) -> bool {
    let has = |all: &Map<String, Value>| fields(object).all(|(name, value)| all.get(name) == Some(value));
    patches.iter().any(|patch| match patch {
        Value::Object(all) => has(all) || all.values().any(|value| is_patched(&[value], object)),
        Value::Array(items) => items.iter().any(|item| is_patched(&[item], object)),
        _ => false,
    })
}

#[cfg(test)]
#[path = "static_pods_tests.rs"]
mod tests;
