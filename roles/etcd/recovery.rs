//! etcd has lost its majority for good: the data of the member that knows most becomes a snapshot on this computer. The rest is a
//! restore of that snapshot ([`super::restore`]) on the machines that are left. Reference: etcd's "Disaster recovery" guide, and
//! `--force-new-cluster` in its configuration reference.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::FutureExt;
use muster_engine::play::{Play, Share};
use muster_engine::prelude::*;
use muster_engine::run::Role;
use serde::Deserialize;
use time::OffsetDateTime;

use super::remains::Recovery;
use super::restore;
use super::snapshot::{self, FILE, brought, compact};
use super::snapshot_file::SnapshotFile;
use super::stopped_plane;
use crate::cluster::{self, Standing};

/// What the names of such snapshots begin and end with; between stands the time (UTC).
const NAME: (&str, &str) = ("etcd-rescued-", ".db");

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    etcd_cert_dir: String,
    etcd_data_dir: String,
    etcd_snapshots_dir: PathBuf,
}

/// What of variables these roles read.
const READS: &[&[Read]] = &[cluster::READS, &[Read::own::<Vars>()]];

/// Where the snapshot is, once it is on this computer.
pub type Rescued = Arc<Mutex<Option<PathBuf>>>;

/// The plays that bring the data to this computer.
pub fn plays(recovery: &Recovery) -> Vec<Play> {
    let play = |name: &str, hosts: String, role: &str| Play {
        name: name.into(),
        hosts,
        roles: vec![role.into()],
        max_failures: Some(Share::Hosts(0)),
        wait_for_all: true,
        ..Play::default()
    };
    let fence =
        play("Stop what runs on the machines that are given up", recovery.fenced.join(":"), "recover-fence");
    let rescue = play("Take the data that is left", recovery.from.clone(), "recover-rescue");
    std::iter::once(fence).filter(|_| !recovery.fenced.is_empty()).chain([rescue]).collect()
}

/// The roles of these plays. `rescued` is set when the snapshot is here.
pub fn roles(recovery: Recovery, rescued: Rescued) -> Vec<Role> {
    let recovery = Arc::new(recovery);
    let roles = [
        Role::given("recover-fence", |host| fence(host).boxed()),
        Role::given("recover-rescue", move |host| rescue(host, recovery.clone(), rescued.clone()).boxed()),
    ];
    roles.map(|role| role.reading(READS)).into()
}

async fn fence(host: &Host) -> Result<()> {
    cluster::may_be_fenced(host).await?;
    restore::disable_etcd(host).await?;
    // It would go on as a node of the cluster and as one of its API servers, with what it knew before.
    let stopped = sh0("! systemctl is-active -q kubelet && ! systemctl is-enabled -q kubelet");
    let kubelet = command("kubelet is stopped", sh0("systemctl disable --now kubelet"), stopped);
    host.step("Stop the kubelet and the control plane")
        .ensure(kubelet)
        .ensure(stopped_plane::is_fenced())
        .await
        .map(drop)
}

async fn rescue(host: &Host, recovery: Arc<Recovery>, rescued: Rescued) -> Result<()> {
    let standing = cluster::belongs_while_restored(host).await?;
    let vars: Vars = host.vars()?;
    let path = if standing.begun_restore(&recovery.without).is_none() {
        take(host, &vars, &standing).await?
    } else if let Some(path) = under_way(&vars.etcd_snapshots_dir, &standing, &recovery)? {
        // The members may have this one's data already.
        host.passed("See that the data is here, from a run that was cut off");
        path
    } else {
        return Err(Failure::new(
            "a restore of another snapshot was begun and did not come to its end",
            "finish it with the same file: muster etcd restore FILE",
        ));
    };
    *rescued.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
    Ok(())
}

async fn take(host: &Host, vars: &Vars, standing: &Standing) -> Result<PathBuf> {
    let name = format!("{}{}{}", NAME.0, compact(OffsetDateTime::now_utc()), NAME.1);
    let path = vars.etcd_snapshots_dir.join(name);
    if host.check_mode() {
        brought(host, &path, "what is left of etcd");
        return Ok(path);
    }
    let (member, _) = standing.etcd_member(host.name()).ok_or_else(|| {
        Failure::new(
            format!("/etc/etcd.env on {} does not say which member it is", host.name()),
            "put that file back, or name another machine: muster recover --from HOST",
        )
    })?;
    // Machines may have come back since they were looked at.
    if host.query(ctl!("ctl get health", [&vars.etcd_cert_dir])).await?.status == 0 {
        return Err(Failure::new(
            format!("etcd on {} has a majority of its members again", host.name()),
            "nothing is to be recovered: muster etcd status",
        ));
    }
    let save = sh(
        concat!(include_str!("room.sh"), include_str!("rescue.sh")),
        [vars.etcd_cert_dir.as_str(), vars.etcd_data_dir.as_str(), member, FILE],
    );
    snapshot::fetch(host, save, &path).await?;
    Ok(path)
}

/// The snapshot of a recovery that was cut off after machines had begun with it.
fn under_way(folder: &Path, standing: &Standing, recovery: &Recovery) -> Result<Option<PathBuf>> {
    for path in rescued_files(folder) {
        // One that cannot be read or is cut off is not the one.
        let Ok(Ok(snapshot)) = SnapshotFile::read(&path) else { continue };
        if restore::is_under_way(standing, &snapshot, &recovery.without)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The newest first.
fn rescued_files(folder: &Path) -> Vec<PathBuf> {
    let is_rescued = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1))
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_rescued).collect();
    files.sort_unstable_by(|one, other| other.cmp(one));
    files
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    /// What `rescue.sh` does with etcd where its data cannot be started: the programs that it calls, one a line.
    fn rescue(state: &str, free: &str) -> (Vec<String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let here = folder.path().display();
        let programs = [
            (
                "systemctl",
                format!(
                    "echo systemctl $* >>{here}/calls; [ $1 != is-active ] || [ $2 = -q ] || echo {state}; [ $1 = stop ]"
                ),
            ),
            ("systemd-run", format!("echo \"$*\" >>{here}/calls")),
            (
                "df",
                format!(
                    "echo; case $2 in *data) echo x x x {free} x / ;; *) echo x x x 900000 x /var ;; esac"
                ),
            ),
            ("etcdctl", "exit 1".to_owned()),
            ("etcd", String::new()),
            ("journalctl", String::new()),
        ];
        for (name, text) in programs {
            fs::write(at(name), format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir_all(at("data/member/snap")).unwrap();
        fs::write(at("data/member/snap/db"), vec![0; 100_000]).unwrap();
        fs::write(at("etcd.env"), "").unwrap();
        let program = concat!(include_str!("room.sh"), include_str!("rescue.sh"))
            .replace("/etc/etcd.env", &at("etcd.env").display().to_string());
        let program = program.replace("saved=/run", &format!("saved={here}"));
        let path = format!("{here}:{}", std::env::var("PATH").unwrap());
        let arguments = [at("ssl"), at("data"), "etcd1".into(), at("var/snapshot.db")];
        let mut dash = Command::new("dash");
        let out = dash.args(["-euc", &program, "rescue"]).args(arguments).env("PATH", path).output().unwrap();
        assert!(!out.status.success());
        assert!(!at("data/muster-rescue").exists(), "nothing is left");
        let calls = fs::read_to_string(at("calls")).unwrap_or_default();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        (calls.lines().map(str::to_owned).collect(), said)
    }

    #[test]
    fn etcd_runs_on_where_there_is_no_snapshot_in_the_end() {
        let unit = |state: &str| {
            let (calls, said) = rescue(state, "900000");
            assert!(said.contains("etcd does not start with a copy of the data"), "{said}");
            // The unit stops it, and whatever becomes of the unit and of this program, starts it again.
            assert!(!calls.contains(&"systemctl stop etcd".to_owned()), "{calls:?}");
            calls.into_iter().find(|call| call.contains("--force-new-cluster")).unwrap()
        };
        let begins_again =
            "ExecStopPost=sh -c \"[ -e /run/muster-etcd-rescued ] || systemctl --no-block start etcd\"";
        assert!(unit("active").contains(begins_again) && unit("activating").contains(begins_again));
        assert!(!unit("failed").contains("ExecStopPost"), "one that did not run stays as it was");
    }

    #[test]
    fn each_disk_has_to_have_room_for_what_comes_there() {
        let (calls, said) = rescue("active", "50");
        assert!(said.contains("a copy of the data needs ") && said.contains("/data, and 50 KiB"), "{said}");
        assert!(!calls.iter().any(|call| call.contains("--force-new-cluster")), "{calls:?}");
        let (_, said) = rescue("active", "900000");
        assert!(!said.contains("needs"), "{said}");
    }
}
