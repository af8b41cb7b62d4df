//! etcd does not go back: data that a newer one has written is too new for it. So it is seen before a program is replaced, by an
//! upgrade that ended after etcd, say. A program that is there without data, as a reset leaves it that keeps images, is in nobody's way.

use muster_artifacts::Arch;
use muster_engine::prelude::*;

use crate::catalogue::CATALOGUE;
use crate::common::cluster_vars;
use crate::upgrade::versions::{is_older, refused};

/// The version that comes to a machine is not older than the one that is there.
pub(super) struct NeverBack {
    version: String,
    /// The version of Kubernetes that it comes with.
    kube_version: String,
    sha256: String,
    /// Where the machine notes of which archive its etcd is.
    note: String,
    /// What is there where a member of etcd is.
    member: String,
}

impl NeverBack {
    /// `kube_version`: that which this etcd comes with; `bin`: the folder of programs; `data`: that of etcd's data.
    pub(super) fn than(etcd: &Artifact, kube_version: &str, bin: &str, data: &str) -> Self {
        Self {
            version: etcd.entry.version.clone(),
            kube_version: kube_version.to_owned(),
            sha256: etcd.entry.sha256.to_string(),
            note: format!("/var/lib/muster/stamps/file{bin}/etcd"),
            member: format!("{data}/member"),
        }
    }
}

/// Its parameters are the note, the hash that the archive has, and what is there where a member is.
const LOOK: &str = r#"[ -e "$1" ] && [ -e "$3" ] || exit 0
read -r sum rest <"$1"
[ "$sum" = "$2" ] || etcd --version"#;

impl Resource for NeverBack {
    fn label(&self) -> String {
        format!("etcd {}", self.version)
    }

    fn probe(&self) -> Probe {
        // The program is asked only where it is going to be another one.
        Probe::script(sh(LOOK, [&self.note, &self.sha256, &self.member]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        match newer(&seen.answer().output, &self.version) {
            Some(found) => Err(format!(
                "etcd {found} is there, and does not go back. Where an upgrade did not come to its end, this finishes it: {}",
                finishing(&self.kube_version, found)
            )),
            None => Ok(Plan::nothing()),
        }
    }

    fn desired(&self) -> String {
        String::new()
    }
}

/// The version that `etcd --version` says, if it is newer than this.
pub(super) fn newer<'o>(said: &'o str, wanted: &str) -> Option<&'o str> {
    let found = said.lines().find_map(|line| line.strip_prefix("etcd Version: "))?.trim();
    is_older(wanted, found).then_some(found)
}

/// The command that finishes the upgrade of a cluster in which etcd is this version already, and the control planes are not.
fn finishing(runs: &str, etcd: &str) -> String {
    let comes_with = |release: &str| {
        let release = CATALOGUE.release(release, Arch::Amd64).ok()?;
        Some(release.file("etcd")?.version == etcd)
    };
    let may_follow = |release: &str| refused(runs, runs, release).is_none();
    let mut releases = CATALOGUE.releases().into_iter();
    match releases.find(|&release| may_follow(release) && comes_with(release) == Some(true)) {
        Some(next) => format!("upgrade-cluster -e kube_version={next}"),
        None => "upgrade-cluster, with the kube_version that it was begun with".to_owned(),
    }
}

/// What a member says of an upgrade that has ended after etcd: it is newer than what the cluster's version of Kubernetes comes with.
pub(crate) async fn ahead_of_the_cluster(host: &Host) -> Result<Option<String>> {
    let runs = cluster_vars(host)?.kube_version;
    let Ok(release) = CATALOGUE.release(&runs, Arch::Amd64) else { return Ok(None) };
    let Some(etcd) = release.file("etcd") else { return Ok(None) };
    let answer = host.query(sh0("etcd --version")).await?;
    Ok(newer(&answer.output, &etcd.version).map(|found| {
        format!(
            "etcd is {found} already, and Kubernetes {runs} comes with {}: an upgrade was cut off; this finishes it: {}",
            etcd.version,
            finishing(&runs, found)
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_named_that_finishes_an_upgrade() {
        assert_eq!(finishing("1.36.3", "3.7.3"), "upgrade-cluster -e kube_version=1.37.2");
        // Of a patch, too; and where the catalogue has several, one that the cluster may go to.
        assert_eq!(finishing("1.33.13", "3.6.14"), "upgrade-cluster -e kube_version=1.34.11");
        let unknown = "upgrade-cluster, with the kube_version that it was begun with";
        for (runs, etcd) in [("1.36.3", "3.8.0"), ("1.34.4", "3.7.3")] {
            assert_eq!(finishing(runs, etcd), unknown, "{runs} {etcd}");
        }
    }

    #[test]
    fn only_where_data_is_the_program_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(at("note"), "ab12 etcd.tar.gz\n").unwrap();
        std::fs::create_dir(at("member")).unwrap();
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            let asked = |note: &str, sum: &str, member: &str| {
                let text = format!("etcd() {{ echo asked; }}\n{LOOK}");
                let mut command = std::process::Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &text, "sh", &at(note), sum, &at(member)]);
                let out = command.output().unwrap();
                assert!(out.status.success(), "{shell:?}: {out:?}");
                !out.stdout.is_empty()
            };
            assert!(asked("note", "cd34", "member"), "{shell:?}");
            for (note, sum, member) in
                [("note", "ab12", "member"), ("none", "cd34", "member"), ("note", "cd34", "none")]
            {
                assert!(!asked(note, sum, member), "{shell:?}: {note} {sum} {member}");
            }
        }
    }

    #[test]
    fn only_a_newer_etcd_is_in_the_way() {
        let said = "etcd Version: 3.7.3\nGit SHA: 1a2b\nGo Version: go1.26.8\n";
        assert_eq!(newer(said, "3.6.14"), Some("3.7.3"));
        for (said, wanted) in [(said, "3.7.3"), (said, "3.7.10"), ("", "3.6.14")] {
            assert_eq!(newer(said, wanted), None, "{said} {wanted}");
        }
    }
}
