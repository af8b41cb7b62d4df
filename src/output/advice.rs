//! What the user can do about a failure, in words: the engine names it, and this program has its options and commands for it.

use muster_engine::advice::{Advice, KnownHostKey};

/// The words.
pub(crate) fn words(advice: &Advice) -> String {
    match advice {
        Advice::ReplaceHostKey(known) => {
            let KnownHostKey { machine, file, name } = &**known;
            format!(
                "if the machine was installed anew, run again with `--reimaged {machine}`, or do `ssh-keygen -f {file} \
                 -R '{name}'` and run again; if it was not, something else answers at this address"
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

/// What is to be told of a remedy, which may be none or have nothing to say.
pub(crate) fn hint(remedy: Option<&Advice>) -> Option<String> {
    remedy.map(words).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_nothing_to_be_said_about_has_no_hint() {
        assert_eq!(hint(None), None);
        assert_eq!(hint(Some(&"".into())), None);
        assert_eq!(hint(Some(&"mend it".into())).as_deref(), Some("mend it"));
        let told = hint(Some(&Advice::GiveBecomePassword { user: "anna".into() })).unwrap();
        assert!(told.contains("--ask-become-pass") && told.contains("`anna ALL="), "{told}");
    }
}
