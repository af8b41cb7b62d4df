//! Charts in the folder of the user's: rendered for this very cluster, applied, changed, and gone without leaving anything.

use std::fs;

use crate::fixture::{Lab, bundle_has};

/// The files of a chart that asks what the cluster is, brings a kind of its own, and has a job and a test as hooks.
const CHART: [(&str, &str); 7] = [
    ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '>=1.30.0'\n"),
    ("values.yaml", "seats: 1\nimage: nobody\n"),
    (
        "crds/rooms.yaml",
        r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rooms.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: rooms, singular: room, kind: Room}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#,
    ),
    (
        "templates/room.yaml",
        "{{ if .Capabilities.APIVersions.Has \"example.org/v1/Room\" }}\n\
         apiVersion: example.org/v1\nkind: Room\nmetadata: {name: r104}\nspec: {seats: {{ .Values.seats }}}\n{{ end }}\n",
    ),
    (
        "templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n\
         data: {version: {{ .Capabilities.KubeVersion.Version }}, seats: {{ .Values.seats | quote }}}\n",
    ),
    (
        "templates/job.yaml",
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: fill, annotations: {helm.sh/hook: 'post-install,post-upgrade'}}\n\
         spec:\n  template:\n    spec:\n      restartPolicy: Never\n\
         \x20     containers: [{name: fill, image: {{ .Values.image }}, command: [/agnhost, help], env: [{name: SEATS, value: {{ .Values.seats | quote }}}]}]\n",
    ),
    (
        "templates/test.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: test, annotations: {helm.sh/hook: test}}\n\
         spec: {containers: [{name: a, image: {{ .Values.image }}}]}\n",
    ),
];

#[test]
fn charts_of_ones_own_come_change_and_go() {
    if !bundle_has("helm") {
        eprintln!("skipped: the bundle has no helm; muster bundle build --with helm");
        return;
    }
    let lab = Lab::up(182, &["-n", "1"]);
    let folder = lab.inventory_of_one();
    let own = folder.join("extension");
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
    let objects =
        || kubectl(&["get", "configmaps,jobs,namespaces,customresourcedefinitions", "-A", "-o", "name"]);
    setup(&[]);
    let before = objects();

    for (name, text) in CHART {
        let path = own.join("web").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let values = |seats: u8| {
        let text = format!("seats: {seats}\nimage: {}\nversion: '{{{{ kube_version }}}}'\n", lab.agnhost());
        fs::write(own.join("web.values.yaml.j2"), text).unwrap();
    };
    values(12);
    fs::write(own.join("shop.yaml"), "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}").unwrap();
    fs::write(folder.join("group_vars/all.yml"), "extension_chart_namespaces: {web: shop}\n").unwrap();
    // One that helm cannot render is told before anything is done.
    let other = own.join("other");
    fs::create_dir_all(other.join("templates")).unwrap();
    fs::write(other.join("Chart.yaml"), "apiVersion: v2\nname: other\nversion: 1.0.0\n").unwrap();
    fs::write(other.join("templates/broken.yaml"), "a: {{ if }}\n").unwrap();
    let refused = lab.muster(&["setup-cluster", "--tags", "extension"]);
    let is_told = refused.all().contains("(other/templates/broken.yaml:1)");
    assert!(refused.code == 3 && is_told, "{refused:#?}");
    fs::remove_dir_all(other).unwrap();
    assert_eq!(objects(), before);

    let check = setup(&["--tags", "extension", "--check", "--diff"]);
    assert!(check.all().contains("ConfigMap shop/web"), "{check:#?}");
    assert_eq!(objects(), before);
    setup(&["--tags", "extension"]);
    let version = kubectl(&["-n", "shop", "get", "configmap", "web", "-o", "jsonpath={.data.version}"]);
    assert!(version.starts_with('v') && kubectl(&["version"]).contains(&version), "{version}");
    let seats = || kubectl(&["-n", "shop", "get", "room", "r104", "-o", "jsonpath={.spec.seats}"]);
    assert_eq!(seats(), "12");
    let jobs = || kubectl(&["-n", "shop", "get", "jobs", "-o", "name"]);
    let first = jobs();
    assert!(first.lines().count() == 1 && first.contains("job.batch/fill-"), "{first}");
    kubectl(&["-n", "shop", "wait", "--for=condition=Complete", first.trim(), "--timeout=120s"]);
    assert!(!kubectl(&["-n", "shop", "get", "pods", "-o", "name"]).contains("pod/test"));
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);

    // Other values: another job takes the place of the one that has run, which could not be changed.
    values(14);
    setup(&["--tags", "extension"]);
    assert_eq!(seats(), "14");
    let second = jobs();
    assert!(second.lines().count() == 1 && second != first, "{second}");
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);

    // The same chart as an archive is the same.
    let packed = lab.muster(&[
        "helm",
        "package",
        "--destination",
        &own.display().to_string(),
        &own.join("web").display().to_string(),
    ]);
    assert_eq!(packed.code, 0, "{packed:#?}");
    fs::remove_dir_all(own.join("web")).unwrap();
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);

    // What is taken out of the folder goes, whoever is the owner of its kind.
    for name in ["web-1.0.0.tgz", "web.values.yaml.j2", "shop.yaml"] {
        fs::remove_file(own.join(name)).unwrap();
    }
    fs::write(folder.join("group_vars/all.yml"), "").unwrap();
    let check = setup(&["--tags", "extension", "--check"]);
    assert!(check.all().contains("ConfigMap shop/web: removed"), "{check:#?}");
    setup(&["--tags", "extension"]);
    assert_eq!(objects(), before);
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);
}
