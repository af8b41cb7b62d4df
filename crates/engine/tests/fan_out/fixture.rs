//! Machines for the tests: an sshd each, on this computer, whose /var/lib/muster is a folder of the test.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use muster_artifacts::Bundle;
use muster_engine::event::{Event, Events};
use muster_engine::lock::LockRequest;
use muster_engine::play::Play;
use muster_engine::prelude::*;
use muster_engine::run::{Outcome, Role, Run};
use muster_engine::ssh::{Client, Ssh, SshOptions, Target};
use muster_engine::transport::{Exec, Exit, Program, Transport, TransportError};
use muster_inventory::{GroupRules, Inventory, VarsBuilder};
use muster_testkit::sshd::Sshd;

/// What happens on a machine when it has begun to hand things on: it is given the folder in which it keeps them.
pub(crate) type Mischief = fn(&Path);

/// Machines, and what they are to get.
pub(crate) struct Machines {
    pub(crate) all: Vec<Machine>,
    pub(crate) content: Vec<u8>,
    folder: tempfile::TempDir,
    inventory: String,
}

pub(crate) struct Machine {
    pub(crate) sshd: Sshd,
    pub(crate) ssh: Arc<Ssh>,
    pub(crate) folder: PathBuf,
}

/// How a run went.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) events: Vec<Event>,
    /// Bytes sent from this side.
    pub(crate) sent: u64,
}

impl Machines {
    /// So many machines, and so many bytes that look random.
    pub(crate) fn new(count: usize, bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut state = 0x2545_F491_4F6C_DD1Du64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        let content: Vec<u8> = std::iter::repeat_with(&mut next).flatten().take(bytes).collect();
        fs::write(folder.path().join("content"), &content).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options =
            SshOptions { known_hosts: vec![folder.path().join("known_hosts")], ..SshOptions::default() };
        let client = Client::new(options).unwrap();
        let (mut all, mut inventory) = (Vec::new(), String::new());
        for number in 1..=count {
            let address = format!("127.0.3.{number}");
            let sshd = Sshd::builder().address(&address).start();
            let target = Target {
                port: sshd.port(),
                identity_files: vec![sshd.key()],
                ..Target::new(&address, sshd.user())
            };
            let content = folder.path().join("content");
            inventory += &format!("node{number} serves_at={address}:{port} content={}\n", content.display());
            let machine = folder.path().join(format!("node{number}"));
            all.push(Machine { sshd, ssh: Arc::new(Ssh::new(target, client.clone())), folder: machine });
        }
        Self { all, content, folder, inventory }
    }

    /// Runs a role on all of them.
    pub(crate) async fn run(&self, role: &str, roles: &'static [Role], mischief: Option<Mischief>) -> Ran {
        let inventory = Arc::new(Inventory::from_ini("test", &self.inventory, GroupRules::new()).unwrap());
        let vars = VarsBuilder::new(inventory.clone()).build().unwrap();
        let project = self.folder.path();
        fs::write(project.join("manifest.json"), r#"{"format":1,"files":[],"images":[]}"#).unwrap();
        let play =
            Play { name: "test".into(), hosts: "all".into(), roles: vec![role.into()], ..Play::default() };
        let (events, mut receiver) = Events::channel();
        let connect = |name: &str| {
            let number: usize = name.trim_start_matches("node").parse().unwrap();
            let Machine { ssh, folder, .. } = &self.all[number - 1];
            let rooted = Rooted { ssh: ssh.clone(), folder: folder.clone(), mischief };
            Ok(Arc::new(rooted) as Arc<dyn Transport>)
        };
        let before = self.sent();
        let outcome = Run {
            plays: &[play],
            roles,
            bundle: Arc::new(Bundle::open(project).unwrap()),
            project: project.into(),
            lock: Some(LockRequest::new("me@here (pid 1)", "a test", "process 1", Arc::new(|_| true))),
            serves_at: Some(serves_at),
            forks: 50,
            ..Run::new(inventory, vars, &connect, events)
        }
        .execute()
        .await
        .unwrap();
        let events = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        Ran { outcome, events, sent: self.sent() - before }
    }

    fn sent(&self) -> u64 {
        self.all.iter().map(|machine| machine.ssh.counters().sent).sum()
    }

    /// Everybody has what it was to get, and nothing is left of how it came.
    #[track_caller]
    pub(crate) fn have_all(&self) {
        for (number, machine) in self.all.iter().enumerate() {
            let got = fs::read(machine.folder.join("got")).unwrap_or_default();
            assert!(got == self.content, "node{} has {} bytes of something else", number + 1, got.len());
            assert!(!machine.folder.join("share").exists(), "node{} still keeps it for others", number + 1);
            let incoming = fs::read_dir(machine.folder.join("incoming")).unwrap().count();
            assert_eq!(incoming, 0, "node{} has a rest of it", number + 1);
        }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        for (name, host) in &self.outcome {
            assert!(host.failure.is_none(), "{name}: {:?}: {:#?}", host.failure, self.warnings());
        }
        self
    }

    /// What the user was warned of.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let warning = |event: &Event| match event {
            Event::Warning { host, text } => Some(format!("{}: {text}", host.as_deref().unwrap_or("-"))),
            _ => None,
        };
        self.events.iter().filter_map(warning).collect()
    }
}

fn serves_at(host: &Host) -> Option<SocketAddr> {
    host.all_vars().get("serves_at").unwrap()?.as_str()?.parse().ok()
}

/// A machine whose /var/lib/muster is elsewhere.
struct Rooted {
    ssh: Arc<Ssh>,
    folder: PathBuf,
    mischief: Option<Mischief>,
}

impl Rooted {
    async fn run(&self, exec: Exec) -> Result<Exit, TransportError> {
        let local = |text: &str| text.replace("/var/lib/muster", self.folder.to_str().unwrap());
        let program = match exec.program {
            Program::Text(text) => Program::Text(local(&text)),
            Program::Reader { line, input } => Program::Reader { line: local(&line), input },
        };
        let serves = matches!(&program, Program::Text(text) if text.contains("SSH_ORIGINAL_COMMAND"));
        let exit = self.ssh.exec(Exec { program, ..exec }).await;
        if serves && let Some(mischief) = self.mischief {
            let share = fs::read_dir(self.folder.join("share")).unwrap().next().unwrap().unwrap();
            mischief(&share.path());
        }
        exit
    }
}

impl Transport for Rooted {
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        self.run(exec).boxed()
    }
}
