//! A snapshot of etcd is saved on a member and checked there by etcdutl. It comes to this computer, where it is checked by its hashes;
//! the one of before an upgrade stays on the member.

use std::io::Read;
use std::path::{Path, PathBuf};

use futures::future::{FutureExt, join_all};
use muster_artifacts::Sha256;
use muster_engine::event::Change;
use muster_engine::prelude::*;
use muster_engine::run::Role;
use muster_files::write_whole;
use serde::Deserialize;
use time::OffsetDateTime;

use super::never_back::newer;
use super::snapshot_file::SnapshotFile;
use super::status::{self, MemberStatus};
use crate::catalogue::{CATALOGUE, arch};
use crate::cluster;
use crate::common::cluster_vars;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    etcd_cert_dir: String,
    etcd_data_dir: String,
    etcd_snapshots_dir: PathBuf,
    etcd_backup_retention_count: i64,
}

impl Vars {
    /// A snapshot of the machine's member comes to a file there.
    fn save(&self, file: &str) -> Script {
        ctl!(
            concat!(include_str!("room.sh"), include_str!("save.sh")),
            [self.etcd_cert_dir.as_str(), file, &self.etcd_data_dir]
        )
    }
}

/// Where the snapshot is on the member until it is here.
pub(super) const FILE: &str = "/var/lib/muster/etcd-snapshot.db";

/// Where snapshots of before an upgrade stay on the member, and those of a timer.
pub(crate) const KEPT: &str = "/var/lib/muster/snapshots";

/// How much of it comes in one exchange, in bytes.
const CHUNK: u64 = 8 << 20;

/// What the names of snapshots begin and end with that muster names itself; between stands the time (UTC).
const NAME: (&str, &str) = ("etcd-", ".db");

/// The role that brings a snapshot to `to`; without it, into the folder of snapshots, of which old ones go then.
pub fn role(to: Option<PathBuf>) -> Role {
    Role::given("etcd-snapshot", move |host| run(host, to.clone()).boxed())
        .reading(&[cluster::READS, super::READS])
}

async fn run(host: &Host, to: Option<PathBuf>) -> Result<()> {
    cluster::belongs(host).await?;
    let member = well(host).await?.ok_or_else(|| {
        Failure::new(
            "no member of etcd is well, so that there is nothing to take a snapshot of",
            "see what is wrong with each: muster etcd status",
        )
    })?;
    if member != host.name() {
        return Ok(());
    }
    let path = bring(host, to.clone()).await?;
    // Not before a restore: the snapshot that is to be restored may be the oldest one.
    let vars: Vars = host.vars()?;
    if to.is_none() && !host.check_mode() {
        for name in retain(&vars.etcd_snapshots_dir, &path, vars.etcd_backup_retention_count)? {
            host.warn(format!(
                "{name} was removed first, because its time is later than now: the clock of this computer was wrong when it was \
                 taken, or is wrong now"
            ));
        }
    }
    Ok(())
}

/// The first member that is well, and whose machine takes part in the run; asked once a run.
pub(super) async fn well(host: &Host) -> Result<Option<String>> {
    let ask = || async {
        let members = host.cluster().group("etcd").into_iter().filter(|name| host.cluster().in_run(name));
        let asked = members.map(|name| async {
            let status = status::of(&*host.cluster().host(&name)?).await?;
            Ok(status.filter(|status: &MemberStatus| status.healthy).map(|_| name))
        });
        let answers: Vec<Result<Option<String>>> = join_all(asked).await;
        // One that cannot be asked is not well.
        Ok(answers.into_iter().find_map(|answer| answer.ok().flatten()))
    };
    host.cluster().once("a member of etcd that is well", ask).await.map(|name| (*name).clone())
}

/// Brings a snapshot of this host's member to this side. Returns where it is.
pub(crate) async fn bring(host: &Host, to: Option<PathBuf>) -> Result<PathBuf> {
    let vars: Vars = host.vars()?;
    let path = to.unwrap_or_else(|| vars.etcd_snapshots_dir.join(name(OffsetDateTime::now_utc())));
    if host.check_mode() {
        brought(host, &path, "a snapshot of etcd");
        return Ok(path);
    }
    fetch(host, vars.save(FILE), &path).await?;
    Ok(path)
}

/// Takes a snapshot on a machine with a program that puts it into [`FILE`] and prints what `save.sh` prints, and brings it to
/// this side.
pub(super) async fn fetch(host: &Host, save: Script, path: &Path) -> Result<()> {
    let saved = host.run("Save a snapshot", save, Duration::from_secs(900)).await?;
    let saved = Saved::parse(&saved).ok_or_else(|| {
        Failure::new(
            format!("the snapshot on {} cannot be judged: {}", host.name(), saved.trim()),
            "see on the machine: etcdutl snapshot status",
        )
    })?;
    let downloaded = download(host, &saved, path).await;
    let removed = host
        .run("Remove the snapshot from the machine", sh(r#"rm -f "$1""#, [FILE]), Duration::from_secs(60))
        .await;
    downloaded?;
    removed?;
    brought(host, path, &format!("a snapshot of etcd, {}", saved.contents));
    host.tested(format!("{} is whole: {}", path.display(), saved.contents));
    Ok(())
}

/// A file of this side is another one than before.
pub(super) fn brought(host: &Host, path: &Path, what: &str) {
    host.changed_here(Change {
        resource: path.display().to_string(),
        what: what.into(),
        diff: None,
        momentary: false,
    });
}

/// The role that keeps a snapshot of before the upgrade, by the first member that comes to this; none where there is nothing to upgrade.
pub(crate) async fn before_upgrade(host: &Host) -> Result<()> {
    let known = cluster::may_set_up(host).await?;
    let version = cluster_vars(host)?.kube_version;
    let Some(runs) = known.version().filter(|runs| *runs != version) else { return Ok(()) };
    let vars: Vars = host.vars()?;
    let path = format!("{KEPT}/before-{version}-from-{runs}.db");
    let keep = || async {
        // One that is there may be of an attempt of long ago, or of a former cluster; but when a control plane or a member of etcd has
        // the new version, it is the one of before, whichever member has it.
        let (is_kept, has_newer_etcd) = look(host, &path, runs).await?;
        if is_kept && (has_newer_etcd || !known.is_of_one_version()) {
            host.passed("Look for the snapshot of etcd");
            return Ok(());
        }
        let snapshot = command(format!("snapshot {path}"), vars.save(&path), sh0("false"));
        host.step("Keep a snapshot of etcd").ensure(snapshot).await.map(drop)
    };
    host.cluster().once("a snapshot of etcd before the upgrade", keep).await.map(drop)
}

/// Whether any member of the run has a file, and whether any has a newer etcd than a version of Kubernetes comes with.
async fn look(host: &Host, path: &str, kube_version: &str) -> Result<(bool, bool)> {
    let former = CATALOGUE.release(kube_version, arch(host)?).ok();
    let former = former.as_ref().and_then(|release| release.file("etcd")).map(|etcd| etcd.version.as_str());
    let look = || sh(r#"etcd --version; [ -s "$1" ]"#, [path]);
    let members = host.cluster().group("etcd").into_iter().filter(|name| host.cluster().in_run(name));
    let asked = members.map(|name| async move { host.cluster().host(&name)?.query(look()).await });
    let answers = join_all(asked).await.into_iter().collect::<Result<Vec<_>>>()?;
    let is_newer = |said: &str| former.is_some_and(|former| newer(said, former).is_some());
    Ok((
        answers.iter().any(|answer| answer.status == 0),
        answers.iter().any(|answer| is_newer(&answer.output)),
    ))
}

/// A snapshot on a machine.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    size: u64,
    sha256: String,
    /// What etcdutl says of it, in words.
    contents: String,
}

impl Saved {
    /// Takes what `save.sh` prints.
    fn parse(answer: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            hash: u32,
            revision: u64,
            total_key: u64,
        }
        let mut words = answer.trim().splitn(3, ' ');
        let (size, sha256) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        let Status { hash, revision, total_key } = serde_json::from_str(words.next()?).ok()?;
        let contents = format!("{total_key} keys at revision {revision}, hash {hash:08x}");
        Some(Self { size, sha256, contents })
    }
}

/// The name of a snapshot of this time.
fn name(time: OffsetDateTime) -> String {
    format!("{}{}{}", NAME.0, compact(time), NAME.1)
}

/// A time (UTC) as it stands in names of files: `20261128T171824Z`.
pub(super) fn compact(time: OffsetDateTime) -> String {
    let (date, month) = (time.date(), u8::from(time.month()));
    let (hour, minute, second) = time.to_hms();
    format!("{:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}Z", date.year(), date.day())
}

/// Brings the file of a machine to this side, piece by piece. It gets its name when it is whole and has the hash that it has there.
async fn download(host: &Host, saved: &Saved, path: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < saved.size {
        let piece = sh(
            r#"tail -c "+$2" "$1" | head -c "$3" | base64"#,
            [FILE.to_owned(), (bytes.len() + 1).to_string(), CHUNK.to_string()],
        );
        let answer = host.query(piece).await?;
        let piece = cluster::decoded(&answer.output).filter(|_| answer.status == 0);
        bytes.extend(piece.ok_or_else(|| damaged(path, "it ended early"))?);
    }
    if Sha256::of(&bytes).to_string() != saved.sha256 {
        return Err(damaged(path, "it arrived with another hash"));
    }
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        write_whole(path, Some(0o600), &mut bytes.as_slice() as &mut dyn Read)?;
        SnapshotFile::read(path)
    };
    match write() {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(why)) => Err(damaged(path, why)),
        Err(error) => Err(Failure::new(
            format!("{}: {error}", path.display()),
            "check the folder on this side, or set etcd_snapshots_dir",
        )),
    }
}

fn damaged(path: &Path, why: &str) -> Failure {
    Failure::new(format!("{} is no snapshot that could be restored: {why}", path.display()), "take it again")
}

/// Removes all but the newest snapshots that muster has named; none where the number is not positive. `taken`: the new one. Returns
/// those that were removed although their times are later than its own.
fn retain(folder: &Path, taken: &Path, count: i64) -> Result<Vec<String>> {
    let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else { return Ok(Vec::new()) };
    let taken = taken.file_name().unwrap_or_default().to_string_lossy();
    let remove = || -> std::io::Result<Vec<String>> {
        let names: std::io::Result<Vec<_>> = std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect();
        let mut surplus = surplus(names?, &taken, count);
        surplus.iter().try_for_each(|name| std::fs::remove_file(folder.join(name)))?;
        surplus.retain(|name| **name > *taken);
        Ok(surplus)
    };
    remove().map_err(|error| {
        Failure::new(
            format!("old snapshots in {} cannot be removed: {error}", folder.display()),
            "remove them by hand; the new one is there",
        )
    })
}

/// Which of these files are snapshots beyond the newest `count`, one of which is the one that was just `taken`. What bears a later
/// time is not newer: the clock was wrong once, or is wrong now. Others are not touched.
fn surplus(mut names: Vec<String>, taken: &str, count: usize) -> Vec<String> {
    let is_time = |text: &str| {
        text.len() == 16
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            })
    };
    names.retain(|name| {
        name != taken
            && name.strip_prefix(NAME.0).and_then(|name| name.strip_suffix(NAME.1)).is_some_and(is_time)
    });
    names.sort_unstable_by_key(|name| (name.as_str() < taken, name.clone()));
    names.truncate((names.len() + 1).saturating_sub(count));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_told_in_words() {
        let saved = Saved::parse(
            "2359328 ab12 {\"hash\":3735928559,\"revision\":4321,\"totalKey\":812,\"totalSize\":2359296,\"version\":\"3.6.0\"}\n",
        );
        let expected = Saved {
            size: 2359328,
            sha256: "ab12".into(),
            contents: "812 keys at revision 4321, hash deadbeef".into(),
        };
        assert_eq!(saved, Some(expected));
        assert_eq!(Saved::parse("2359328 ab12 Error: bad\n"), None);
    }

    #[test]
    fn only_old_snapshots_go() {
        let names = [
            "etcd-20260101T000000Z.db",
            "etcd-20260201T000000Z.db",
            "etcd-20260301T000000Z.db",
            "etcd-before-upgrade.db",
            "notes.txt",
        ];
        let surplus = |count| surplus(names.map(str::to_owned).to_vec(), names[2], count);
        assert_eq!((surplus(1), surplus(2)), (vec![names[0].into(), names[1].into()], vec![names[0].into()]));
        assert!(surplus(3).is_empty() && surplus(9).is_empty());
    }

    #[test]
    fn as_many_stay_in_the_folder_as_are_to_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let all =
            ["etcd-20260101T000000Z.db", "etcd-20260201T000000Z.db", "etcd-20300101T000000Z.db", "mine.db"];
        all.iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
        let left = || {
            let names = std::fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> =
                names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort_unstable();
            names
        };
        let taken = folder.path().join(all[1]);
        let retain = |count| retain(folder.path(), &taken, count).unwrap();
        for nothing in [-1, 0, 3] {
            assert_eq!((retain(nothing), left()), (Vec::new(), all.map(str::to_owned).to_vec()));
        }
        assert_eq!(retain(2), [all[2]], "its time is yet to come");
        assert_eq!(left(), [all[0], all[1], all[3]]);
        assert_eq!((retain(1), left()), (Vec::new(), vec![all[1].to_owned(), all[3].to_owned()]));
        let nowhere = folder.path().join("nowhere");
        let failure = super::retain(&nowhere, &taken, 1).unwrap_err().to_string();
        assert!(failure.starts_with(&format!("old snapshots in {} cannot", nowhere.display())), "{failure}");
    }

    #[test]
    fn the_new_snapshot_stays_whatever_the_clock_once_said() {
        let go = |names: &[&str], taken: &str, count| {
            let name = |time: &&str| format!("etcd-{time}T000000Z.db");
            let names = names.iter().map(name).collect();
            let go = surplus(names, &name(&taken), count).join(" ");
            go.replace("etcd-", "").replace("T000000Z.db", "")
        };
        // The clock was years ahead for a while.
        assert_eq!(go(&["20260101", "20300101", "20300102", "20260301"], "20260301", 2), "20300101 20300102");
        // It is far behind now: of what is really older the oldest goes.
        assert_eq!(go(&["20260101", "20260102", "19700101"], "19700101", 2), "20260101");
        assert_eq!(go(&["20260102", "19700101", "20260103"], "20260103", 2), "19700101");
    }

    #[test]
    fn a_timer_keeps_its_new_snapshot_whatever_the_clock_once_said() {
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            let folder = tempfile::tempdir().unwrap();
            for time in ["20260101T000000", "99980101T000000", "99990101T000000"] {
                std::fs::write(folder.path().join(format!("etcd-{time}Z.db")), "").unwrap();
            }
            std::fs::write(folder.path().join("before-1.36.0-from-1.35.0.db"), "").unwrap();
            let known = r#"ctl() { : >"$3"; }; etcdutl() { :; };"#;
            let program = format!("{known}{}{}", include_str!("room.sh"), include_str!("keep-snapshots.sh"));
            let mut command = std::process::Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", &program, "sh", "/certificates"]).arg(folder.path());
            assert!(command.args(["2", "/nowhere"]).status().unwrap().success(), "{shell:?}");
            let mut left: Vec<_> = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            left.sort_unstable();
            assert_eq!(left[..2], ["before-1.36.0-from-1.35.0.db", "etcd-20260101T000000Z.db"], "{shell:?}");
            assert!(left.len() == 3 && left[2] > left[1] && *left[2] < *"etcd-9", "{shell:?} {left:?}");
        }
    }

    #[test]
    fn no_snapshot_is_begun_where_there_is_no_room_for_it_and_none_stays_that_is_not_whole() {
        let keep = concat!(include_str!("room.sh"), include_str!("keep-snapshots.sh"));
        let save = concat!(include_str!("room.sh"), include_str!("save.sh"));
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            for (text, file) in [(keep, ""), (save, "/one.db")] {
                let folder = tempfile::tempdir().unwrap();
                let (data, kept) = (folder.path().join("data"), folder.path().join("kept"));
                std::fs::create_dir_all(data.join("member/snap")).unwrap();
                std::fs::write(data.join("member/snap/db"), vec![0; 100_000]).unwrap();
                // What is left in the folder of snapshots, and what is said.
                let run = |free: &str| {
                    let known = format!(
                        "df() {{ printf 'Filesystem\\nx 9 9 {free} 9%% /\\n'; }}\nctl() {{ echo tries >&2; : >\"$3.part\"; return 1; }}\n"
                    );
                    let mut command = std::process::Command::new(shell[0]);
                    command.args(&shell[1..]).args(["-euc", &(known + text), "sh", "/certificates"]);
                    command.arg(format!("{}{file}", kept.display()));
                    command.args([&data.display().to_string()]);
                    if file.is_empty() {
                        command.args([&data.display().to_string()]);
                    }
                    let out = command.output().unwrap();
                    assert!(!out.status.success(), "{shell:?}");
                    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0, "{shell:?} {file}");
                    String::from_utf8_lossy(&out.stderr).into_owned()
                };
                let told =
                    format!("a snapshot needs 98 KiB in {}, and 97 KiB are free there\n", kept.display());
                assert_eq!(run("97"), told, "{shell:?}");
                assert_eq!(run("98"), "tries\n", "{shell:?}");
            }
        }
    }
}
