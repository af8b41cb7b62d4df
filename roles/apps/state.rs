//! What the cluster says of its applications.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::objects::{SET, record_name};

/// An application as the cluster has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppState {
    /// Whether it is written down that it is installed.
    pub installed: bool,
    /// The version of its first image, or that which its definitions of kinds bear, without a leading `v`; empty where there is none.
    pub version: String,
    /// What is wrong with it; nothing where it is well.
    pub wrong: Vec<String>,
    /// How it is reached: the API that it serves, its storage class.
    pub reached_at: Vec<String>,
}

/// What is there of each set of objects, by its name, of what the look at them has printed.
///
/// # Errors
/// It is no list of objects.
pub fn states(printed: &str) -> Result<BTreeMap<String, AppState>, String> {
    // Warnings may stand behind it.
    let list = serde_json::Deserializer::from_str(printed).into_iter::<Value>().next();
    let list = match list {
        None => return Ok(BTreeMap::new()),
        Some(list) => list.map_err(|error| format!("kubectl printed no objects: {error}\n{printed}"))?,
    };
    let mut states: BTreeMap<String, AppState> = BTreeMap::new();
    for object in list["items"].as_array().into_iter().flatten() {
        let metadata = &object["metadata"];
        let name = text(&metadata["name"]);
        let Some(set) = metadata["labels"][SET].as_str() else { continue };
        let state = states.entry(set.to_owned()).or_default();
        match text(&object["kind"]) {
            "ConfigMap" => state.installed |= name == record_name(set),
            "Deployment" => {
                state.version = version(&object["spec"]["template"]["spec"]["containers"][0]["image"]);
                state
                    .reached_at
                    .extend(object["metadata"]["annotations"][REACHED_AT].as_str().map(str::to_owned));
                state.wrong.extend(wrong_with_deployment(object));
            }
            "StatefulSet" => state.wrong.extend(wrong_with_stateful_set(object)),
            "DaemonSet" => {
                if state.version.is_empty() {
                    state.version = version(&object["spec"]["template"]["spec"]["containers"][0]["image"]);
                }
                state.wrong.extend(wrong_with_daemons(object));
            }
            "Service" => look_at_service(object, state),
            "APIService" => {
                state.reached_at.push(format!("the API {}", text(&object["spec"]["group"])));
                state.wrong.extend(wrong_with_api(object));
            }
            "StorageClass" => state.reached_at.push(format!("the storage class {name}")),
            // It explains the rest, and so stands in front.
            "Pod" if metadata["deletionTimestamp"].is_null() => {
                state.wrong.splice(..0, wrong_with_pod(object));
            }
            _ => {}
        }
    }
    for line in printed.lines().filter_map(|line| line.strip_prefix("definition ")) {
        let mut words = line.split(' ');
        let [set, name, is_served, version] = [(); 4].map(|()| words.next().unwrap_or_default());
        let state = states.entry(set.to_owned()).or_default();
        if is_served != "True" {
            state.wrong.push(format!("the kind {name} is not served"));
        }
        if state.version.is_empty() {
            state.version = version.trim_start_matches('v').to_owned();
        }
    }
    Ok(states)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The tag of an image's reference, whose registry may have a port.
fn version(image: &Value) -> String {
    let tag = text(image).rsplit_once(':').map_or("", |(_, tag)| tag);
    tag.strip_prefix('v').unwrap_or(tag).to_owned()
}

fn condition<'o>(object: &'o Value, kind: &str) -> Option<&'o Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// `are_former`: whether there are some that are not of the newest form, as far as is known.
fn wrong_with_pods(ready: i64, wanted: i64, are_former: bool, pods: &str) -> Option<String> {
    match ready < wanted {
        true => Some(format!("{ready} of {wanted} {pods} are ready")),
        false => are_former.then(|| format!("not all of its {pods} are of the newest form yet")),
    }
}

/// A deployment is well when all its pods are of its newest form and ready (Kubernetes' "Deployments", "Complete Deployment").
fn wrong_with_deployment(deployment: &Value) -> Vec<String> {
    let status = &deployment["status"];
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let number = |name: &str| status[name].as_i64().unwrap_or(0);
    let ready = number("readyReplicas").min(number("updatedReplicas"));
    let is_old = number("observedGeneration") < deployment["metadata"]["generation"].as_i64().unwrap_or(0);
    let mut wrong = Vec::new();
    wrong.extend(wrong_with_pods(ready, wanted, is_old || number("replicas") > wanted, "pods"));
    // No pod can be made: a quota, a policy.
    let failure = condition(deployment, "ReplicaFailure").filter(|failure| failure["status"] == "True");
    wrong.extend(failure.map(|failure| text(&failure["message"]).to_owned()));
    wrong
}

/// The same of pods that keep their names (the API's documentation of StatefulSetStatus).
fn wrong_with_stateful_set(set: &Value) -> Option<String> {
    let (spec, status) = (&set["spec"], &set["status"]);
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let number = |name: &str| status[name].as_i64().unwrap_or(0);
    let ready = number("readyReplicas").min(number("updatedReplicas"));
    let is_old = number("observedGeneration") < set["metadata"]["generation"].as_i64().unwrap_or(0);
    wrong_with_pods(ready, wanted, is_old, "pods")
}

/// The same on each node that it is for (the API's documentation of DaemonSetStatus).
fn wrong_with_daemons(set: &Value) -> Option<String> {
    let status = &set["status"];
    let number = |name: &str| status[name].as_i64().unwrap_or(0);
    let (wanted, ready) =
        (number("desiredNumberScheduled"), number("numberReady").min(number("updatedNumberScheduled")));
    let is_old = number("observedGeneration") < set["metadata"]["generation"].as_i64().unwrap_or(0);
    wrong_with_pods(ready, wanted, is_old, "pods on nodes")
}

/// The annotation of a deployment, or of the service by which users reach an application: what `muster apps` says of that. Of a
/// service it is the name and the port, as they are known in the cluster.
pub(super) const REACHED_AT: &str = "muster.io/reached-at";

fn look_at_service(service: &Value, state: &mut AppState) {
    let Some(inside) = service["metadata"]["annotations"][REACHED_AT].as_str() else { return };
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().into_iter().flatten();
    state.reached_at.push(inside.to_owned());
    match text(&spec["type"]) {
        "NodePort" => {
            let ports = ports.filter_map(|port| port["nodePort"].as_i64());
            state.reached_at.extend(ports.map(|port| format!("port {port} of each node")));
        }
        "LoadBalancer" => {
            let address = &service["status"]["loadBalancer"]["ingress"][0];
            match address["ip"].as_str().or(address["hostname"].as_str()) {
                Some(address) => state.reached_at.extend(ports.map(|port| format!("{address}:{}", port["port"]))),
                None => state.wrong.push(format!(
                    "the service {} waits for an address, which a load balancer such as MetalLB would give it",
                    text(&service["metadata"]["name"])
                )),
            }
        }
        _ => {}
    }
}

fn wrong_with_api(service: &Value) -> Option<String> {
    let available = condition(service, "Available");
    if available.is_some_and(|available| available["status"] == "True") {
        return None;
    }
    let why = available.map_or("nobody has looked at it yet", |available| text(&available["message"]));
    Some(format!("the API {} does not answer: {why}", text(&service["spec"]["group"])))
}

/// Why a pod does not run: nothing has room for it, or a container waits for something, or ends again and again.
fn wrong_with_pod(pod: &Value) -> Vec<String> {
    let (name, node) = (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]));
    let at = if node.is_empty() { String::new() } else { format!(" on {node}") };
    let unscheduled = condition(pod, "PodScheduled").filter(|scheduled| scheduled["status"] == "False");
    let unscheduled = unscheduled.map(|scheduled| text(&scheduled["message"]).to_owned());
    // What runs to its end is somebody else's to judge.
    let is_to_run = pod["spec"]["restartPolicy"] != "Never" && pod["spec"]["restartPolicy"] != "OnFailure";
    let why = |container: &Value| {
        let (state, restarts) = (&container["state"], container["restartCount"].as_i64().unwrap_or(0));
        if let Some(reason) = state["waiting"]["reason"].as_str() {
            let message = text(&state["waiting"]["message"]);
            return Some(if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") });
        }
        let ended = state["terminated"]["exitCode"].as_i64().filter(|_| is_to_run);
        let again = is_to_run && restarts > 0 && container["ready"] == false;
        ended.map(|status| format!("a container has ended with status {status}")).or_else(|| {
            again.then(|| format!("a container that is not ready has restarted {restarts} times"))
        })
    };
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    unscheduled
        .into_iter()
        .chain(containers.filter_map(why))
        .map(|why| format!("the pod {name}{at}: {why}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str, rest: Value) -> Value {
        let labels = json!({ SET: "web" });
        let mut object =
            json!({ "kind": kind, "metadata": { "name": name, "labels": labels, "generation": 2 } });
        for (key, value) in rest.as_object().unwrap() {
            object[key] = value.clone();
        }
        object
    }

    fn state(items: &[Value]) -> AppState {
        let printed = format!("{}\nWarning: of something\n", json!({ "kind": "List", "items": items }));
        states(&printed).unwrap().remove("web").unwrap_or_default()
    }

    fn deployment(replicas: i64, ready: i64, seen: i64) -> Value {
        let containers = json!([{ "image": "registry.example.org:5000/web/web:v1.2.3" }]);
        let spec = json!({ "replicas": 1, "template": { "spec": { "containers": containers } } });
        let status = json!({ "replicas": replicas, "updatedReplicas": 1, "readyReplicas": ready, "observedGeneration": seen });
        object("Deployment", "web", json!({ "spec": spec, "status": status }))
    }

    fn api(status: &str) -> Value {
        let condition = json!({ "type": "Available", "status": status, "message": "no endpoints" });
        object(
            "APIService",
            "v1.web.io",
            json!({ "spec": { "group": "web.io" }, "status": { "conditions": [condition] } }),
        )
    }

    #[test]
    fn an_application_is_well_when_all_of_it_is() {
        let items = [
            object("ConfigMap", "muster-set-web", json!({})),
            deployment(1, 1, 2),
            api("True"),
            object("StorageClass", "fast", json!({})),
        ];
        let well = AppState {
            installed: true,
            version: "1.2.3".into(),
            wrong: Vec::new(),
            reached_at: vec!["the API web.io".into(), "the storage class fast".into()],
        };
        assert_eq!(state(&items), well);
        assert_eq!(state(&[]), AppState::default());
        assert_eq!(states("").unwrap(), BTreeMap::new());
        assert!(states("error: nothing").is_err());
    }

    #[test]
    fn kinds_are_well_when_they_are_served() {
        let print = |served: &str| {
            let items = [object("ConfigMap", "muster-set-web", json!({}))];
            let printed = json!({ "kind": "List", "items": items });
            let lines =
                format!("definition web a.web.io True v1.5.1\ndefinition web b.web.io {served} v1.5.1\n");
            states(&format!("{printed}\n{lines}")).unwrap().remove("web").unwrap()
        };
        let well = print("True");
        assert_eq!((well.installed, well.version.as_str(), well.wrong.len()), (true, "1.5.1", 0));
        for served in ["False", ""] {
            assert_eq!(print(served).wrong, ["the kind b.web.io is not served"]);
        }
    }

    #[test]
    fn how_an_application_is_reached_is_told() {
        let service = |kind: &str, status: Value| {
            let mut service = object(
                "Service",
                "web",
                json!({ "spec": { "type": kind, "ports": [{ "port": 80, "nodePort": 30080 }] }, "status": status }),
            );
            service["metadata"]["annotations"][REACHED_AT] = json!("web.x.svc:80");
            state(&[service])
        };
        assert_eq!(service("ClusterIP", json!({})).reached_at, ["web.x.svc:80"]);
        assert_eq!(service("NodePort", json!({})).reached_at, ["web.x.svc:80", "port 30080 of each node"]);
        let given = json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.9" }] } });
        assert_eq!(service("LoadBalancer", given).reached_at, ["web.x.svc:80", "192.0.2.9:80"]);
        let waits = service("LoadBalancer", json!({ "loadBalancer": {} })).wrong;
        assert!(waits[0].starts_with("the service web waits for an address"), "{waits:?}");
        assert!(state(&[object("Service", "own", json!({}))]).reached_at.is_empty());
    }

    #[test]
    fn what_runs_on_each_node_is_well_when_it_is_on_all() {
        let daemons = |ready: i64, updated: i64, seen: i64| {
            let spec = json!({ "template": { "spec": { "containers": [{ "image": "x/web:v2.0.0" }] } } });
            let status = json!({ "desiredNumberScheduled": 2, "numberReady": ready, "updatedNumberScheduled": updated, "observedGeneration": seen });
            state(&[object("DaemonSet", "web", json!({ "spec": spec, "status": status }))])
        };
        assert_eq!(daemons(2, 2, 2).version, "2.0.0");
        assert!(daemons(2, 2, 2).wrong.is_empty());
        assert_eq!(daemons(1, 2, 2).wrong, ["1 of 2 pods on nodes are ready"]);
        assert_eq!(daemons(2, 0, 2).wrong, ["0 of 2 pods on nodes are ready"]);
        assert_eq!(daemons(2, 2, 1).wrong, ["not all of its pods on nodes are of the newest form yet"]);
    }

    #[test]
    fn pods_that_keep_their_names_are_well_when_all_are_of_the_newest_form() {
        let wrong = |ready: i64, updated: i64, seen: i64| {
            let status =
                json!({ "readyReplicas": ready, "updatedReplicas": updated, "observedGeneration": seen });
            state(&[object("StatefulSet", "web", json!({ "spec": { "replicas": 2 }, "status": status }))])
                .wrong
        };
        assert!(wrong(2, 2, 2).is_empty());
        assert_eq!(wrong(1, 2, 2), ["1 of 2 pods are ready"]);
        assert_eq!(wrong(2, 1, 2), ["1 of 2 pods are ready"]);
        assert_eq!(wrong(2, 2, 1), ["not all of its pods are of the newest form yet"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_reason() {
        let wrong = |item: Value| state(&[item]).wrong;
        assert_eq!(wrong(deployment(1, 0, 2)), ["0 of 1 pods are ready"]);
        // The old one is still there; nobody has seen the new form.
        let former = "not all of its pods are of the newest form yet";
        assert_eq!(wrong(deployment(2, 1, 2)), [former]);
        assert_eq!(wrong(deployment(1, 1, 1)), [former]);
        assert_eq!(wrong(api("False")), ["the API web.io does not answer: no endpoints"]);
        let pull = json!({ "reason": "ErrImagePull", "message": "web:v9 is not there" });
        let waits = json!({
            "spec": { "nodeName": "node1" },
            "status": { "containerStatuses": [{ "state": { "waiting": pull } }] },
        });
        assert_eq!(
            wrong(object("Pod", "web-1", waits)),
            ["the pod web-1 on node1: ErrImagePull: web:v9 is not there"]
        );
        let container = |policy: &str, state: Value| {
            let spec = json!({ "nodeName": "node1", "restartPolicy": policy });
            let container = json!({ "state": state, "restartCount": 2, "ready": false });
            wrong(object(
                "Pod",
                "web-1",
                json!({ "spec": spec, "status": { "containerStatuses": [container] } }),
            ))
        };
        let ended = json!({ "terminated": { "exitCode": 1 } });
        assert_eq!(
            container("Always", ended.clone()),
            ["the pod web-1 on node1: a container has ended with status 1"]
        );
        assert_eq!(container("Never", ended), [""; 0]);
        assert_eq!(
            container("Always", json!({ "running": {} })),
            ["the pod web-1 on node1: a container that is not ready has restarted 2 times"]
        );
        let full = json!({ "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available" });
        let waits_for_room = json!({ "status": { "conditions": [full] } });
        let quota = json!({ "type": "ReplicaFailure", "status": "True", "message": "exceeded quota" });
        let refused = json!({ "spec": { "replicas": 0 }, "status": { "observedGeneration": 2, "conditions": [quota] } });
        assert_eq!(wrong(object("Deployment", "web", refused)), ["exceeded quota"]);
        let why = state(&[deployment(1, 0, 2), object("Pod", "web-1", waits_for_room)]).wrong;
        assert_eq!(why, ["the pod web-1: 0/1 nodes are available", "0 of 1 pods are ready"]);
    }
}
