//! Playbooks: plays as data. The ones muster comes with are compiled in; a file of the same name in `playbooks/` wins.

use std::path::Path;

use muster_engine::play::Play;
use muster_engine::run::Role;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::error::Error;
use crate::text;

/// A playbook that is compiled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Playbook {
    /// How a file is called that replaces it: `cluster.yml`.
    pub file_name: &'static str,
    /// What it says.
    pub text: &'static str,
}

/// What `setup-cluster` does.
pub const CLUSTER: Playbook =
    Playbook { file_name: "cluster.yml", text: include_str!("../../../playbooks/cluster.yml") };

/// What `upgrade-cluster` does.
pub const UPGRADE: Playbook =
    Playbook { file_name: "upgrade.yml", text: include_str!("../../../playbooks/upgrade.yml") };

/// What `muster adopt --apply` does.
pub const ADOPT: Playbook =
    Playbook { file_name: "adopt.yml", text: include_str!("../../../playbooks/adopt.yml") };

/// What `muster preflight` does.
pub const PREFLIGHT: Playbook =
    Playbook { file_name: "preflight.yml", text: include_str!("../../../playbooks/preflight.yml") };

/// What `muster verify` does.
pub const VERIFY: Playbook =
    Playbook { file_name: "verify.yml", text: include_str!("../../../playbooks/verify.yml") };

/// What `reset-cluster` does.
pub const RESET: Playbook =
    Playbook { file_name: "reset.yml", text: include_str!("../../../playbooks/reset.yml") };

impl Playbook {
    /// The plays, from `playbooks/` in a folder if it is there, else as compiled in.
    ///
    /// # Errors
    /// The file cannot be read or is no playbook, or it names none of these roles.
    pub fn load(self, folder: &Path, roles: &[Role]) -> Result<Vec<Play>, Error> {
        let path = folder.join("playbooks").join(self.file_name);
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(&path.display().to_string(), &text, roles),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                parse(self.file_name, self.text, roles)
            }
            Err(error) => Err(Error::failed(format!("cannot read {}: {error}", path.display()))),
        }
    }
}

/// The places of a play's parts, which [`Play`] does not keep.
#[derive(Deserialize)]
struct Places {
    roles: Vec<Spanned<String>>,
    #[serde(default)]
    always: Vec<Spanned<String>>,
}

fn parse(name: &str, source: &str, roles: &[Role]) -> Result<Vec<Play>, Error> {
    let invalid = |error: serde_saphyr::Error| {
        let place = error.location().map(|at| (at.line() as usize, at.column() as usize));
        let message = message(error.without_snippet());
        Error::written(match place {
            Some((line, column)) => located(name, source, line, column, &message),
            None => format!("{name}: {message}"),
        })
        .hint("a playbook is a list of plays: {name, hosts, roles, always, tags, serial, serial_by_group, max_failures, any_errors_fatal, may_be_off, wait_for_all}")
    };
    let plays: Vec<Play> = serde_saphyr::from_str(source).map_err(invalid)?;
    let places: Vec<Places> = serde_saphyr::from_str(source).map_err(invalid)?;
    for role in places.iter().flat_map(|play| play.roles.iter().chain(&play.always)) {
        if roles.iter().any(|known| known.name == role.value) {
            continue;
        }
        let at = &role.referenced;
        let message = format!("there is no role {:?}", role.value);
        let error = Error::written(located(name, source, at.line() as usize, at.column() as usize, &message));
        return Err(match muster_inventory::closest(&role.value, roles.iter().map(|known| known.name)) {
            Some(known) => error.hint(format!("did you mean {known:?}?")),
            None => error.hint("see the roles there are: setup-cluster --list-roles"),
        });
    }
    Ok(plays)
}

/// What is wrong, without the place, which is told in front.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.rsplit_once(" at line ").map_or(line, |(message, _)| message).to_owned()
}

/// `file:line:column: message`, with the line and a caret below.
fn located(name: &str, source: &str, line: usize, column: usize, message: &str) -> String {
    let excerpt = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let (number, blank) = (line.to_string(), " ".repeat(line.to_string().len()));
    let caret = " ".repeat(column.saturating_sub(1));
    format!(
        "{name}:{line}:{column}: {message}\n {blank} |\n {number} | {}\n {blank} | {caret}^",
        text::harmless(excerpt)
    )
}

#[cfg(test)]
mod tests {
    use muster_roles::ROLES;

    use super::*;

    #[test]
    fn the_embedded_playbooks_are_correct() {
        let nowhere = Path::new("/nonexistent");
        for playbook in [CLUSTER, UPGRADE, ADOPT, PREFLIGHT, VERIFY, RESET] {
            assert!(!playbook.load(nowhere, ROLES).unwrap().is_empty(), "{playbook:?}");
        }
    }

    #[test]
    fn a_file_on_disk_wins() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("playbooks")).unwrap();
        let text = "- name: Mine\n  hosts: all\n  roles: [etcd]\n";
        std::fs::write(folder.path().join("playbooks/cluster.yml"), text).unwrap();
        let plays = CLUSTER.load(folder.path(), ROLES).unwrap();
        assert_eq!((plays.len(), plays[0].name.as_str()), (1, "Mine"));
    }

    #[track_caller]
    fn check_error(source: &str, expected: &str) {
        let error = parse("p.yml", source, ROLES).unwrap_err();
        assert_eq!(error.in_full(), expected.trim_start());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        check_error(
            "- name: A\n  hosts: all\n  become: true\n  roles: []\n",
            "
error: p.yml:3:3: unknown field `become`, expected one of name, hosts, roles, always, tags, serial, serial_by_group, max_failures, any_errors_fatal, may_be_off, wait_for_all
   |
 3 |   become: true
   |   ^
hint: a playbook is a list of plays: {name, hosts, roles, always, tags, serial, serial_by_group, max_failures, any_errors_fatal, may_be_off, wait_for_all}",
        );
    }

    #[test]
    fn an_unknown_role_is_named_with_its_place_and_the_one_that_was_meant() {
        check_error(
            "- name: A\n  hosts: all\n  roles:\n    - etcd\n    - contianerd\n",
            "
error: p.yml:5:7: there is no role \"contianerd\"
   |
 5 |     - contianerd
   |       ^
hint: did you mean \"containerd\"?",
        );
    }
}
