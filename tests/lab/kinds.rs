//! Applications that bring kinds of objects, and programs for them that were compiled: the Gateway API, the snapshot controller, Flux.

use std::fs;

use crate::fixture::{Lab, bundle_has};

const OBJECTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: own}
spec: {controllerName: example.org/own}
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: own, namespace: default}
spec: {volumeSnapshotClassName: nobodys, source: {persistentVolumeClaimName: nobodys}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: own, namespace: default}
spec: {interval: 1h, timeout: 20s, url: 'http://127.0.0.1:9/own.git'}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: own, namespace: default}
spec: {interval: 1h, prune: true, sourceRef: {kind: GitRepository, name: own}}
";

#[test]
#[ignore = "it takes minutes, and programs that take minutes to compile; ./test --all"]
fn kinds_come_with_who_answers_for_them_and_go_when_nobody_uses_them() {
    let needed = ["gateway-api-standard", "sig-storage/snapshot-controller", "fluxcd/source-controller"];
    if !needed.into_iter().all(bundle_has) {
        let with = "--with gateway-api --with csi-snapshot-controller --with flux";
        eprintln!("skipped: the bundle lacks {needed:?}; muster bundle build {with}");
        return;
    }
    let lab = Lab::up(107, &["-n", "1"]);
    let folder = lab.inventory_of_one();
    let set = |text: &str| fs::write(folder.join("group_vars/all.yml"), text).unwrap();
    let setup = |args: &[&str]| {
        let ended = lab.muster(&[&["setup-cluster"], args].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    let objects = || {
        let kinds = "namespaces,deployments,services,serviceaccounts,configmaps,roles,rolebindings,clusterroles,clusterrolebindings,\
                     networkpolicies,customresourcedefinitions,validatingadmissionpolicies,validatingadmissionpolicybindings";
        kubectl(&["get", kinds, "-A", "-o", "name"])
    };
    setup(&[]);
    let before = objects();
    set("gateway_api_enabled: true\ncsi_snapshot_controller_enabled: true\nflux_enabled: true\n");
    let shown = setup(&["--tags", "gateway-api", "--check", "--diff"]);
    assert!(shown.out.contains("objects of gateway-api"), "{shown:#?}");
    setup(&["--tags", "apps"]);
    let told = lab.muster(&["apps"]);
    let state = |name: &str| {
        let line = told.out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told.code, 0, "{told:#?}");
    for (name, version) in [("gateway-api", "1.5.1"), ("csi-snapshot-controller", "8.6.0"), ("flux", "1.9.6")]
    {
        assert_eq!(state(name), format!("yes yes {version} well"), "{told:#?}");
    }
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);

    // Whoever is to answer for an object does: each says what is missing.
    fs::write(lab.folder().join("objects.yaml"), OBJECTS).unwrap();
    kubectl(&["apply", "-f", "objects.yaml"]);
    kubectl(&["wait", "volumesnapshot/own", "--for=jsonpath={.status.error.message}", "--timeout=60s"]);
    for own in ["gitrepository/own", "kustomization/own"] {
        kubectl(&["wait", own, "--for=condition=Ready=false", "--timeout=60s"]);
    }

    // What somebody uses stays. The kinds of the Gateway API go with their objects.
    set("");
    let kept = lab.muster(&["setup-cluster", "--tags", "apps"]);
    assert_eq!(kept.code, 2, "{kept:#?}");
    for told in [
        "csi-snapshot-controller: it is in use, and not removed: by VolumeSnapshot default/own",
        "flux: it is in use, and not removed: by Kustomization default/own and 1 more",
    ] {
        assert!(kept.all().contains(told), "{told}: {kept:#?}");
    }
    kubectl(&["wait", "deployment/source-controller", "-n", "flux-system", "--for=condition=Available"]);
    for own in ["volumesnapshot/own", "kustomization/own", "gitrepository/own"] {
        kubectl(&["delete", own, "--timeout=60s"]);
    }
    setup(&["--tags", "apps"]);
    assert_eq!(objects(), before);
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);

    // The other channel has more kinds.
    let other = ["-e", "gateway_api_enabled=true", "-e", "gateway_api_channel=experimental"];
    setup(&[&["--tags", "gateway-api"], &other[..]].concat());
    assert!(kubectl(&["get", "customresourcedefinitions", "-o", "name"]).contains("tcproutes.gateway"));
    setup(&["--tags", "gateway-api"]);
    assert_eq!(objects(), before);
}
