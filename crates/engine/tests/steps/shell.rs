//! A transport to this very machine: programs run in a local shell, and can be made to fail as connections do.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use muster_engine::transport::{Exec, Exit, Program, Transport, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// When the connection breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// The program never arrived.
    Before(usize),
    /// The program ran, its answer was lost.
    After(usize),
    /// The program is at work when the connection is lost: a file that it makes is there. What it started goes on.
    During(usize, &'static str),
    /// The same, and the program itself goes on, as root's do until they write.
    Leaving(usize, &'static str),
    /// The program is stopped, and there is no connection any more.
    ForGood(usize, &'static str),
}

/// Runs programs with a local shell. What they keep below /var/lib/muster is in a folder of the test, and so are the mounts that
/// they see.
pub(crate) struct Shell {
    words: Vec<&'static str>,
    folder: PathBuf,
    cut: Option<Cut>,
    functions: &'static str,
    count: AtomicUsize,
    programs: Mutex<Vec<String>>,
}

impl Shell {
    pub(crate) fn new(words: &[&'static str], folder: &Path) -> Self {
        let (words, folder) = (words.to_vec(), folder.to_owned());
        let (count, programs) = (AtomicUsize::new(0), Mutex::default());
        Self { words, folder, cut: None, functions: "", count, programs }
    }

    /// Has these functions of sh take the place of commands. In them @ is the folder of the test.
    pub(crate) fn with(mut self, functions: &'static str) -> Self {
        self.functions = functions;
        self
    }

    pub(crate) fn cut(mut self, cut: Cut) -> Self {
        self.cut = Some(cut);
        self
    }

    /// Every program that was sent, in order.
    pub(crate) fn programs(&self) -> Vec<String> {
        self.programs.lock().unwrap().clone()
    }

    async fn run(&self, exec: Exec) -> Result<Exit, TransportError> {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let lost = || TransportError::Lost { address: "here".into(), reason: "cut by the test".into() };
        let over = matches!(self.cut, Some(Cut::ForGood(from, _)) if number > from);
        if over || self.cut == Some(Cut::Before(number)) {
            return Err(lost());
        }
        let state = self.folder.join("muster");
        let folder = self.folder.to_str().unwrap();
        let mounts = format!("{folder}/mountinfo");
        let local = |text: String| {
            text.replace("/var/lib/muster", state.to_str().unwrap()).replace("/proc/self/mountinfo", &mounts)
        };
        let mut command = Command::new(self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (text, mut input) = match exec.program {
            Program::Text(text) => (self.functions.replace('@', folder) + &local(text), None),
            Program::Reader { line, input } => {
                command.args(["-c", &local(line)]);
                (String::new(), Some(input))
            }
        };
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        self.programs.lock().unwrap().push(text.clone());
        let feed = tokio::spawn(async move {
            let mut bytes = text.into_bytes();
            if let Some(input) = &mut input {
                input.read_to_end(&mut bytes).await.unwrap();
            }
            // A program that ends early does not read to the end.
            stdin.write_all(&bytes).await.ok();
        });
        if let Some(Cut::During(at, file) | Cut::Leaving(at, file) | Cut::ForGood(at, file)) = self.cut
            && at == number
        {
            while !self.folder.join(file).exists() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            if !matches!(self.cut, Some(Cut::Leaving(..))) {
                child.kill().await.unwrap();
            }
            return Err(lost());
        }
        let out = child.wait_with_output().await.unwrap();
        feed.await.unwrap();
        if let Some(on_line) = exec.on_line {
            String::from_utf8_lossy(&out.stderr).lines().for_each(|line| on_line(line));
        }
        if self.cut == Some(Cut::After(number)) {
            return Err(lost());
        }
        Ok(Exit { status: out.status.code().unwrap_or(-1), stdout: out.stdout, stderr: out.stderr })
    }
}

impl Transport for Shell {
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(self.run(exec))
    }
}
