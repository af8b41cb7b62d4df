//! What the user can do about a failure, in words: the engine names it, and this program has its options and commands for it.

use std::sync::LazyLock;

use muster_engine::advice::{Advice, KnownHostKey};
use muster_engine::script::quote;

use crate::cli::typed_inventory;
use crate::commands::programs;
use crate::environment::THROUGH;

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

/// Commands that take an inventory, as they stand in what is proposed; those first that have more words.
static OF_AN_INVENTORY: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut commands = Vec::new();
    for program in programs() {
        // A program of one word may be an ordinary word as well.
        if program.has_subcommands() || program.get_name().contains('-') {
            add_those_of_an_inventory(&program, program.get_name().to_owned(), &mut commands);
        }
    }
    commands.sort_by_key(|words| std::cmp::Reverse(words.split(' ').count()));
    commands
});

fn add_those_of_an_inventory(command: &clap::Command, words: String, commands: &mut Vec<String>) {
    for inner in command.get_subcommands() {
        add_those_of_an_inventory(inner, format!("{words} {}", inner.get_name()), commands);
    }
    if command.get_arguments().any(|argument| argument.get_id() == "inventory") {
        commands.push(words);
    }
}

/// The words behind which a command is typed to reach the machines, with a blank, `muster lab exec -- ` for one; or nothing.
pub(crate) fn through() -> &'static str {
    static WORDS: LazyLock<String> =
        LazyLock::new(|| std::env::var(THROUGH).map(|words| format!("{words} ")).unwrap_or_default());
    &WORDS
}

/// A text that proposes commands, for the inventory that was typed this time: they work as they stand there. What is shown goes
/// through here, or through [`that_work`] where the inventory is known otherwise.
pub(crate) fn proposed(text: &str) -> String {
    static TYPED: LazyLock<Vec<String>> = LazyLock::new(typed_inventory);
    that_work(text, through(), &TYPED)
}

/// A text with commands that work as they stand there: with what names the inventory (`-i PATH`), and with the words behind which
/// they reach the machines.
pub(crate) fn that_work(text: &str, through: &str, inventory: &[String]) -> String {
    if inventory.is_empty() && through.is_empty() {
        return text.to_owned();
    }
    let words: String = inventory.iter().map(|word| format!(" {}", quote(word))).collect();
    OF_AN_INVENTORY.iter().fold(text.to_owned(), |text, command| {
        let mut pieces = text.split(command.as_str());
        let mut told = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            // A name that only begins or ends so is another one; and an inventory is named once.
            let is_command = !told.ends_with(['/', '-'])
                && !told.ends_with("muster ")
                // What somebody else runs, who holds a lock, is of their inventory.
                && !told.ends_with(") with ")
                && !piece.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/'))
                && !piece.starts_with(" -i ");
            if is_command && !told.ends_with("exec -- ") && !is_done_here(command) {
                told.push_str(through);
            }
            told.push_str(command);
            if is_command {
                told.push_str(&words);
            }
            told.push_str(piece);
        }
        told
    })
}

/// Whether a command reaches no machine: within a lab's network it would not find what it fetches.
fn is_done_here(command: &str) -> bool {
    ["muster bundle", "muster inventory", "muster vars"].iter().any(|words| command.starts_with(words))
}

/// What is to be told of a remedy, which may be none or have nothing to say.
pub(crate) fn hint(remedy: Option<&Advice>) -> Option<String> {
    remedy.map(words).filter(|words| !words.is_empty()).map(|words| proposed(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposed_commands_name_the_inventory_that_was_named() {
        let inventory = ["-i".to_owned(), "a lab/hosts.ini".to_owned()];
        let told = |text| that_work(text, "", &inventory);
        assert_eq!(
            told("run setup-cluster --limit n; see: muster kubectl get nodes, muster unlock"),
            "run setup-cluster -i 'a lab/hosts.ini' --limit n; see: muster kubectl -i 'a lab/hosts.ini' get nodes, \
             muster unlock -i 'a lab/hosts.ini'"
        );
        assert_eq!(
            told(
                "reset-cluster --foreign; muster certs renew --ca, or `muster remove-node node2`; students log in"
            ),
            "reset-cluster -i 'a lab/hosts.ini' --foreign; muster certs renew -i 'a lab/hosts.ini' --ca, or `muster remove-node -i \
             'a lab/hosts.ini' node2`; students log in"
        );
        for text in ["setup-cluster -i other", "docs/setup-cluster", "journalctl -u kubelet", "muster logs"] {
            assert_eq!(told(text), text);
        }
        assert_eq!(that_work("setup-cluster", "", &[]), "setup-cluster");
    }

    #[test]
    fn proposed_commands_reach_the_machines_of_a_lab() {
        let told = |text| that_work(text, "muster lab exec -- ", &["-i".to_owned(), "h".to_owned()]);
        assert_eq!(
            told("run `muster replace-node n`; or reset-cluster --limit n; see muster lab up"),
            "run `muster lab exec -- muster replace-node -i h n`; or muster lab exec -- reset-cluster -i h --limit n; see muster lab up"
        );
        assert_eq!(
            told("anna@desk (pid 7) with setup-cluster, since 5 s"),
            "anna@desk (pid 7) with setup-cluster, since 5 s"
        );
        assert_eq!(told("get it: muster bundle fetch"), "get it: muster bundle fetch -i h");
        assert_eq!(told("muster lab exec -- setup-cluster"), "muster lab exec -- setup-cluster -i h");
        let without = that_work("muster setup-cluster; setup-cluster", "muster lab exec -- ", &[]);
        assert_eq!(without, "muster lab exec -- muster setup-cluster; muster lab exec -- setup-cluster");
    }

    /// Where the inventory stands in a command the command takes it.
    #[test]
    fn each_command_takes_its_inventory_where_it_is_put() {
        assert!(OF_AN_INVENTORY.len() > 30, "{:?}", *OF_AN_INVENTORY);
        for command in OF_AN_INVENTORY.iter() {
            let typed = that_work(command, "", &["-i".to_owned(), "hosts.ini".to_owned()]);
            assert_eq!(typed, format!("{command} -i hosts.ini"));
            let words = typed.split(' ').map(std::ffi::OsString::from).collect();
            let wrong = crate::cli::parse(words).err().map(|error| error.kind());
            let is_short_of = clap::error::ErrorKind::MissingRequiredArgument;
            assert!(wrong.is_none() || wrong == Some(is_short_of), "{typed}: {wrong:?}");
        }
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
