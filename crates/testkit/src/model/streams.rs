//! Where programs of a model machine read and write: files, pipes, and the connection to the controller.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::shell::{Done, Shell, Stop};
use super::tree::{Redirect, RedirectKind};

/// A stream that a program reads.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;

/// Where the two outputs of a program go, as long as somebody is there.
#[derive(Default)]
pub struct Wire {
    /// Nobody hears any more.
    pub cut: AtomicBool,
    /// Who writes without being heard is ended by a signal.
    pub deadly: AtomicBool,
    pub out: Mutex<Vec<u8>>,
    pub err: Mutex<Vec<u8>>,
}

#[derive(Clone)]
pub enum Fd {
    Null,
    /// What is written is kept, for a command substitution or the next command of a pipeline.
    Pipe(Arc<Mutex<Vec<u8>>>),
    /// Something to read, and how far it was read.
    Source(Arc<Mutex<(Vec<u8>, usize)>>),
    File {
        number: u64,
        at: Arc<Mutex<usize>>,
    },
    Out(Arc<Wire>),
    Err(Arc<Wire>),
    /// What the controller sends.
    Input(Arc<tokio::sync::Mutex<Input>>, Arc<Wire>),
}

impl Shell {
    /// Sets up files and pipes. False, and said, where one cannot be opened.
    pub(super) async fn redirect(&mut self, redirects: &[Redirect]) -> Done<bool> {
        for redirect in redirects {
            self.substitute(std::slice::from_ref(&redirect.target)).await?;
            let target = self.value(&redirect.target)?;
            if redirect.kind == RedirectKind::Duplicate {
                if target == "-" {
                    self.fds.remove(&redirect.fd);
                } else if let Some(fd) = target.parse().ok().and_then(|fd: u8| self.fds.get(&fd)).cloned() {
                    self.fds.insert(redirect.fd, fd);
                } else {
                    self.wrong(&format!("no file descriptor {target}"));
                }
                continue;
            }
            if target == "/dev/null" {
                self.fds.insert(redirect.fd, Fd::Null);
                continue;
            }
            self.machine.act(&self.process).await?;
            match self.open(&target, redirect.kind) {
                Ok(fd) => drop(self.fds.insert(redirect.fd, fd)),
                Err(refused) => {
                    self.say(&format!("cannot open {target}: {refused}"))?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// A path from where the shell is.
    pub(crate) fn absolute<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let Some(folder) = self.folder.as_deref().filter(|_| !path.starts_with('/')) else {
            return Cow::Borrowed(path);
        };
        let mut names: Vec<_> = folder.split('/').filter(|name| !name.is_empty()).collect();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        Cow::Owned(format!("/{}", names.join("/")))
    }

    fn open(&self, path: &str, kind: RedirectKind) -> Result<Fd, &'static str> {
        let path = &*self.absolute(path);
        if let Some(text) = self.machine.proc_file(path) {
            return Ok(Fd::Source(Arc::new(Mutex::new((text.into_bytes(), 0)))));
        }
        let mut state = self.machine.state();
        let number = match kind {
            RedirectKind::Read => state.kept.disk.number(path).ok_or("No such file or directory")?,
            _ => {
                let (now, new) = (state.now(), !state.kept.disk.exists(path));
                let number = state.kept.disk.open(path, 0o666 & !self.umask, now)?;
                if kind == RedirectKind::Write && !state.kept.disk.inode(number).content.is_empty() {
                    state.kept.disk.change(number).content.clear();
                    self.machine.written(&mut state, &self.process, number);
                }
                if new {
                    self.machine.changed(&mut state, &self.process, path);
                }
                number
            }
        };
        Ok(Fd::File { number, at: Arc::default() })
    }

    /// Writes; who writes to nobody is ended.
    pub fn write(&mut self, fd: u8, bytes: &[u8]) -> Done<bool> {
        let Some(to) = self.fds.get(&fd) else { return Ok(false) };
        match to {
            Fd::Null => {}
            Fd::Pipe(pipe) => pipe.lock().unwrap().extend_from_slice(bytes),
            Fd::Out(wire) | Fd::Err(wire) => {
                if wire.cut.load(Ordering::Relaxed) {
                    // SIGPIPE, where there is not a server in between that reads on.
                    return if wire.deadly.load(Ordering::Relaxed) { Err(Stop::Killed) } else { Ok(true) };
                }
                let stream = if matches!(to, Fd::Out(_)) { &wire.out } else { &wire.err };
                stream.lock().unwrap().extend_from_slice(bytes);
            }
            Fd::File { number, .. } => {
                let mut state = self.machine.state();
                let now = state.now();
                let inode = state.kept.disk.change(*number);
                inode.content.extend_from_slice(bytes);
                (inode.mtime, inode.flushed) = (now, false);
                self.machine.written(&mut state, &self.process, *number);
            }
            Fd::Source(_) | Fd::Input(..) => return Ok(false),
        }
        Ok(true)
    }

    /// A line for standard error.
    pub(crate) fn say(&mut self, text: &str) -> Done<()> {
        self.write(2, format!("{text}\n").as_bytes()).map(drop)
    }

    /// A piece of what there is to read; empty at its end.
    pub async fn read(&mut self, fd: u8) -> Done<Vec<u8>> {
        Ok(match self.fds.get(&fd) {
            Some(Fd::Source(source)) => {
                let mut source = source.lock().unwrap();
                let piece = source.0[source.1..].to_vec();
                source.1 = source.0.len();
                piece
            }
            Some(Fd::File { number, at }) => {
                let mut at = at.lock().unwrap();
                let piece = self.machine.state().kept.disk.inode(*number).content[*at..].to_vec();
                *at += piece.len();
                piece
            }
            Some(Fd::Input(input, wire)) => {
                let (input, wire) = (input.clone(), wire.clone());
                // On a connection that was lost without a word nothing comes for a while, then what was on its way.
                let is_lost = || wire.cut.load(Ordering::Relaxed) && !wire.deadly.load(Ordering::Relaxed);
                for _ in 0..if is_lost() { self.process.random(40) } else { 0 } {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    if !self.process.alive.load(Ordering::Relaxed) {
                        return Err(Stop::Killed);
                    }
                }
                let mut piece = vec![0; 700];
                let length = input.lock().await.read(&mut piece).await.unwrap_or(0);
                self.machine.act(&self.process).await?;
                // The end of a connection that was closed is the end of what is sent.
                let ended = wire.cut.load(Ordering::Relaxed) && wire.deadly.load(Ordering::Relaxed);
                piece.truncate(if ended { 0 } else { length });
                piece
            }
            _ => Vec::new(),
        })
    }

    /// One line without its end, and whether it had one.
    pub(crate) fn read_line(&mut self, fd: u8) -> (String, bool) {
        let cut = |bytes: &[u8]| {
            let end = bytes.iter().position(|b| *b == b'\n');
            let line = &bytes[..end.unwrap_or(bytes.len())];
            (
                String::from_utf8_lossy(line).into_owned(),
                end.is_some(),
                line.len() + usize::from(end.is_some()),
            )
        };
        let (line, complete) = match self.fds.get(&fd) {
            Some(Fd::Source(source)) => {
                let mut source = source.lock().unwrap();
                let (line, complete, length) = cut(&source.0[source.1..]);
                source.1 += length;
                (line, complete)
            }
            Some(Fd::File { number, at }) => {
                let mut at = at.lock().unwrap();
                let state = self.machine.state();
                let content = &state.kept.disk.inode(*number).content;
                let (line, complete, length) = cut(&content[(*at).min(content.len())..]);
                *at += length;
                (line, complete)
            }
            _ => (String::new(), false),
        };
        (line, complete)
    }
}
