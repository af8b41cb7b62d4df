//! A command whose effect no other resource describes.

use super::{Plan, Probe, Resource, Seen};
use crate::script::Script;

/// A command that runs unless its effect is there.
#[derive(Debug, Clone)]
pub struct Command {
    name: String,
    what: &'static str,
    run: Script,
    unless: Script,
}

/// A command, by what it achieves: `swap is off`. It runs unless `unless`, which only looks, succeeds.
pub fn command(name: impl Into<String>, run: Script, unless: Script) -> Command {
    Command { name: name.into(), what: "done", run, unless }
}

/// A command that takes something away, by what that is: `data of etcd in /var/lib/etcd`. It runs unless `unless`, which only looks,
/// succeeds: then nothing of it is there.
pub fn removal(name: impl Into<String>, run: Script, unless: Script) -> Command {
    Command { what: "removed", ..command(name, run, unless) }
}

impl Resource for Command {
    fn label(&self) -> String {
        self.name.clone()
    }

    fn probe(&self) -> Probe {
        Probe::script(self.unless.clone())
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        if seen.answer().status == 0 {
            return Ok(Plan::nothing());
        }
        Ok(Plan::change(self, self.what, self.run.clone()))
    }

    fn desired(&self) -> String {
        format!("{}:{:?}", self.name, self.run)
    }
}
