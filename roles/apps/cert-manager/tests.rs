//! cert-manager's objects for variables as users write them, made of a manifest with upstream's shape: what is changed, and what stays.

use super::*;
use crate::catalogue::CATALOGUE;
use crate::preflight::fixture::variables;

/// What of upstream's manifest is changed, and objects that are left alone.
fn upstream() -> String {
    let definition = |name: &str, group: &str| {
        json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{name}.{group}") }, "spec": { "group": group } })
    };
    let pods = |name: &str, image: &str, arguments: Value| {
        let container = json!({ "image": format!("quay.io/jetstack/{image}:v0.0.1"), "args": arguments });
        let template = json!({ "metadata": { "labels": { "app": name } },
            "spec": { "nodeSelector": { "kubernetes.io/os": "linux" }, "containers": [container] } });
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "cert-manager" },
            "spec": { "template": template } })
    };
    let leaders = "--leader-election-namespace=kube-system";
    let solver = "--acme-http01-solver-image=quay.io/jetstack/cert-manager-acmesolver:v0.0.1";
    let subject = json!({ "kind": "ServiceAccount", "name": "cert-manager", "namespace": "cert-manager" });
    let service = json!({ "name": "cert-manager-webhook", "namespace": "cert-manager", "path": "/validate" });
    let documents = [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "cert-manager" } }),
        definition("challenges", "acme.cert-manager.io"),
        definition("issuers", "cert-manager.io"),
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "cert-manager-view" } }),
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": "cert-manager:leaderelection", "namespace": "kube-system" }, "subjects": [subject] }),
        pods("cert-manager-cainjector", "cert-manager-cainjector", json!(["--v=2", leaders])),
        pods("cert-manager", "cert-manager-controller", json!(["--v=2", leaders, solver])),
        pods("cert-manager-webhook", "cert-manager-webhook", json!(["--v=2"])),
        json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "cert-manager-webhook",
                "annotations": { "cert-manager.io/inject-ca-from-secret": "cert-manager/cert-manager-webhook-ca" } },
            "webhooks": [{ "name": "webhook.cert-manager.io", "clientConfig": { "service": service } }] }),
    ];
    documents.iter().map(|document| format!("---\n{document}\n")).collect()
}

/// The sets for these variables.
fn sets(yaml: &str) -> [Vec<Value>; 2] {
    let vars = variables(&format!("cert_manager_enabled: true\nskydns_server: 10.233.0.3\n{yaml}"));
    let images = CATALOGUE.images_of_app(NAME).into_iter().map(|name| (name, format!("{name}:2"))).collect();
    patched(&upstream(), &vars.deserialize().unwrap(), &vars.deserialize().unwrap(), &images).unwrap()
}

fn found<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).unwrap_or_else(|| panic!("{kind} {name}"))
}

#[test]
fn what_the_controller_has_to_let_go_goes_before_it() {
    let [definitions, objects] = sets("");
    assert_eq!(definitions.len(), 1);
    assert_eq!(definitions[0]["metadata"]["name"], "issuers.cert-manager.io");
    let last = objects.last().unwrap();
    assert_eq!(last["metadata"]["name"], "challenges.acme.cert-manager.io");
    assert_eq!(objects[0]["kind"], "Namespace");
    let without = upstream().replace(CONTROLLER, "another");
    let vars = variables("skydns_server: 10.233.0.3\n");
    let why = patched(&without, &vars.deserialize().unwrap(), &vars.deserialize().unwrap(), &BTreeMap::new());
    assert_eq!(why.unwrap_err(), "there is no Deployment cert-manager in it");
}

#[test]
fn pods_run_the_catalogues_images_where_the_variables_say() {
    let [_, objects] = sets("");
    let controller = &found(&objects, "Deployment", CONTROLLER)["spec"]["template"];
    assert_eq!(controller["metadata"]["labels"], json!({ "app": "cert-manager", SET: NAME }));
    assert_eq!(controller["metadata"]["annotations"], Value::Null);
    let container = &controller["spec"]["containers"][0];
    assert_eq!(container["image"], "cert-manager-controller:2");
    assert_eq!(container["args"][2], "--acme-http01-solver-image=cert-manager-acmesolver:2");
    assert_eq!(controller["spec"]["nodeSelector"], json!({ "kubernetes.io/os": "linux" }));
    assert_eq!(controller["spec"]["dnsPolicy"], "ClusterFirst");

    let [_, objects] = sets(
        "cert_manager_nodeselector: {room: '1'}\ncert_manager_tolerations: [{operator: Exists}]\n\
         cert_manager_affinity: {nodeAffinity: {}}\ncert_manager_dns_policy: None\n\
         cert_manager_dns_config: {nameservers: [192.0.2.53]}\ncert_manager_controller_extra_args: [--v=4]\n",
    );
    for name in [CONTROLLER, INJECTOR, WEBHOOK] {
        let pod = &found(&objects, "Deployment", name)["spec"]["template"]["spec"];
        assert_eq!(pod["nodeSelector"], json!({ "room": "1" }), "{name}");
        assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]), "{name}");
        assert_eq!(pod["affinity"], json!({ "nodeAffinity": {} }), "{name}");
        assert_eq!(pod["dnsPolicy"] == "None", name == CONTROLLER, "{name}");
    }
    let pod = &found(&objects, "Deployment", CONTROLLER)["spec"]["template"]["spec"];
    assert_eq!(pod["dnsConfig"], json!({ "nameservers": ["192.0.2.53"] }));
    assert_eq!(pod["containers"][0]["args"][3], "--v=4");
}

#[test]
fn everything_is_in_the_namespaces_of_the_variables() {
    let [_, objects] = sets("cert_manager_namespace: pki\ncert_manager_leader_election_namespace: leaders\n");
    assert_eq!(objects[0]["metadata"]["name"], "pki");
    let binding = found(&objects, "RoleBinding", "cert-manager:leaderelection");
    assert_eq!(
        (&binding["metadata"]["namespace"], &binding["subjects"][0]["namespace"]),
        (&json!("leaders"), &json!("pki"))
    );
    let webhook = found(&objects, "ValidatingWebhookConfiguration", WEBHOOK);
    assert_eq!(webhook["webhooks"][0]["clientConfig"]["service"]["namespace"], "pki");
    let secret = &webhook["metadata"]["annotations"]["cert-manager.io/inject-ca-from-secret"];
    assert_eq!(secret, "pki/cert-manager-webhook-ca");
    let controller = found(&objects, "Deployment", CONTROLLER);
    assert_eq!(controller["metadata"]["namespace"], "pki");
    let arguments = &controller["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(arguments[1], "--leader-election-namespace=leaders");
    assert!(objects.iter().all(|object| object["metadata"]["namespace"] != "cert-manager"));

    // A namespace of the cluster's own does not go with it.
    let [_, objects] = sets("cert_manager_namespace: kube-system\n");
    assert!(objects.iter().all(|object| object["kind"] != "Namespace"));
    assert_eq!(found(&objects, "Deployment", CONTROLLER)["metadata"]["namespace"], "kube-system");
}

#[test]
fn the_controller_starts_anew_with_other_authorities_and_proxies() {
    let digest = |objects: &[Value]| {
        found(objects, "Deployment", CONTROLLER)["spec"]["template"]["metadata"]["annotations"]["muster.io/config"].clone()
    };
    let [_, trusts] = sets("cert_manager_trusted_internal_ca: |\n  -----BEGIN CERTIFICATE-----\n  AAAA\n");
    let map = found(&trusts, "ConfigMap", TRUSTED);
    assert_eq!(map["data"]["ca.crt"], "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let mounted = &found(&trusts, "Deployment", CONTROLLER)["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        [0];
    assert_eq!((&mounted["name"], &mounted["subPath"]), (&json!(TRUSTED), &json!("ca.crt")));

    let proxy = "https_proxy: http://u:s3cret@192.0.2.8:3128\n";
    let [_, goes] = sets(&format!("{proxy}no_proxy: example.org\ndns_domain: school.local\n"));
    let secret = found(&goes, "Secret", PROXIES);
    let value = |name: &str| {
        let value = STANDARD.decode(secret["data"][name].as_str().unwrap()).unwrap();
        String::from_utf8(value).unwrap()
    };
    assert_eq!(value("HTTPS_PROXY"), "http://u:s3cret@192.0.2.8:3128");
    let direct = "example.org,127.0.0.1,localhost,10.233.0.0/18,10.233.64.0/18,.svc,.svc.school.local";
    assert_eq!(value("NO_PROXY"), direct);
    let [_, of_both] = sets(&format!("{proxy}ipv6_stack: true\n"));
    let direct =
        found(&of_both, "Secret", PROXIES)["data"]["NO_PROXY"].as_str().map(|text| STANDARD.decode(text));
    let direct = String::from_utf8(direct.unwrap().unwrap()).unwrap();
    let networks =
        "10.233.0.0/18,fd85:ee78:d8a6:8607::1000/116,10.233.64.0/18,fd85:ee78:d8a6:8607::1:0000/112";
    assert_eq!(direct, format!("127.0.0.1,localhost,{networks},.svc,.svc.cluster.local"));
    assert!(secret["data"]["HTTP_PROXY"].is_null());
    let others: Vec<_> = goes.iter().filter(|object| object["kind"] != "Secret").collect();
    assert!(!json!(others).to_string().contains("s3cret"));
    let [_, elsewhere] = sets(&proxy.replace("3128", "3129"));
    let digests = [digest(&trusts), digest(&goes), digest(&elsewhere)];
    assert!(
        digests.iter().all(|digest| digest.as_str().is_some_and(|digest| digest.len() == 8)),
        "{digests:?}"
    );
    assert!(digests[0] != digests[1] && digests[1] != digests[2]);
    let own = "cert_manager_http_proxy: a\ncert_manager_https_proxy: b\ncert_manager_no_proxy: c\n";
    let [_, own] = sets(&format!("{proxy}{own}"));
    let data = &found(&own, "Secret", PROXIES)["data"];
    assert_eq!(
        (&data["HTTP_PROXY"], &data["HTTPS_PROXY"]),
        (&json!(STANDARD.encode("a")), &json!(STANDARD.encode("b")))
    );
    assert!(STANDARD.decode(data["NO_PROXY"].as_str().unwrap()).unwrap().starts_with(b"c,"));
}

#[test]
fn objects_of_its_kinds_are_known() {
    let is = |version: &str| {
        is_its(&json!({ "apiVersion": version, "kind": "Issuer", "metadata": { "name": "a" } }))
    };
    assert!(is("cert-manager.io/v1") && is("acme.cert-manager.io/v1"));
    assert!(!is("v1") && !is("example.org/v1") && !is("policy.cert-manager.io/v1"));
}
