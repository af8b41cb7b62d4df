//! A kubelet takes another configuration, or goes on with the one that it had.
//!
//! One that does not start stops nothing but itself at first; some forty seconds later its node is lost. So no wrong value may reach
//! more than one of them: a machine keeps what its kubelet starts with until the kubelet is seen to run with something else
//! (`kubelet_former.sh`), and one machine goes first.

use std::future::Future;

use muster_engine::prelude::*;
use serde::Deserialize;

use super::reconfigure::REVERTED;
use super::{PATCHES, UNIT, kubelet, kubelet_blame};

/// Always set.
#[derive(Deserialize)]
pub(super) struct Vars {
    group_names: Vec<String>,
}

/// Where a machine keeps what its kubelet started with before a change.
pub(super) const FORMER: &str = "/var/lib/muster/kubelet-before";

/// How `change_kubelet.sh` says that a kubelet does not run, where there is nothing to go back to, or that does not run either.
const NEITHER: &str = "does not run with its new configuration, nor with the one before";
const NONE_BEFORE: &str = "does not run, and there is no configuration with which it ran before";

/// A snippet that knows how a kubelet starts anew.
macro_rules! starting {
    ($text:expr, $args:expr) => {
        sh(
            concat!(
                include_str!("place.sh"),
                include_str!("kubelet_state.sh"),
                include_str!("kubelet_former.sh"),
                include_str!("restart_kubelet.sh"),
                $text
            ),
            $args,
        )
    };
}
pub(super) use starting;

/// What a change has left that was cut off with its machine.
pub(super) fn nothing_half_done() -> Command {
    command(
        "what the kubelet had before a change that was cut off",
        starting!(include_str!("mend_kubelet.sh"), [""; 0]),
        sh(r#"[ ! -e "$1/complete" ]"#, [FORMER]),
    )
}

/// What a kubelet starts with, and that it runs with that.
pub(super) struct Configuration {
    text: String,
    unit: File,
    given: String,
}

impl Configuration {
    /// `unit`: what its unit says; `given`: a hash of everything that it reads ([`kubelet::given`]).
    pub(super) fn new(unit: String, given: &str) -> Self {
        Self { unit: file(UNIT).content(unit.as_str()), text: unit, given: given.to_owned() }
    }
}

impl Resource for Configuration {
    fn label(&self) -> String {
        "configuration of the kubelet".into()
    }

    fn probe(&self) -> Probe {
        let look = concat!(
            include_str!("kubelet_state.sh"),
            r#"[ ! -e "$FORMER/complete" ] && kubelet_is_as_configured "$1" "$2" && arguments_are_as_kept "$1""#
        );
        let script = sh(look, [kubelet::STAMP, &self.given]);
        Probe { script: Some(script), ..self.unit.probe() }
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let mut changes = self.unit.plan(seen)?.changes;
        if changes.is_empty() && seen.answer().status == 0 {
            return Ok(Plan::nothing());
        }
        let args = [PATCHES, kubelet::STAMP, &self.given, UNIT, &self.text];
        let own = Plan::change(self, "done", starting!(include_str!("change_kubelet.sh"), args));
        changes.extend(own.changes);
        Ok(Plan { changes, ..own })
    }

    fn desired(&self) -> String {
        format!("{}:{}", self.label(), self.given)
    }

    /// It goes back by itself, also where the connection is lost meanwhile.
    fn takes_long(&self) -> bool {
        true
    }
}

/// How a turn ended.
struct Turn {
    host: String,
    groups: Vec<String>,
    outcome: Result<()>,
}

/// What a machine tells the others after its turn.
const RUNS: &str = "a kubelet that runs with its new configuration";

/// Does this to a kubelet when its turn comes: one machine goes first, and all that are in the same groups follow at once when its
/// kubelet runs. They have the same variables, but for those of single machines.
///
/// # Errors
/// As what is done; or the kubelet of a machine that went before does not run with its new configuration.
pub(super) async fn in_turn<F>(host: &Host, change: impl Fn() -> F + Sync) -> Result<()>
where
    F: Future<Output = Result<()>> + Send,
{
    let (Vars { group_names: groups }, cluster) = (host.vars()?, host.cluster());
    for number in 0_u32.. {
        let whose = || async { Ok(host.name().to_owned()) };
        let first = cluster.once(&format!("whose kubelet goes first, turn {number}"), whose).await?;
        if *first != host.name() {
            // It says for whom it waits. How that one has ended is told below.
            match host.needs(&first, RUNS).await {
                Ok(()) | Err(Failure::Dependency { .. }) => {}
                other => return other,
            }
        }
        let turn = || async {
            let outcome = change().await;
            if outcome.is_ok() {
                host.reached(RUNS);
            }
            Ok(Turn { host: host.name().to_owned(), groups: groups.clone(), outcome })
        };
        let turn = cluster.once(&format!("another configuration of a kubelet, turn {number}"), turn).await?;
        match &turn.outcome {
            outcome if turn.host == host.name() => return outcome.clone(),
            Ok(()) if turn.groups == groups => break,
            Err(failure) if is_refused(failure) => {
                return Err(Failure::Dependency { what: RUNS.to_owned(), host: turn.host.clone() });
            }
            // A machine of another kind, or one that was off or failed for a reason of its own, says nothing about this one.
            _ => {}
        }
    }
    change().await
}

/// What to do where a kubelet did not run (`change_kubelet.sh`).
pub(super) fn refused(host: &Host, failure: Failure) -> Failure {
    let Failure::Change { tail, .. } = &failure else { return failure };
    let Some((said, words)) =
        tail.lines().find(|line| tells_refusal(line)).map(|line| line.split_once(": ").unwrap_or((line, "")))
    else {
        return failure;
    };
    let words = kubelet_blame::in_short(words);
    let about = kubelet_blame::about(&words, host.all_vars(), host.in_group("kube_control_plane"));
    let correct = match about {
        Some(variable) => format!("correct {variable}, and run again"),
        None => "correct the variable that this is about, and run again".to_owned(),
    };
    let after = match said.contains(REVERTED) {
        true => "; until then the kubelet has what it had before".to_owned(),
        false => format!("; all that it said is on {}: journalctl -u kubelet", host.name()),
    };
    Failure::Other {
        message: format!("the {said}: {words}"),
        remedy: (correct + &after).into(),
        tail: String::new(),
    }
}

/// Whether a kubelet did not run with what it was given.
fn is_refused(failure: &Failure) -> bool {
    matches!(failure, Failure::Other { message, .. } if tells_refusal(message))
}

fn tells_refusal(text: &str) -> bool {
    [REVERTED, NEITHER, NONE_BEFORE].iter().any(|how| text.contains(how))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_messages_have_the_same_words() {
        let program = include_str!("change_kubelet.sh");
        assert!([REVERTED, NEITHER, NONE_BEFORE].iter().all(|how| program.contains(how)));
        assert!(include_str!("kubelet_state.sh").contains(&format!("FORMER={FORMER}\n")));
    }

    #[test]
    fn a_kubelet_s_last_words_are_why_it_ended() {
        let said = |what: &str| format!("E1129 19:10:01.123456    1234 run.go:72] {what}\n");
        let ended = "kubelet.service: Main process exited, code=exited, status=1/FAILURE\n";
        let panic = "panic: it cannot\n\ngoroutine 1 [running]:\nmain.main()\n\t/x/y.go:1\n";
        for (journal, words) in [
            // The next attempt has only begun.
            (
                [&said("\"a\" err=\"b\""), &said("\"command failed\" err=\"c\""), ended, &said("not yet")]
                    .concat(),
                "\"command failed\" err=\"c\"",
            ),
            ([&said("not this"), panic, ended].concat(), "panic: it cannot"),
            (
                [&said("\"command failed\" err=<"), "\tit says\n\tmore\n >\n", ended].concat(),
                "\"command failed\" err=<\tit says",
            ),
            (["Started it\n", "it has no form\n", ended].concat(), "it has no form"),
            (String::new(), ""),
        ] {
            for shell in [&["dash"][..], &["bash", "--posix"]] {
                let program = concat!(
                    "journalctl() { printf '%s' \"$journal\"; }\n",
                    include_str!("kubelet_former.sh"),
                    "kubelet_last_words 1"
                );
                let mut sh = std::process::Command::new(shell[0]);
                let out =
                    sh.args(&shell[1..]).args(["-euc", program]).env("journal", &journal).output().unwrap();
                assert_eq!(
                    String::from_utf8_lossy(&out.stdout).trim_end(),
                    words,
                    "{shell:?}: {journal}: {out:?}"
                );
            }
        }
    }
}
