//! What the user can do about a failure, in words: the engine names it, and this program has its options and commands for it.

use muster_engine::advice::{Advice, KnownHostKey};
use muster_engine::script::quote;

/// The words.
pub(crate) fn words(advice: &Advice) -> String {
    match advice {
        Advice::ReplaceHostKey(known) => {
            let KnownHostKey { machine, file, name } = &**known;
            format!(
                "if the machine was installed anew and was a node of the cluster: `muster replace-node {machine}`; if it was none: run \
                 again with `--reimaged {machine}`, or do `ssh-keygen -f {file} -R '{name}'` and run again; if it was not installed \
                 anew, something else answers at this address"
            )
        }
        Advice::GivePrivateKey => {
            "name a key with ansible_ssh_private_key_file (or --private-key), or load one into the agent"
                .to_owned()
        }
        Advice::GiveBecomePassword { user } => format!(
            "give the password with ansible_become_password (or --ask-become-pass), or allow the user to do without: \
             `{user} ALL=(ALL) NOPASSWD: ALL` in a file under /etc/sudoers.d"
        ),
        Advice::CorrectBecomePassword => {
            "give the right one with ansible_become_password (or --ask-become-pass)".to_owned()
        }
        Advice::AwaitLock => {
            "wait until that run has ended (--lock-timeout SECONDS waits); if it is gone for good: \
                              muster unlock"
                .to_owned()
        }
        Advice::ListRoles => "see the roles there are: setup-cluster --list-roles".to_owned(),
        Advice::CheckBundle => "check the bundle: muster bundle check".to_owned(),
        Advice::Words(words) => words.clone(),
    }
}

/// Commands that work on an inventory, as they stand in remedies.
const OF_AN_INVENTORY: [&str; 11] = [
    "setup-cluster",
    "muster exec",
    "muster facts",
    "muster kubectl",
    "muster log",
    "muster ping",
    "muster preflight",
    "muster runs",
    "muster unlock",
    "muster vars",
    "muster verify",
];

/// A text with what names the inventory (`-i PATH`) in the commands that it proposes: they work as they stand there.
pub(crate) fn with_inventory(text: &str, inventory: &[String]) -> String {
    if inventory.is_empty() {
        return text.to_owned();
    }
    let words: String = inventory.iter().map(|word| format!(" {}", quote(word))).collect();
    OF_AN_INVENTORY.iter().fold(text.to_owned(), |text, command| {
        let mut pieces = text.split(command);
        let mut told = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            // A name that only begins or ends so is another one; and an inventory is named once.
            let is_command = !told.ends_with(['/', '-'])
                && !piece.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/'))
                && !piece.starts_with(" -i ");
            told.push_str(command);
            if is_command {
                told.push_str(&words);
            }
            told.push_str(piece);
        }
        told
    })
}

/// What is to be told of a remedy, which may be none or have nothing to say.
pub(crate) fn hint(remedy: Option<&Advice>) -> Option<String> {
    remedy.map(words).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposed_commands_name_the_inventory_that_was_named() {
        let inventory = ["-i".to_owned(), "a lab/hosts.ini".to_owned()];
        let told = |text| with_inventory(text, &inventory);
        assert_eq!(
            told("run setup-cluster --limit n; see: muster kubectl get nodes, muster unlock"),
            "run setup-cluster -i 'a lab/hosts.ini' --limit n; see: muster kubectl -i 'a lab/hosts.ini' get nodes, \
             muster unlock -i 'a lab/hosts.ini'"
        );
        for text in ["setup-cluster -i other", "docs/setup-cluster", "journalctl -u kubelet", "muster logs"] {
            assert_eq!(told(text), text);
        }
        assert_eq!(with_inventory("setup-cluster", &[]), "setup-cluster");
    }

    #[test]
    fn what_there_is_nothing_to_be_said_about_has_no_hint() {
        assert_eq!(hint(None), None);
        assert_eq!(hint(Some(&"".into())), None);
        assert_eq!(hint(Some(&"mend it".into())).as_deref(), Some("mend it"));
        let told = hint(Some(&Advice::GiveBecomePassword { user: "anna".into() })).unwrap();
        assert!(told.contains("--ask-become-pass") && told.contains("`anna ALL="), "{told}");
    }
}
