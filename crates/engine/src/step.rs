//! Steps: the resources of a step are looked at with one program, and what differs is mended with a second one.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Change, Counts, Event};
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::lock::{JOB, Kind, REFUSED};
use crate::resource::{
    Absent, Answer, Applied, Content, PathKind, PathProbe, PathState, Plan, Removable, Resource, Seen, Upload,
};
use crate::script::{
    Frame, Part, Script, apply_program, complete, frames, job_program, nonce, probe_program, sh,
};
use crate::transport::{Exit, OnLine, Program};

/// How often a step is tried when the connection is lost under it. Each try begins by looking, so nothing is done twice.
const ATTEMPTS: usize = 3;

/// How often a connection is made again to a detached program that goes on meanwhile.
const ATTACHMENTS: usize = 6;

/// How long the commands of a step may take.
const LIMIT: Duration = Duration::from_secs(600);

/// A step being put together: await it to run it.
#[must_use = "a step runs when it is awaited"]
pub struct Step<'h> {
    host: &'h Host,
    /// Whose step it is told and counted as.
    asker: &'h Host,
    name: String,
    resources: Vec<Box<dyn Resource + 'h>>,
    limit: Duration,
    detached: bool,
    fetch_only: bool,
    look_only: bool,
    /// The program that was sent last to change something: it may go on when the connection is lost.
    sent: Mutex<Option<String>>,
}

impl Host {
    /// Begins a step: say what it ensures, then await it.
    pub fn step(&self, name: &str) -> Step<'_> {
        Step {
            host: self,
            asker: self,
            name: name.to_owned(),
            resources: Vec::new(),
            limit: LIMIT,
            detached: false,
            fetch_only: false,
            look_only: false,
            sent: Mutex::default(),
        }
    }
}

impl<'h> Step<'h> {
    /// Wants one more thing.
    pub fn ensure(mut self, resource: impl Resource + 'h) -> Self {
        self.resources.push(Box::new(resource));
        self
    }

    /// Wants several more things.
    pub fn ensure_all<R: Resource + 'h>(mut self, resources: impl IntoIterator<Item = R>) -> Self {
        self.resources.extend(resources.into_iter().map(|r| Box::new(r) as Box<dyn Resource + 'h>));
        self
    }

    /// Wants one thing to be gone.
    pub fn remove(self, resource: impl Removable + 'h) -> Self {
        self.ensure(Absent(resource))
    }

    /// Wants several things to be gone. They go in the order opposite to that in which they come about: the service before
    /// the files that it reads, what is in a directory before the directory.
    pub fn remove_all<R: Removable + 'h>(self, resources: impl IntoIterator<Item = R>) -> Self {
        let resources: Vec<_> = resources.into_iter().map(Absent).collect();
        self.ensure_all(resources.into_iter().rev())
    }

    /// Says that the step is another host's, which has this one do it: it is told and counted as what that host does.
    pub fn on_behalf_of(mut self, asker: &'h Host) -> Self {
        self.asker = asker;
        self
    }

    /// How long the commands may take; ten minutes unless said otherwise.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Says that the commands take long: they go on when the connection is lost, and are found again, by this run and by
    /// the next one. Where a resource says so itself ([`Resource::takes_long`]) this is not needed.
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Brings what the commands of the step need to the machine, and leaves the commands for later: a step that wants the same
    /// things then sends nothing.
    pub fn fetch_only(mut self) -> Self {
        self.fetch_only = true;
        self
    }

    /// Says that it is only to be seen whether the step can be done: what it would change is neither done nor told.
    pub fn look_only(mut self) -> Self {
        self.look_only = true;
        self
    }

    async fn run(self) -> Result<Applied> {
        let (host, asker) = (self.host, self.asker);
        let begun = Instant::now();
        let exchanges = host.exchanges();
        asker.enter_step(&self.name);
        let mut attempt = 1;
        let changes = loop {
            match self.attempt().await {
                Err(Failure::Transport(error)) if error.is_transient() && attempt < ATTEMPTS => {
                    host.retry(&self.name, &error, attempt, ATTEMPTS).await;
                    attempt += 1;
                }
                outcome => break outcome?,
            }
        };
        let mut changed: Vec<_> = changes.iter().map(|c| c.resource.as_str()).collect();
        changed.dedup();
        // What lies ready for a later step counts when that one puts it in its place.
        let counted = if self.fetch_only { 0 } else { changed.len() };
        let counts = Counts { ok: self.resources.len(), changed: counted, skipped: 0 };
        asker.leave_step(counts);
        let changed = !changes.is_empty();
        asker.send(Event::StepEnded {
            host: asker.name().to_owned(),
            role: asker.role(),
            step: self.name.clone(),
            counts,
            changes,
            exchanges: host.exchanges() - exchanges,
            elapsed: begun.elapsed(),
        });
        let desired: Vec<_> = self.resources.iter().map(|r| r.desired()).collect();
        Ok(Applied { changed, fingerprint: crate::resource::sha256_hex(desired.join("\n").as_bytes()) })
    }

    /// A further attempt begins when what the one before has sent is not at work any more.
    async fn attempt(&self) -> Result<Vec<Change>> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(id) = sent {
            self.host.settle(&self.name, &id, self.limit).await?;
        }
        self.once().await
    }

    /// Looks, plans, and mends what differs.
    async fn once(&self) -> Result<Vec<Change>> {
        let plans = self.look_and_plan().await?;
        if self.look_only {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        let mut scripts = Vec::new();
        let mut uploads = Vec::new();
        for (id, plan) in plans.into_iter().enumerate() {
            if self.fetch_only {
                let fetched = |upload: &Upload| Change {
                    resource: upload.name.clone(),
                    what: "fetched".to_owned(),
                    diff: None,
                    momentary: false,
                };
                changes.extend(plan.uploads.iter().map(fetched));
                uploads.extend(plan.uploads);
                continue;
            }
            changes.extend(plan.changes);
            uploads.extend(plan.uploads);
            scripts.extend(plan.script.map(|script| (id, script)));
        }
        let takes_long = |(id, _): &(usize, Script)| self.resources[*id].takes_long();
        let detached = self.detached || scripts.iter().any(takes_long);
        if self.host.check_mode() {
            return Ok(changes);
        }
        for upload in &uploads {
            crate::upload::send(self.host, upload).await?;
        }
        if !scripts.is_empty() {
            self.mend(scripts, detached).await?;
        }
        Ok(changes)
    }

    async fn look_and_plan(&self) -> Result<Vec<Plan>> {
        let probes: Vec<_> = self.resources.iter().map(|r| r.probe()).collect();
        let mut asked = PathsAsked::default();
        for path in probes.iter().flat_map(|p| &p.paths) {
            asked.add(path)?;
        }
        let asked_scripts = asked.scripts();
        let mut parts: Vec<_> = probes
            .iter()
            .enumerate()
            .filter_map(|(id, p)| p.script.as_ref().map(|script| Part { id, script }))
            .collect();
        // The paths of all resources together answer under the ids after those of the resources.
        let paths_id = probes.len();
        if !asked.all.is_empty() {
            parts.extend(
                asked_scripts.iter().enumerate().map(|(n, script)| Part { id: paths_id + n, script }),
            );
        }
        let nonce = nonce();
        let exit = self
            .host
            .exec(Program::Text(probe_program(&nonce, "", &parts)), Duration::from_secs(120))
            .await?;
        let frames = complete(self.host.name(), &nonce, &exit)?;
        let mut answers: BTreeMap<usize, &Frame> = BTreeMap::new();
        for frame in &frames {
            if let Ok(id) = frame.id.parse() {
                answers.insert(id, frame);
            }
        }
        let data = |n| answers.get(&(paths_id + n)).map_or(&[][..], |frame| frame.data.as_slice());
        let paths = Arc::new(parse_paths(data(0), data(1), data(2)));
        let mut plans = Vec::new();
        for (id, resource) in self.resources.iter().enumerate() {
            let answer = answers.get(&id).map(|frame| Answer {
                status: frame.status,
                output: String::from_utf8_lossy(&frame.data).into_owned(),
            });
            let seen = Seen { paths: paths.clone(), answer };
            plans.push(
                resource
                    .plan(&seen)
                    .map_err(|reason| Failure::new(format!("{}: {reason}", resource.label()), ""))?,
            );
        }
        Ok(plans)
    }

    async fn mend(&self, scripts: Vec<(usize, Script)>, detached: bool) -> Result<()> {
        let fence = self.host.fence().await?;
        let nonce = nonce();
        let parts: Vec<_> = scripts.iter().map(|(id, script)| Part { id: *id, script }).collect();
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce.clone());
        let text = if detached {
            job(&nonce, &fence.guard(&nonce, Kind::Job, &self.name), &parts)
        } else {
            apply_program(&nonce, &fence.guard(&nonce, Kind::Change, &self.name), &parts)
        };
        // They may hold files; it takes its time, on many machines at once.
        drop(scripts);
        let exit = if detached {
            self.follow(&text).await?
        } else {
            self.host.exec(Program::Text(text), self.limit).await?
        };
        let frames = frames(&nonce, &exit);
        if exit.status == REFUSED && frames.is_empty() {
            return Err(self.host.refused(&fence).await);
        }
        if let Some(failed) = frames.iter().find(|f| f.id == "fail") {
            let id = String::from_utf8_lossy(&failed.data).parse::<usize>();
            let resource =
                id.ok().and_then(|id| self.resources.get(id)).map_or(self.name.clone(), |r| r.label());
            return Err(Failure::Change { resource, status: failed.status, tail: exit.tail() });
        }
        complete(self.host.name(), &nonce, &exit).map(drop)
    }

    /// Starts a detached program and follows it to its end, over as many connections as it takes: the same text starts it
    /// the first time it arrives, and finds it again after that.
    async fn follow(&self, text: &str) -> Result<Exit> {
        let begun = Instant::now();
        let told = Arc::new(AtomicUsize::new(0));
        let mut attempt = 1;
        loop {
            // Everything it wrote comes again, for messages; what was shown is not shown twice.
            let (show, told, lines) = (self.host.on_line(), told.clone(), AtomicUsize::new(0));
            let on_line: OnLine = Arc::new(move |line: &str| {
                let number = lines.fetch_add(1, Ordering::Relaxed) + 1;
                if told.fetch_max(number, Ordering::Relaxed) < number {
                    show(line);
                }
            });
            let left = self.limit.saturating_sub(begun.elapsed());
            match self.host.exec_with(Program::Text(text.to_owned()), left, on_line).await {
                Err(Failure::Transport(error))
                    if error.is_transient() && attempt < ATTACHMENTS && begun.elapsed() < self.limit =>
                {
                    self.host.retry(&self.name, &error, attempt, ATTACHMENTS).await;
                    attempt += 1;
                }
                exit => return exit,
            }
        }
    }
}

/// The program that starts these parts as a job of their own, and follows it.
fn job(nonce: &str, guard: &str, parts: &[Part<'_>]) -> String {
    // The text may hold secrets; it goes as soon as it runs, which also says that it does.
    let begin = format!("{guard} rm -f /var/lib/muster/jobs/{nonce}/program");
    job_program(&sh(JOB, [nonce, &apply_program(nonce, &begin, parts), guard]))
}

impl<'h> IntoFuture for Step<'h> {
    type Output = Result<Applied>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'h>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// The paths that a step's resources ask for, each once.
#[derive(Default)]
struct PathsAsked {
    all: Vec<String>,
    hashed: Vec<String>,
    contents: Vec<String>,
    /// The sha256 that a content is not wanted for, by path; as sha256sum(1) prints it.
    known: String,
}

impl PathsAsked {
    fn add(&mut self, probe: &PathProbe) -> Result<()> {
        let PathProbe { path, hash, content } = probe;
        // The listing below is line by line, and sha256sum escapes backslashes.
        if !path.starts_with('/') || path.contains(['\n', '\\', '|']) {
            return Err(Failure::new(
                format!("{path:?} is not a path that can be managed on a machine"),
                "paths begin with / and hold no line break, backslash or |",
            ));
        }
        match content {
            Content::Unless(sha256) if !self.contents.contains(path) => {
                self.known.push_str(&format!("{sha256}  {path}\n"));
            }
            // Others want another content there: it is sent in any case.
            Content::Unless(_) | Content::Yes => {
                let of_it = format!("  {path}\n");
                self.known =
                    self.known.split_inclusive('\n').filter(|line| !line.ends_with(&of_it)).collect();
            }
            Content::No => {}
        }
        let content = *content != Content::No;
        for (list, wanted) in
            [(&mut self.all, true), (&mut self.hashed, *hash && !content), (&mut self.contents, content)]
        {
            if wanted && !list.contains(path) {
                list.push(path.clone());
            }
        }
        Ok(())
    }

    /// Three snippets for all paths together: a handful of processes however many paths there are.
    fn scripts(&self) -> [Script; 3] {
        let states = r#"
[ $# = 0 ] || stat -c 'S%F|%a|%U|%G|%s|%Y|%i|%n' -- "$@" 2>/dev/null
for p; do [ ! -L "$p" ] || echo "L$p|$(readlink "$p")"; done"#;
        let hashes = r#"[ $# = 0 ] || sha256sum -- "$@" 2>/dev/null"#;
        // The hashes, an empty line, and each content that is not the known one with its length in front, when it is small
        // enough to be worth a diff. Looking whether it is known takes no process.
        let contents = r#"
known=$1 newline='
'
shift
hashes=$([ $# = 0 ] || sha256sum -- "$@" 2>/dev/null)
printf '%s\n\n' "$hashes"
for p; do
  sum=${known%%"  $p$newline"*}
  sum=${sum##*"$newline"}
  case $newline$hashes$newline in *"$newline$sum  $p$newline"*) continue ;; esac
  [ -f "$p" ] && [ "$(wc -c <"$p")" -le 65536 ] || continue
  c=$(cat "$p"; printf x); c=${c%x}
  printf '%s|%s\n%s\n' "${#c}" "$p" "$c"
done"#;
        let with_known = std::iter::once(&self.known).chain(&self.contents);
        [sh(states, &self.all), sh(hashes, &self.hashed), sh(contents, with_known)]
    }
}

/// What the snippets of [`PathsAsked::scripts`] answered.
fn parse_paths(states: &[u8], hashes: &[u8], mut contents: &[u8]) -> BTreeMap<String, PathState> {
    let mut paths: BTreeMap<String, PathState> = BTreeMap::new();
    for line in String::from_utf8_lossy(states).lines() {
        if let Some((path, state)) = line.strip_prefix('S').and_then(parse_stat) {
            paths.insert(path, state);
        } else if let Some((path, target)) = line.strip_prefix('L').and_then(|r| r.split_once('|')) {
            paths.entry(path.to_owned()).and_modify(|state| state.target = Some(target.to_owned()));
        }
    }
    let end = contents.windows(2).position(|end| end == b"\n\n").unwrap_or(contents.len());
    let (of_contents, rest) = contents.split_at(end);
    contents = rest.get(2..).unwrap_or_default();
    for line in [hashes, of_contents].map(String::from_utf8_lossy).iter().flat_map(|text| text.lines()) {
        if let Some((hash, path)) = line.split_once("  ") {
            paths.entry(path.to_owned()).and_modify(|state| state.sha256 = Some(hash.to_owned()));
        }
    }
    while let Some(end) = contents.iter().position(|&b| b == b'\n') {
        let header = String::from_utf8_lossy(&contents[..end]).into_owned();
        contents = &contents[end + 1..];
        let Some((Ok(len), path)) = header.split_once('|').map(|(l, p)| (l.parse::<usize>(), p)) else {
            break;
        };
        if contents.len() < len + 1 {
            break;
        }
        paths.entry(path.to_owned()).and_modify(|state| state.content = Some(contents[..len].to_vec()));
        contents = &contents[len + 1..];
    }
    paths
}

fn parse_stat(line: &str) -> Option<(String, PathState)> {
    let mut words = line.splitn(8, '|');
    let kind = match words.next()? {
        "regular file" | "regular empty file" => PathKind::File,
        "directory" => PathKind::Dir,
        "symbolic link" => PathKind::Link,
        _ => PathKind::Other,
    };
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let owner = words.next()?.to_owned();
    let group = words.next()?.to_owned();
    let size = words.next()?.parse().ok()?;
    let mtime = words.next()?.parse().ok()?;
    let inode = words.next()?.parse().ok()?;
    let path = words.next()?.to_owned();
    let state =
        PathState { kind, mode, owner, group, size, mtime, inode, sha256: None, content: None, target: None };
    Some((path, state))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::resource::sha256_hex;

    /// What this machine's shells answer for paths of which some contents are known.
    fn look(probes: &[PathProbe]) -> Vec<BTreeMap<String, PathState>> {
        let mut asked = PathsAsked::default();
        for probe in probes {
            asked.add(probe).unwrap();
        }
        let shells = [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]];
        let answers = shells.iter().filter_map(|shell| {
            let mut outputs = asked.scripts().into_iter().map(|script| {
                let mut command = Command::new(shell[0]);
                Some(command.args(&shell[1..]).args(["-c", &script.text()]).output().ok()?.stdout)
            });
            let mut next = || outputs.next().flatten();
            Some(parse_paths(&next()?, &next()?, &next()?))
        });
        answers.collect()
    }

    #[test]
    fn the_content_of_a_file_comes_only_where_it_is_not_the_known_one() {
        let folder = tempfile::tempdir().unwrap();
        let probe = |name: &str, content: &str, wanted: Content| {
            let path = folder.path().join(name).to_str().unwrap().to_owned();
            std::fs::write(&path, content).unwrap();
            PathProbe { path, hash: true, content: wanted }
        };
        let known = |content: &str| Content::Unless(sha256_hex(content.as_bytes()));
        let probes = [
            probe("same", "as wanted\n", known("as wanted\n")),
            probe("with a space", "as wanted\n\n", known("as wanted\n\n")),
            probe("other", "it was\n\n", known("as wanted\n")),
            probe("any", "a line\n", Content::Yes),
            probe("hash", "big\n", Content::No),
        ];
        let answers = look(&probes);
        assert!(!answers.is_empty());
        for paths in answers {
            let content = |n: usize| paths[&probes[n].path].content.as_deref();
            assert_eq!([0, 1, 4].map(content), [None; 3]);
            assert_eq!([content(2), content(3)], [Some(&b"it was\n\n"[..]), Some(b"a line\n")]);
            assert!(probes.iter().all(|probe| paths[&probe.path].sha256.is_some()), "{paths:?}");
        }
        // Two resources of a step that want different contents there.
        for others in [known("another one"), Content::Yes] {
            let second = PathProbe { content: others, ..probes[0].clone() };
            for probes in [[probes[0].clone(), second.clone()], [second, probes[0].clone()]] {
                for paths in look(&probes) {
                    assert!(paths[&probes[0].path].content.is_some(), "{probes:?}");
                }
            }
        }
    }
}
