//! What a machine does by itself now and then: a program of its own, and a timer of systemd that starts it. It leaves a machine
//! alone that a run of muster works on. Reference: systemd.timer(5), systemd.time(7).

use muster_engine::lock;
use muster_engine::prelude::*;

use crate::common::bin_dir;

/// A timer of systemd, by its name without `.timer`.
pub(crate) struct Timer {
    pub(crate) name: &'static str,
    /// What it is for, as the end of a sentence.
    pub(crate) what: &'static str,
    /// When, as systemd.time(7) says it.
    pub(crate) calendar: String,
    /// For sh; `$1` and so on are `arguments`.
    pub(crate) program: &'static str,
    pub(crate) arguments: Vec<String>,
}

/// Where its program is.
fn program(name: &str) -> String {
    format!("/var/lib/muster/{name}.sh")
}

/// Its unit of a kind, `service` or `timer`.
pub(crate) fn unit(name: &str, kind: &str) -> String {
    format!("/etc/systemd/system/{name}.{kind}")
}

impl Timer {
    /// The step has it there as well.
    pub(crate) fn on<'h>(&self, host: &Host, step: Step<'h>) -> Result<Step<'h>> {
        let words = self.arguments.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ");
        // What was missed is done while the machine boots, when what it is about may not be up yet.
        let service = format!(
            "[Unit]\nDescription=Kubernetes: {}\nAfter=containerd.service etcd.service kubelet.service\n\n[Service]\nType=oneshot\nEnvironment=PATH={}:/usr/local/sbin:/usr/local/bin:/usr/sbin:\
             /usr/bin:/sbin:/bin\nExecStart=/bin/sh {} {words}\n",
            self.what,
            bin_dir(host)?,
            program(self.name)
        );
        let timer = self.unit_of_timer();
        let text = format!("{}{}{}", lock::LOOK, include_str!("beside-runs.sh"), self.program);
        Ok(step
            .ensure(file(program(self.name)).content(text).mode(0o700))
            .ensure(file(unit(self.name, "service")).content(service))
            .ensure(file(unit(self.name, "timer")).content(timer.clone()))
            .ensure(muster_engine::prelude::timer(self.name).started_with(&timer)))
    }

    /// A machine that was off at a time makes up for it when it is on again: classrooms are off every night.
    fn unit_of_timer(&self) -> String {
        format!(
            "[Unit]\nDescription=Kubernetes: {}\n\n[Timer]\nOnCalendar={}\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
            self.what, self.calendar
        )
    }
}

/// There is no timer of this name.
pub(crate) fn none(name: &str) -> Command {
    let files = [unit(name, "timer"), unit(name, "service"), program(name)];
    removal(
        format!("timer {name}"),
        sh(
            r#"name=$1; shift
systemctl disable -q --now "$name.timer" || :
rm -f "$@" "/var/lib/muster/stamps/$name.timer" "/var/lib/systemd/timers/stamp-$name.timer"
systemctl daemon-reload"#,
            std::iter::once(name.to_owned()).chain(files.clone()),
        ),
        sh(r#"for path; do [ ! -e "$path" ] || exit 1; done"#, files),
    )
}

/// A word of a unit's command line (systemd.service(5), "Command lines").
pub(crate) fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_while_the_machine_was_off_is_made_up_for() {
        let timer = Timer {
            name: "a",
            what: "do a thing",
            calendar: "daily".into(),
            program: "",
            arguments: Vec::new(),
        };
        assert!(timer.unit_of_timer().contains("[Timer]\nOnCalendar=daily\nPersistent=true\n"));
    }

    #[test]
    fn a_word_of_a_command_line_means_itself() {
        assert_eq!(quoted(r#"a b"c\d%e$f"#), r#""a b\"c\\d%%e$$f""#);
        assert_eq!(quoted(""), "\"\"");
    }
}
