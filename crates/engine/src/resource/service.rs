//! systemd units.

use super::{Plan, Probe, Resource, STAMPS, Seen};
use crate::script::sh;
use crate::step::Applied;

/// A systemd service.
#[derive(Debug, Clone)]
pub struct Service {
    unit: String,
    fingerprint: Option<String>,
}

/// A service that is enabled and running.
pub fn service(unit: impl Into<String>) -> Service {
    Service { unit: format!("{}.service", unit.into()), fingerprint: None }
}

impl Service {
    /// Restarts the service when it was not last started with this configuration. The machine remembers the
    /// configuration's fingerprint; so a run that dies between writing a file and restarting leaves nothing behind
    /// that the next run would not see.
    pub fn restart_on(mut self, config: &[&Applied]) -> Self {
        let prints: Vec<_> = config.iter().map(|c| c.fingerprint.as_str()).collect();
        self.fingerprint = Some(super::file::sha256(prints.join(" ").as_bytes()));
        self
    }
}

impl Resource for Service {
    fn label(&self) -> String {
        format!("service {}", self.unit.trim_end_matches(".service"))
    }

    fn probe(&self) -> Probe {
        Probe::script(sh(
            r#"systemctl show -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload "$1"
echo "Stamp=$(cat "$2/$1" 2>/dev/null)""#,
            [self.unit.as_str(), STAMPS],
        ))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let output = seen.answer().output;
        let property = |name: &str| {
            output
                .lines()
                .find_map(|l| l.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default()
                .to_owned()
        };
        let mut what = Vec::new();
        if !matches!(property("UnitFileState").as_str(), "enabled" | "enabled-runtime" | "static" | "alias") {
            what.push("enabled");
        }
        let stamp_differs = self.fingerprint.as_ref().is_some_and(|f| *f != property("Stamp"));
        let running = property("ActiveState") == "active";
        if !running {
            what.push("started");
        } else if stamp_differs {
            what.push("restarted, its configuration is newer");
        }
        if what.is_empty() {
            return Ok(Plan::nothing());
        }
        let restart = if !running || stamp_differs { "restart" } else { "" };
        let mend = r#"
systemctl daemon-reload
systemctl is-enabled -q "$1" || systemctl enable "$1"
[ "$2" != restart ] || systemctl restart "$1" || {
  journalctl --no-pager -n 15 -o cat -u "$1"
  exit 1
}
[ -z "$3" ] || { mkdir -p "$4"; printf %s "$3" >"$4/.$1"; mv -f "$4/.$1" "$4/$1"; }"#;
        let fingerprint = self.fingerprint.as_deref().unwrap_or_default();
        Ok(Plan::change(self, what.join(", "), sh(mend, [self.unit.as_str(), restart, fingerprint, STAMPS])))
    }

    fn desired(&self) -> String {
        format!("{}:{:?}", self.label(), self.fingerprint)
    }
}
