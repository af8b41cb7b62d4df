//! Applications whose programs cannot be compiled: a real API server takes their objects, and gives them up again.

use std::fs;

use muster_testkit::go_module;

use crate::fixture::{Lab, bundle_has, bundle_with};

/// The module with cert-manager's chart, of which upstream makes its manifest so (make/manifests.mk), and the namespace besides.
const CERT_MANAGER: &str = "github.com/cert-manager/cert-manager@v1.21.2";
const AS_RELEASED: [&str; 4] = [
    "--namespace=cert-manager",
    "--set=crds.enabled=true",
    "--set=creator=static",
    "--set=startupapicheck.enabled=false",
];
const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: cert-manager}}\n";

/// The module with Argo CD's manifest.
const ARGOCD: &str = "github.com/argoproj/argo-cd/v3@v3.5.7";

/// In the place of node-feature-discovery's kinds, which no module has.
fn kinds_of_nodes() -> String {
    let kind = |kind: &str, scope: &str| {
        let plural = format!("{}s", kind.to_lowercase());
        format!(
            "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {plural}.nfd.k8s-sigs.io}}\n\
             spec:\n  group: nfd.k8s-sigs.io\n  scope: {scope}\n  \
             names: {{plural: {plural}, kind: {kind}}}\n  versions: [{{name: v1alpha1, served: true, storage: true,\n    \
             schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}]\n"
        )
    };
    [("NodeFeature", "Namespaced"), ("NodeFeatureGroup", "Namespaced"), ("NodeFeatureRule", "Cluster")]
        .map(|(name, scope)| kind(name, scope))
        .concat()
}

const IMAGES: [&str; 24] = [
    "quay.io/jetstack/cert-manager-controller:v1.21.2",
    "quay.io/jetstack/cert-manager-webhook:v1.21.2",
    "quay.io/jetstack/cert-manager-cainjector:v1.21.2",
    "quay.io/jetstack/cert-manager-acmesolver:v1.21.2",
    "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.20.0",
    "quay.io/argoproj/argocd:v3.5.7",
    "ghcr.io/dexidp/dex:v2.45.1",
    "public.ecr.aws/docker/library/redis:8.2.3-alpine",
    "registry.k8s.io/nfd/node-feature-discovery:v0.18.3",
    "registry.k8s.io/sig-storage/local-volume-provisioner:v2.9.0",
    "registry.k8s.io/sig-storage/nfsplugin:v4.13.4",
    "registry.k8s.io/sig-storage/csi-provisioner:v6.3.0",
    "registry.k8s.io/sig-storage/csi-resizer:v2.2.0",
    "registry.k8s.io/sig-storage/csi-snapshotter:v8.6.0",
    "registry.k8s.io/sig-storage/livenessprobe:v2.19.0",
    "registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.17.0",
    "registry.k8s.io/provider-os/openstack-cloud-controller-manager:v1.36.0",
    "registry.k8s.io/provider-os/cinder-csi-plugin:v1.36.0",
    "registry.k8s.io/sig-storage/csi-attacher:v4.10.0",
    "registry.k8s.io/sig-storage/csi-provisioner:v5.3.0",
    "registry.k8s.io/sig-storage/csi-snapshotter:v8.4.0",
    "registry.k8s.io/sig-storage/csi-resizer:v1.14.0",
    "registry.k8s.io/sig-storage/livenessprobe:v2.17.0",
    "registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.15.0",
];

const APPS: &str = "cert_manager_enabled: true\nkube_state_metrics_enabled: true\nargocd_enabled: true\n\
                    argocd_admin_password: s3cret-of-argocd\nnode_feature_discovery_enabled: true\n\
                    local_volume_provisioner_enabled: true\nnfs_csi_enabled: true\nnfs_csi_server: 192.0.2.9\n\
                    openstack_cloud_controller_enabled: true\nexternal_openstack_auth_url: https://192.0.2.8:5000/v3\n\
                    external_openstack_username: u\nexternal_openstack_password: s3cret-of-openstack\n\
                    cinder_csi_enabled: true\ncinder_auth_url: https://192.0.2.8:5000/v3\ncinder_username: u\n\
                    cinder_password: s3cret-of-openstack\npersistent_volumes_enabled: true\n\
                    csi_snapshot_controller_enabled: false\n";

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn what_cannot_be_compiled_is_taken_by_a_real_api_server_and_goes_again() {
    let sources = go_module::sources(CERT_MANAGER).zip(go_module::sources(ARGOCD));
    let Some((sources, argocd)) = sources.filter(|_| bundle_has("helm")) else {
        eprintln!("skipped: it needs muster bundle build --with helm, and the Go module proxy");
        return;
    };
    let lab = Lab::up(106, &["-n", "1"]);
    let folder = lab.inventory_of_one();
    let set = |text: &str| {
        fs::write(folder.join("group_vars/all.yml"), format!("helm_enabled: true\n{text}")).unwrap();
    };
    let well = |words: &[&str]| {
        let ended = lab.muster(words);
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    let kubectl = |words: &[&str]| well(&[&["kubectl"], words].concat());
    let objects = || {
        let kinds = "namespaces,deployments,daemonsets,statefulsets,services,serviceaccounts,configmaps,roles,rolebindings,clusterroles,\
                     clusterrolebindings,networkpolicies,storageclasses,csidrivers,customresourcedefinitions,\
                     mutatingwebhookconfigurations,validatingwebhookconfigurations";
        kubectl(&["get", kinds, "-A", "-o", "name"])
    };
    set("");
    well(&["setup-cluster"]);
    let before = objects();

    let chart = sources.join("deploy/charts/cert-manager");
    let rendered =
        well(&[&["helm", "template", "cert-manager", chart.to_str().unwrap()], &AS_RELEASED[..]].concat());
    let [certificates, nodes] = ["cert-manager.yaml", "nodes.yaml"].map(|name| lab.folder().join(name));
    fs::write(&certificates, format!("{NAMESPACE}{rendered}")).unwrap();
    fs::write(&nodes, kinds_of_nodes()).unwrap();
    let manifests = [
        ("cert-manager-manifest", "1.21.2", certificates.as_path()),
        ("argocd-manifest", "3.5.7", &argocd.join("manifests/install.yaml")),
        ("node-feature-discovery-manifest", "0.18.3", &nodes),
    ];
    let bundle = lab.folder().join("bundle");
    bundle_with(&bundle, &manifests, &IMAGES.map(str::to_owned));
    let run_with = |more: &[&str]| {
        let how = ["--tags", "apps", "--offline", "-vv", "--bundle", bundle.to_str().unwrap()];
        let ended = lab.muster(&[&["setup-cluster"], &how[..], more].concat());
        // Images without a program start nothing: as far as that it goes.
        assert_eq!(ended.code, 2, "{ended:#?}");
        assert!(!ended.all().contains("s3cret"), "{ended:#?}");
        ended
    };
    let run = || run_with(&[]);
    set(&format!("{APPS}apps_timeout: 5\n"));
    let first = run();
    for name in [
        "cert-manager",
        "kube-state-metrics",
        "argocd",
        "node-feature-discovery",
        "nfs-csi",
        "cinder-csi",
        "local-volume-provisioner",
        "openstack-cloud-controller",
    ] {
        assert!(first.all().contains(&format!("│ {name}: the pod ")), "{name}: {first:#?}");
    }
    let images = "jsonpath={.items[*].spec.template.spec.containers[0].image}";
    let images = kubectl(&["-n", "cert-manager", "get", "deployments", "-o", images]);
    assert_eq!(images.matches(":v1.21.2").count(), 3, "{images}");
    assert_eq!(kubectl(&["get", "clusterissuers,challenges", "-A", "-o", "name"]), "");
    assert!(kubectl(&["get", "storageclasses", "-o", "name"]).contains("storageclass.storage.k8s.io/nfs"));
    let password =
        ["-n", "argocd", "get", "secret", "argocd-secret", "-o", "jsonpath={.data.admin\\.password}"];
    let hash = kubectl(&password);
    assert!(hash.starts_with("JDJhJDEwJ"), "{hash}");
    let second = run();
    for set in [
        "cert-manager: Apply cert-manager-definitions",
        "cert-manager: Apply cert-manager",
        "kube-state-metrics: Apply kube-state-metrics",
        "argocd: Apply argocd-definitions",
        "argocd: Apply argocd",
        "node-feature-discovery: Apply node-feature-discovery-definitions",
        "node-feature-discovery: Apply node-feature-discovery",
        "nfs-csi: Apply nfs-csi",
        "openstack-cloud-controller: Apply openstack-cloud-controller",
        "cinder-csi: Apply cinder-csi",
        "local-volume-provisioner: Apply local-volume-provisioner",
    ] {
        assert!(second.out.contains(&format!("{set}: nothing to do")), "{set}: {second:#?}");
    }
    assert_eq!(kubectl(&password), hash);

    // Nobody applies objects of its kinds before it can be asked about them.
    fs::create_dir_all(folder.join("extension")).unwrap();
    let own = folder.join("extension/own.yaml");
    let issuer = "{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: own}, spec: {selfSigned: {}}}";
    fs::write(&own, issuer).unwrap();
    let waits = run();
    assert!(waits.all().contains("cert-manager's webhook answers: not within 5 s"), "{waits:#?}");
    assert!(waits.all().contains("failed calling webhook"), "{waits:#?}");
    fs::remove_file(&own).unwrap();

    // What somebody uses stays.
    let used = lab.folder().join("used.yaml");
    fs::write(
        &used,
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: argocd}\nspec: {project: default, \
         destination: {name: in-cluster, namespace: default}, source: {repoURL: https://example.org/web.git, path: .}}\n---\n\
         apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: notes}\nspec: {capacity: {storage: 1Mi}, accessModes: [ReadWriteMany], \
         csi: {driver: nfs.csi.k8s.io, volumeHandle: notes}}\n",
    )
    .unwrap();
    kubectl(&["apply", "-f", "used.yaml"]);
    let kept = run_with(&["-e", "argocd_enabled=false", "-e", "nfs_csi_enabled=false"]);
    for told in [
        "argocd: it is in use, and not removed: by Application argocd/web",
        "nfs-csi: it is in use, and not removed: by PersistentVolume notes",
    ] {
        assert!(kept.all().contains(told), "{told}: {kept:#?}");
    }
    assert!(
        kubectl(&["-n", "argocd", "get", "statefulsets", "-o", "name"]).contains("application-controller")
    );
    kubectl(&["delete", "-f", "used.yaml"]);

    // Switched off, nothing of them is left, and no label that they have given.
    kubectl(&[
        "label",
        "node",
        "node1",
        "feature.node.kubernetes.io/cpu-cpuid.AVX=true",
        "example.org/own=yes",
    ]);
    kubectl(&["annotate", "node", "node1", "nfd.node.kubernetes.io/feature-labels=cpu-cpuid.AVX"]);
    set("");
    well(&["setup-cluster", "--tags", "apps"]);
    assert_eq!(objects(), before);
    let node =
        kubectl(&["get", "node", "node1", "-o", "jsonpath={.metadata.labels} {.metadata.annotations}"]);
    assert!(
        node.contains("example.org/own") && !node.contains("cpu-cpuid") && !node.contains("nfd."),
        "{node}"
    );
    assert_eq!(lab.muster(&["setup-cluster"]).recap("node1", "changed"), 0);

    // Nothing that muster has written down holds what is secret.
    let records = folder.join(".muster/runs");
    assert_eq!(lab.exec(&["grep", "-r", "s3cret-of", records.to_str().unwrap()]).code, 1);
}
