//! What a machine did, in a sentence.

use muster_bootserver::{News, Outcome, Stage, Step};

use crate::output::text::{harmless, size};

/// A line for the screen.
pub(super) fn of(news: &News, render: &str) -> String {
    match news {
        News::Step(step) => of_step(step),
        News::Trouble(text) => format!("dnsmasq: {}", harmless(text)),
        News::Unknown { card: Some(card), .. } => format!(
            "{card} is not in the inventory, and starts from its own disk; to have it boot from the network, write this behind one of \
             the inventory's hosts: mac_address={card}, then: {render}"
        ),
        News::Unknown { address, .. } => format!(
            "a machine{} is not in the inventory, and starts from its own disk; its screen says what to write into the inventory",
            address.map(|address| format!(" at {address}")).unwrap_or_default()
        ),
    }
}

fn of_step(step: &Step) -> String {
    let who = who(step);
    let what = harmless(&step.what);
    let stage = step.stage.name();
    match (step.outcome, step.stage) {
        (Outcome::Done, Stage::Dhcp) => {
            format!("{who} asked how to boot, and was told to fetch iPXE ({stage})")
        }
        (Outcome::Done, Stage::Ipxe) if what.is_empty() => {
            format!("{who} runs iPXE, and was told to fetch boot.ipxe ({stage})")
        }
        (Outcome::Done, Stage::Ignition) => {
            format!("{who} fetched {what}{}: its system starts ({stage})", whose(step))
        }
        (Outcome::Done, Stage::Kernel | Stage::System) => {
            format!("{who} fetched {what}, {} ({stage})", size(step.size))
        }
        (Outcome::Done, _) => format!("{who} fetched {what}{} ({stage})", whose(step)),
        (Outcome::Cut, _) if step.size == 0 => {
            format!("{who} was cut off in the middle of {what} ({stage}); it tries again by itself")
        }
        (Outcome::Cut, _) => format!(
            "{who} was cut off after {} of {} of {what} ({stage}); it tries again by itself",
            size(step.sent),
            size(step.size)
        ),
        (Outcome::Missing, _) => format!("{who} asked for {what}, which is not there ({stage})"),
        (Outcome::Refused, _) => {
            format!("{who} asked for {what}, which leads out of the folder or cannot be read ({stage})")
        }
    }
}

/// `s4 (52:54:00:12:34:56, 192.0.2.4)`.
fn who(step: &Step) -> String {
    let address = step.address.map(|address| address.to_string());
    let known: Vec<&str> = step.mac.as_deref().into_iter().chain(address.as_deref()).collect();
    format!("{} ({})", step.machine.as_deref().unwrap_or("an unknown machine"), known.join(", "))
}

/// What a file has the name of another machine for.
fn whose(step: &Step) -> &'static str {
    let mut parts = step.what.split('/');
    let file = parts.next_back().and_then(|file| file.rsplit_once('.'));
    let is_of_one = matches!(step.stage, Stage::Script | Stage::Ignition);
    match file {
        Some((name, _)) if is_of_one && step.machine.as_deref() != Some(name) => {
            ", which is another machine's"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(stage: Stage, what: &str, outcome: Outcome) -> News {
        News::Step(Step {
            time: String::new(),
            machine: Some("s4".into()),
            mac: Some("52:54:00:12:34:56".into()),
            address: Some([192, 0, 2, 4].into()),
            stage,
            what: what.into(),
            outcome,
            sent: 3_100_000,
            size: 52_000_000,
        })
    }

    #[test]
    fn each_step_is_a_sentence() {
        let told = |stage, what, outcome| of(&step(stage, what, outcome), "");
        for (stage, what, outcome, expected) in [
            (Stage::Dhcp, "", Outcome::Done, "asked how to boot, and was told to fetch iPXE (dhcp)"),
            (Stage::Ipxe, "", Outcome::Done, "runs iPXE, and was told to fetch boot.ipxe (ipxe)"),
            (Stage::Ipxe, "undionly.kpxe", Outcome::Done, "fetched undionly.kpxe (ipxe)"),
            (Stage::Script, "name/s4.ipxe", Outcome::Done, "fetched name/s4.ipxe (script)"),
            (Stage::Kernel, "images/k", Outcome::Done, "fetched images/k, 52.0 MB (kernel)"),
            (
                Stage::System,
                "images/i",
                Outcome::Cut,
                "was cut off after 3.1 MB of 52.0 MB of images/i (system); it tries again by itself",
            ),
            (Stage::Kernel, "images/k", Outcome::Missing, "asked for images/k, which is not there (kernel)"),
            (
                Stage::Ignition,
                "ignition/s4.ign",
                Outcome::Done,
                "fetched ignition/s4.ign: its system starts (ignition)",
            ),
            (
                Stage::Ignition,
                "ignition/s5.ign",
                Outcome::Done,
                "fetched ignition/s5.ign, which is another machine's: its system starts (ignition)",
            ),
        ] {
            assert_eq!(told(stage, what, outcome), format!("s4 (52:54:00:12:34:56, 192.0.2.4) {expected}"));
        }
        let card = "52:54:00:12:34:57".parse().ok();
        let unknown = of(&News::Unknown { card, address: None }, "muster netboot render pc.yml -o www");
        assert!(
            unknown.contains(": mac_address=52:54:00:12:34:57, then: muster netboot render pc.yml"),
            "{unknown}"
        );
    }
}
