//! Own things: the objects in a folder of the user's become a set, as those of applications are. They are applied, compared, and
//! removed when they are taken out of the folder. Its scripts are run after that.

mod scripts;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use muster_engine::prelude::*;
use muster_engine::run::Findings;
use muster_inventory::{HostVars, Inventory, Vars, VarsError};
use serde_json::{Value, json};
use serde_saphyr::Spanned;

use crate::apps::{self, cert_manager};
use crate::cluster;
use crate::objects::object::{Id, Object};
use crate::objects::{self, ObjectSet, built_in, parsed};
pub(crate) use scripts::NAME as SCRIPTS;
use scripts::Scripts;

/// The name of the set.
pub const NAME: &str = "extension";

/// The set with the definitions of kinds: it comes before the objects of these kinds, and goes after them.
pub(crate) const DEFINITIONS: &str = "extension-definitions";

/// The endings of files that are taken, and of those that are rendered before.
const TEXTS: [&str; 3] = [".yaml", ".yml", ".json"];
const TEMPLATES: [&str; 2] = [".yaml.j2", ".yml.j2"];

const NEEDED: &str = "objects of Kubernetes, each with apiVersion, kind and a name";

/// The objects of the folder.
#[derive(Debug, Default)]
struct Written {
    definitions: Vec<Value>,
    others: Vec<Value>,
    /// In which file and line each was written.
    places: BTreeMap<Id, String>,
    scripts: Scripts,
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
            let Written { definitions, others, scripts, .. } = &written;
            let wanted = !definitions.is_empty() || !others.is_empty() || !scripts.is_empty();
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

async fn apply(host: &Host, written: Written, may_be_there: impl Fn(&str) -> bool) -> Result<()> {
    let Written { definitions, others, places, scripts } = written;
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

/// The objects of the folder, namespaces first; `None` where there is no folder.
///
/// # Errors
/// In which file something is wrong, and what.
fn read(vars: &HostVars) -> Result<Option<Written>, String> {
    let folder = folder(vars).map_err(|error| error.to_string())?;
    let Some(files) = files(&folder) else { return Ok(None) };
    let mut written = Written::default();
    let has_scripts = files.iter().any(|path| path.extension().is_some_and(|ending| ending == "sh"));
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let is_of_objects = ends(&TEXTS) || ends(&TEMPLATES);
        // Others are there for the scripts.
        if name.starts_with('.') || path.is_dir() || !(is_of_objects || has_scripts) {
            continue;
        }
        let wrong = |error: String| format!("{}: {error}", path.display());
        // A pipe would be waited for.
        let found = fs::metadata(&path).map_err(|error| wrong(error.to_string()))?;
        if !found.is_file() {
            return Err(wrong("is no file".to_owned()));
        }
        if !is_of_objects {
            if found.len() > scripts::LARGEST {
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
        for (line, object) in objects_of(&text).map_err(wrong)? {
            let place = format!("{}:{line}", path.display());
            let id = Object::new(object.clone()).map(|object| object.id);
            let id = id.ok_or_else(|| format!("{place}: one has no apiVersion, no kind or no name"))?;
            if let Some(whose) = built_in::whose(&id) {
                return Err(format!("{place}: {id} is {whose}. {REMEDY}"));
            }
            if let Some(other) = written.places.insert(id.clone(), place.clone()) {
                return Err(format!("{place}: {id} is in {other} too"));
            }
            if object["kind"] == "CustomResourceDefinition" {
                written.definitions.push(object);
            } else {
                written.others.push(object);
            }
        }
    }
    written.others.sort_by_key(|object| object["kind"] != "Namespace");
    Ok(Some(written))
}

/// The objects of a file with the lines in which they begin, those of a list one by one.
fn objects_of(text: &str) -> Result<Vec<(u64, Value)>, String> {
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
    use super::*;
    use crate::preflight::fixture::variables;

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
