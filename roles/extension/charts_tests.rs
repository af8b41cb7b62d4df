use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::extension::template::program;

/// A folder with these files, and `helm`, which is this program for sh.
fn folder(helm: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    program(&folder.path().join("helm"), helm);
    folder
}

/// What comes of its chart `web`, in the namespace `shop`.
fn web(folder: &TempDir, helm: &Path, values: &str) -> Result<Rendered, Unrendered> {
    let chart = Chart {
        path: folder.path().join("web"),
        name: "web".into(),
        namespace: "shop".into(),
        values: values.into(),
    };
    rendered(helm, &[chart], apis(), &[])
}

/// Those of a cluster, as far as they are needed here.
fn apis() -> Apis {
    let printed = "{\"gitVersion\": \"v1.36.3\"}\nv1\nbatch/v1\n\
                   configmaps cm v1 true ConfigMap\njobs batch/v1 true Job\npods po v1 true Pod\nsecrets v1 true Secret\n";
    Apis::told(printed).unwrap()
}

/// kind and name of each.
fn names(rendered: &Rendered) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let names = rendered.objects.iter();
    names
        .map(|(_, object)| format!("{} {}", word(&object["kind"]), word(&object["metadata"]["name"])))
        .collect()
}

#[test]
fn a_release_is_called_as_its_folder_or_its_archive_without_the_version() {
    let name = |path: &str| release_of(Path::new(path));
    assert_eq!(name("/e/web"), "web");
    assert_eq!(name("/e/web-1.2.3"), "web-1.2.3");
    assert_eq!(name("/e/web-1.2.3.tgz"), "web");
    assert_eq!(name("/e/cert-manager-v1.18.2.tgz"), "cert-manager");
    assert_eq!(name("/e/web-2-10.0.0-rc.1+build-7.tgz"), "web-2");
    assert_eq!(name("/e/web-2.tgz"), "web-2");
    assert_eq!(values_for("web.values.yaml"), Some("web"));
    assert_eq!(values_for("web.values.yml.j2"), Some("web"));
    assert_eq!((values_for("web.yaml"), values_for("values.yaml")), (None, None));
}

#[test]
fn a_chart_is_a_folder_or_an_archive_with_chart_yaml_in_it() {
    let folder =
        folder("", &[("web/Chart.yaml", "name: web"), ("pictures/a.svg", ""), ("notes.tgz", "no archive")]);
    let archive = |name: &str, member: &str| {
        let path = folder.path().join(name);
        let mut archive =
            tar::Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        archive.append_path_with_name(folder.path().join("web/Chart.yaml"), member).unwrap();
        archive.into_inner().unwrap().finish().unwrap();
        path
    };
    let path = |name: &str| folder.path().join(name);
    assert!(is_chart(&path("web")) && !is_chart(&path("pictures")) && !is_chart(&path("notes.tgz")));
    assert!(is_chart(&archive("web-1.0.0.tgz", "web/Chart.yaml")));
    assert!(!is_chart(&archive("backup.tgz", "old/extension/web/Chart.yaml")));
    assert!(!is_chart(&archive("web-1.0.0.tar", "web/Chart.yaml")));
}

#[test]
fn values_and_namespaces_belong_to_a_chart_that_is_there() {
    let found = |charts: &[&str], values: &[(&str, &str)], namespaces: &[(&str, &str)]| {
        let mut found = Found::default();
        charts.iter().try_for_each(|path| found.take_chart(PathBuf::from(path)))?;
        for (name, text) in values {
            found.take_values(name, PathBuf::from(format!("/e/{name}.values.yaml")), (*text).to_owned())?;
        }
        found.charts(&namespaces.iter().map(|(name, to)| ((*name).to_owned(), (*to).to_owned())).collect())
    };
    let charts =
        found(&["/e/b", "/e/a-1.0.0.tgz"], &[("a", "x: 1"), ("b", "# nothing")], &[("b", "shop")]).unwrap();
    let told: Vec<_> = charts
        .iter()
        .map(|chart| [&chart.name, &chart.namespace, &chart.values].map(String::as_str))
        .collect();
    assert_eq!(told, [["a", "default", "x: 1"], ["b", "shop", "# nothing"]]);
    let why = |charts: &[&str], values: &[(&str, &str)], namespaces: &[(&str, &str)]| {
        found(charts, values, namespaces).unwrap_err()
    };
    assert_eq!(why(&["/e/a", "/e/a-1.0.0.tgz"], &[], &[]), "/e/a-1.0.0.tgz: another chart a is in /e/a");
    assert_eq!(why(&["/e/a"], &[("b", "")], &[]), "/e/b.values.yaml: there is no chart b, but a");
    assert_eq!(
        why(&[], &[], &[("b", "c")]),
        "extension_chart_namespaces: there is no chart b, nor any other one"
    );
    assert!(why(&["/e/a"], &[("a", "- 1")], &[]).contains("holds no values"));
    assert!(why(&["/e/a"], &[("a", "x: 1\n---\ny: 1")], &[]).contains("holds no values"));
    assert!(why(&["/e/a"], &[("a", "x: [")], &[]).starts_with("/e/a.values.yaml: "));
    assert!(
        why(&["/e/a"], &[("a", ""), ("a", "")], &[]).contains("other values for the chart a are in /e/a")
    );
}

/// What helm prints of a chart with hooks of each kind.
const WITH_HOOKS: &str = r#"
---
# Source: web/charts/sub/templates/map.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: plain}
---
# Source: web/templates/hooks.yaml
apiVersion: v1
kind: Secret
metadata: {name: before, annotations: {helm.sh/hook: pre-install}}
---
# Source: web/templates/job.yaml
apiVersion: batch/v1
kind: Job
metadata: {name: fill, annotations: {helm.sh/hook: "post-install, post-upgrade"}}
spec: {ttlSecondsAfterFinished: 5, template: {spec: {containers: [{name: a, image: "IMAGE"}]}}}
---
# Source: web/templates/migrate.yaml
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-upgrade}}
---
# Source: web/templates/migrate.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: for-migrate, annotations: {helm.sh/hook: pre-upgrade}}
---
# Source: web/templates/tests/a.yaml
apiVersion: v1
kind: Pod
metadata: {name: test, annotations: {helm.sh/hook: test}}
"#;

#[test]
fn of_hooks_those_of_an_installation_are_done_once_for_what_they_do() {
    let folder = folder("/bin/cat \"${0%/*}/printed\"", &[("web/Chart.yaml", "name: web")]);
    let with = |image: &str| {
        fs::write(folder.path().join("printed"), WITH_HOOKS.replace("IMAGE", image)).unwrap();
        web(&folder, &folder.path().join("helm"), "").unwrap()
    };
    let first = with("a:1");
    let told = names(&first);
    assert_eq!(told[..2], ["ConfigMap plain", "Secret before"]);
    let [_, _, job] = &told[..] else { panic!("{told:?}") };
    assert!(job.starts_with("Job fill-") && job.len() == "Job fill-".len() + 10, "{job}");
    assert_eq!(names(&with("a:1")), told);
    assert_ne!(names(&with("a:2"))[2], told[2]);
    // Nobody clears it up: it would be run again.
    assert_eq!(first.objects[2].1["spec"].get("ttlSecondsAfterFinished"), None);
    let [place, object] = [json!(first.objects[0].0), first.objects[0].1.clone()];
    assert!(place.as_str().unwrap().ends_with("/web: charts/sub/templates/map.yaml"), "{place}");
    assert_eq!(object["metadata"]["namespace"], "shop");
    let left_out = first.left_out.join("\n");
    assert!(
        first.left_out.len() == 1
            && left_out.ends_with("/web: templates/migrate.yaml: Job migrate is for pre-upgrade"),
        "{left_out}"
    );
}

#[test]
fn what_runs_has_a_name_that_its_pods_can_have() {
    let mut job = json!({ "metadata": { "generateName": format!("{}-", "a".repeat(39)) }, "spec": {} });
    name_by_content(&mut job);
    let name = job["metadata"]["name"].as_str().unwrap();
    assert!(name.len() == 50 && name.starts_with(&"a".repeat(39)) && !name.contains("--"), "{name}");
    assert!(job["metadata"].get("generateName").is_none());
}

#[test]
fn a_chart_knows_the_kinds_that_charts_and_the_folder_bring() {
    let helm = r#"/bin/echo '
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rooms.a.io}
spec: {group: a.io, scope: Namespaced, names: {kind: Room}, versions: [{name: v1}]}'
case "$*" in *a.io/v1/Room*) /bin/echo '---
apiVersion: a.io/v1
kind: Room
metadata: {name: r104}' ;; esac"#;
    let folder = folder(helm, &[("web/Chart.yaml", "name: web")]);
    let rendered = web(&folder, &folder.path().join("helm"), "").unwrap();
    assert_eq!(names(&rendered), ["CustomResourceDefinition rooms.a.io", "Room r104"]);
    assert_eq!(rendered.objects[1].1["metadata"]["namespace"], "shop");
    assert_eq!(rendered.objects[0].1["metadata"].get("namespace"), None);
}

#[test]
fn whether_a_chart_asks_for_apis_is_known() {
    let files = [
        ("web/Chart.yaml", "name: web"),
        ("web/templates/a.yaml", "{{ .Capabilities.KubeVersion }}"),
        ("asks/charts/sub/templates/_a.tpl", "{{ .Capabilities.APIVersions.Has \"a/v1\" }}"),
        ("packed/charts/sub-1.0.0.tgz", ""),
    ];
    let folder = folder("/bin/echo 'Error: no' >&2; exit 1", &files);
    let asks = ["web", "asks", "packed"].map(|name| asks_for_apis(&folder.path().join(name)));
    assert_eq!(asks, [false, true, true]);
    let why = web(&folder, &folder.path().join("helm"), "").unwrap_err();
    assert!(why.why.ends_with("/web: no") && !why.asks_for_apis, "{why:?}");
}

/// With the real one: `HELM=/path/to/helm cargo test -p muster-roles real_helm -- --ignored`.
#[test]
#[ignore = "needs a helm, which HELM names"]
fn real_helm_renders_a_chart_and_says_what_is_wrong_with_one() {
    let helm = PathBuf::from(std::env::var_os("HELM").expect("HELM"));
    let template = "{{ if .Capabilities.APIVersions.Has \"batch/v1/Job\" }}\n\
                    apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-map}\n\
                    data: {seats: {{ .Values.seats | quote }}, version: {{ .Capabilities.KubeVersion.Version }}, by: {{ .Release.Service }}}\n\
                    {{ end }}";
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: rooms.a.io}\n\
                      spec: {group: a.io, scope: Cluster, names: {kind: Room}, versions: [{name: v1, served: true}]}\n";
    let room = "{{ if .Capabilities.APIVersions.Has \"a.io/v1/Room\" }}\n\
                apiVersion: a.io/v1\nkind: Room\nmetadata: {name: r104, namespace: {{ .Release.Namespace }}}\n{{ end }}";
    let test = "apiVersion: v1\nkind: Pod\nmetadata: {name: test, annotations: {helm.sh/hook: test}}\n";
    let job =
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: fill, annotations: {helm.sh/hook: pre-install}}\n";
    let chart = "apiVersion: v2\nname: shop\nversion: 1.0.0\n";
    let files = [
        ("web/Chart.yaml", chart),
        ("web/values.yaml", "seats: 1\n"),
        ("web/templates/map.yaml", template),
        ("web/templates/room.yaml", room),
        ("web/templates/test.yaml", test),
        ("web/templates/job.yaml", job),
        ("web/crds/rooms.yaml", definition),
    ];
    let folder = folder("", &files);
    let rendered = web(&folder, &helm, "seats: 12\n").unwrap();
    let told = names(&rendered);
    assert_eq!(told[..3], ["CustomResourceDefinition rooms.a.io", "ConfigMap web-map", "Room r104"]);
    assert!(told.len() == 4 && told[3].starts_with("Job fill-"), "{told:?}");
    let (place, map) = &rendered.objects[1];
    assert!(place.ends_with("/web: templates/map.yaml"), "{place}");
    assert_eq!(map["data"], json!({ "seats": "12", "version": "v1.36.3", "by": "Helm" }));
    assert_eq!((&map["metadata"]["namespace"], rendered.left_out.len()), (&json!("shop"), 0));
    // The kind has no namespace, so the object has none.
    assert_eq!(rendered.objects[2].1["metadata"].get("namespace"), None);

    let why = |file: &str, text: &str| {
        let path = folder.path().join("web").join(file);
        let before = fs::read_to_string(&path).ok();
        fs::write(&path, text).unwrap();
        let why = web(&folder, &helm, "").unwrap_err().why;
        before.map_or_else(|| fs::remove_file(&path), |text| fs::write(&path, text)).unwrap();
        why
    };
    let parse = why("templates/broken.yaml", "a: {{ if }}\n");
    assert!(parse.contains("/web: ") && parse.contains("templates/broken.yaml:1"), "{parse}");
    let required = why("templates/broken.yaml", "a: {{ required \"say the name\" .Values.name }}\n");
    assert!(required.contains("say the name"), "{required}");
    let dependency =
        format!("{chart}dependencies: [{{name: sub, version: 1.0.0, repository: 'https://192.0.2.1/'}}]\n");
    let lacking = why("Chart.yaml", &dependency);
    assert!(lacking.contains("missing in charts/ directory: sub"), "{lacking}");
    let other = why("Chart.yaml", &format!("{chart}kubeVersion: '>=9.0.0'\n"));
    assert!(other.contains("9.0.0"), "{other}");
}
