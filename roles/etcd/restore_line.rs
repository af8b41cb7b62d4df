//! What a restore of etcd notes on each machine that has a part in it.

use std::collections::BTreeSet;
use std::fmt;

/// A restore that was begun: what all members have to agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Makes the restored cluster another one than every one before.
    pub(super) token: String,
    /// What is restored, and to which members: a hash of both.
    pub(super) key: String,
    /// By how much the revision grows.
    pub(super) bump: u64,
    /// Whether a snapshot of what is replaced was taken first.
    pub(super) saved: bool,
    /// Hosts of the inventory that have no part in the restored cluster.
    pub(super) without: BTreeSet<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saved = if self.saved { "saved" } else { "unsaved" };
        write!(f, "{} {} {} {saved}", self.token, self.key, self.bump)?;
        let without: Vec<&str> = self.without.iter().map(String::as_str).collect();
        if without.is_empty() { Ok(()) } else { write!(f, " without:{}", without.join(",")) }
    }
}

impl Line {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        Some(Self {
            token: words.next()?.to_owned(),
            key: words.next()?.to_owned(),
            bump: words.next()?.parse().ok()?,
            saved: words.next()? == "saved",
            without: words
                .find_map(|word| word.strip_prefix("without:"))
                .map_or_else(BTreeSet::new, |hosts| hosts.split(',').map(str::to_owned).collect()),
        })
    }

    /// Where the data goes that is replaced.
    pub(super) fn old(&self, data: &str) -> String {
        format!("{data}/replaced-{}", self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let line = Line {
            token: "restored-1-5f-ab".into(),
            key: "ab12".into(),
            bump: 1_000_000_007,
            saved: true,
            without: BTreeSet::new(),
        };
        assert_eq!(Line::parse(&line.to_string()), Some(line.clone()));
        let lost = ["node1", "node3"].map(str::to_owned).into();
        let unsaved = Line { saved: false, without: lost, ..line };
        assert_eq!(Line::parse(&unsaved.to_string()), Some(unsaved));
        assert_eq!(Line::parse("restored-1-ab ab12"), None);
    }
}
