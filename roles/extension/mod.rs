//! Own things: the objects in a folder of the user's become a set, as those of applications are, and so does what comes of its charts.
//! They are applied, compared, and removed when they are taken out of the folder. Its scripts are run after that.

pub(crate) mod apis;
pub(crate) mod charts;
mod scripts;
mod template;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_artifacts::Bundle;
use muster_engine::prelude::*;
use muster_engine::run::Findings;
use muster_inventory::{HostVars, Inventory, Vars, VarsError};
use serde_json::{Value, json};
use serde_saphyr::Spanned;

use crate::apps::{self, cert_manager};
use crate::cluster;
use crate::common::cluster_vars;
use crate::helm;
use crate::kubectl::{Kubectl, kubectl};
use crate::objects::object::{Id, Object};
use crate::objects::{self, ObjectSet, built_in, parsed};
use apis::Apis;
use charts::{Chart, Rendered, Unrendered};
pub(crate) use scripts::NAME as SCRIPTS;
use scripts::Scripts;

/// The name of the set.
pub const NAME: &str = "extension";

/// The set with the definitions of kinds: it comes before the objects of these kinds, and goes after them.
pub(crate) const DEFINITIONS: &str = "extension-definitions";

/// The endings of files that are taken, and of those that are rendered before.
const TEXTS: [&str; 3] = [".yaml", ".yml", ".json"];
const TEMPLATES: [&str; 2] = [".yaml.j2", ".yml.j2"];

const NEEDED: &str = "objects of Kubernetes, each with apiVersion, kind and a name; charts, and their values";

/// What control planes tell each other when the charts have become objects.
const RENDERED: &str = "the charts are rendered";

/// The objects of the folder.
#[derive(Debug, Default)]
struct Written {
    definitions: Vec<Value>,
    others: Vec<Value>,
    /// In which file and line each was written.
    places: BTreeMap<Id, String>,
    /// What is to become objects as well.
    charts: Vec<Chart>,
    scripts: Scripts,
}

impl Written {
    /// Takes an object that was written at some place.
    ///
    /// # Errors
    /// It is none, is somebody else's, or is there already.
    fn take(&mut self, place: String, object: Value) -> Result<(), String> {
        let id = Object::new(object.clone()).map(|object| object.id);
        let id = id.ok_or_else(|| format!("{place}: one has no apiVersion, no kind or no name"))?;
        if let Some(whose) = built_in::whose(&id) {
            return Err(format!("{place}: {id} is {whose}. {REMEDY}"));
        }
        if let Some(other) = self.places.insert(id.clone(), place.clone()) {
            return Err(format!("{place}: {id} is in {other} too"));
        }
        if object["kind"] == "CustomResourceDefinition" {
            self.definitions.push(object);
        } else {
            self.others.push(object);
        }
        Ok(())
    }

    /// Takes several. Namespaces come first.
    ///
    /// # Errors
    /// As of [`Written::take`].
    fn take_all(&mut self, objects: impl IntoIterator<Item = (String, Value)>) -> Result<(), String> {
        objects.into_iter().try_for_each(|(place, object)| self.take(place, object))?;
        self.others.sort_by_key(|object| object["kind"] != "Namespace");
        Ok(())
    }
}

/// What is wrong in the folder, before any machine is contacted.
pub(crate) fn check(inventory: &Inventory, vars: &Vars) -> Result<Findings, VarsError> {
    let Some(host) = inventory.group("kube_control_plane").first().copied() else {
        return Ok(Findings::default());
    };
    let vars = vars.host(host)?;
    let problem = |found: String, needed: &str, remedy: &str| Problem {
        check: NAME.to_owned(),
        found,
        needed: needed.to_owned(),
        remedy: remedy.to_owned(),
    };
    let wrong = read(&vars).err();
    let wrong = wrong.map(|found| problem(found, NEEDED, "correct the file, or take it out of the folder"));
    Ok(Findings { problems: wrong.into_iter().collect(), warnings: Vec::new() })
}

/// Whether there are charts, which only helm can render.
pub(crate) fn has_charts(vars: &HostVars) -> bool {
    let files = folder(vars).ok().and_then(|folder| files(&folder)).unwrap_or_default();
    files.iter().any(|path| !is_hidden(path) && charts::is_chart(path))
}

/// What is wrong with charts, before any machine is contacted; and what of them is not done. What the cluster's APIs are is not known
/// then: where a chart that asks for them cannot be rendered that is told, and tried again when they are.
pub(crate) fn check_charts(
    inventory: &Inventory,
    vars: &Vars,
    bundle: &Arc<Bundle>,
    kube_version: &str,
) -> Result<Findings, VarsError> {
    let mut findings = Findings::default();
    let Some(host) = inventory.group("kube_control_plane").first().copied() else { return Ok(findings) };
    // What is wrong besides is told by `check`.
    let Ok(Some(mut written)) = read(&vars.host(host)?) else { return Ok(findings) };
    if written.charts.is_empty() {
        return Ok(findings);
    }
    let problem = |found: String, needed: &str, remedy: &str| Problem {
        check: NAME.to_owned(),
        found,
        needed: needed.to_owned(),
        remedy: remedy.to_owned(),
    };
    let helm = match helm::here(bundle, kube_version) {
        Ok(helm) => helm,
        Err((found, remedy)) => {
            findings.problems.push(problem(
                found,
                "helm, which renders your charts on this computer",
                &remedy,
            ));
            return Ok(findings);
        }
    };
    let needed = "charts that helm can render";
    match charts::rendered(&helm, &written.charts, Apis::of_version(kube_version), &written.definitions) {
        Ok(Rendered { objects, left_out }) => {
            let wrong = written.take_all(objects).err();
            findings.problems.extend(wrong.map(|found| problem(found, NEEDED, CORRECT)));
            let told = left_out.into_iter().map(|what| {
                problem(what, "nothing", "muster does not run it: run it yourself if it is to be done")
            });
            findings.warnings.extend(told);
        }
        Err(Unrendered { why, asks_for_apis: true }) => {
            let later = "it is tried again when the cluster has told its APIs, for which the chart asks";
            findings.warnings.push(problem(why, needed, later));
        }
        Err(Unrendered { why, asks_for_apis: false }) => {
            findings.problems.push(problem(why, needed, CORRECT))
        }
    }
    Ok(findings)
}

/// The objects of the folder are in the cluster, and those that have left it are not.
pub(crate) async fn run(host: &Host) -> Result<()> {
    if !host.in_group("kube_control_plane") {
        return Ok(());
    }
    let of = cluster::speaker(host).await?;
    let written = match read(of.all_vars()) {
        Ok(written) => written,
        Err(wrong) => return apps::put_off(host, NAME, Failure::new(wrong, "correct the file")).await,
    };
    let may_be_there = |set: &str| objects::is_there(host, set) != Some(false);
    match written {
        // Whoever has no folder may be on another computer than the one that has it.
        None if objects::is_there(host, NAME) == Some(true) => {
            let warn = || async {
                let folder = folder(of.all_vars())?;
                host.warn(format!(
                    "objects of your own are in the cluster, and the folder {} is not here: they stay as they are. An empty \
                     folder removes them",
                    folder.display()
                ));
                Ok(())
            };
            host.cluster().once(NAME, warn).await.map(drop)
        }
        None => Ok(()),
        Some(written) => {
            let Written { definitions, others, scripts, charts, .. } = &written;
            let wanted =
                !(definitions.is_empty() && others.is_empty() && charts.is_empty() && scripts.is_empty());
            if !wanted && ![NAME, DEFINITIONS, SCRIPTS].into_iter().any(may_be_there) {
                return Ok(());
            }
            cluster::may_set_up(host).await?;
            match apply(host, written, may_be_there).await {
                Err(failure) => apps::put_off(host, NAME, failure).await,
                done => done,
            }
        }
    }
}

async fn apply(host: &Host, mut written: Written, may_be_there: impl Fn(&str) -> bool) -> Result<()> {
    if !written.charts.is_empty() {
        cluster::let_leader_go_first(host, RENDERED).await?;
        let rendered = host.cluster().once(RENDERED, || render(host, &written)).await?;
        host.reached(RENDERED);
        written.take_all(rendered.objects.iter().cloned()).map_err(|wrong| Failure::new(wrong, CORRECT))?;
    }
    let Written { definitions, others, places, scripts, .. } = written;
    let no_definitions = definitions.is_empty();
    let own = |name, objects| -> Result<ObjectSet> {
        Ok(ObjectSet::of(name, objects)?.written_at(places.clone()).refusing(somebody_elses))
    };
    if !no_definitions {
        own(DEFINITIONS, definitions)?.ensure(host).await?;
    }
    if others.iter().any(cert_manager::is_its) {
        cert_manager::answers(host).await?;
    }
    if !others.is_empty() {
        own(NAME, others)?.ensure(host).await?;
    } else if may_be_there(NAME) {
        own(NAME, others)?.absent().ensure(host).await?;
    }
    if no_definitions && may_be_there(DEFINITIONS) {
        own(DEFINITIONS, Vec::new())?.absent().ensure(host).await?;
    }
    scripts.ensure(host, may_be_there(SCRIPTS)).await
}

/// What comes of the charts in this cluster; in check mode, where none is there yet, in one of that version.
async fn render(host: &Host, written: &Written) -> Result<Rendered> {
    let version = cluster_vars(host)?.kube_version;
    let helm = helm::here(host.bundle(), &version).map_err(|(found, remedy)| Failure::new(found, remedy))?;
    let apis = match Kubectl::find(host).await? {
        Some(kubectl) => {
            let told = kubectl!(include_str!("apis.sh"), [] as [&str; 0]);
            let told = kubectl.query("the APIs of the cluster, for which charts ask", told).await?;
            Apis::told(&told).map_err(|wrong| Failure::new(wrong, ""))?
        }
        None => Apis::of_version(&version),
    };
    let (charts, definitions) = (written.charts.clone(), written.definitions.clone());
    let rendered = charts::aside(move || charts::rendered(&helm, &charts, apis, &definitions)).await?;
    rendered.map_err(|unrendered| Failure::new(unrendered.why, CORRECT))
}

/// Why an object that was found is not the user's own. One that the user has applied by hand is.
fn somebody_elses(wanted: Option<&Value>, found: &Value) -> Option<String> {
    wanted?;
    let metadata = &found["metadata"];
    let release = metadata["annotations"]["meta.helm.sh/release-name"].as_str();
    let whose = match (release, built_in::maker(found)) {
        (Some(release), _) => format!("belongs to the release {release} of Helm"),
        (None, Some(program)) => format!("was made by {program}"),
        (None, None) if objects::set_of(found).is_none() && objects::is_musters(found) => {
            "was made by muster".to_owned()
        }
        (None, None) => return None,
    };
    let [kind, name] = [&found["kind"], &metadata["name"]].map(|text| text.as_str().unwrap_or_default());
    Some(format!("{kind} {name} {whose}. {REMEDY}"))
}

/// What is to be done with an object that is somebody else's.
const REMEDY: &str = "Take it out of the file, or call it something else";

/// What is to be done with a chart that helm does not take.
const CORRECT: &str = "correct the chart or its values, or take it out of the folder";

fn folder(vars: &HostVars) -> Result<PathBuf, VarsError> {
    let folder = vars.get("extension_dir")?;
    Ok(folder.and_then(|folder| folder.as_str().map(PathBuf::from)).unwrap_or_default())
}

/// The files of a folder by their names; `None` where there is no folder.
fn files(folder: &Path) -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).ok()?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    Some(files)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// The namespaces of charts, by the names of their releases.
fn namespaces(vars: &HostVars) -> Result<BTreeMap<String, String>, String> {
    let name = "extension_chart_namespaces";
    let Some(value) = vars.get(name).map_err(|error| error.to_string())? else { return Ok(BTreeMap::new()) };
    let value = value.to_json();
    serde_json::from_value(value.clone())
        .map_err(|_| format!("{name} is {value}, and should be the namespaces of charts: {{web: shop}}"))
}

/// The objects of the folder, namespaces first, and its charts; `None` where there is no folder.
///
/// # Errors
/// In which file something is wrong, and what.
fn read(vars: &HostVars) -> Result<Option<Written>, String> {
    let folder = folder(vars).map_err(|error| error.to_string())?;
    let Some(files) = files(&folder) else { return Ok(None) };
    let mut written = Written::default();
    let mut found = charts::Found::default();
    let has_scripts = files.iter().any(|path| path.extension().is_some_and(|ending| ending == "sh"));
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let is_of_objects = ends(&TEXTS) || ends(&TEMPLATES);
        // Others are there for the scripts.
        if is_hidden(&path) {
            continue;
        }
        if charts::is_chart(&path) {
            found.take_chart(path)?;
            continue;
        }
        if path.is_dir() || !(is_of_objects || has_scripts) {
            continue;
        }
        let wrong = |error: String| format!("{}: {error}", path.display());
        // A pipe would be waited for.
        let metadata = fs::metadata(&path).map_err(|error| wrong(error.to_string()))?;
        if !metadata.is_file() {
            return Err(wrong("is no file".to_owned()));
        }
        if !is_of_objects {
            if metadata.len() > scripts::LARGEST {
                return Err(wrong(scripts::TOO_LARGE.to_owned()));
            }
            let content = fs::read(&path).map_err(|error| wrong(error.to_string()))?;
            written.scripts.take(&name, content).map_err(wrong)?;
            continue;
        }
        let mut text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        if ends(&TEMPLATES) {
            text = vars.render(&text, &name, &json!({})).map_err(|error| wrong(error.to_string()))?;
        }
        if let Some(chart) = charts::values_for(&name) {
            found.take_values(chart, path.clone(), text)?;
            continue;
        }
        let objects = objects_of(&text).map_err(wrong)?;
        let placed = |(line, object)| (format!("{}:{line}", path.display()), object);
        written.take_all(objects.into_iter().map(placed))?;
    }
    written.charts = found.charts(&namespaces(vars)?)?;
    Ok(Some(written))
}

/// The objects of a file with the lines in which they begin, those of a list one by one.
pub(crate) fn objects_of(text: &str) -> Result<Vec<(u64, Value)>, String> {
    let documents: Vec<Spanned<Value>> = parsed(text)?;
    let mut objects = Vec::new();
    for Spanned { value: mut document, referenced, .. } in documents {
        match document.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) if document["kind"] == "List" => {
                objects.extend(items.into_iter().map(|item| (referenced.line(), item)));
            }
            _ if document.is_null() => {}
            _ => objects.push((referenced.line(), document)),
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use muster_artifacts::Arch;

    use super::*;
    use crate::catalogue::{CATALOGUE, needed_by};
    use crate::preflight::fixture::{inventory_and_vars, variables};

    /// What is read of a folder with these files.
    fn folder_with(files: &[(&str, &str)]) -> Result<Option<Written>, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        read(&variables(&format!("extension_dir: {}\nroom: '104'\n", dir.path().display())))
    }

    const MAP: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: x}}";

    #[test]
    fn objects_are_taken_in_an_order_that_works() {
        let files = [
            ("1.yaml", MAP),
            ("2.yml", "{apiVersion: v1, kind: Namespace, metadata: {name: x}}\n---\n# nothing\n"),
            (
                "3.json",
                "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"a/v1\", \"kind\": \"CustomResourceDefinition\", \"metadata\": {\"name\": \"d\"}}]}",
            ),
            ("4.yaml.j2", "{apiVersion: v1, kind: Secret, metadata: {name: 'room-{{ room }}'}}"),
            ("README.md", "# not: [an object"),
            (".5.yaml", "not: [an object"),
        ];
        let written = folder_with(&files).unwrap().unwrap();
        let names = |objects: &[Value]| {
            objects
                .iter()
                .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&written.definitions), ["d"]);
        assert_eq!(names(&written.others), ["x", "a", "room-104"]);
    }

    #[test]
    fn without_a_folder_nothing_is_wanted_and_with_an_empty_one_nothing_is_left() {
        assert!(read(&variables("extension_dir: /nowhere\n")).unwrap().is_none());
        assert!(folder_with(&[]).unwrap().unwrap().others.is_empty());
    }

    #[test]
    fn what_is_no_object_is_told_with_its_file() {
        let why = |files: &[(&str, &str)]| folder_with(files).unwrap_err();
        assert!(
            why(&[("a.yaml", "kind: ConfigMap\n")])
                .ends_with("a.yaml:1: one has no apiVersion, no kind or no name")
        );
        assert!(why(&[("a.yaml", "[")]).contains("a.yaml: "));
        assert!(why(&[("a.yaml.j2", "{{ nobody }}")]).contains("nobody"));
        let secret = "kind: Secret\nstringData:\n  password: s3cret\n  token: [\nmetadata: {name: a}\n";
        let told = why(&[("a.yaml", secret)]);
        assert!(told.contains("a.yaml: ") && told.contains("line 4") && !told.contains("s3cret"), "{told}");
        let twice = why(&[("a.yaml", MAP), ("b.yaml", MAP)]);
        assert!(
            twice.contains("b.yaml:1: ConfigMap x/a is in ") && twice.ends_with("a.yaml:1 too"),
            "{twice}"
        );
    }

    /// A folder with a chart `web`, values for it, a script, and a chart that nobody sees.
    fn with_chart() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["web/templates", ".old"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let files = [
            ("web/Chart.yaml", "name: web"),
            ("web/templates/a.yaml", "{{ .Values.a }}"),
            ("web.values.yaml.j2", "seats: {{ seats }}"),
            (".old/Chart.yaml", "name: old"),
            ("a.sh", "true"),
        ];
        files.iter().for_each(|(name, text)| fs::write(dir.path().join(name), text).unwrap());
        dir
    }

    #[test]
    fn charts_are_taken_with_their_values_and_namespaces() {
        let dir = with_chart();
        let vars =
            |more: &str| variables(&format!("extension_dir: {}\nseats: 12\n{more}", dir.path().display()));
        let written = read(&vars("extension_chart_namespaces: {web: shop}")).unwrap().unwrap();
        let [chart] = &written.charts[..] else { panic!("{:?}", written.charts) };
        assert_eq!([&chart.name, &chart.namespace, &chart.values], ["web", "shop", "seats: 12"]);
        assert!(written.others.is_empty() && !written.scripts.is_empty());
        let wrong = read(&vars("extension_chart_namespaces: shop")).unwrap_err();
        assert!(wrong.contains("should be the namespaces of charts"), "{wrong}");
    }

    #[test]
    fn without_helm_charts_are_a_problem_before_any_machine_is_contacted() {
        let dir = with_chart();
        let yaml = format!("extension_dir: {}\nseats: 12\n", dir.path().display());
        let (inventory, vars) = inventory_and_vars("a\n[kube_control_plane]\na\n[kube_node]\na\n", &yaml);
        let bundle = Arc::new(Bundle::empty("/nowhere"));
        let version = CATALOGUE.default_release();
        let found = check_charts(&inventory, &vars, &bundle, version).unwrap();
        let [problem] = &found.problems[..] else { panic!("{found:?}") };
        assert!(problem.found.starts_with("the bundle /nowhere has no helm for "), "{problem:?}");
        assert!(problem.remedy.starts_with("get it: muster bundle fetch --with helm --arch "), "{problem:?}");
        // So it is fetched, although no machine gets it.
        let whole = CATALOGUE.release(version, Arch::Amd64).unwrap();
        assert!(needed_by(&inventory, &vars, whole.clone()).file("helm").is_some());
        fs::remove_file(dir.path().join("web/Chart.yaml")).unwrap();
        assert!(needed_by(&inventory, &vars, whole).file("helm").is_none());
    }

    #[test]
    fn what_is_for_no_script_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("notes")).unwrap();
        let vars = variables(&format!("extension_dir: {}", dir.path().display()));
        assert!(read(&vars).is_ok());
        fs::write(dir.path().join("a.sh"), "true").unwrap();
        assert!(read(&vars).unwrap_err().contains("notes: No such file"));
        fs::remove_file(dir.path().join("notes")).unwrap();
        // Nobody writes into the pipe.
        let pipe = dir.path().join("pipe.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read(&vars).unwrap_err().contains("pipe.yaml: is no file"));
        fs::remove_file(&pipe).unwrap();
        fs::File::create(dir.path().join("disk.img")).unwrap().set_len(1 << 40).unwrap();
        assert!(read(&vars).unwrap_err().contains("1 MiB"));
    }

    #[test]
    fn what_every_cluster_has_is_refused_with_its_line() {
        let text =
            format!("# ours\n{MAP}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: default}}\n");
        let why = folder_with(&[("a.yaml", &text)]).unwrap_err();
        assert!(why.ends_with("a.yaml:4: Namespace default is Kubernetes' own. Take it out of the file, or call it something else"), "{why}");
    }

    #[test]
    fn what_is_of_helm_or_of_an_application_is_left_alone() {
        let found = |metadata: Value| {
            let found = json!({ "kind": "ConfigMap", "metadata": metadata });
            somebody_elses(Some(&Value::Null), &found)
        };
        assert_eq!(found(json!({ "name": "a" })), None);
        assert_eq!(found(json!({ "name": "a", "labels": { objects::SET: NAME } })), None);
        let managed = |manager: &str| json!([{ "manager": manager, "operation": "Apply", "fieldsV1": {} }]);
        let by_kubeadm = found(json!({ "name": "a", "managedFields": managed("kubeadm") })).unwrap();
        assert!(by_kubeadm.starts_with("ConfigMap a was made by kubeadm. Take it out"), "{by_kubeadm}");
        let by_muster = json!({ "name": "a", "managedFields": managed("muster") });
        assert!(found(by_muster.clone()).unwrap().contains("was made by muster"));
        let mut own = by_muster;
        own["labels"] = json!({ objects::SET: NAME });
        assert_eq!(found(own), None);
        let helm = json!({ "name": "a", "annotations": { "meta.helm.sh/release-name": "web" } });
        assert!(found(helm).unwrap().starts_with("ConfigMap a belongs to the release web of Helm"));
    }
}
