//! Kernel parameters.

use super::{Plan, Probe, Removable, Resource, STAMPS, Seen};
use crate::script::{Script, sh};

/// A kernel parameter's value, now. That it stays so is a matter of a file in /etc/sysctl.d.
#[derive(Debug, Clone)]
pub struct Sysctl {
    name: String,
    value: String,
    optional: bool,
}

/// The kernel parameter has this value (sysctl(8)). Removed, it gets back the value that it had before, where nobody has set
/// another one since.
pub fn sysctl(name: impl Into<String>, value: impl Into<String>) -> Sysctl {
    Sysctl { name: name.into(), value: value.into(), optional: false }
}

/// What was seen of a parameter: whether the kernel has it and lets it be written, its value, and what that was before
/// muster set it.
struct State {
    missing: bool,
    read_only: bool,
    value: String,
    before: Option<String>,
}

impl State {
    fn of(seen: &Seen) -> Self {
        let answer = seen.answer();
        let mut output = answer.output.as_str();
        let mut before = None;
        if let Some((value, rest)) = output.strip_prefix("before ").and_then(|rest| rest.split_once('\n')) {
            (before, output) = (Some(words(value)), rest);
        }
        let (read_only, value) = match output.strip_prefix("read-only\n") {
            Some(value) => (true, value),
            None => (false, output),
        };
        Self { missing: answer.status == 2, read_only, value: words(value), before }
    }
}

/// Several values of one parameter are parted by tabs or by spaces.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const LOOK: &str = r#"
parameter=$1 stamp=$2
{ read -r before <"$stamp" && echo "before $before"; } 2>/dev/null
[ -e "$parameter" ] || exit 2
[ -w "$parameter" ] || echo read-only
cat "$parameter""#;

/// What it was is remembered before it is changed, and once: a later value is ours.
const SET: &str = r#"
parameter=$1 value=$2 stamp=$3 optional=$4
if [ ! -e "$stamp" ]; then
  mkdir -p "${stamp%/*}"
  cat "$parameter" >"$stamp.new"
  mv -f "$stamp.new" "$stamp"
fi
echo "$value" >"$parameter" || {
  [ -n "$optional" ] || exit 1
  echo "$parameter stays as it is"
}"#;

impl Sysctl {
    /// A kernel without this parameter, or one that does not let it be written here (in a container), is fine.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    fn path(&self) -> String {
        format!("/proc/sys/{}", self.name.replace('.', "/"))
    }

    /// Where the machine remembers its value.
    fn stamp(&self) -> String {
        format!("{STAMPS}/sysctl/{}", self.name)
    }

    fn set(&self, value: &str) -> Script {
        let optional = if self.optional { "optional" } else { "" };
        sh(SET, [self.path(), value.to_owned(), self.stamp(), optional.to_owned()])
    }
}

impl Resource for Sysctl {
    fn label(&self) -> String {
        format!("sysctl {}", self.name)
    }

    fn probe(&self) -> Probe {
        Probe::script(sh(LOOK, [self.path(), self.stamp()]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let state = State::of(seen);
        let wanted = words(&self.value);
        if state.missing && !self.optional {
            return Err(format!("this kernel has no {}", self.name));
        }
        if state.missing || state.value == wanted || self.optional && state.read_only {
            return Ok(Plan::nothing());
        }
        Ok(Plan::change(self, format!("{} -> {wanted}", state.value), self.set(&self.value)))
    }

    fn desired(&self) -> String {
        format!("{}={}", self.label(), self.value)
    }
}

impl Removable for Sysctl {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        let state = State::of(seen);
        let Some(before) = state.before else { return Ok(Plan::nothing()) };
        let ours = !state.missing && state.value == words(&self.value);
        if !ours || state.value == before {
            return Ok(Plan::change(self, "no longer kept", sh(r#"rm -f "$1""#, [self.stamp()])));
        }
        let restore = sh(r#"echo "$2" >"$1"; rm -f "$3""#, [self.path(), before.clone(), self.stamp()]);
        Ok(Plan::change(self, format!("{} -> {before}", state.value), restore))
    }
}
