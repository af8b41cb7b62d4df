//! Brings one file to many machines, as artifacts are brought, and prints how long it took: for bench/fan-out.sh.
//!
//!     fan_out FILE KEY KNOWN_HOSTS yes|no ADDRESS...

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures::future::FutureExt;
use muster_artifacts::Sha256;
use muster_engine::event::{Change, Event, Events};
use muster_engine::lock::LockRequest;
use muster_engine::play::Play;
use muster_engine::prelude::*;
use muster_engine::run::{Role, Run};
use muster_engine::ssh::{Client, Ssh, SshOptions, Target};
use muster_engine::transport::{Transport, blocking_input};
use muster_inventory::{GroupRules, Inventory, VarsBuilder};

const ROLES: &[Role] = &[Role::new("bring", |host| bring(host).boxed())];

async fn bring(host: &Host) -> Result<()> {
    let text = |name: &str| -> Result<String> {
        Ok(host.all_vars().get(name)?.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default())
    };
    host.step("bring").ensure(Content { path: text("content")?, sha256: text("sha256")? }).await?;
    Ok(())
}

struct Content {
    path: String,
    sha256: String,
}

impl Resource for Content {
    fn label(&self) -> String {
        "the file".into()
    }

    fn probe(&self) -> Probe {
        Probe::default()
    }

    fn plan(&self, _seen: &Seen) -> Result<Plan, String> {
        let size = std::fs::metadata(&self.path).map_err(|error| error.to_string())?.len();
        let path = self.path.clone();
        let upload = Upload {
            name: self.label(),
            size,
            bytes: Bytes::Sha256(self.sha256.clone()),
            open: Arc::new(move |from| {
                let mut file = std::fs::File::open(&path)?;
                std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(from))?;
                Ok(blocking_input(file))
            }),
        };
        let change = Change { resource: self.label(), what: "brought".into(), diff: None, momentary: false };
        Ok(Plan { changes: vec![change], script: None, uploads: vec![upload] })
    }

    fn desired(&self) -> String {
        self.sha256.clone()
    }
}

fn serves_at(host: &Host) -> Option<SocketAddr> {
    Some(SocketAddr::new(host.name().parse().ok()?, 30222))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().ok_or("see the first lines of this program");
    let (content, key, known_hosts, fan_out) =
        (word()?, PathBuf::from(word()?), PathBuf::from(word()?), word()? == "yes");
    let hosts: Vec<String> = words.collect();
    let (sha256, _) = Sha256::of_reader(&mut std::fs::File::open(&content)?)?;
    let inventory: String =
        hosts.iter().map(|host| format!("{host} content={content} sha256={sha256}\n")).collect();
    let inventory = Arc::new(Inventory::from_ini("hosts", &inventory, GroupRules::new())?);
    let vars = VarsBuilder::new(inventory.clone()).build()?;
    let client = Client::new(SshOptions {
        known_hosts: vec![known_hosts],
        identity_files: vec![key],
        ..SshOptions::default()
    })?;
    let connect =
        |name: &str| Ok(Arc::new(Ssh::new(Target::new(name, "root"), client.clone())) as Arc<dyn Transport>);
    let play =
        Play { name: "bring".into(), hosts: "all".into(), roles: vec!["bring".into()], ..Play::default() };
    let (events, mut receiver) = Events::channel();
    let begun = Instant::now();
    let outcome = Run {
        plays: &[play],
        roles: ROLES,
        lock: Some(LockRequest::new("bench", "bench/fan-out.sh", "", Arc::new(|_| true))),
        serves_at: fan_out.then_some(serves_at),
        forks: 500,
        ..Run::new(inventory, vars, &connect, events)
    }
    .execute()
    .await?;
    let seconds = begun.elapsed().as_secs_f64();
    while let Ok(event) = receiver.try_recv() {
        if let Event::Warning { host, text } = event {
            println!("warning: {}: {text}", host.unwrap_or_default());
        }
    }
    if let Some((host, failure)) =
        outcome.iter().find_map(|(host, end)| end.failure.as_ref().map(|failure| (host, failure)))
    {
        return Err(format!("{host}: {failure}: {}", failure.tail().unwrap_or_default()).into());
    }
    println!("{seconds:.1}");
    Ok(())
}
