//! Kernel parameters.

use super::{Plan, Probe, Resource, Seen};
use crate::script::sh;

/// A kernel parameter's value, now. That it stays so is a matter of a file in /etc/sysctl.d.
#[derive(Debug, Clone)]
pub struct Sysctl {
    name: String,
    value: String,
    optional: bool,
}

/// The kernel parameter has this value (sysctl(8)).
pub fn sysctl(name: impl Into<String>, value: impl Into<String>) -> Sysctl {
    Sysctl { name: name.into(), value: value.into(), optional: false }
}

impl Sysctl {
    /// A kernel without this parameter, or one that does not let it be written here (in a container), is fine.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    fn path(&self) -> String {
        format!("/proc/sys/{}", self.name.replace('.', "/"))
    }
}

impl Resource for Sysctl {
    fn label(&self) -> String {
        format!("sysctl {}", self.name)
    }

    fn probe(&self) -> Probe {
        Probe::script(sh(r#"[ -e "$1" ] || exit 2; [ -w "$1" ] || echo read-only; cat "$1""#, [self.path()]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = words(answer.output.trim_start_matches("read-only\n"));
        let wanted = words(&self.value);
        if answer.status == 2 {
            return if self.optional {
                Ok(Plan::nothing())
            } else {
                Err(format!("this kernel has no {}", self.name))
            };
        }
        if found == wanted || self.optional && answer.output.starts_with("read-only") {
            return Ok(Plan::nothing());
        }
        let mend = if self.optional {
            r#"echo "$2" >"$1" || echo "$1 stays as it is""#
        } else {
            r#"echo "$2" >"$1""#
        };
        Ok(Plan::change(self, format!("{found} -> {wanted}"), sh(mend, [&self.path(), &self.value])))
    }

    fn desired(&self) -> String {
        format!("{}={}", self.label(), self.value)
    }
}
