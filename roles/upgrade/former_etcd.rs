//! Members of etcd 3.5 that were taken over from kubespray, which had their v2 API switched on: what they have written with it may keep
//! 3.6 from starting ("detected disallowed v2 WAL for stage", etcd's issues 20809 and 20870).

use futures::future::join_all;
use muster_engine::prelude::*;
use serde::Deserialize;

use crate::catalogue::release;

/// Explained in `defaults.yml` of the role `etcd`.
#[derive(Deserialize)]
struct Vars {
    etcd_data_dir: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(&["etcd"])];

/// What keeps the members from the etcd that comes with a version of Kubernetes.
///
/// # Errors
/// A variable is wrong.
pub(super) async fn problems(host: &Host, wanted: &str) -> Result<Vec<Problem>> {
    let comes = release(host, wanted)?.file("etcd").map(|file| file.version.clone()).unwrap_or_default();
    if comes.starts_with("3.5.") {
        return Ok(Vec::new());
    }
    let comes = comes.as_str();
    let asked = host.cluster().group("etcd").into_iter().map(|name| async move {
        let member = host.cluster().host(&name)?;
        let data = member.vars::<Vars>()?.etcd_data_dir;
        // One that is away is told elsewhere.
        let answer = member.query(sh(include_str!("former_etcd.sh"), [data])).await;
        Ok(answer.is_ok_and(|answer| answer.status == 0).then(|| problem(&name, comes)))
    });
    let asked: Result<Vec<Option<Problem>>> = join_all(asked).await.into_iter().collect();
    Ok(asked?.into_iter().flatten().collect())
}

fn problem(member: &str, comes: &str) -> Problem {
    Problem {
        check: "etcd".to_owned(),
        found: format!(
            "etcd 3.5 of {member} has written no snapshot of its own since it was taken over; before that it ran with ETCD_ENABLE_V2=true, \
             and with what it wrote then etcd {comes} may not start"
        ),
        needed: "a snapshot of its own (member/snap/*.snap) that is younger".to_owned(),
        remedy: "set etcd_snapshot_count: 100, run setup-cluster, and upgrade some minutes later, when etcd has written so many changes; then \
                 take the variable out again"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    #[test]
    fn a_member_that_has_written_no_snapshot_since_its_adoption_is_told() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().display().to_string();
            let write = |path: &str, text: &str| {
                let path = folder.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            let is_told = |version: &str| {
                let program =
                    include_str!("former_etcd.sh").replace("/var/lib/muster", &format!("{root}/muster"));
                let program = format!("etcd() {{ echo 'etcd Version: {version}'; }}\n{program}");
                let mut sh = Command::new(shell[0]);
                sh.args(&shell[1..]).args(["-c", &program, "sh", &format!("{root}/etcd")]);
                let done = sh.output().unwrap();
                assert!(done.stderr.is_empty(), "{shell:?}: {done:?}");
                done.status.success()
            };
            assert!(!is_told("3.5.35"), "{shell:?}: muster's own");
            write("muster/adopted/etc/etcd.env", "ETCD_NAME=etcd1\nETCD_ENABLE_V2=true\n");
            assert!(is_told("3.5.35") && !is_told("3.6.14"), "{shell:?}");
            write("etcd/member/snap/1.snap", "");
            let mut older = Command::new("touch");
            older.args(["-d", "2001-01-01", &format!("{root}/etcd/member/snap/1.snap")]);
            assert!(older.status().unwrap().success());
            assert!(is_told("3.5.35"), "{shell:?}");
            let mut later = Command::new("touch");
            later.args(["-d", "2999-01-01", &format!("{root}/etcd/member/snap/1.snap")]);
            assert!(later.status().unwrap().success());
            assert!(!is_told("3.5.35"), "{shell:?}");
            write("muster/adopted/etc/etcd.env", "ETCD_ENABLE_V2=false\n");
            fs::remove_file(folder.path().join("etcd/member/snap/1.snap")).unwrap();
            assert!(!is_told("3.5.35"), "{shell:?}");
        }
    }
}
