//! The objects of students: how they are wanted, and what differs.

use serde_json::{Value, json};

use super::class::{Live, objects};
use super::names_of;
use super::{SET, Student};
use crate::objects::object::Object;
use crate::preflight::fixture::variables;

fn student(name: &str, namespace: &str) -> Student {
    Student { name: name.into(), groups: "I7".into(), namespace: namespace.into() }
}

fn anna_and_123() -> Vec<Student> {
    vec![student("Anna \"A\" O'Neil: #1", "anna"), student("123", "123")]
}

fn wanted(students: &[Student], role: &str) -> Vec<Object> {
    objects(&variables(""), students, role).unwrap()
}

/// What muster owns of an object after it was applied.
fn fields(value: &Value) -> Value {
    match value {
        Value::Object(fields_of) => {
            fields_of.iter().map(|(key, value)| (format!("f:{key}"), fields(value))).collect()
        }
        _ => json!({}),
    }
}

/// What `look.sh` prints of a cluster with these objects, and a namespace that is somebody's.
fn look(objects: &[Object], change: impl Fn(&mut Value)) -> Live {
    let live = objects.iter().map(|object| {
        let mut value = object.value.clone();
        let fields = fields(&value);
        value["metadata"]["managedFields"] =
            json!([{ "manager": "muster", "operation": "Apply", "fieldsV1": fields }]);
        value["metadata"]["uid"] = json!("uid-1");
        change(&mut value);
        value
    });
    let (mut namespaces, others): (Vec<Value>, Vec<Value>) =
        live.filter(|value| !value.is_null()).partition(|value| value["kind"] == "Namespace");
    namespaces.push(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }));
    let list = |items: &[Value]| json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    let cluster = r#"{"server": "https://192.0.2.4:6443", "authority": "LS0t"}"#;
    let planes = ["https://192.0.2.4:6443", "https://192.0.2.5:6443"].map(str::to_owned).into();
    Live::of(&format!("{cluster}\n{}\n{}\nWarning: old\n", list(&namespaces), list(&others)), planes).unwrap()
}

/// A cluster with two control planes, of which the first one was asked, and a student.
pub(super) fn cluster_with_anna() -> Live {
    look(&wanted(&anna_and_123(), "admin"), |_| {})
}

#[test]
fn a_student_gets_six_objects_with_names_of_any_kind() {
    let objects = wanted(&anna_and_123(), "admin");
    let of = |kind: &str, namespace: &str| {
        let found = objects.iter().find(|object| {
            object.value["kind"] == kind
                && [&object.id.namespace, &object.id.name].iter().any(|name| *name == namespace)
        });
        found.unwrap().value.clone()
    };
    assert_eq!(objects.len(), 12);
    assert!(objects.iter().all(|object| object.value["metadata"]["labels"]["muster.io/set"] == SET));
    let namespace = of("Namespace", "anna");
    assert_eq!(namespace["metadata"]["annotations"]["muster.io/student-name"], "Anna \"A\" O'Neil: #1");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "baseline");
    // A name of digits is a text.
    assert_eq!(of("ServiceAccount", "123")["metadata"]["name"], json!("123"));
    let binding = of("RoleBinding", "123");
    assert_eq!(
        (binding["roleRef"]["name"].as_str(), binding["subjects"][0]["namespace"].as_str()),
        (Some("admin"), Some("123"))
    );
    assert_eq!(of("ResourceQuota", "anna")["spec"]["hard"]["requests.cpu"], "2");
    let from = &of("NetworkPolicy", "anna")["spec"]["ingress"][0]["from"];
    assert_eq!(from[2]["ipBlock"]["except"][0], "10.233.64.0/18");
    assert_eq!(from[1]["namespaceSelector"]["matchExpressions"][0]["key"], "muster.io/student");
    assert_eq!(from.as_array().unwrap().len(), 3);
    // Of IPv6, too, all but pods.
    let of_both = super::class::objects(&variables("ipv6_stack: true"), &anna_and_123(), "admin").unwrap();
    let policy = of_both.iter().find(|object| object.value["kind"] == "NetworkPolicy").unwrap();
    let mut both = policy.value["spec"]["ingress"][0]["from"].as_array().unwrap().clone();
    let expected = json!({ "ipBlock": { "cidr": "::/0", "except": ["fd85:ee78:d8a6:8607::1:0000/112"] } });
    assert_eq!(both.pop().unwrap(), expected);
    assert_eq!(json!(both), *from);
    // As `-e ipv6_stack=false` has it.
    let of_one = super::class::objects(&variables("ipv6_stack: 'false'"), &anna_and_123(), "admin").unwrap();
    assert!(of_one.iter().zip(&objects).all(|(one, other)| one.value == other.value));
}

#[test]
fn how_much_a_student_may_have_is_as_the_variables_say() {
    let vars = variables(
        "students_quota: {pods: '3'}\nstudents_container_requests: {cpu: 1m}\nstudents_container_limits: {memory: 2Mi}\n\
         students_pod_security: restricted",
    );
    let objects = objects(&vars, &[student("Anna", "anna")], "admin").unwrap();
    let of = |kind: &str| &objects.iter().find(|object| object.value["kind"] == kind).unwrap().value;
    assert_eq!(of("ResourceQuota")["spec"]["hard"], json!({ "pods": "3" }));
    let limits = &of("LimitRange")["spec"]["limits"][0];
    assert_eq!(
        (&limits["defaultRequest"], &limits["default"]),
        (&json!({ "cpu": "1m" }), &json!({ "memory": "2Mi" }))
    );
    assert_eq!(of("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
}

#[test]
fn what_nodes_hand_on_to_each_other_arrives_where_policies_are_kept_to() {
    let allowed = |yaml: &str| -> Vec<String> {
        let yaml = format!("network_policies_enabled: true\nkube_pods_subnet: 10.4.0.0/22\n{yaml}");
        let objects = objects(&variables(&yaml), &anna_and_123(), "admin").unwrap();
        let policy = objects.iter().find(|object| object.value["kind"] == "NetworkPolicy").unwrap();
        let from = policy.value["spec"]["ingress"][0]["from"].as_array().unwrap();
        from[3..].iter().map(|from| from["ipBlock"]["cidr"].as_str().unwrap().to_owned()).collect()
    };
    // A pod never has the first address of its node's part.
    assert_eq!(allowed(""), ["10.4.0.0/32", "10.4.1.0/32", "10.4.2.0/32", "10.4.3.0/32"]);
    assert_eq!(allowed("kube_network_node_prefix: 23"), ["10.4.0.0/32", "10.4.2.0/32"]);
    // There packets come from the nodes' own addresses.
    assert!(allowed("flannel_backend_type: host-gw").is_empty());
    let none = objects(
        &variables("network_policies_enabled: true\nkube_network_node_prefix: 8"),
        &anna_and_123(),
        "admin",
    );
    assert!(
        none.unwrap_err()
            .to_string()
            .contains("kube_network_node_prefix is 8, and kube_pods_subnet is 10.233.64.0/18")
    );
}

#[test]
fn that_policies_have_no_effect_is_known() {
    let none = |yaml: &str| variables(yaml).deserialize::<super::class::Network>().unwrap().has_no_policies();
    assert!(none("") && !none("network_policies_enabled: true") && !none("kube_network_plugin: calico"));
}

#[test]
fn a_class_may_be_as_large_as_a_school() {
    let students: Vec<Student> =
        (0..300).map(|n| student(&format!("Student {n}"), &format!("s{n}"))).collect();
    assert_eq!(wanted(&students, "edit").len(), 1800);
}

#[test]
fn what_is_there_as_it_was_applied_does_not_differ() {
    let students = anna_and_123();
    let objects = wanted(&students, "admin");
    let live = look(&objects, |_| {});
    assert!(live.difference(&students, &objects).is_empty());
    assert_eq!(live.students().into_keys().collect::<Vec<_>>(), ["123", "anna"]);
    let nothing = look(&[], |_| {});
    let difference = nothing.difference(&students, &objects);
    assert_eq!(difference.what(), "2 created: anna, 123");
    // Everything of a student is applied by the same kubectl, the namespace first.
    let parts = difference.manifests(2);
    assert!(parts.len() == 2 && parts[0].contains("anna") && !parts[0].contains("\"123\""));
    assert!(
        parts[0].starts_with(
            r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Namespace""#
        )
    );
}

#[test]
fn what_a_student_has_changed_or_removed_is_mended() {
    let students = anna_and_123();
    let objects = wanted(&students, "admin");
    let live = look(&objects, |value| {
        if value["metadata"]["namespace"] == "anna" && value["kind"] == "NetworkPolicy" {
            *value = Value::Null;
        } else if value["metadata"]["name"] == "anna" && value["kind"] == "ServiceAccount" {
            let owned = &mut value["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"];
            owned.as_object_mut().unwrap().remove("f:labels").unwrap();
        }
    });
    let difference = live.difference(&students, &objects);
    assert_eq!(
        difference.by_student(),
        [(
            "anna".to_owned(),
            "ServiceAccount anna/anna: metadata.labels is not as it was applied, \
             NetworkPolicy anna/anna is missing"
                .to_owned()
        )]
    );
}

#[test]
fn another_role_is_another_binding_and_the_old_one_goes() {
    let students = anna_and_123();
    let live = look(&wanted(&students, "admin"), |_| {});
    let objects = wanted(&students, "view");
    let difference = live.difference(&students[..1], &objects[..6]);
    assert_eq!(
        difference.what(),
        "RoleBinding anna/anna-view-binding: created, RoleBinding anna/anna-admin-binding: removed"
    );
    assert!(difference.removed().contains("anna-admin-binding") && !difference.removed().contains("123"));
}

#[test]
fn a_namespace_that_is_not_a_students_is_refused() {
    let students = anna_and_123();
    let live = look(&wanted(&students, "admin"), |value| {
        if value["metadata"]["name"] == "123" && value["kind"] == "Namespace" {
            value["status"]["phase"] = json!("Terminating");
        }
    });
    assert_eq!(live.against(&students[0]), None);
    let deleting = "123: the namespace 123 is being deleted; wait until it is gone";
    assert_eq!(live.against(&students[1]).as_deref(), Some(deleting));
    let somebodys = "Shop: the namespace shop is there, and is not a student's";
    assert_eq!(live.against(&student("Shop", "shop")).as_deref(), Some(somebodys));
    // A student who labels an own namespace does not exist; somebody who copies one's labels is no student by that.
    let copied = look(&wanted(&students, "admin"), |value| {
        if value["kind"] == "Namespace" && value["metadata"]["name"] == "anna" {
            value["metadata"]["name"] = json!("copy");
        }
    });
    assert_eq!(copied.students().into_keys().collect::<Vec<_>>(), ["123"]);
}

#[test]
fn too_little_of_an_answer_is_none() {
    let refused = |printed: &str| Live::of(printed, Vec::new()).is_err();
    assert!(refused("") && refused("{}\n{}") && refused("no JSON"));
    let lists = r#"{"kind": "List", "items": []} {"kind": "List", "items": []}"#;
    assert!(refused(&format!(r#"{{"server": "", "authority": ""}} {lists}"#)));
    assert_eq!(names_of("wang: held; more: of it\nanna:\n"), ["wang", "anna"]);
}
