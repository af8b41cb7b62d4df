//! A member that was a static pod, or was to be one, is a process again.

use muster_engine::prelude::*;

use super::leave::may_be_restarted;
use super::pod::{AT_BOOT, DROP_IN, FAILED, MANIFEST, NOTE, PROGRAM};

/// Whether the member may be a pod, or is about to become one. One that is a process, and runs, does not restart because it was to be a
/// pod. `$1`: [`NOTE`]; `$2`: [`MANIFEST`].
macro_rules! may_be_pod {
    () => {
        r#"[ -e "$1" ] || [ -e "$2" ] || ! systemctl is-active -q etcd"#
    };
}

/// What does it. The program goes last: what was cut off before goes on.
const TAKE_BACK: &str = concat!(
    "set -e\nif ",
    may_be_pod!(),
    r#"; then
  systemctl stop etcd
  sh "$3" end
fi
rm -f "$4" "$5" "$6"
rmdir "${4%/*}" 2>/dev/null || :
systemctl daemon-reload
rm -f "$3""#
);

/// A member that is to be a process again, and has the program of a pod's unit: nothing of a pod is left. One that may be a pod has
/// stopped. The step that follows looks anew, and starts it; where this run is cut off before, the next one does.
///
/// # Errors
/// It may be a pod, and too few of the others answer.
pub(super) async fn run(host: &Host) -> Result<()> {
    if host.query(sh(may_be_pod!(), [NOTE, MANIFEST])).await?.status == 0 {
        may_be_restarted(host).await?;
    }
    let take_back = sh(TAKE_BACK, [NOTE, MANIFEST, PROGRAM, DROP_IN, AT_BOOT, FAILED]);
    host.step("Take etcd back from the kubelet")
        .detached()
        .ensure(command("etcd is no static pod", take_back, sh(r#"[ ! -e "$1" ]"#, [PROGRAM])))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::super::pod::tests::{SHELLS, put};
    use super::*;

    /// What [`TAKE_BACK`] is told of a machine, in the order of its parameters.
    static NAMES: [&str; 6] = ["note", "manifest", "program", "etcd.service.d/drop-in", "at-boot", "failed"];

    /// Takes back, where so many calls of systemctl succeed, and etcd runs if `active`. Returns whether it has ended well, and what was asked
    /// of systemctl.
    fn take_back(shell: &[&str], root: &Path, calls: i32, active: bool) -> (bool, String) {
        let fake = format!(
            r#"calls={calls}
systemctl() {{
  [ "$1" != is-active ] || {{ {active}; return; }}
  echo "$*" >>{}/calls
  [ $((calls -= 1)) -ge 0 ]
}}
{TAKE_BACK}"#,
            root.display()
        );
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-euc", &fake, "sh"]);
        let done = command.args(NAMES.map(|name| root.join(name))).status().unwrap().success();
        let said = fs::read_to_string(root.join("calls")).unwrap_or_default();
        fs::remove_file(root.join("calls")).ok();
        (done, said)
    }

    #[test]
    fn a_member_that_was_to_be_a_pod_and_is_none_runs_on() {
        for shell in SHELLS {
            let machine = |there: &[&str]| {
                let folder = tempfile::tempdir().unwrap();
                let end = "echo \"$*\" >>\"${0%/*}/calls\"; rm -f \"${0%/*}/note\" \"${0%/*}/manifest\"";
                NAMES[2..].iter().chain(there).for_each(|name| put(folder.path(), name, end));
                folder
            };
            let none: &[&str] = &[];
            let ended = (true, "stop etcd\nend\ndaemon-reload\n".to_owned());
            for (there, active, expected) in [
                (none, true, (true, "daemon-reload\n".to_owned())),
                (&["note"], true, ended.clone()),
                (&["manifest"], true, ended.clone()),
                // It was stopped by a run that was cut off, or its unit is about to make a pod.
                (none, false, ended),
            ] {
                let folder = machine(there);
                assert_eq!(take_back(shell, folder.path(), 9, active), expected, "{shell:?}: {there:?}");
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{shell:?}: {there:?}");
            }
        }
    }

    #[test]
    fn the_drop_in_goes_when_the_pod_has_ended_and_the_program_last() {
        let all: &[&str] = &["program", "drop-in", "at-boot", "failed"];
        for shell in SHELLS {
            // Each row: what the pod's program does, and how many calls of systemctl are done.
            for (ends, calls, left) in [
                ("exit 1", 9, all),
                ("rm -f \"${0%/*}/note\"", 0, all),
                ("rm -f \"${0%/*}/note\"", 1, &["program"]),
                ("rm -f \"${0%/*}/note\"", 9, &[]),
            ] {
                let folder = tempfile::tempdir().unwrap();
                let root = folder.path();
                NAMES.iter().filter(|name| **name != "manifest").for_each(|name| put(root, name, ends));
                assert_eq!(
                    take_back(shell, root, calls, false).0,
                    left.is_empty(),
                    "{shell:?}: {ends} {calls}"
                );
                let there: Vec<_> = NAMES[2..].iter().filter(|name| root.join(name).exists()).collect();
                let there: Vec<_> = there.iter().map(|name| name.rsplit('/').next().unwrap()).collect();
                assert_eq!(there, left, "{shell:?}: {ends} {calls}");
                // The next run goes on.
                if ends != "exit 1" && !left.is_empty() {
                    assert!(take_back(shell, root, 9, false).0, "{shell:?}: {calls}");
                    assert_eq!(fs::read_dir(root).unwrap().count(), 0, "{shell:?}: {calls}");
                }
            }
        }
    }
}
