//! The workload of `bench/peers.sh` as a role: facts and 20 resources, on real machines over SSH.
//!
//! ```text
//! peers INVENTORY KEY KNOWN_HOSTS FILES TEMPLATES
//! ```
//!
//! Every host of the inventory has a variable `root`, the folder it works in. What it prints at the end is for the benchmark.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use muster_engine::event::Events;
use muster_engine::lock::LockRequest;
use muster_engine::play::Play;
use muster_engine::prelude::*;
use muster_engine::run::{Role, Run};
use muster_engine::ssh::{Client, Ssh, SshOptions, Target};
use muster_engine::transport::Transport;
use muster_inventory::{GroupRules, Inventory, VarsBuilder};
use serde::Deserialize;

const DIRS: [(&str, u32); 6] = [
    ("app", 0o755),
    ("app/conf.d", 0o755),
    ("app/data", 0o750),
    ("app/log", 0o755),
    ("app/bin", 0o755),
    ("app/tmp", 0o700),
];
const FILES: [&str; 6] = ["10.conf", "20.conf", "30.conf", "40.conf", "50.conf", "60.conf"];
const TEMPLATES: [&str; 4] = ["motd", "app.conf", "limits", "env"];
const LINKS: [(&str, &str); 2] = [("current", "app.conf"), ("logs", "log")];

/// The texts of the files and of the templates, by name.
type Texts = Vec<(&'static str, String)>;

#[derive(Deserialize)]
struct Variables {
    ansible_host: String,
    root: String,
}

/// What the role reads.
const READS: &[Read] = &[Read::own::<Variables>()];

async fn workload(host: &Host, texts: &Texts) -> Result<()> {
    let text = |name| texts.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
    let Variables { root, .. } = host.vars()?;
    let facts = host.facts();
    // Under Ansible's names, so that all tools render the same templates.
    let extra = serde_json::json!({
        "ansible_hostname": facts.hostname,
        "ansible_kernel": facts.kernel,
        "ansible_architecture": if facts.arch == "amd64" { "x86_64" } else { "aarch64" },
        "ansible_distribution": facts.os.get("NAME").and_then(|name| name.split(' ').next()),
    });
    let mut templates = Vec::new();
    for name in TEMPLATES {
        let text = host.render(name, text(name), &extra)?;
        templates.push(file(format!("{root}/app/{name}")).content(text));
    }
    let created = format!("{root}/app/created");
    host.step("Set up the application")
        .ensure_all(DIRS.map(|(path, mode)| dir(format!("{root}/{path}")).mode(mode)))
        .ensure_all(FILES.map(|name| file(format!("{root}/app/conf.d/{name}")).content(text(name))))
        .ensure_all(templates)
        .ensure_all(LINKS.map(|(path, target)| link(format!("{root}/app/{path}"), target)))
        .ensure(line(format!("{root}/profile"), "export APP=1"))
        .ensure(command("created", sh(r#"uname -a >"$1""#, [&created]), sh(r#"[ -e "$1" ]"#, [&created])))
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [inventory, key, known_hosts, files, templates] = arguments.as_slice() else {
        return Err("usage: peers INVENTORY KEY KNOWN_HOSTS FILES TEMPLATES".into());
    };
    let texts = Arc::new(read_texts(files, templates)?);
    let text = fs::read_to_string(inventory)?;
    let inventory = Arc::new(Inventory::from_ini("inventory", &text, GroupRules::new())?);
    let vars = VarsBuilder::new(inventory.clone()).build()?;
    let hosts: Vec<String> = inventory.hosts().map(|host| host.name().to_owned()).collect();
    let client = Client::new(SshOptions {
        identity_files: vec![key.clone()],
        known_hosts: vec![known_hosts.clone()],
        ..SshOptions::default()
    })?;
    let mut machines = Vec::new();
    for host in &hosts {
        let Variables { ansible_host, .. } = vars.host(host)?.deserialize()?;
        machines.push((host.clone(), Arc::new(Ssh::new(Target::new(ansible_host, "root"), client.clone()))));
    }
    let connect = |name: &str| -> Result<Arc<dyn Transport>> {
        let machine = machines.iter().find(|(host, _): &&(String, Arc<Ssh>)| host == name);
        let (_, ssh) = machine.ok_or_else(|| Failure::new(format!("{name} is unknown"), ""))?;
        Ok(ssh.clone())
    };
    let role = Role::given("workload", move |host| {
        let texts = texts.clone();
        async move { workload(host, &texts).await }.boxed()
    })
    .reading(&[READS]);
    let play = Play {
        name: "workload".into(),
        hosts: "all".into(),
        roles: vec!["workload".into()],
        ..Play::default()
    };
    let outcome = Run {
        plays: &[play],
        roles: &[role],
        lock: Some(LockRequest::new("bench", "bench/peers.sh", "", Arc::new(|_| true))),
        // Nobody listens.
        ..Run::new(inventory, vars, &connect, Events::channel().0)
    }
    .execute()
    .await?;
    for (host, of_host) in &outcome {
        if let Some(failure) = &of_host.failure {
            return Err(format!("{host}: {failure}").into());
        }
    }
    let changed: usize = outcome.values().map(|host| host.summary.counts.changed).sum();
    let exchanges: usize = outcome.values().map(|host| host.summary.exchanges).sum();
    println!("changed={changed} exchanges={:.1}", exchanges as f64 / hosts.len() as f64);
    Ok(())
}

fn read_texts(files: &Path, templates: &Path) -> std::io::Result<Texts> {
    let mut texts = Vec::new();
    for name in FILES {
        texts.push((name, fs::read_to_string(files.join(name))?));
    }
    for name in TEMPLATES {
        texts.push((name, fs::read_to_string(templates.join(format!("{name}.j2")))?));
    }
    Ok(texts)
}
