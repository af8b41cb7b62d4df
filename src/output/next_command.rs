//! What to type next, at the end of a run.

use muster_engine::failure::Failure;
use muster_engine::script::quote;

use crate::error::Exit;
use crate::output::closing::{Again, Closing, exit_of};
use crate::output::sentence::is_changed_key;
use crate::output::style::{Style, Tone};
use crate::output::text;

impl Closing<'_> {
    /// For which hosts a run can mend what failed: for those that failed, and those where the reason was found. Where no reason
    /// was found, or not on a host of this run, all of them.
    fn to_mend(&self, unfinished: &[String]) -> Vec<String> {
        let mut wanted: Vec<&String> = unfinished.iter().collect();
        for host in unfinished {
            let Some(Failure::Unwell { hosts, .. }) = &self.outcome[host].failure else { continue };
            if hosts.is_empty() || hosts.iter().any(|host| !self.outcome.contains_key(host)) {
                return self.outcome.keys().cloned().collect();
            }
            wanted.extend(hosts);
        }
        self.outcome.keys().filter(|host| wanted.contains(host)).cloned().collect()
    }

    /// How to go on.
    pub(super) fn hints(&self, style: Style) -> Vec<String> {
        let hint = |word: &str, text: &str| format!("{} {text}", style.paint(Tone::Strong, word));
        let through = self.through.map(|words| format!("{words} ")).unwrap_or_default();
        let to_type = |word: &str, command: &str| hint(word, &format!("{through}{command}"));
        let unfinished: Vec<String> = self
            .outcome
            .iter()
            .filter(|(_, host)| host.failure.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        if unfinished.is_empty() {
            return self.next.map(|next| to_type("next:", next)).into_iter().collect();
        }
        let command = (self.again)(Again::Only(&self.to_mend(&unfinished))).unwrap_or_default();
        if self.interrupted {
            let state = self.half_done.unwrap_or("Nothing is half done.");
            let then = "This command goes on from here, and so does the one you typed.";
            return vec![to_type("go on:", &command), format!("{state} {then}")];
        }
        // What was found on the machines, or written for them, is found again by the same command until somebody has mended it.
        let is_refused = exit_of(self.outcome, self.interrupted) == Exit::Problems;
        let mut lines = vec![to_type(if is_refused { "when that is mended:" } else { "again:" }, &command)];
        let held_up = |host: &String| matches!(self.outcome[host].failure, Some(Failure::Stopped(_)));
        let (held_up, failed): (Vec<String>, Vec<String>) = unfinished.iter().cloned().partition(held_up);
        if !held_up.is_empty()
            && !failed.is_empty()
            && let Some(without) = (self.again)(Again::Without(&failed))
        {
            lines.push(to_type(&format!("without {}:", text::some_names(&failed)), &without));
        }
        let changed_key = |host: &String| self.outcome[host].failure.as_ref().is_some_and(is_changed_key);
        let changed: Vec<String> = unfinished.iter().filter(|host| changed_key(host)).cloned().collect();
        if !changed.is_empty() {
            let command = format!("{command} --reimaged {}", changed.join(","));
            lines.push(to_type("again, if the machines were installed anew:", &command));
            if self.has_inventory {
                let words = ["muster", "replace-node"].into_iter().map(str::to_owned);
                let words: Vec<String> =
                    words.chain(self.inventory.iter().map(|word| quote(word))).chain(changed).collect();
                lines.push(to_type("if they were nodes of the cluster before that:", &words.join(" ")));
            }
        }
        if let Some((log, host)) = self.log.as_ref().zip(failed.first()) {
            lines.push(hint("log:", &format!("{log} {}", quote(host))));
        }
        lines
    }
}
