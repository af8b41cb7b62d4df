//! Sets of objects: what differs, what is removed, and whose it is.

use serde_json::json;

use super::*;

const MANIFEST: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: web:1
          args: [-v]
          ports: [{containerPort: 53}, {containerPort: 53, protocol: UDP}]
      volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: web}
data: {key: aHVudGVyMg==}
";

fn set(manifest: &str) -> ObjectSet {
    ObjectSet::new("web", manifest).unwrap()
}

/// What muster owns of the Deployment, as an API server of 1.36 writes it down.
fn deployment_fields() -> Value {
    json!({
        "f:metadata": {"f:annotations": {"f:muster.io/applied": {}}, "f:labels": {"f:muster.io/set": {}}},
        "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:containers": {"k:{\"name\":\"web\"}": {
                    ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                    "f:ports": {
                        "k:{\"containerPort\":53,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}},
                        "k:{\"containerPort\":53,\"protocol\":\"UDP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}},
                    },
                }},
                "f:volumes": {"k:{\"name\":\"data\"}": {".": {}, "f:emptyDir": {}, "f:name": {}}},
            },
        }},
    })
}

/// The cluster after a set was applied.
fn applied(set: &ObjectSet) -> BTreeMap<Id, Value> {
    let entry = |mut object: Object| {
        let fields = match object.id.kind.as_str() {
            "Deployment.apps" => deployment_fields(),
            "Namespace" => {
                json!({"f:metadata": {"f:annotations": {"f:muster.io/applied": {}}, "f:labels": {"f:muster.io/set": {}}}})
            }
            _ => json!({"f:metadata": {"f:annotations": {}, "f:labels": {}}, "f:data": {}, "f:spec": {}}),
        };
        object.value["metadata"]["managedFields"] = json!([
            { "manager": "kubectl", "operation": "Update", "fieldsV1": {} },
            { "manager": "muster", "operation": "Apply", "fieldsV1": fields },
        ]);
        (object.id, object.value)
    };
    set.marked().into_iter().map(entry).collect()
}

fn deployment(live: &mut BTreeMap<Id, Value>) -> &mut Value {
    live.values_mut().find(|object| object["kind"] == "Deployment").unwrap()
}

/// What a plan says, without its difference.
fn what(plan: &Plan) -> &str {
    plan.changes.first().map_or("", |change| change.what.as_str())
}

fn diff(plan: &Plan) -> &str {
    plan.changes[0].diff.as_deref().unwrap_or_default()
}

#[test]
fn a_set_is_created_and_then_nothing_differs() {
    let plan = set(MANIFEST).plan_present(&BTreeMap::new());
    assert_eq!(what(&plan), "3 of 3 created");
    assert!(
        diff(&plan).contains("+  replicas: 2\n") && !diff(&plan).contains("aHVudGVyMg"),
        "{}",
        diff(&plan)
    );
    let plan = set(MANIFEST).plan_present(&applied(&set(MANIFEST)));
    assert!(plan.changes.is_empty() && plan.script.is_none(), "{}", what(&plan));
}

#[test]
fn another_manifest_is_applied_and_shown() {
    let plan = set(&MANIFEST.replace("replicas: 2", "replicas: 3")).plan_present(&applied(&set(MANIFEST)));
    assert_eq!(what(&plan), "Deployment web/web: changed");
    assert!(diff(&plan).contains("-  replicas: 2\n+  replicas: 3\n"), "{}", diff(&plan));
    let plan = set(&MANIFEST.replace("aHVudGVyMg", "b3RoZXI")).plan_present(&applied(&set(MANIFEST)));
    assert_eq!(
        (what(&plan), diff(&plan)),
        ("Secret web/key: changed", "Secret web/key: its content is not shown\n")
    );
}

#[test]
fn a_field_that_somebody_has_taken_is_drift_and_another_ones_is_not() {
    let plan = |change: &dyn Fn(&mut Value)| {
        let mut live = applied(&set(MANIFEST));
        change(deployment(&mut live));
        set(MANIFEST).plan_present(&live)
    };
    let fields = "/metadata/managedFields/1/fieldsV1/f:spec";
    let take = |field: &'static str, from: &'static str| {
        move |object: &mut Value| {
            let owned = object.pointer_mut(&format!("{fields}{from}")).unwrap().as_object_mut().unwrap();
            owned.remove(field).unwrap();
        }
    };
    let scaled = plan(&|object| {
        take("f:replicas", "")(object);
        object["spec"]["replicas"] = json!(5);
    });
    assert_eq!(what(&scaled), "Deployment web/web: spec.replicas is not as it was applied");
    assert!(diff(&scaled).contains("-  replicas: 5\n+  replicas: 2\n"), "{}", diff(&scaled));
    let gone = plan(&take("f:volumes", "/f:template/f:spec"));
    assert_eq!(what(&gone), "Deployment web/web: spec.template.spec.volumes is not as it was applied");
    let port = "k:{\"containerPort\":53,\"protocol\":\"UDP\"}";
    let port = plan(&take(port, "/f:template/f:spec/f:containers/k:{\"name\":\"web\"}/f:ports"));
    assert_eq!(
        what(&port),
        "Deployment web/web: spec.template.spec.containers[0].ports[1] is not as it was applied"
    );
    let image = plan(&take("f:image", "/f:template/f:spec/f:containers/k:{\"name\":\"web\"}"));
    assert_eq!(
        what(&image),
        "Deployment web/web: spec.template.spec.containers[0].image is not as it was applied"
    );
    // A field of the server, or of somebody else.
    let added =
        plan(&|object| object["spec"]["template"]["metadata"]["annotations"] = json!({"restarted": "now"}));
    assert_eq!(what(&added), "");
    // Removed and made by hand.
    let by_hand = plan(&|object| {
        object["metadata"].as_object_mut().unwrap().remove("managedFields");
    });
    assert_eq!(what(&by_hand), "Deployment web/web: everything is not as it was applied");
}

#[test]
fn what_an_earlier_muster_has_applied_gets_the_mark() {
    let mut live = applied(&set(MANIFEST));
    live.remove(&set(MANIFEST).record_id());
    for object in live.values_mut() {
        object["metadata"].as_object_mut().unwrap().remove("labels");
        object["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    let plan = set(MANIFEST).plan_present(&live);
    assert_eq!(
        what(&plan),
        "Namespace web: taken over; Deployment web/web: taken over; Secret web/key: taken over"
    );
    // It goes with the set, too; what others have put there under its name does not.
    let absent = set(MANIFEST).absent();
    assert_eq!(
        what(&absent.plan_absent(&live)),
        "Secret web/key: removed; Deployment web/web: removed; Namespace web: removed"
    );
    for object in live.values_mut() {
        object["metadata"]["managedFields"][1]["manager"] = json!("helm");
    }
    assert!(absent.plan_absent(&live).changes.is_empty());
}

#[test]
fn what_has_left_the_set_is_removed_and_known_until_it_is_gone() {
    let smaller = || set(MANIFEST.rsplit_once("---").unwrap().0);
    let plan = smaller().plan_present(&applied(&set(MANIFEST)));
    assert_eq!(what(&plan), "Secret web/key: removed");
    // Whoever was killed between applying and removing has written down both.
    let mut live = applied(&smaller());
    let both = set(MANIFEST);
    live.insert(both.record_id(), applied(&both).remove(&both.record_id()).unwrap());
    assert_eq!(what(&smaller().plan_present(&live)), "Secret web/key: removed");
    assert_eq!(what(&smaller().plan_present(&applied(&smaller()))), "");
}

#[test]
fn a_set_goes_with_what_it_consisted_of_earlier() {
    let smaller = || set(MANIFEST.rsplit_once("---").unwrap().0).absent();
    let plan = smaller().plan_absent(&applied(&set(MANIFEST)));
    assert_eq!(what(&plan), "Deployment web/web: removed; Namespace web: removed; Secret web/key: removed");
    assert!(smaller().plan_absent(&BTreeMap::new()).changes.is_empty());
}

#[test]
fn the_pods_of_a_set_end_before_the_rest_of_it_goes() {
    let live = applied(&set(MANIFEST));
    let ended = || set(MANIFEST).ended();
    assert_eq!(what(&ended().plan_ended(&live)), "Deployment web/web: removed");
    // Who waits for the one is not told that the other is done.
    assert_ne!(ended().label(), set(MANIFEST).absent().label());
    let mut without = live.clone();
    without.retain(|id, _| id.kind != "Deployment.apps");
    assert!(ended().plan_ended(&without).changes.is_empty());
    let mut of_others = live;
    for object in of_others.values_mut() {
        object["metadata"]["labels"][SET] = json!("traefik");
    }
    assert!(ended().plan_ended(&of_others).changes.is_empty());
}

#[test]
fn kubectl_prints_nothing_an_object_or_a_list_with_warnings_after_it() {
    assert!(object::parse("").unwrap().is_empty());
    let object = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}}"#;
    assert_eq!(object::parse(&format!("{object}\nWarning: old\n")).unwrap().len(), 1);
    let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{object}]}}"#);
    assert_eq!(object::parse(&list).unwrap().len(), 1);
    assert!(object::parse("no JSON").is_err());
}

#[test]
fn of_a_kind_that_the_cluster_does_not_know_there_is_no_object() {
    let object = "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"web\"}}";
    // As kubectl 1.36 says it.
    let unknown =
        "unable to recognize no matches for kind \"IPPool\" in version \"crd.projectcalico.org/v1\"";
    let printed = object::but_unknown_kinds(&format!("{object}\n{unknown}\n")).unwrap();
    assert_eq!(object::parse(&printed).unwrap().len(), 1);
    assert!(object::parse(&object::but_unknown_kinds(unknown).unwrap()).unwrap().is_empty());
    assert_eq!(object::but_unknown_kinds(&format!("{unknown}\nError from server (Forbidden): x\n")), None);
    assert_eq!(object::but_unknown_kinds("The connection was refused"), None);
}

#[test]
fn what_cannot_change_or_go_is_refused() {
    let refuses: Refuses = |wanted, found| match wanted {
        Some(wanted)
            if found["kind"] == "Deployment" && wanted["spec"]["replicas"] != found["spec"]["replicas"] =>
        {
            Some(format!("{} keeps its replicas", found["metadata"]["name"]))
        }
        None if found["kind"] == "Secret" => Some(format!("{} stays", found["metadata"]["name"])),
        _ => None,
    };
    let live = applied(&set(MANIFEST));
    assert_eq!(set(MANIFEST).refusing(refuses).refusal(&live), None);
    let other = set(&MANIFEST.replace("replicas: 2", "replicas: 3")).refusing(refuses);
    assert_eq!(other.refusal(&live).as_deref(), Some("\"web\" keeps its replicas"));
    let smaller = set(MANIFEST.rsplit_once("---").unwrap().0).refusing(refuses);
    assert_eq!(smaller.refusal(&live).as_deref(), Some("\"key\" stays"));
    assert_eq!(smaller.refusal(&BTreeMap::new()), None);
}

#[test]
fn the_status_of_an_object_is_nobodys_to_apply() {
    let with_status = format!(
        "{MANIFEST}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: a}}\nstatus: {{phase: Active}}\n"
    );
    let marked = set(&with_status).marked();
    assert!(marked.iter().all(|object| object.value.get("status").is_none()));
}

#[test]
fn an_object_of_another_set_stays_with_it() {
    let mut live = applied(&set(MANIFEST));
    let namespace = Id::of_line("Namespace  web").unwrap();
    live.get_mut(&namespace).unwrap()["metadata"]["labels"][SET] = json!("traefik");
    let why = set(MANIFEST).refusal(&live).unwrap();
    let expected = "Namespace web belongs to what muster installs as traefik, and would go with that. \
                    Give web a namespace that nobody else has";
    assert_eq!(why, expected);
    let places = BTreeMap::from([(namespace.clone(), "extension/a.yaml:7".to_owned())]);
    let placed = set(MANIFEST).written_at(places).refusal(&live).unwrap();
    assert!(placed.starts_with("extension/a.yaml:7: Namespace web belongs to"), "{placed}");
    assert!(placed.ends_with("Take it out of the file, or call it something else"), "{placed}");
    live.get_mut(&namespace).unwrap()["metadata"]["labels"][SET] = json!("web");
    assert_eq!(set(MANIFEST).refusal(&live), None);
}

#[test]
fn what_every_cluster_has_stays_when_a_user_takes_it_out() {
    let with_default =
        format!("{MANIFEST}---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: default}}}}\n");
    let live = applied(&set(&with_default));
    let own = || set(MANIFEST).written_at(BTreeMap::new());
    assert_eq!(what(&own().plan_present(&live)), "Namespace default: stays, it is Kubernetes' own");
    let plan = own().absent().plan_absent(&live);
    assert!(what(&plan).ends_with("Namespace web: removed; Namespace default: stays, it is Kubernetes' own"));
}

/// Where the cluster does not answer whose objects are in a namespace, nothing goes.
#[test]
fn a_namespace_stays_where_nobody_says_what_is_in_it() {
    let script = concat!(include_str!("remove.sh"), "nobody_elses traefik traefik\necho gone\n");
    let said = |kubectl: &str| {
        let script = format!("set -eu\nkubectl() {{ {kubectl}; }}\n{script}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(said("return 1"), (false, String::new()));
    assert_eq!(said("echo 'set shop'; echo 'ConfigMap traefik inside'"), (false, String::new()));
    assert_eq!(said("echo 'set traefik'; echo 'ConfigMap traefik own'"), (true, "gone\n".to_owned()));
}

/// Whether a DaemonSet rolls out whose pods are listed so, and what is said.
fn rolls_out(pods: &str) -> Vec<(bool, String)> {
    let kubectl = r#"kubectl() {
  case "$*" in
    *' get daemonset/cache '*) echo config-2 ;;
    *.spec.nodeName*) echo node1 ;;
    *'-o name'*) echo pod/newest ;;
    *' logs '*) echo 'plugin/forward: not an address' ;;
    *' get pods '*) printf '%s' "$PODS" ;;
  esac
}
sleep() { :; }
"#;
    let program = format!(
        "set -eu\n{kubectl}{}rolls_out kube-system daemonset/cache app=cache\n",
        include_str!("roll_out.sh")
    );
    let shells = [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]];
    let run = |shell: &&[&str]| {
        let mut command = std::process::Command::new(shell[0]);
        let out = command.args(&shell[1..]).args(["-c", &program]).env("PODS", pods).output().ok()?;
        Some((out.status.success(), String::from_utf8(out.stderr).unwrap()))
    };
    shells.iter().filter_map(run).collect()
}

#[test]
fn a_cache_that_does_not_take_its_configuration_is_told_and_machines_that_are_off_hold_up_nothing() {
    for (pods, well) in [
        ("config-1 true 0\nconfig-2 true 0\n", true),
        ("config-2 false 2\nconfig-1 true 0\n", false),
        ("config-1 false 7\n", true),
        ("config-2  \n", true),
    ] {
        for (rolled, said) in rolls_out(pods) {
            assert_eq!(rolled, well, "{pods}: {said}");
            assert_eq!(
                said.contains("plugin/forward: not an address\nthe new pods of cache do not"),
                !well,
                "{said}"
            );
            assert_eq!(said.contains("go on, but not on node1, whose pod"), !well, "{said}");
        }
    }
}

/// A definition of a kind in a group, as the cluster has it.
fn definition(kinds: &str, group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{kinds}.{group}") },
        "spec": { "group": group },
    })
}

#[test]
fn definitions_outlive_their_set_and_those_of_others_are_left_alone() {
    let (own, shared) =
        (definition("pools", "net.example.org"), definition("policies", "policy.example.org"));
    let definitions = |objects: &[&Value]| {
        let objects = objects.iter().map(|object| (*object).clone()).collect();
        ObjectSet::of("kinds", objects).unwrap().of_definitions("policy.example.org")
    };
    let both = definitions(&[&own, &shared]);
    let mut live = applied(&both);
    assert!(both.plan_present(&live).changes.is_empty(), "muster has brought both");
    let fewer = definitions(&[&own]).plan_present(&live);
    let stays =
        "CustomResourceDefinition policies.policy.example.org: stays, it is there for objects of its kind";
    assert_eq!(what(&fewer), stays);
    let script = format!("{:?}", fewer.script);
    assert!(script.contains(r#""release", "CustomResourceDefinition"#), "{script}");

    // Somebody else has put it there before.
    let id = live.keys().find(|id| id.name.starts_with("policies")).unwrap().clone();
    live.insert(id, shared.clone());
    let plan = both.plan_present(&live);
    assert!(!what(&plan).contains("policies"), "{}", what(&plan));
    assert_eq!(what(&both.plan_present(&BTreeMap::new())), "2 of 2 created");
    let only: BTreeMap<Id, Value> =
        live.into_iter().filter(|(id, _)| id.name.starts_with("policies")).collect();
    assert_eq!(what(&both.plan_present(&only)), "1 of 1 created");
    // Another set takes it over, as before.
    let taking = ObjectSet::of("kinds", vec![own, shared]).unwrap().plan_present(&only);
    assert!(what(&taking).contains("policies.policy.example.org: taken over"), "{}", what(&taking));
}

#[test]
fn a_definition_goes_with_its_whole_set_and_no_earlier() {
    let (own, former) = (definition("pools", "net.example.org"), definition("rooms", "net.example.org"));
    let both = ObjectSet::of("kinds", vec![own.clone(), former]).unwrap();
    let live = applied(&both);
    let newer = || ObjectSet::of("kinds", vec![own.clone()]).unwrap();
    assert!(newer().plan_present(&live).changes.is_empty());
    let gone = ObjectSet::of("kinds", Vec::new()).unwrap().absent().plan_absent(&live);
    for kind in ["pools", "rooms"] {
        let removed = format!("CustomResourceDefinition {kind}.net.example.org: removed");
        assert!(what(&gone).contains(&removed), "{}", what(&gone));
    }
    // A user's own leaves when the user takes it out.
    let written = newer().written_at(BTreeMap::new()).plan_present(&live);
    assert_eq!(what(&written), "CustomResourceDefinition rooms.net.example.org: removed");
}

#[test]
fn nothing_of_a_set_changes_where_it_is_not_to_come_or_another_one_cannot_change() {
    let of_others = || set(MANIFEST).not_new(Some("somebody else's".to_owned()));
    assert_eq!(of_others().refusal(&BTreeMap::new()).unwrap(), "somebody else's");
    assert_eq!(of_others().refusal(&applied(&set(MANIFEST))), None);
    // An older muster has written nothing down, and one that was cut off has applied nothing yet.
    let without_record = |change: &dyn Fn(&mut Value)| {
        let mut live = applied(&set(MANIFEST));
        live.remove(&set(MANIFEST).record_id());
        live.values_mut().for_each(change);
        of_others().refusal(&live)
    };
    assert_eq!(without_record(&|_| {}), None);
    let anothers = without_record(&|object| {
        object["metadata"]["labels"] = Value::Null;
        object["metadata"]["managedFields"] = Value::Null;
    });
    assert_eq!(anothers.unwrap(), "somebody else's");
    let mut only_record = applied(&set(MANIFEST));
    only_record.retain(|id, _| *id == set(MANIFEST).record_id());
    assert_eq!(of_others().refusal(&only_record), None);
    assert_eq!(set(MANIFEST).not_new(None).refusal(&BTreeMap::new()), None);

    let pool = |size: u8| json!({ "apiVersion": "v1", "kind": "Pool", "metadata": { "name": "p" }, "spec": { "size": size } });
    let minding = set(MANIFEST).minding(vec![pool(24)]).refusing(|wanted, found| {
        (found["kind"] == "Pool" && wanted != Some(found)).then(|| "another size".into())
    });
    let live = |size: u8| -> BTreeMap<Id, Value> {
        Object::new(pool(size)).into_iter().map(|object| (object.id, object.value)).collect()
    };
    assert_eq!((minding.refusal(&live(26)), minding.refusal(&live(24))), (Some("another size".into()), None));
    assert!(format!("{:?}", minding.probe()).contains("Pool"), "it is looked at");
    assert_eq!(what(&minding.plan_present(&BTreeMap::new())), "3 of 3 created", "it is no part of the set");
}
