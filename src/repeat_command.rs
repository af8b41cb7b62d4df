//! The command to type again: for the hosts that are not done, or without those that failed.

use std::collections::BTreeSet;

use muster_app::{Outline, OutlinePlay};
use muster_engine::script::quote;

use crate::output::Again;
use crate::typed_flow::TypedFlow;

impl TypedFlow {
    /// The command again, with the options that matter to it, but for the values of `-e` that were refused: whoever mends them
    /// writes others. Without some hosts only if every play has others.
    pub(crate) fn again(
        &self,
        hosts: Again<'_>,
        outline: &Outline,
        refused: &BTreeSet<&str>,
    ) -> Option<String> {
        let mut words = self.project.words.clone();
        words.extend(self.options_but(refused));
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        for (name, tags) in [("--tags", &self.selection.tags), ("--skip-tags", &self.selection.skip_tags)] {
            if !tags.is_empty() {
                option(name, tags.join(","));
            }
        }
        if let Some(role) = &self.selection.start_at {
            option("--start-at", role.clone());
        }
        if self.manner.lock_timeout > 0 {
            option("--lock-timeout", self.manner.lock_timeout.to_string());
        }
        if let Some(limit) = self.limit(hosts, outline)? {
            option("--limit", limit);
        }
        words.extend(self.manner.check.then(|| "--check".to_owned()));
        let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
        Some(format!("{} {}", self.flow.command, words.join(" ")).trim_end().to_owned())
    }

    /// The options that were typed and that the command needs to mean the same, be it typed again or as `muster apply` of its plan.
    pub(crate) fn options(&self) -> Vec<String> {
        self.options_but(&BTreeSet::new())
    }

    /// The same without these variables.
    fn options_but(&self, refused: &BTreeSet<&str>) -> Vec<String> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        for value in self.inventory.extra_vars.iter().filter_map(|value| without(value, refused)) {
            option("-e", without_secret(&value));
        }
        for path in &self.inventory.vault_password_file {
            option("--vault-password-file", path.display().to_string());
        }
        for id in &self.inventory.vault_id {
            option("--vault-id", id.clone());
        }
        // What the inventory was written with is in the inventory now.
        let written = self.new_inventory.is_some() && !self.manner.check;
        if let Some(way) = self.connection.connection.as_ref().filter(|_| !written) {
            option("-c", way.clone());
        }
        if let Some(user) = self.connection.user.as_ref().filter(|_| !written) {
            option("-u", user.clone());
        }
        if let Some(key) = self.connection.private_key.as_ref().filter(|_| !written) {
            option("--private-key", key.display().to_string());
        }
        let arguments = [
            ("--ssh-common-args", &self.connection.ssh_common_args),
            ("--ssh-extra-args", &self.connection.ssh_extra_args),
        ];
        for (name, value) in arguments {
            if let Some(value) = value {
                option(name, value.clone());
            }
        }
        if let Some(seconds) = self.connection.timeout {
            option("--timeout", seconds.to_string());
        }
        if let Some(forks) = self.connection.forks {
            option("--forks", forks.to_string());
        }
        if let Some(serial) = self.manner.serial {
            option("--serial", serial.to_string());
        }
        if let Some(dir) = &self.manner.bundle {
            option("--bundle", dir.display().to_string());
        }
        for (wanted, flag) in [
            (self.connection.ask_pass, "-k"),
            (self.connection.ask_become_pass, "-K"),
            (self.inventory.ask_vault_pass, "-J"),
            (self.manner.diff, "--diff"),
            (self.manner.offline, "--offline"),
        ] {
            if wanted {
                words.push(flag.to_owned());
            }
        }
        words
    }

    /// What `--limit` has to say. `None` where it cannot be said: some flows look at the whole cluster, and a play must have
    /// somebody left.
    fn limit(&self, hosts: Again<'_>, outline: &Outline) -> Option<Option<String>> {
        // Whom @failed means is another thing after this run.
        let meant = |typed: String| if typed.contains("@failed") { outline.hosts.join(",") } else { typed };
        let typed = self.selection.limit.clone().map(meant);
        let all = self.flow.whole_cluster;
        match hosts {
            Again::Only(_) if all => Some(None),
            Again::Only(hosts) if hosts.len() < outline.hosts.len() => Some(Some(hosts.join(","))),
            Again::Only(_) => Some(typed),
            Again::Without(hosts) => {
                let nobody_left = |play: &OutlinePlay| {
                    !play.hosts.is_empty() && play.hosts.iter().all(|host| hosts.contains(host))
                };
                if all || outline.plays.iter().any(nobody_left) {
                    return None;
                }
                // A colon separates only where there is no comma.
                let colons = typed.as_ref().is_some_and(|typed| typed.contains(':') && !typed.contains(','));
                let separator = if colons { ":" } else { "," };
                let left_out = hosts.iter().map(|host| format!("!{host}"));
                Some(Some(typed.into_iter().chain(left_out).collect::<Vec<_>>().join(separator)))
            }
        }
    }
}

/// An argument of `-e` without some variables; `None` where nothing is left of it. A file is left as it is, and so is YAML.
fn without(argument: &str, refused: &BTreeSet<&str>) -> Option<String> {
    if let Ok(serde_json::Value::Object(mut all)) = serde_json::from_str(argument) {
        let count = all.len();
        all.retain(|name, _| !refused.contains(name.as_str()));
        return match all.len() {
            0 => None,
            left if left == count => Some(argument.to_owned()),
            _ => Some(serde_json::Value::Object(all).to_string()),
        };
    }
    let is_refused = |word: &String| word.split_once('=').is_some_and(|(name, _)| refused.contains(name));
    let words = shlex::split(argument).filter(|_| !argument.starts_with(['@', '{', '[']));
    match words {
        Some(words) if words.iter().any(is_refused) => {
            let left: Vec<String> =
                words.iter().filter(|word| !is_refused(word)).map(|word| quote(word)).collect();
            (!left.is_empty()).then(|| left.join(" "))
        }
        _ => Some(argument.to_owned()),
    }
}

/// A value of `-e` as it may be shown: without what looks like a secret.
fn without_secret(argument: &str) -> String {
    let lower = argument.to_ascii_lowercase();
    if argument.starts_with('@') || !["pass", "secret", "token"].iter().any(|word| lower.contains(word)) {
        return argument.to_owned();
    }
    match argument.split_once('=') {
        Some((name, _)) if !argument.contains(['{', ' ']) => format!("{name}=..."),
        _ => "...".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_command_line_are_not_repeated() {
        let cases = [
            ("kube_version=1.36.3", "kube_version=1.36.3"),
            ("@passwords.yml", "@passwords.yml"),
            ("ansible_become_password=hunter2", "ansible_become_password=..."),
            ("{\"ansible_password\": \"a=b\"}", "..."),
            ("a=1 ansible_ssh_pass=hunter2", "..."),
        ];
        assert_eq!(cases.map(|(typed, _)| without_secret(typed)), cases.map(|(_, shown)| shown.to_owned()));
    }

    #[test]
    fn what_was_refused_is_not_proposed_again() {
        let refused = BTreeSet::from(["kube_version", "dns_mode"]);
        for (typed, left) in [
            ("kube_version=1.20.0", None),
            ("kube_version=1.20.0 dns_mode=none", None),
            ("a='1 2' kube_version=1.20.0 b=3", Some("'a=1 2' b=3")),
            ("kube_version_of_mine=1", Some("kube_version_of_mine=1")),
            ("{\"kube_version\": \"1.20.0\"}", None),
            ("{\"kube_version\": \"1.20.0\", \"a\": [1]}", Some("{\"a\":[1]}")),
            ("{\"a\":  1}", Some("{\"a\":  1}")),
            ("@kube_version=1.yml", Some("@kube_version=1.yml")),
            ("a='", Some("a='")),
        ] {
            assert_eq!(without(typed, &refused).as_deref(), left, "{typed}");
        }
    }
}
