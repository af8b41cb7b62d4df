//! What the simulated machines are to become: a small service on every machine, and the first one lets the others in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use futures::future::FutureExt;
use muster_artifacts::Bundle;
use muster_engine::prelude::*;
use muster_engine::run::{Role, Story, Telling};
use serde::Deserialize;

use muster_testkit::model::commands::OWNER;
use muster_testkit::model::disk::{Disk, Entry};
use muster_testkit::model::look::sha256;
use muster_testkit::model::machine::{Kept, Nature};

pub(crate) const ROLES: &[Role] =
    &[role("app", |host| app(host).boxed()), role("folder", |host| folder(host).boxed())];

/// One that reads the variables of these roles.
const fn role(name: &'static str, story: Telling) -> Role {
    const READS: &[&[Read]] = &[&[Read::own::<Variables>()]];
    Role {
        name,
        summary: "",
        defaults: "",
        looks_only: false,
        reads: READS,
        check_written: None,
        check_with_bundle: None,
        story: Story::Fixed(story),
    }
}

pub(crate) const VERSIONS: [u32; 2] = [1, 2];

/// What is asked for as a version when everything is to be taken away.
pub(crate) const GONE: u32 = 3;

const SECRET: &str = "s3cret";

/// What every machine has before anything was done.
const HOSTS: &str = "127.0.0.1 localhost\n";

/// A change that must not be made twice: it leaves a line each time. `app.busy` tells two at once.
const MIGRATE: &str = r#"
mkdir -p /srv/app
mkdir /run/app.busy
echo "$1" >>/srv/app/migrations
sleep 2
printf '%s\n' "$1" >/srv/app/.version
sync /srv/app/.version
mv -f /srv/app/.version /srv/app/version
rmdir /run/app.busy"#;

#[derive(Deserialize)]
struct Variables {
    version: u32,
}

/// The story: configuration, a tool, the program, its data, the service; then the machines join the first one.
async fn app(host: &Host) -> Result<()> {
    let Variables { version } = host.vars()?;
    if version == GONE {
        return remove(host).await;
    }
    let own = |file: File| file.owner(&OWNER[0]).group(&OWNER[1]);
    let configuration =
        host.step("configuration").ensure_all(owned(version)).remove(file("/etc/app/old.conf")).await?;
    host.step("packages").ensure(package("socat", "socat")).await?;
    let program = host.step("program").ensure(binary(artifact(host, version), "/opt/bin/app")).await?;
    let version = version.to_string();
    let migrated = sh(r#"[ "$(cat /srv/app/version 2>/dev/null)" = "$1" ]"#, [&version]);
    host.step("data").detached().ensure(command("data migrated", sh(MIGRATE, [&version]), migrated)).await?;
    host.step("service").ensure(service("app").restart_on(&[&configuration, &program])).await?;
    join(host, own).await
}

/// Its files.
fn owned(version: u32) -> Resources {
    let own = |file: File| file.owner(&OWNER[0]).group(&OWNER[1]);
    Resources::new()
        .with(dir("/etc/app").mode(0o750).owner(&OWNER[0]).group(&OWNER[1]))
        .with(own(file("/etc/app/app.conf").content(configuration(version))))
        .with(own(file("/etc/app/key").secret(key(version))))
        .with(line("/etc/hosts", name(version)))
        .with(link("/etc/app/current", "app.conf"))
}

/// The story backwards.
async fn remove(host: &Host) -> Result<()> {
    host.step("service").remove(service("app")).await?;
    let names = VERSIONS.map(|version| line("/etc/hosts", name(version)));
    host.step("files")
        .remove(dir("/srv/app"))
        .ensure(uninstalled("/opt/bin/app"))
        .remove_all(names)
        .remove_all(owned(VERSIONS[1]))
        .await?;
    host.step("packages").remove(package("socat", "socat")).await.map(drop)
}

/// What can be done in a folder of a machine that is used for something else, with all kinds of programs that the engine
/// sends.
async fn folder(host: &Host) -> Result<()> {
    let Variables { version } = host.vars()?;
    let own = |file: File| file.owner(&OWNER[0]).group(&OWNER[1]);
    host.step("files")
        .ensure(dir("/srv/app").mode(0o750).owner(&OWNER[0]).group(&OWNER[1]))
        .ensure(own(file("/srv/app/app.conf").content(configuration(version))))
        .ensure(own(file("/srv/app/key").secret(key(version))))
        .ensure(own(file("/srv/app/empty")))
        .ensure(line("/srv/hosts", name(version)))
        .remove(file("/srv/app/old.conf"))
        .ensure(link("/srv/app/current", "app.conf"))
        .await?;
    host.step("program").ensure(binary(artifact(host, version), "/srv/app/bin")).await?;
    let done = |name: &'static str| format!("/srv/app/{name}-{version}");
    let made = |name| {
        let made = sh(r#"[ -e "$1" ]"#, [done(name)]);
        command(name, sh("echo some words >&2; echo made >\"$1\"", [done(name)]), made)
    };
    host.step("short").ensure(made("short")).await?;
    host.step("long").detached().ensure(made("long")).await?;
    let failing = command("failing", sh0("echo other words >&2; exit 3"), sh0("false"));
    host.step("failing").ensure(failing).ensure(made("never")).await?;
    Ok(())
}

fn artifact(host: &Host, version: u32) -> Artifact {
    let entry = host.bundle().files().iter().find(|file| file.version == version.to_string()).cloned();
    Artifact { bundle: host.bundle().clone(), entry: entry.unwrap() }
}

async fn join(host: &Host, own: impl Fn(File) -> File) -> Result<()> {
    let first = host.cluster().group("all").remove(0);
    if host.name() == first {
        host.reached("the service");
        return Ok(());
    }
    host.needs(&first, "the service").await?;
    if host.query(sh0("[ -s /etc/app/joined ]")).await?.status == 0 {
        return Ok(());
    }
    let ticket = host.cluster().once("ticket", || async {
        let script = sh0("echo ticket >>/srv/app/tickets\ncat /etc/app/app.conf");
        host.cluster().host(&first)?.run("a ticket", script, Duration::from_secs(60)).await
    });
    let ticket = ticket.await?;
    host.step("join").ensure(own(file("/etc/app/joined").content(ticket.as_str()))).await?;
    Ok(())
}

fn configuration(version: u32) -> String {
    format!("# it's \"$HOME\" `x` \\ {version}\n{}\n\n", "a line of some length\n".repeat(8))
}

fn key(version: u32) -> String {
    format!("{SECRET} {version}\n")
}

fn name(version: u32) -> String {
    format!("192.0.2.{version} app")
}

fn program(version: u32) -> Vec<u8> {
    format!("#!/bin/sh\n# version {version}\n").repeat(100).into_bytes()
}

/// The program in both versions, as a bundle.
pub(crate) static BUNDLE: LazyLock<Arc<Bundle>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap().keep();
    std::fs::create_dir(folder.join("files")).unwrap();
    let file = |version: &u32| {
        let (bytes, name) = (program(*version), format!("app-{version}"));
        std::fs::write(folder.join("files").join(&name), &bytes).unwrap();
        let (sha256, size) = (sha256(&bytes), bytes.len());
        serde_json::json!({
            "name": "app", "version": version.to_string(), "arch": "amd64", "kind": "binary", "sha256": sha256, "size": size,
            "stored": {"name": name, "encoding": "identity", "sha256": sha256, "size": size},
            "origin": "upstream", "source": "",
        })
    };
    let files: Vec<_> = VERSIONS.iter().map(file).collect();
    let manifest = serde_json::json!({"format": 1, "files": files, "images": []});
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    Arc::new(Bundle::open(folder).unwrap())
});

pub(crate) static NATURE: LazyLock<Arc<Nature>> = LazyLock::new(|| {
    let mut visible: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut may = |path: &str, content: Vec<u8>| visible.entry(path.into()).or_default().extend([content]);
    for version in VERSIONS {
        may("/etc/app/app.conf", configuration(version).into_bytes());
        may("/etc/app/joined", configuration(version).into_bytes());
        may("/etc/app/key", key(version).into_bytes());
        may("/opt/bin/app", program(version));
        may("/srv/app/version", format!("{version}\n").into_bytes());
        may("/etc/hosts", format!("{HOSTS}{}\n", name(version)).into_bytes());
    }
    may("/etc/hosts", HOSTS.into());
    may("/etc/hosts", format!("{HOSTS}{}\n{}\n", name(1), name(2)).into_bytes());
    Arc::new(Nature {
        units: &[("app.service", &["/etc/app/app.conf", "/opt/bin/app"])],
        visible,
        secret: SECRET.as_bytes(),
        programs: None,
    })
});

/// A machine to which nothing was done yet.
pub(crate) fn blank() -> Kept {
    let mut disk = Disk::default();
    for folder in ["/etc", "/etc/app", "/opt", "/run", "/srv", "/var", "/var/lib"] {
        disk.enter(folder, Entry::Dir(0o755)).unwrap();
    }
    for (path, content) in [("/etc/hosts", HOSTS), ("/etc/app/old.conf", "old")] {
        let number = disk.open(path, 0o644, 0).unwrap();
        let inode = disk.change(number);
        (inode.content, inode.flushed) = (content.into(), true);
    }
    // A device that the removal must leave alone.
    disk.enter("/etc/app/data", Entry::Dir(0o755)).unwrap();
    Kept { disk, mounts: vec!["/etc/app/data".into()], ..Kept::default() }
}
