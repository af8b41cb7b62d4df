//! Directories.

use super::{Access, PathKind, Plan, Probe, Removable, Resource, Seen, with_access};
use crate::script::sh;

/// A directory.
#[derive(Debug, Clone)]
pub struct Dir {
    path: String,
    access: Access,
}

/// A directory owned by root, mode 0755. Missing parents are made too, with mode 0755. Removed, it goes with everything in
/// it; what is mounted there is unmounted first, and where that cannot be nothing is removed. A disk of its own, and a folder of
/// the same name that a link leads to, is emptied: the mount stays, and so do the link and the folder.
pub fn dir(path: impl Into<String>) -> Dir {
    Dir { path: path.into(), access: Access::root(0o755) }
}

with_access!(Dir);

impl Resource for Dir {
    fn label(&self) -> String {
        format!("directory {}", self.path)
    }

    fn probe(&self) -> Probe {
        Probe::path(&self.path)
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let what = match seen.path(&self.path) {
            None => vec!["created".to_owned()],
            Some(state) if state.kind == PathKind::Dir => self.access.differences(state),
            Some(_) => return Err(format!("{} is there, and is no directory", self.path)),
        };
        if what.is_empty() {
            return Ok(Plan::nothing());
        }
        let mend = r#"
mkdir -p "$1"
chown "$3:$4" "$1"
chmod "$2" "$1""#;
        let script = sh(mend, [&self.path, &self.access.mode_text(), &self.access.owner, &self.access.group]);
        Ok(Plan::change(self, what.join(", "), script))
    }

    fn desired(&self) -> String {
        format!("{}:{:?}", self.label(), self.access)
    }
}

/// The path without links; whether it is a `folder`, or a `mount` or a folder behind a `link` with something in it, or an `empty`
/// one of these; and what is mounted below it. A link that leads nowhere is an `empty` one.
const MOUNTS: &str = concat!(
    r#"link=
[ ! -L "$1" ] || link=yes
real=$(cd "$1" 2>/dev/null && pwd -P) || {
  [ -z "$link" ] || [ -e "$1" ] || printf '%s\n' "$1" empty
  exit 0
}
printf '%s\n' "$real"
set -- "$real" ""
"#,
    include_str!("remove_dir.sh"),
    r#"
kind=folder
if is_mount; then kind=mount; elif [ -n "$link" ]; then kind=link; fi
[ "$kind" = folder ] || [ -n "$(ls -A "$folder")" ] || kind=empty
echo "$kind"
each_mount printf '%s\n'"#
);
const REMOVE: &str = concat!(include_str!("remove_dir.sh"), "remove");

impl Removable for Dir {
    fn probe_removal(&self) -> Probe {
        Probe { script: Some(sh(MOUNTS, [&self.path])), ..self.probe() }
    }

    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        let Some(state) = seen.path(&self.path) else { return Ok(Plan::nothing()) };
        if !matches!(state.kind, PathKind::Dir | PathKind::Link) {
            return Err(format!("{} is no directory, and a directory was to be removed", self.path));
        }
        let (status, output) = (seen.answer().status, seen.answer().output);
        let mut lines = output.lines();
        let real = lines.next().filter(|_| status == 0);
        let real = real.ok_or_else(|| match state.kind {
            PathKind::Link => {
                format!("{} leads to no directory, and a directory was to be removed", self.path)
            }
            _ => format!("it cannot be said what is mounted below {}", self.path),
        })?;
        let kind = lines.next().unwrap_or_default();
        let mounts: Vec<_> = lines.collect();
        for path in [self.path.as_str(), real] {
            if is_everybodys(path) {
                return Err(format!("{path} is not muster's alone, and is never removed"));
            }
        }
        // What has another name may hold more than what is to be removed: a whole disk.
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        if kind == "link" && name(real) != name(&self.path) {
            return Err(format!(
                "{} is a link to {real}, which may hold more: take what is to go out of it by hand, and remove the link",
                self.path
            ));
        }
        let done = match kind {
            "empty" if mounts.is_empty() => return Ok(Plan::nothing()),
            "mount" => "emptied, because it is a disk of its own",
            "link" => "emptied, because a link leads to it",
            "empty" => "emptied",
            _ => "removed",
        };
        let stays = if done == "removed" { "" } else { "stays" };
        let what = match mounts.as_slice() {
            [] => done.to_owned(),
            mounts => format!("{done}, after unmounting {}", mounts.join(", ")),
        };
        Ok(Plan::change(self, what, sh(REMOVE, [real, stays])))
    }
}

/// Folders of the system besides those of one name, and those in which others have theirs, muster's lock among them.
const SYSTEM: [&str; 23] = [
    "/dev",
    "/etc/default",
    "/etc/modules-load.d",
    "/etc/ssh",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/systemd/system",
    "/lib/modules",
    "/lib/systemd",
    "/opt/bin",
    "/proc",
    "/run/systemd",
    "/sys",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/lib/systemd",
    "/usr/lib/modules",
    "/var/lib/dpkg",
    "/var/lib/muster",
    "/var/lib/rpm",
    "/var/lib/systemd",
    "/boot",
];

/// Whether a folder is the whole system's: `/`, one of a single name, one of two names in /usr, /var or /home, or a known one.
/// A path that is not written in the shortest way is not understood, and so it is as well.
fn is_everybodys(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return true };
    let names: Vec<_> = rest.split('/').collect();
    let odd = names.iter().any(|name| matches!(*name, "" | "." | ".."));
    let least = if matches!(names[0], "usr" | "var" | "home") { 3 } else { 2 };
    odd || names.len() < least
        || SYSTEM.contains(&path)
        || matches!(names[0], "dev" | "proc" | "sys" | "boot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_everybodys_is_never_removed() {
        for path in [
            "/",
            "/etc",
            "/var/lib",
            "/usr/local",
            "/var/lib/muster",
            "/etc/systemd/system",
            "/proc/1",
            "x/y",
            "",
        ] {
            assert!(is_everybodys(path), "{path}");
        }
        for path in ["/var/lib/kubelet/", "/var/lib/kubelet/..", "/var//lib/kubelet", "/a/./b"] {
            assert!(is_everybodys(path), "{path}: it may be another one than it seems");
        }
        for path in
            ["/etc/kubernetes", "/var/lib/kubelet", "/opt/cni", "/run/flannel", "/usr/libexec/kubernetes/x"]
        {
            assert!(!is_everybodys(path), "{path}");
        }
    }
}
