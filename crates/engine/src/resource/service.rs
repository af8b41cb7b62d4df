//! systemd units.

use super::{Plan, Probe, Removable, Resource, STAMPS, Seen};
use crate::resource::Applied;
use crate::script::{Script, sh};

/// A systemd service.
#[derive(Debug, Clone)]
pub struct Service {
    unit: String,
    fingerprint: Option<String>,
    masked: bool,
}

/// A service that is enabled and running. Removed, it is stopped and disabled; its unit is a file of its own.
pub fn service(unit: impl Into<String>) -> Service {
    Service { unit: format!("{}.service", unit.into()), fingerprint: None, masked: false }
}

/// A timer of systemd that is enabled and waits for its time. Removed, it is stopped and disabled.
pub fn timer(unit: impl Into<String>) -> Service {
    Service { unit: format!("{}.timer", unit.into()), ..service("") }
}

impl Service {
    /// Restarts it when it was not last started with this text: what its unit says.
    pub fn started_with(mut self, text: &str) -> Self {
        self.fingerprint = Some(super::file::sha256(text.as_bytes()));
        self
    }

    /// Restarts the service when it was not last started with this configuration. The machine remembers the
    /// configuration's fingerprint; so a run that dies between writing a file and restarting leaves nothing behind
    /// that the next run would not see.
    pub fn restart_on(mut self, config: &[&Applied]) -> Self {
        let prints: Vec<_> = config.iter().map(|c| c.fingerprint.as_str()).collect();
        self.fingerprint = Some(super::file::sha256(prints.join(" ").as_bytes()));
        self
    }

    /// A removed service is masked as well, so that nothing starts it, whatever wants it (systemctl(1)); where it is
    /// ensured, the mask is taken away.
    pub fn masked(mut self) -> Self {
        self.masked = true;
        self
    }

    /// Ends with status 0 where the service runs, and was started with another configuration: it would be restarted.
    pub fn is_outdated(&self) -> Script {
        let fingerprint = self.fingerprint.as_deref().unwrap_or_default();
        sh(
            r#"[ -n "$2" ] && [ "$(cat "$3" 2>/dev/null)" != "$2" ] && systemctl is-active -q "$1""#,
            [self.unit.as_str(), fingerprint, &self.stamp()],
        )
    }

    /// Where the machine remembers what it was started with.
    fn stamp(&self) -> String {
        format!("{STAMPS}/{}", self.unit)
    }
}

/// What systemd and the stamp say of a service.
struct State {
    active: String,
    unit_file: String,
    needs_reload: String,
    stamp: String,
}

impl State {
    fn of(seen: &Seen) -> Self {
        let output = seen.answer().output;
        let property = |name: &str| {
            let value = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().to_owned()
        };
        let [active, unit_file, needs_reload, stamp] =
            ["ActiveState", "UnitFileState", "NeedDaemonReload", "Stamp"].map(property);
        Self { active, unit_file, needs_reload, stamp }
    }

    fn is_masked(&self) -> bool {
        self.unit_file.starts_with("masked")
    }
}

/// Enables and starts what has to be, and remembers with what.
const START: &str = r#"
unit=$1 restart=$2 fingerprint=$3 stamps=$4 unmask=$5
[ -z "$unmask" ] || systemctl unmask "$unit"
systemctl daemon-reload
systemctl is-enabled -q "$unit" || systemctl enable "$unit"
[ -z "$restart" ] || systemctl restart "$unit" || {
  journalctl --no-pager -n 15 -o cat -u "$unit"
  exit 1
}
[ -z "$fingerprint" ] || {
  mkdir -p "$stamps"
  printf %s "$fingerprint" >"$stamps/.$unit"
  mv -f "$stamps/.$unit" "$stamps/$unit"
}"#;

/// The stamp goes last: what was cut off before is seen by the next run.
const STOP: &str = r#"
unit=$1 stamp=$2
shift 2
for action; do systemctl "$action" "$unit"; done
# A service that did not end well counts as failed until somebody says otherwise.
systemctl reset-failed "$unit" 2>/dev/null || :
rm -f "$stamp""#;

impl Resource for Service {
    fn label(&self) -> String {
        match self.unit.strip_suffix(".timer") {
            Some(name) => format!("timer {name}"),
            None => format!("service {}", self.unit.trim_end_matches(".service")),
        }
    }

    fn probe(&self) -> Probe {
        Probe::script(sh(
            r#"systemctl show -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload "$1"
echo "Stamp=$(cat "$2" 2>/dev/null)""#,
            [self.unit.clone(), self.stamp()],
        ))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let state = State::of(seen);
        let mut what = Vec::new();
        if !matches!(state.unit_file.as_str(), "enabled" | "enabled-runtime" | "static" | "alias") {
            what.push("enabled");
        }
        let stamp_differs = self.fingerprint.as_ref().is_some_and(|f| *f != state.stamp);
        let running = state.active == "active";
        if !running {
            what.push("started");
        } else if stamp_differs {
            what.push("restarted, its configuration is newer");
        } else if self.fingerprint.is_some() && state.needs_reload == "yes" {
            // What was changed of it counts at the next start.
            what.push("its unit was read anew");
        }
        if what.is_empty() {
            return Ok(Plan::nothing());
        }
        let restart = if !running || stamp_differs { "yes" } else { "" };
        let unmask = if self.masked && state.is_masked() { "yes" } else { "" };
        let fingerprint = self.fingerprint.as_deref().unwrap_or_default();
        let script = sh(START, [self.unit.as_str(), restart, fingerprint, STAMPS, unmask]);
        Ok(Plan::change(self, what.join(", "), script))
    }

    fn desired(&self) -> String {
        format!("{}:{:?}", self.label(), self.fingerprint)
    }
}

impl Removable for Service {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        let state = State::of(seen);
        let (mut what, mut actions) = (Vec::new(), Vec::new());
        match state.active.as_str() {
            // Nothing is said where there is no systemd.
            "" | "inactive" => {}
            "failed" => what.push("no longer failed"),
            _ => {
                what.push("stopped");
                actions.push("stop");
            }
        }
        if matches!(state.unit_file.as_str(), "enabled" | "enabled-runtime" | "linked" | "linked-runtime") {
            what.push("disabled");
            actions.push("disable");
        }
        if self.masked && !state.is_masked() {
            what.push("masked");
            actions.push("mask");
        }
        if what.is_empty() && !state.stamp.is_empty() {
            what.push("forgotten");
        }
        if what.is_empty() {
            return Ok(Plan::nothing());
        }
        let about = [self.unit.clone(), self.stamp()];
        let script = sh(STOP, about.into_iter().chain(actions.into_iter().map(str::to_owned)));
        Ok(Plan::change(self, what.join(", "), script))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Answer;

    #[test]
    fn a_unit_that_was_changed_is_read_anew_without_a_restart() {
        let plan = |reload: &str| {
            let wanted = service("app").started_with("text");
            let stamp = wanted.fingerprint.as_deref().unwrap();
            let output = format!(
                "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload={reload}\nStamp={stamp}\n"
            );
            let seen = Seen { answer: Some(Answer { status: 0, output }), ..Seen::default() };
            let plan = wanted.plan(&seen).unwrap();
            let what: Vec<_> = plan.changes.iter().map(|change| change.what.clone()).collect();
            (what, plan.script.map(|script| script.text()).unwrap_or_default())
        };
        let (what, program) = plan("yes");
        assert_eq!(what, ["its unit was read anew"]);
        assert!(
            program.starts_with("set -- app.service ''") && program.contains("daemon-reload"),
            "{program}"
        );
        assert_eq!(plan("no"), (Vec::new(), String::new()));
    }

    #[test]
    fn a_service_is_outdated_that_runs_with_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = folder.path().join("app.service");
        let is_outdated = |runs: &str, service: &Service| {
            let program = format!("systemctl() {{ {runs}; }}\n{}", service.is_outdated().text());
            let program = program.replace(STAMPS, folder.path().to_str().unwrap());
            std::process::Command::new("sh").args(["-euc", &program]).status().unwrap().success()
        };
        let wanted = service("app").started_with("new");
        assert!(is_outdated("true", &wanted), "nothing says what it was started with");
        assert!(!is_outdated("false", &wanted), "it does not run");
        assert!(!is_outdated("true", &service("app")), "whatever it was started with");
        std::fs::write(&stamp, wanted.fingerprint.as_deref().unwrap()).unwrap();
        assert!(!is_outdated("true", &wanted));
    }
}
