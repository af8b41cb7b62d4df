//! Programs of the user's that are run on this computer before and after plays: those in the folder `hooks/COMMAND` beside the
//! inventory, whose names say when.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_engine::hook::Hook;
use muster_engine::play::Play;

use crate::environment::Environment;
use crate::error::Error;
use crate::project::Project;

/// How long one may take.
const LONGEST: Duration = Duration::from_secs(600);

/// When one is run.
#[derive(Debug, PartialEq, Eq)]
struct When<'n> {
    is_before: bool,
    /// The name of the play, as [`slug`] makes it; `None`: the command as a whole.
    play: Option<&'n str>,
}

impl When<'_> {
    /// What the name of a file says: `before`, `after-install-the-applications`, `after.sh`.
    fn of(name: &str) -> Option<When<'_>> {
        let name = name.split('.').next().unwrap_or_default();
        let (when, play) = name.split_once('-').map_or((name, None), |(when, play)| (when, Some(play)));
        match when {
            "before" => Some(When { is_before: true, play }),
            "after" => Some(When { is_before: false, play }),
            _ => None,
        }
    }
}

/// The name of a play as that of a file: `install-the-applications`.
fn slug(play: &str) -> String {
    let letters = play.chars().map(|letter| if letter.is_alphanumeric() { letter } else { ' ' });
    let words: String = letters.flat_map(char::to_lowercase).collect();
    words.split_whitespace().collect::<Vec<_>>().join("-")
}

/// Gives the plays of a run the programs of the folder. `all`: every play of the command, of which those of the run were chosen.
///
/// # Errors
/// A file in the folder is no program, or its name is that of no play.
pub(crate) fn attach(
    plays: &mut [Play],
    all: &[Play],
    command: &str,
    project: &Project,
    environment: &Environment,
) -> Result<(), Error> {
    let command = command.split_whitespace().find(|word| *word != "muster").unwrap_or_default();
    let folder = project.inventory_dir.join("hooks").join(command);
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let shown = project.shown(&path);
        let is_known = |play: &str| all.iter().any(|known| slug(&known.name) == play);
        let Some(when) = When::of(&name).filter(|when| when.play.is_none_or(is_known)) else {
            let names: Vec<String> = all.iter().map(|play| slug(&play.name)).collect();
            return Err(Error::written(format!(
                "{shown}: the name says of no play of {command} that it is run before or after it"
            ))
            .hint(format!(
                "call it before or after, or before-PLAY or after-PLAY, where PLAY is one of {}",
                names.join(", ")
            )));
        };
        let can_be_run =
            fs::metadata(&path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
        if !can_be_run {
            return Err(Error::written(format!("{shown} is no program: it is no file, or may not be run"))
                .hint(format!("make it one (chmod +x {shown}), or take it out of the folder")));
        }
        let mut of_play =
            plays.iter_mut().filter(|play| when.play.is_none_or(|name| slug(&play.name) == name));
        // Of several with the same name, and of all, the first and the last.
        let found = if when.is_before { of_play.next() } else { of_play.last() };
        let Some(play) = found else { continue };
        let hook = Hook {
            name: shown,
            program: absolute(&path),
            folder: absolute(&project.inventory_dir),
            environment: variables(command, when.play.map(|_| play.name.as_str()), project, environment),
            files: BTreeMap::from([(
                "KUBECONFIG".to_owned(),
                absolute(&project.inventory_dir.join("artifacts/admin.conf")),
            )]),
            missing: "MUSTER_FAILED".to_owned(),
            limit: LONGEST,
        };
        if when.is_before { &mut play.before } else { &mut play.after }.push(hook);
    }
    Ok(())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The variables of a program's environment: the user's own, and what there is to know of the run.
fn variables(
    command: &str,
    play: Option<&str>,
    project: &Project,
    environment: &Environment,
) -> BTreeMap<String, String> {
    let mut variables = environment.variables();
    // It may lead to another cluster.
    variables.remove("KUBECONFIG");
    variables.extend([
        ("MUSTER_COMMAND".to_owned(), command.to_owned()),
        ("MUSTER_INVENTORY".to_owned(), project.identity().join(",")),
        ("MUSTER_PLAY".to_owned(), play.unwrap_or_default().to_owned()),
    ]);
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What plays with these names get of a folder with these files: what is before each, and after it.
    fn attached(files: &[(&str, u32)], chosen: &[&str]) -> Result<Vec<[Vec<String>; 2]>, Error> {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("inventory/hooks/setup-cluster");
        fs::create_dir_all(&folder).unwrap();
        for (name, mode) in files {
            fs::write(folder.join(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(*mode)).unwrap();
        }
        let play = |name: &str| Play { name: name.to_owned(), ..Play::default() };
        let all = ["Start etcd", "Upgrade some, one after the other", "Start etcd"].map(play);
        let mut plays: Vec<Play> = chosen.iter().map(|name| play(name)).collect();
        let project = Project::at(root.path());
        attach(
            &mut plays,
            &all,
            "setup-cluster",
            &project,
            &Environment::with(&[("KUBECONFIG", "/others")]),
        )?;
        let names = |hooks: &[Hook]| {
            hooks.iter().map(|hook| hook.name.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for hook in plays.iter().flat_map(|play| play.before.iter().chain(&play.after)) {
            assert!(hook.environment["MUSTER_INVENTORY"].ends_with("/inventory/hosts.ini"));
            assert!(!hook.environment.contains_key("KUBECONFIG") && hook.files["KUBECONFIG"].is_absolute());
        }
        Ok(plays.iter().map(|play| [names(&play.before), names(&play.after)]).collect())
    }

    #[test]
    fn the_name_of_a_file_says_when_it_is_run() {
        assert_eq!(slug("Upgrade the workers, some at a time"), "upgrade-the-workers-some-at-a-time");
        assert_eq!(When::of("before.sh"), Some(When { is_before: true, play: None }));
        assert_eq!(
            When::of("after-start-etcd.py"),
            Some(When { is_before: false, play: Some("start-etcd") })
        );
        assert_eq!((When::of("beforehand"), When::of("README.md")), (None, None));
        let files = [
            ("before", 0o755),
            ("before-start-etcd.sh", 0o755),
            ("after-start-etcd", 0o755),
            ("after", 0o755),
            ("after-upgrade-some-one-after-the-other", 0o755),
            (".after-nothing", 0o644),
        ];
        let plays =
            attached(&files, &["Start etcd", "Upgrade some, one after the other", "Start etcd"]).unwrap();
        let plays: Vec<(usize, String)> =
            plays.iter().map(|[before, after]| (before.len(), after.join(" "))).collect();
        let upgrade = "after-upgrade-some-one-after-the-other".to_owned();
        assert_eq!(plays, [(2, String::new()), (0, upgrade), (0, "after after-start-etcd".to_owned())]);
        // A play that is left out is neither begun nor ended; the command is.
        let plays = attached(&files[..4], &["Upgrade some, one after the other"]).unwrap();
        assert_eq!((plays[0][0].join(" "), plays[0][1].join(" ")), ("before".to_owned(), "after".to_owned()));
    }

    #[test]
    fn what_would_never_be_run_is_an_error() {
        let why = |name: &str, mode: u32| attached(&[(name, mode)], &["Start etcd"]).unwrap_err();
        let unknown = why("before-start-etdc", 0o755);
        assert!(
            unknown.message.contains("setup-cluster/before-start-etdc: the name says of no play"),
            "{unknown:?}"
        );
        assert!(
            unknown.hints[0].contains("one of start-etcd, upgrade-some-one-after-the-other"),
            "{unknown:?}"
        );
        assert!(why("README.md", 0o644).message.contains("README.md"));
        assert!(why("before", 0o644).hints[0].contains("chmod +x"));
    }
}
