//! The scripts in the folder of the user's: each is run on a control plane, once, and again when it or a file beside it has changed.
//! Which have been run is written down in the cluster, so it does not matter which computer or which control plane it was.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_artifacts::Sha256;
use muster_engine::event::Change;
use muster_engine::prelude::*;
use serde_json::{Value, json};

use crate::cluster;
use crate::kubectl::{Kubectl, kubectl};
use crate::objects::{ObjectSet, SET, record_name};

/// Under which it is written down which scripts have been run, as a set of objects is.
pub(crate) const NAME: &str = "extension-scripts";

/// How large all files together may be, in bytes: they go along with the program that runs the scripts.
pub(super) const LARGEST: u64 = 1 << 20;

pub(super) const TOO_LARGE: &str = "scripts and the files beside them are larger than 1 MiB together";

/// How long a script may take. What it began is ended then: the next run would wait for it.
const LONGEST: Duration = Duration::from_secs(600);

/// Scripts, and the files that are brought along with them, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scripts {
    scripts: BTreeMap<String, Vec<u8>>,
    beside: BTreeMap<String, Vec<u8>>,
}

impl Scripts {
    /// Takes a file of the folder.
    ///
    /// # Errors
    /// The name of a script cannot be written down, or all together have become too large.
    pub(super) fn take(&mut self, name: &str, content: Vec<u8>) -> Result<(), String> {
        let is_script = name.ends_with(".sh");
        // What the key of a ConfigMap may be.
        let is_key = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if is_script && !name.chars().all(is_key) {
            return Err("the name of a script may have letters, digits, \".\", \"-\" and \"_\"".to_owned());
        }
        let files = if is_script { &mut self.scripts } else { &mut self.beside };
        files.insert(name.to_owned(), content);
        let size: u64 = self.scripts.values().chain(self.beside.values()).map(|file| file.len() as u64).sum();
        if size > LARGEST { Err(TOO_LARGE.to_owned()) } else { Ok(()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.scripts.is_empty()
    }

    /// They have been run, in the order of their names; nothing is written down where there are none.
    pub(super) async fn ensure(self, host: &Host, may_be_there: bool) -> Result<()> {
        if self.is_empty() {
            return match may_be_there {
                true => ObjectSet::of(NAME, Vec::new())?.absent().ensure(host).await,
                false => Ok(()),
            };
        }
        cluster::let_leader_go_first(host, NAME).await?;
        let run = || async {
            match Kubectl::find(host).await? {
                Some(kubectl) => {
                    // With some time for what is written down after each.
                    let limit = (LONGEST + Duration::from_secs(60))
                        * u32::try_from(self.scripts.len()).unwrap_or(u32::MAX);
                    kubectl.step("Run your scripts").detached().limit(limit).ensure(self).await.map(drop)
                }
                None => {
                    host.not_yet("your scripts");
                    Ok(())
                }
            }
        };
        host.cluster().once(NAME, run).await?;
        host.reached(NAME);
        Ok(())
    }

    /// What is written down of each script that has been run: of its content, and that of the files beside it.
    fn digests(&self) -> BTreeMap<&str, String> {
        let beside: String =
            self.beside.iter().map(|(name, content)| format!("{name}:{}\n", Sha256::of(content))).collect();
        let digest = |content: &[u8]| Sha256::of(format!("{}\n{beside}", Sha256::of(content)).as_bytes());
        self.scripts.iter().map(|(name, content)| (name.as_str(), digest(content).to_string())).collect()
    }

    fn planned(&self, run: &BTreeMap<String, String>) -> Plan {
        let wanted = self.digests();
        let mut changes = Vec::new();
        let mut told = Vec::new();
        let mut done: BTreeMap<&str, &str> = run
            .iter()
            .map(|(name, digest)| (name.as_str(), digest.as_str()))
            .filter(|(name, _)| wanted.contains_key(name))
            .collect();
        if done.len() < run.len() {
            told.extend([String::new(), record(&done)]);
            changes.push(self.change("scripts that are gone: forgotten".to_owned()));
        }
        for (name, digest) in &wanted {
            let before = done.insert(name, digest);
            if before == Some(digest.as_str()) {
                continue;
            }
            let why = if before.is_some() { "run again: it or a file beside it has changed" } else { "run" };
            changes.push(self.change(format!("{name}: {why}")));
            told.extend([(*name).to_owned(), record(&done)]);
        }
        if changes.is_empty() {
            return Plan::nothing();
        }
        let files: Vec<_> = self.scripts.iter().chain(&self.beside).collect();
        let args = [LONGEST.as_secs().to_string(), files.len().to_string()]
            .into_iter()
            .chain(files.into_iter().flat_map(|(name, content)| [name.clone(), STANDARD.encode(content)]))
            .chain(told);
        Plan { changes, script: Some(kubectl!(include_str!("scripts.sh"), args)), uploads: Vec::new() }
    }

    fn change(&self, what: String) -> Change {
        Change { resource: self.label(), what, diff: None, momentary: false }
    }
}

/// The object that says which scripts have been run.
fn record(done: &BTreeMap<&str, &str>) -> String {
    let metadata = json!({ "name": record_name(NAME), "namespace": "kube-system", "labels": { SET: NAME } });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": done }).to_string()
}

impl Resource for Scripts {
    fn label(&self) -> String {
        "scripts of the folder extension".into()
    }

    fn probe(&self) -> Probe {
        Probe::script(kubectl!(
            r#"kubectl get configmap "$1" --namespace kube-system --ignore-not-found -o 'jsonpath={.data}'"#,
            [record_name(NAME)]
        ))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        let found = answer.output.trim();
        if answer.status != 0 {
            return Err(format!("kubectl cannot look which have been run: {found}"));
        }
        let found: Value = serde_json::from_str(found).unwrap_or_default();
        let run = serde_json::from_value(found).unwrap_or_default();
        Ok(self.planned(&run))
    }

    fn desired(&self) -> String {
        format!("{:?}", self.digests())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts(files: &[(&str, &str)]) -> Scripts {
        let mut scripts = Scripts::default();
        files.iter().for_each(|(name, text)| scripts.take(name, text.as_bytes().to_vec()).unwrap());
        scripts
    }

    fn told(scripts: &Scripts, run: &BTreeMap<String, String>) -> Vec<String> {
        scripts.planned(run).changes.into_iter().map(|change| change.what).collect()
    }

    #[test]
    fn a_script_is_run_once_and_again_when_something_has_changed() {
        let first = scripts(&[("20-b.sh", "b"), ("10-a.sh", "a"), ("values.txt", "1")]);
        assert_eq!(told(&first, &BTreeMap::new()), ["10-a.sh: run", "20-b.sh: run"]);
        let run: BTreeMap<String, String> =
            first.digests().into_iter().map(|(name, digest)| (name.to_owned(), digest)).collect();
        assert!(told(&first, &run).is_empty());
        let changed = scripts(&[("20-b.sh", "b"), ("10-a.sh", "c"), ("values.txt", "1")]);
        assert_eq!(told(&changed, &run), ["10-a.sh: run again: it or a file beside it has changed"]);
        let beside = scripts(&[("20-b.sh", "b"), ("10-a.sh", "a"), ("values.txt", "2")]);
        assert_eq!(told(&beside, &run).len(), 2);
        let fewer = scripts(&[("20-b.sh", "b"), ("values.txt", "1")]);
        assert_eq!(told(&fewer, &run), ["scripts that are gone: forgotten"]);
    }

    #[test]
    fn a_script_that_takes_too_long_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("extension").display().to_string();
        let program = include_str!("scripts.sh").replace("/var/lib/muster/extension", &folder);
        let program = format!("set -eu\nkubectl() {{ cat; }}\n{program}");
        let run = |script: &str| {
            let script = STANDARD.encode(script);
            let words = ["-c", &program, "sh", "1", "1", "a.sh", &script, "a.sh", "done"];
            let ended = std::process::Command::new("sh").args(words).output().unwrap();
            (
                ended.status.success(),
                String::from_utf8(ended.stdout).unwrap(),
                String::from_utf8(ended.stderr).unwrap(),
            )
        };
        assert_eq!(run("#!/bin/sh\ntrue\n"), (true, "done".into(), String::new()));
        let (done, _, told) = run("#!/bin/sh\nsleep 600\n");
        assert!(!done && told.contains("a.sh was ended, because it took longer than 1 seconds"), "{told}");
        let (done, _, told) = run("#!/bin/sh\nexit 3\n");
        assert!(
            !done && told.contains("a.sh ended with status 3") && !dir.path().join("extension").exists(),
            "{told}"
        );
    }

    #[test]
    fn what_cannot_be_brought_along_is_told() {
        let mut scripts = Scripts::default();
        assert!(scripts.take("a b.sh", Vec::new()).unwrap_err().contains("name of a script"));
        scripts.take("picture.png", vec![0; 1 << 20]).unwrap();
        assert!(scripts.take("a.sh", vec![0]).unwrap_err().contains("1 MiB"));
    }
}
