//! Declarations that come from a git repository. What is fetched is looked at beside the clusters' folders, and of each cluster it takes
//! the place of what is there only where it is whole: so whatever goes wrong leaves in force what was there before.
//!
//! Nothing is checked out by git itself: neither hooks, nor filters, links and submodules of a repository mean anything here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use muster_files::write_whole;
use muster_openstack::check_name;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clusters::cluster::Cluster;
use crate::environment::{Environment, shown};
use crate::error::CommandError;
use crate::output::text::{duration, harmless};
use crate::reconcile::{now, time_of};
use crate::runtime::runtime;

/// How long git may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The largest file that is taken, in bytes: declarations and variables are text that people write.
const LARGEST: u64 = 1 << 20;

/// What was fetched, and what is in force.
const FETCHED: &str = "refs/muster/fetched";
const ACCEPTED: &str = "refs/muster/accepted";

const DECLARATION: &str = "cluster.yml";

const NOT_TAKEN: &str = "what the repository has of it was not taken";

/// What muster writes itself. The first two may be in the repository, for a computer that has none yet; the others never count.
const KEPT_HERE: [&str; 2] = ["identity.yml", "images.yml"];
const NEVER: [&str; 3] = ["inventory/hosts.yml", "inventory/.muster/", "inventory/artifacts/"];

/// A repository with declarations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Git {
    url: String,
    /// The branch; that which the repository itself names where there is none.
    branch: Option<String>,
    /// Whether only commits count that git knows the signature of.
    verifies: bool,
}

/// What is known of pulls, in `clusters/.muster/git.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pulled {
    url: String,
    /// The commit that is in force.
    commit: Option<String>,
    /// When the repository was reached last, and what it has was good, in seconds since 1970; never is 0.
    pub(crate) at: u64,
    /// Why what is there now was not taken.
    pub(crate) wrong: Option<String>,
    /// Clusters whose part of it was not taken, each with the reason.
    refused: BTreeMap<String, String>,
    /// The files of each cluster that came from there.
    files: BTreeMap<String, Vec<String>>,
}

impl Pulled {
    /// What the last pull left; nothing where there was none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn known(environment: &Environment) -> Result<Option<Self>, CommandError> {
        let path = Place::of(environment)?.state();
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, &error)),
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
                CommandError::failed(format!("{} cannot be understood: {error}", shown(&path)))
                    .hint("remove the file: the next pull takes declarations that are the same as those here")
            }),
        }
    }

    /// Whether not all that the repository has is in force.
    pub(crate) fn fails(&self) -> bool {
        self.wrong.is_some() || !self.refused.is_empty()
    }

    /// What there is to say that was not so after the last one.
    pub(crate) fn news(&self, last: Option<&Self>) -> Vec<String> {
        let mut lines = Vec::new();
        if self.commit != last.and_then(|last| last.commit.clone()) {
            lines.extend(self.commit.iter().map(|commit| format!("declarations of the commit {commit}")));
        }
        if self.wrong.as_ref() != last.and_then(|last| last.wrong.as_ref()) {
            lines.push(match &self.wrong {
                Some(why) => format!("declarations stay as they are: {why}"),
                None => "declarations are pulled again".to_owned(),
            });
        }
        let before = |name: &str| last.and_then(|last| last.refused.get(name));
        let new = self.refused.iter().filter(|(name, why)| before(name) != Some(*why));
        lines.extend(new.map(|(name, why)| not_taken(name, why)));
        lines
    }

    /// It in a line, and one for each cluster that was not taken.
    pub(crate) fn lines(&self) -> Vec<String> {
        let commit = self.commit.as_deref().unwrap_or("none");
        let ago = duration(Duration::from_secs(now().saturating_sub(self.at)));
        let pulled = if self.at == 0 { "never pulled".to_owned() } else { format!("pulled {ago} ago") };
        let wrong = self.wrong.iter().map(|why| format!("; {why}")).collect::<String>();
        let line = format!("declarations of {}: commit {commit}, {pulled}{wrong}", self.url);
        std::iter::once(line).chain(self.refused.iter().map(|(name, why)| not_taken(name, why))).collect()
    }

    /// It for programs.
    pub(crate) fn report(&self) -> Value {
        json!({
            "url": self.url,
            "commit": self.commit,
            "pulled": (self.at != 0).then(|| time_of(self.at)),
            "wrong": self.wrong,
            "refused": self.refused,
        })
    }
}

fn not_taken(name: &str, why: &str) -> String {
    format!("{name}: {NOT_TAKEN}: {why}")
}

/// Where all of it is on this computer.
struct Place {
    here: PathBuf,
}

impl Place {
    fn of(environment: &Environment) -> Result<Self, CommandError> {
        Ok(Self { here: environment.here()?.to_owned() })
    }

    fn clusters(&self) -> PathBuf {
        self.here.join("clusters")
    }

    fn own(&self, name: &str) -> PathBuf {
        self.clusters().join(".muster").join(name)
    }

    fn state(&self) -> PathBuf {
        self.own("git.json")
    }

    fn repository(&self) -> PathBuf {
        self.own("git")
    }

    /// The folder in which what was fetched is looked at: as if commands were typed there.
    fn looked_at(&self) -> PathBuf {
        self.own("new")
    }

    /// Makes the folder, of which nothing is meant to be committed, and waits until no other loop pulls into it.
    fn lock(&self) -> Result<File, CommandError> {
        let path = self.own("git.lock");
        let lock = || -> io::Result<File> {
            fs::create_dir_all(self.own(""))?;
            fs::write(self.own(".gitignore"), "*\n")?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error| failed("lock", &path, &error))
    }
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    cluster: String,
    /// Its path within the cluster's folder.
    path: String,
    object: String,
    /// Why it may not be taken, and nothing of its cluster.
    wrong: Option<String>,
}

impl Git {
    /// `URL`, `URL#BRANCH`.
    ///
    /// # Errors
    /// That is no repository's address, or holds a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (url, branch) = match text.rsplit_once('#') {
            Some((url, branch)) => (url, Some(branch.to_owned())),
            None => (text, None),
        };
        if url.is_empty() || url.starts_with('-') {
            return Err("write the address of a git repository, and #BRANCH behind it if need be".to_owned());
        }
        let login = url.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'));
        if login.is_some_and(|(login, _)| login.contains(':')) {
            return Err("everybody on this computer could read the password in it: let a credential helper of git's, or a key of SSH, \
                        log in"
                .to_owned());
        }
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
        if branch
            .as_deref()
            .is_some_and(|name| name.is_empty() || name.starts_with('-') || name.contains(is_odd))
        {
            return Err("what follows the # is no name of a branch".to_owned());
        }
        Ok(Self { url: url.to_owned(), branch, verifies: false })
    }

    /// The same, for commits that git knows the signature of.
    #[must_use]
    pub(crate) fn verified(self, verifies: bool) -> Self {
        Self { verifies, ..self }
    }

    /// Fetches what the repository has, and takes what is good of it. What is not is told in what is returned, and changes nothing.
    ///
    /// # Errors
    /// What is kept of it on this computer cannot be read or written.
    pub(crate) fn pull(&self, environment: &Environment) -> Result<Pulled, CommandError> {
        let place = Place::of(environment)?;
        let _lock = place.lock()?;
        let mut pulled = Pulled::known(environment)?.unwrap_or_default();
        match self.take(&place, &mut pulled, environment) {
            Ok(()) => (pulled.at, pulled.wrong) = (now(), None),
            Err(error) => pulled.wrong = Some(harmless(&error.message)),
        }
        let path = place.state();
        let text =
            serde_json::to_string_pretty(&pulled).map_err(|error| CommandError::failed(error.to_string()))?;
        write_whole(&path, Some(0o600), &mut text.as_bytes())
            .map_err(|error| failed("write", &path, &error))?;
        Ok(pulled)
    }

    /// Why nothing of a cluster was taken from the repository, where that is so.
    ///
    /// # Errors
    /// What is kept of pulls cannot be read.
    pub(crate) fn refused(
        &self,
        cluster: &str,
        environment: &Environment,
    ) -> Result<Option<String>, CommandError> {
        let pulled = Pulled::known(environment)?.unwrap_or_default();
        let why = pulled.refused.get(cluster);
        Ok(why.map(|why| format!("{NOT_TAKEN}: {why}")))
    }

    fn take(
        &self,
        place: &Place,
        pulled: &mut Pulled,
        environment: &Environment,
    ) -> Result<(), CommandError> {
        if !pulled.url.is_empty() && pulled.url != self.url {
            return Err(CommandError::failed(format!(
                "declarations here come from {}: for those of another repository use another folder",
                pulled.url
            )));
        }
        self.fetch(place)?;
        let commit =
            self.text(place, &["rev-parse", "--verify", "--quiet", &format!("{FETCHED}^{{commit}}")])?;
        let accepted = self.text(place, &["for-each-ref", "--format=%(objectname)", ACCEPTED])?;
        if !accepted.is_empty() && accepted != commit {
            let follows = self.git(place, &["merge-base", "--is-ancestor", &accepted, &commit]);
            follows.map_err(|_| {
                CommandError::failed(format!(
                    "the commit {commit} does not follow {accepted}, which is in force: the branch was written anew. If that is meant: \
                     rm -r {}",
                    shown(&place.repository())
                ))
            })?;
        }
        if self.verifies {
            self.git(place, &["verify-commit", &commit]).map_err(|error| {
                CommandError::failed(format!(
                    "the commit {commit} has no signature that git knows: {}",
                    error.message
                ))
            })?;
        }
        let is_done = pulled.commit.as_ref() == Some(&commit) && accepted == commit;
        if is_done && pulled.refused.is_empty() {
            return Ok(());
        }
        let listed = self.git(place, &["ls-tree", "-r", "-z", "-l", "--full-tree", &commit])?;
        let entries = entries(&String::from_utf8_lossy(&listed));
        self.take_clusters(place, pulled, &entries, environment)?;
        self.git(place, &["update-ref", ACCEPTED, &commit])?;
        pulled.url.clone_from(&self.url);
        pulled.commit = Some(commit);
        Ok(())
    }

    fn fetch(&self, place: &Place) -> Result<(), CommandError> {
        if !place.repository().join("HEAD").exists() {
            self.git(place, &["init", "--bare", "--quiet", "--template="])?;
        }
        let branch = self.branch.as_ref().map_or("HEAD".to_owned(), |name| format!("refs/heads/{name}"));
        let what = format!("+{branch}:{FETCHED}");
        let words = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--",
            self.url.as_str(),
            what.as_str(),
        ];
        self.git(place, &words).map(drop)
    }

    /// Takes each cluster of a commit that is whole. Those that the commit has no declaration of lose theirs, and nothing else.
    fn take_clusters(
        &self,
        place: &Place,
        pulled: &mut Pulled,
        entries: &[Entry],
        environment: &Environment,
    ) -> Result<(), CommandError> {
        let beside = place.looked_at();
        let gone = fs::remove_dir_all(&beside);
        gone.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .map_err(|error| failed("remove", &beside, &error))?;
        let mut clusters: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in entries {
            clusters.entry(&entry.cluster).or_default().push(entry);
        }
        clusters.retain(|_, files| files.iter().any(|file| file.path == DECLARATION));
        pulled.refused.clear();
        let looking = Environment::new(
            environment.variables(),
            environment.home().map(ToOwned::to_owned),
            Some(beside.clone()),
        );
        for (name, files) in &clusters {
            let folder = beside.join("clusters").join(name);
            let whole = self.look_at(place, &folder, files).and_then(|()| Cluster::open(name, &looking));
            let known = pulled.files.get(*name);
            let taken = whole.and_then(|_| put(&folder, &place.clusters().join(name), files, known));
            match taken {
                Ok(()) => {
                    let paths = files.iter().map(|file| file.path.clone()).collect();
                    pulled.files.insert((*name).to_owned(), paths);
                }
                Err(error) => {
                    pulled.refused.insert((*name).to_owned(), error.message);
                }
            }
        }
        for name in pulled.files.keys().filter(|name| !clusters.contains_key(name.as_str())) {
            remove(&place.clusters().join(name).join(DECLARATION))?;
        }
        fs::remove_dir_all(&beside).or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(failed("remove", &beside, &error)),
        })
    }

    /// Writes the files of a cluster into a folder.
    fn look_at(&self, place: &Place, folder: &Path, files: &[&Entry]) -> Result<(), CommandError> {
        for file in files {
            if let Some(wrong) = &file.wrong {
                return Err(CommandError::failed(format!("{}: {wrong}", file.path)));
            }
            write(&folder.join(&file.path), &self.git(place, &["cat-file", "blob", &file.object])?)?;
        }
        Ok(())
    }

    /// The standard output of git, without the end of its line.
    fn text(&self, place: &Place, words: &[&str]) -> Result<String, CommandError> {
        Ok(String::from_utf8_lossy(&self.git(place, words)?).trim().to_owned())
    }

    /// Runs git in the repository, for its standard output. It asks nobody.
    fn git(&self, place: &Place, words: &[&str]) -> Result<Vec<u8>, CommandError> {
        let told = words.first().copied().unwrap_or_default();
        let failed = |why: String| CommandError::failed(format!("git {told}: {why}"));
        let mut command = tokio::process::Command::new("git");
        // Those of a repository that the loop was started from name another one.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"] {
            command.env_remove(name);
        }
        command.arg("--git-dir").arg(place.repository()).args(["-c", "core.hooksPath=/dev/null"]).args(words);
        command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).kill_on_drop(true);
        let ended = runtime()?.block_on(async { tokio::time::timeout(LIMIT, command.output()).await });
        let ended = ended.map_err(|_| failed(format!("no end after {}", duration(LIMIT))))?;
        let ended = ended.map_err(|error| failed(error.to_string()))?;
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr);
            // Advice and the words of other programs stand around it.
            let is_why = |line: &&str| line.starts_with("fatal: ") || line.starts_with("error: ");
            let why = said.lines().find(is_why).or_else(|| said.trim().lines().last());
            return Err(failed(why.map_or_else(|| ended.status.to_string(), str::to_owned)));
        }
        Ok(ended.stdout)
    }
}

/// The files of clusters in what `git ls-tree -r -z -l` prints: mode, type, object and size, a tab, and the path.
fn entries(listed: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let (about, path) = line.split_once('\t')?;
        let (cluster, path) = path.strip_prefix("clusters/")?.split_once('/')?;
        let never = |what: &&str| path == *what || what.ends_with('/') && path.starts_with(*what);
        if check_name(cluster).is_err() || NEVER.iter().any(never) {
            return None;
        }
        let mut words = about.split_whitespace();
        let (mode, object, size) = (words.next()?, words.nth(1)?, words.next()?);
        let is_odd =
            |part: &str| part.is_empty() || part == "." || part == ".." || part.eq_ignore_ascii_case(".git");
        let wrong = match mode {
            "100644" | "100755" if path.split('/').any(is_odd) => {
                Some("a file may not be called so".to_owned())
            }
            "100644" | "100755" if size.parse::<u64>().is_ok_and(|size| size <= LARGEST) => None,
            "100644" | "100755" => Some(format!("it has {size} bytes, and {LARGEST} are the most")),
            "120000" => Some("it is a link, and only files are taken".to_owned()),
            _ => Some("it is a repository of its own, and only files are taken".to_owned()),
        };
        let (cluster, path, object) = (cluster.to_owned(), path.to_owned(), object.to_owned());
        Some(Entry { cluster, path, object, wrong })
    };
    listed.split('\0').filter_map(entry).collect()
}

/// Puts files in the place of those that are there, the declaration last. `known`: what came from the repository before.
fn put(from: &Path, to: &Path, files: &[&Entry], known: Option<&Vec<String>>) -> Result<(), CommandError> {
    let declaration = to.join(DECLARATION);
    let read = |path: &Path| fs::read(path).map_err(|error| failed("read", path, &error));
    if known.is_none() && declaration.exists() && read(&declaration)? != read(&from.join(DECLARATION))? {
        return Err(CommandError::failed(format!(
            "{} is there already, is another one, and did not come from the repository: remove one of them",
            shown(&declaration)
        )));
    }
    let mut in_order: Vec<&&Entry> = files.iter().collect();
    in_order.sort_by_key(|file| file.path == DECLARATION);
    for file in in_order {
        let path = to.join(&file.path);
        if !(KEPT_HERE.contains(&file.path.as_str()) && path.exists()) {
            write(&path, &read(&from.join(&file.path))?)?;
        }
    }
    let is_left = |path: &&String| files.iter().all(|file| file.path != **path);
    for path in known.into_iter().flatten().filter(is_left) {
        if !KEPT_HERE.contains(&path.as_str()) {
            remove(&to.join(path))?;
        }
    }
    Ok(())
}

/// Writes a file where it is not there with this content. Variables may be secrets.
fn write(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    if fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    let mut content = content;
    made.and_then(|()| write_whole(path, Some(0o600), &mut content))
        .map_err(|error| failed("write", path, &error))
}

fn remove(path: &Path) -> Result<(), CommandError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> CommandError {
    CommandError::failed(format!("cannot {what} {}: {error}", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_a_branch_and_no_password() {
        let git = |text: &str| Git::parse(text);
        let main = git("https://git.example/a/b.git#main").unwrap();
        assert_eq!(
            (main.url.as_str(), main.branch.as_deref()),
            ("https://git.example/a/b.git", Some("main"))
        );
        assert_eq!(git("git@git.example:a/b.git").unwrap().branch, None);
        assert!(git("ssh://git@git.example:2222/a").is_ok());
        for wrong in
            ["", "#main", "--upload-pack=x", "https://ada:secret@git.example/a", "a#", "a#b c", "a#-x"]
        {
            assert!(git(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_files_of_clusters_are_taken_and_nothing_that_muster_writes() {
        let listed = "100644 blob 1f     10\tclusters/shop/cluster.yml\0\
                      100644 blob 2f     10\tclusters/shop/inventory/hosts.yml\0\
                      100644 blob 3f     10\tclusters/shop/inventory/.muster/frozen\0\
                      100644 blob 4f     10\tclusters/shop/inventory/group_vars/all.yml\0\
                      120000 blob 5f     10\tclusters/room/key\0\
                      160000 commit 6f      -\tclusters/room/other\0\
                      100644 blob 7f 9999999\tclusters/room/big\0\
                      100644 blob 8f     10\tclusters/Room/cluster.yml\0\
                      100644 blob 9f     10\tREADME.md\0";
        let found = entries(listed);
        let told: Vec<(&str, &str, bool)> = found
            .iter()
            .map(|entry| (entry.path.as_str(), entry.object.as_str(), entry.wrong.is_none()))
            .collect();
        assert_eq!(
            told,
            [
                ("cluster.yml", "1f", true),
                ("inventory/group_vars/all.yml", "4f", true),
                ("key", "5f", false),
                ("other", "6f", false),
                ("big", "7f", false),
            ]
        );
        let up = entries("100644 blob 1f 1\tclusters/shop/../../x\0");
        assert!(up.iter().all(|entry| entry.wrong.is_some()) && up.len() == 1, "{up:?}");
    }

    #[test]
    fn what_there_is_to_say_is_said_once() {
        let first = Pulled { commit: Some("c1".into()), at: 1, ..Pulled::default() };
        assert_eq!(first.news(None), ["declarations of the commit c1"]);
        assert_eq!(first.news(Some(&first)), [""; 0]);
        let broken = Pulled { wrong: Some("no answer".into()), ..first.clone() };
        assert_eq!(broken.news(Some(&first)), ["declarations stay as they are: no answer"]);
        assert_eq!(first.news(Some(&broken)), ["declarations are pulled again"]);
        assert!(broken.fails() && !first.fails());
        let refused =
            Pulled { refused: [("room".to_owned(), "no pools".to_owned())].into(), ..first.clone() };
        let told = "room: what the repository has of it was not taken: no pools";
        assert_eq!(
            (refused.news(Some(&first)), refused.news(Some(&refused))),
            (vec![told.to_owned()], Vec::new())
        );
        assert!(refused.fails() && refused.lines().iter().any(|line| line == told));
    }
}
