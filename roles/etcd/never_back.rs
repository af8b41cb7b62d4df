//! etcd does not go back: data that a newer one has written is too new for it. So it is seen before a program is replaced, by an
//! upgrade that ended after etcd, say.

use muster_engine::prelude::*;

use crate::upgrade::versions::is_older;

/// The version that comes to a machine is not older than the one that is there.
pub(super) struct NeverBack {
    version: String,
    sha256: String,
    /// Where the machine notes of which archive its etcd is.
    note: String,
}

impl NeverBack {
    /// `bin`: the folder of programs.
    pub(super) fn than(etcd: &Artifact, bin: &str) -> Self {
        Self {
            version: etcd.entry.version.clone(),
            sha256: etcd.entry.sha256.to_string(),
            note: format!("/var/lib/muster/stamps/file{bin}/etcd"),
        }
    }
}

impl Resource for NeverBack {
    fn label(&self) -> String {
        format!("etcd {}", self.version)
    }

    fn probe(&self) -> Probe {
        // The program is asked only where it is going to be another one.
        let look = r#"[ -e "$1" ] || exit 0
read -r sum rest <"$1"
[ "$sum" = "$2" ] || etcd --version"#;
        Probe::script(sh(look, [&self.note, &self.sha256]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        match newer(&seen.answer().output, &self.version) {
            Some(found) => Err(format!(
                "etcd {found} is there, and does not go back. Where an upgrade did not come to its end, this finishes it: upgrade-cluster, \
                 with the kube_version that it was begun with"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_etcd_is_in_the_way() {
        let said = "etcd Version: 3.7.3\nGit SHA: 1a2b\nGo Version: go1.26.8\n";
        assert_eq!(newer(said, "3.6.14"), Some("3.7.3"));
        for (said, wanted) in [(said, "3.7.3"), (said, "3.7.10"), ("", "3.6.14")] {
            assert_eq!(newer(said, wanted), None, "{said} {wanted}");
        }
    }
}
