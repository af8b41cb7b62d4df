//! What kubectl does on a control plane of model machines: it reads, applies and removes objects, and shows nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_testkit::model::shell::{Done, Shell};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::care;
use crate::cluster::{Cluster, State, content, say, unknown};
use crate::kubeadm_files::told;
use crate::{external, kubelets, nodes, rotation, upgrade};

/// The objects of the cluster, by kind, namespace and name; and by the names of definitions the kinds that they bring (`GROUP/KIND`), and
/// from when on objects of these are taken.
#[derive(Default)]
pub(crate) struct Objects(BTreeMap<[String; 3], Value>, BTreeMap<String, (String, Instant)>);

const DEFINITION: &str = "CustomResourceDefinition";

/// How long after its definition a kind is not served yet.
const ESTABLISHED: Duration = Duration::from_millis(500);

impl Objects {
    pub(crate) fn seen(&self) -> String {
        format!("{:?}", self.0.keys().map(|id| id.join("/")).collect::<Vec<_>>())
    }

    pub(crate) fn has(&self, kind: &str, name: &str) -> bool {
        self.0.keys().any(|[a_kind, _, a_name]| a_kind == kind && a_name == name)
    }

    fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        let found = self.0.iter().find(|([a_kind, _, a_name], _)| a_kind == kind && a_name == name);
        found.map(|(_, object)| object)
    }

    /// The objects of a list that are there, as kubectl prints them.
    fn get(&self, list: &Value) -> String {
        let found: Vec<_> = items(list).filter_map(|item| self.0.get(&id(item))).collect();
        match found.as_slice() {
            [] => String::new(),
            [object] => object.to_string(),
            objects => json!({ "kind": "List", "apiVersion": "v1", "items": objects }).to_string(),
        }
    }

    /// Applies a list, or one object; then every field of it is muster's.
    fn apply(&mut self, list: &Value) {
        for item in items(list) {
            if item["kind"] == DEFINITION {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let spec = &item["spec"];
                let kind = format!("{}/{}", text(&spec["group"]), text(&spec["names"]["kind"]));
                let name = text(&item["metadata"]["name"]);
                self.1.entry(name).or_insert((kind, Instant::now() + ESTABLISHED));
            }
            let mut object = item.clone();
            object["metadata"]["managedFields"] =
                json!([{ "manager": "muster", "operation": "Apply", "fieldsV1": fields(item) }]);
            self.0.insert(id(item), object);
        }
    }

    /// The kinds of a list that the API server does not serve: those of the groups that it has itself it does.
    fn unserved(&self, list: &Value) -> Vec<String> {
        let kind = |item: &Value| {
            let (group, _) = item["apiVersion"].as_str()?.split_once('/')?;
            let is_built_in = !group.contains('.') || group.ends_with(".k8s.io");
            let kind = format!("{group}/{}", item["kind"].as_str()?);
            let is_served =
                || self.1.values().any(|(served, from)| *served == kind && *from <= Instant::now());
            (!is_built_in && !is_served()).then_some(kind)
        };
        items(list).filter_map(kind).collect()
    }

    /// From when on the kinds of all definitions with this label are served; `None` where there are none.
    fn established(&self, label: &str) -> Option<Instant> {
        let (key, value) = label.split_once('=')?;
        let names = self
            .0
            .iter()
            .filter(|([kind, ..], object)| kind == DEFINITION && object["metadata"]["labels"][key] == value);
        names.filter_map(|([.., name], _)| Some(self.1.get(name)?.1)).max()
    }

    /// What there is of a set, as it was applied.
    pub(crate) fn of_set(&self, set: &str) -> Vec<String> {
        let of = self.0.values().filter(|object| object["metadata"]["labels"]["muster.io/set"] == set);
        of.map(Value::to_string).collect()
    }

    /// What the first container of a workload's pods is made of.
    pub(crate) fn image(&self, kind: &str, name: &str) -> String {
        let mut found = self.0.iter().filter(|([a_kind, _, a_name], _)| a_kind == kind && a_name == name);
        let object = found.next().map(|(_, object)| object).expect("it is there");
        object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    }

    /// An older muster has applied a workload, with another image.
    pub(crate) fn applied_with(&mut self, kind: &str, name: &str, image: &str) {
        let mut found = self.0.iter_mut().filter(|([a_kind, _, a_name], _)| a_kind == kind && a_name == name);
        let object = found.next().map(|(_, object)| object).expect("it is there");
        object["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        object["metadata"]["annotations"]["muster.io/applied"] = "another one".into();
    }

    /// Somebody makes an object, without muster.
    pub(crate) fn make_by_hand(&mut self, object: Value) {
        self.0.insert(id(&object), object);
    }

    /// The objects of a kind (`daemonsets`) with these labels, as `NAMESPACE KIND/NAME`. `!KEY`: without that one.
    fn labelled(&self, namespace: &str, kinds: &str, labels: &str) -> String {
        let has = |object: &Value, label: &str| match (label.strip_prefix('!'), label.split_once('=')) {
            (Some(key), _) => object["metadata"]["labels"][key].is_null(),
            (None, Some((key, value))) => object["metadata"]["labels"][key] == value,
            (None, None) => false,
        };
        let found = self.0.iter().filter(|([kind, of, _], object)| {
            of == namespace
                && format!("{}s", kind.to_lowercase()) == kinds
                && labels.split(',').all(|label| has(object, label))
        });
        found.map(|([kind, of, name], _)| format!("{of} {kind}/{name}\n")).collect()
    }

    /// What is written down of each set: `set NAME`, and then its objects.
    fn sets(&self) -> String {
        let noted = self.0.values().filter(|object| !object["data"]["objects"].is_null());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |object: &Value| {
            let name = text(&object["metadata"]["labels"]["muster.io/set"]);
            format!("set {name}\n{}", text(&object["data"]["objects"]))
        };
        noted.map(line).collect()
    }

    /// Removes an object that has this label.
    fn delete(&mut self, kind: &str, namespace: &str, name: &str, label: &str) {
        let kind = kind.split('.').next().unwrap_or_default();
        let id = [kind, namespace, name].map(str::to_owned);
        let marked = |object: &Value| match label.split_once('=') {
            Some((key, value)) => object["metadata"]["labels"][key] == value,
            None => true,
        };
        if self.0.get(&id).is_some_and(marked) {
            self.0.remove(&id);
            if kind == DEFINITION {
                self.1.remove(name);
            }
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().map_or(std::slice::from_ref(list), Vec::as_slice).iter()
}

fn id(object: &Value) -> [String; 3] {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    [text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"])]
}

/// The fields of a value in the form `FieldsV1`, with lists that are owned as a whole.
fn fields(value: &Value) -> Value {
    let of = |fields: &Map<String, Value>| {
        fields.iter().map(|(key, value)| (format!("f:{key}"), self::fields(value))).collect()
    };
    value.as_object().map_or_else(|| json!({}), |map| Value::Object(of(map)))
}

/// What kubectl prints with these words and this input, where the API server answers; `None` for what it has not been taught.
pub(crate) fn answer(objects: &mut Objects, words: &[&str], input: &str) -> Option<String> {
    let list = || serde_json::from_str::<Value>(input).ok();
    match words {
        ["get", "--ignore-not-found", "--show-managed-fields", "-o", "json", "-f", "-"] => {
            Some(objects.get(&list()?))
        }
        ["apply", "--server-side", "--force-conflicts", "--field-manager=muster", "-f", "-"] => {
            objects.apply(&list()?);
            Some(String::new())
        }
        ["delete", kind, "--field-selector", name, "--selector", label, _, namespace @ ..] => {
            let name = name.strip_prefix("metadata.name=")?;
            objects.delete(kind, namespace.last().unwrap_or(&""), name, label);
            Some(String::new())
        }
        ["-n", namespace, "get", kinds, "-l", labels, "-o", _] => {
            Some(objects.labelled(namespace, kinds, labels))
        }
        ["-n", namespace, "delete", named, "--ignore-not-found", "--cascade=foreground", "--wait=false"] => {
            let (kind, name) = named.split_once('/')?;
            objects.delete(kind, namespace, name, "");
            Some(String::new())
        }
        ["-n", "kube-system", "get", "configmaps", "--selector", "muster.io/set", "-o", _] => {
            Some(objects.sets())
        }
        [
            "--namespace",
            "kube-system",
            "get",
            "configmaps",
            names @ ..,
            "--ignore-not-found",
            "-o",
            "name",
        ] => {
            let there = names.iter().filter(|name| objects.has("ConfigMap", name));
            Some(there.map(|name| format!("configmap/{name}\n")).collect())
        }
        ["-n", "kube-system", "get", "service/coredns", "-o", _] => {
            Some(objects.find("Service", "coredns")?["spec"]["clusterIP"].as_str()?.to_owned())
        }
        ["-n", "kube-system", "delete", "service/coredns", "--ignore-not-found"] => {
            objects.delete("Service", "kube-system", "coredns", "");
            Some(String::new())
        }
        ["-n", namespace, "create", "-f", "-"] => {
            let mut object = list()?;
            object["metadata"]["namespace"] = json!(namespace);
            objects.make_by_hand(object);
            Some(String::new())
        }
        // What an adoption keeps of them nobody puts back here.
        ["-n", _, "get", .., "--ignore-not-found", "-o", "yaml"] => {
            Some("apiVersion: v1\nkind: List\nitems: []\n".to_owned())
        }
        // cilium carries no services here.
        ["-n", "kube-system", "get", "configmap/cilium-config", ..] => Some(String::new()),
        // Its pods are nobody's here.
        ["-n", "kube-system", "rollout", "restart", "daemonset/kube-proxy"]
        | [
            "-n",
            "kube-system",
            "rollout",
            "status",
            "deployment/coredns" | "deployment/coredns-secondary",
            "--timeout=60s",
        ] => Some(String::new()),
        _ => None,
    }
}

impl Cluster {
    pub(crate) async fn kubectl(&self, shell: &mut Shell, words: &[&str]) -> Done {
        if let Some(status) = kubelets::answer(&shell.machine, words) {
            return Ok(status);
        }
        let &["--kubeconfig", conf, timeout, ref rest @ ..] = words else {
            return unknown(shell, "kubectl", words);
        };
        // The API server that is asked: where none is said, the one at the address that the kubeconfig has.
        let said = rest.iter().find_map(|word| word.strip_prefix("--server=")).map(str::to_owned);
        let rest: Vec<&str> = rest.iter().copied().filter(|word| !word.starts_with("--server=")).collect();
        let there = shell.machine.state().kept.disk.file(conf).is_some();
        let server = said.unwrap_or_else(|| told(&content(&shell.machine, conf), "server:"));
        let (names, rest): (Vec<&str>, _) =
            rest.into_iter().partition(|word| word.starts_with("--tls-server-name="));
        if server == external::URL && names != ["--tls-server-name=kubernetes"] {
            self.is_known_to_all();
        }
        if !timeout.starts_with("--request-timeout=") {
            return unknown(shell, "kubectl", words);
        }
        if !there || !self.answers() || !self.finds(&shell.machine, &server) {
            return say(shell, "kubectl: the API server does not answer", 1);
        }
        if rest == ["get", "--raw", "/readyz"] {
            return Ok(0);
        }
        if rest == ["-n", "kube-system", "rollout", "restart", "daemonset/kube-proxy"]
            && self.state().proxy.is_empty()
        {
            return say(shell, "Error from server (NotFound): daemonsets.apps \"kube-proxy\" not found", 1);
        }
        let input = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
        if let ["drain", node, flags @ ..] = rest.as_slice() {
            return self.drain(shell, node, flags);
        }
        if let ["wait", "--for=condition=Established", _, "customresourcedefinitions", "--selector", label] =
            rest.as_slice()
        {
            let established = self.state().objects.established(label);
            let Some(from) = established else { return say(shell, "error: no matching resources found", 1) };
            tokio::time::sleep_until(from).await;
            return Ok(0);
        }
        if let (Some(&"apply"), Ok(list)) = (rest.first(), serde_json::from_str(&input)) {
            let unserved = self.state().objects.unserved(&list);
            if !unserved.is_empty() {
                let said =
                    format!("error: no matches for kinds {unserved:?}: ensure CRDs are installed first");
                return say(shell, &said, 1);
            }
        }
        let printed = {
            let mut state = self.state();
            let of_care = care::answer(&mut state, &rest);
            let of_upgrade = upgrade::answer(&state, &rest);
            let of_nodes = nodes::answer(&mut state, &rest);
            let of_rotation = rotation::answer(&mut state, &rest);
            let State { objects, kubelet_config, info, .. } = &mut *state;
            match rest.as_slice() {
                _ if of_care.is_some() => of_care,
                _ if of_upgrade.is_some() => of_upgrade,
                _ if of_nodes.is_some() => of_nodes,
                _ if of_rotation.is_some() => of_rotation,
                [
                    "-n",
                    "kube-system",
                    "get",
                    "configmap",
                    "kubelet-config",
                    "-o",
                    "jsonpath={.data.kubelet}",
                ] => Some(kubelet_config.clone()),
                ["-n", "kube-public", "get", "configmap", "cluster-info", ..] => {
                    Some(format!("clusters:\n- cluster:\n    server: https://{info}\n"))
                }
                ["-n", "kube-public", "patch", "configmap", "cluster-info", _, "--patch", patch] => {
                    *info = told(patch, "server: https://");
                    Some(String::new())
                }
                rest => answer(objects, rest, &input),
            }
        };
        let Some(printed) = printed else { return unknown(shell, "kubectl", words) };
        self.daemons();
        shell.write(1, printed.as_bytes()).map(|_| 0)
    }
}
