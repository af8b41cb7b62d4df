//! Patterns that choose hosts: `--limit` and the `hosts` of a play.
//! (`ansible/inventory/manager.py`)

use std::collections::HashSet;

use fancy_regex::Regex;

use crate::address;
use crate::inventory::{HostId, Inventory};

/// A pattern that chooses nothing or cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The part names no group and no host.
    #[error("the pattern \"{part}\" matches no host and no group{}", suggestion.as_ref().map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default())]
    NoMatch {
        /// The part of the pattern.
        part: String,
        /// The most similar name of a group or host.
        suggestion: Option<String>,
    },
    /// `group[5]` of a group with fewer hosts.
    #[error("the pattern \"{part}\" asks for host number {index}, but there are only {count}")]
    NoSuchIndex {
        /// The part of the pattern.
        part: String,
        /// The number asked for, from 0 or from the end.
        index: i64,
        /// How many hosts there are.
        count: usize,
    },
    /// The part cannot be read.
    #[error("the pattern \"{part}\" is not valid: {reason}")]
    Invalid {
        /// The part of the pattern.
        part: String,
        /// Why.
        reason: String,
    },
}

impl Inventory {
    /// The hosts a pattern chooses, each once: plain parts in the order they are written (hosts of
    /// a group in inventory order), then narrowed by `&x`, then thinned by `!x`.
    ///
    /// Parts are separated by `,` or `:` and may be names of hosts or groups, globs (`web*`),
    /// `~regex`, and `group[0]`, `group[-1]`, `group[1:3]` (both ends included), `group[1:]`.
    /// `all`, `*` and an empty pattern are everything. `@file` stands for the lines of a file.
    ///
    /// # Errors
    /// When a part without a glob names nothing, or cannot be read. A glob or a regular expression
    /// may match nothing.
    pub fn select(&self, pattern: &str) -> Result<Vec<&str>, PatternError> {
        let mut parts = Vec::new();
        for part in split(pattern) {
            match part.strip_prefix('@') {
                Some(path) => parts.extend(lines_of(path)?),
                None => parts.push(part),
            }
        }
        let operator = |part: &str| part.chars().next().filter(|c| matches!(c, '!' | '&'));
        let mut hosts: Vec<HostId> = Vec::new();
        let mut seen = HashSet::new();
        let plain: Vec<&String> = parts.iter().filter(|part| operator(part).is_none()).collect();
        if plain.is_empty() {
            hosts.clone_from(&self.order);
        }
        for part in plain {
            hosts.extend(self.match_part(part)?.into_iter().filter(|host| seen.insert(*host)));
        }
        for part in parts.iter().filter(|part| operator(part) == Some('&')) {
            let kept: HashSet<HostId> = self.match_part(&part[1..])?.into_iter().collect();
            hosts.retain(|host| kept.contains(host));
        }
        for part in parts.iter().filter(|part| operator(part) == Some('!')) {
            let dropped: HashSet<HostId> = self.match_part(&part[1..])?.into_iter().collect();
            hosts.retain(|host| !dropped.contains(host));
        }
        Ok(hosts.into_iter().map(|host| self.hosts[host].name.as_str()).collect())
    }

    fn match_part(&self, part: &str) -> Result<Vec<HostId>, PatternError> {
        if let Some(host) = self.hosts.get_index_of(part) {
            return Ok(vec![host]);
        }
        let (name, subscript) = subscript(part)?;
        let hosts = self.match_name(name, part)?;
        match subscript {
            None => Ok(hosts),
            Some(_) if hosts.is_empty() => Ok(hosts),
            Some(Subscript::One(index)) => {
                let count = hosts.len();
                let at = if index < 0 { index + count as i64 } else { index };
                match usize::try_from(at).ok().and_then(|at| hosts.get(at)) {
                    Some(host) => Ok(vec![*host]),
                    None => Err(PatternError::NoSuchIndex { part: part.to_owned(), index, count }),
                }
            }
            Some(Subscript::Range(first, last)) => {
                let last = last.map_or(hosts.len(), |last| last.saturating_add(1).min(hosts.len()));
                Ok(hosts.get(first..last).unwrap_or_default().to_vec())
            }
        }
    }

    fn match_name(&self, name: &str, part: &str) -> Result<Vec<HostId>, PatternError> {
        let is_regex = name.starts_with('~');
        let special = is_regex || name.contains(['.', '?', '*', '[']);
        let mut found: Vec<HostId> = Vec::new();
        let mut group_found = false;
        if !special {
            if let Some(group) = self.group_id(name) {
                return Ok(self.group_hosts(group));
            }
        } else {
            let matcher = matcher(name, part)?;
            for (id, group) in self.groups.iter().enumerate() {
                if self
                    .rules
                    .names(&group.name)
                    .into_iter()
                    .chain([group.name.as_str()])
                    .any(|name| matcher.is_match(name).unwrap_or(false))
                {
                    group_found = true;
                    found.extend(self.group_hosts(id));
                }
            }
            // Hosts come as they were first named, groups and all.
            found.extend(
                (0..self.hosts.len())
                    .filter(|host| matcher.is_match(&self.hosts[*host].name).unwrap_or(false)),
            );
        }
        let mut seen = HashSet::new();
        found.retain(|host| seen.insert(*host));
        // A glob may choose nothing, a name may not: then it is mistyped.
        if found.is_empty() && !group_found && !(is_regex || name.contains(['?', '*', '['])) {
            return Err(PatternError::NoMatch { part: part.to_owned(), suggestion: self.similar_name(name) });
        }
        Ok(found)
    }

    fn similar_name(&self, name: &str) -> Option<String> {
        let groups = self.groups.iter().map(|group| group.name.as_str());
        crate::similar::closest(name, groups.chain(self.hosts.keys().map(String::as_str))).map(str::to_owned)
    }
}

/// The parts that stand in a file, one a line, such as the hosts of a run that failed.
fn lines_of(path: &str) -> Result<Vec<String>, PatternError> {
    let text = std::fs::read_to_string(path).map_err(|error| PatternError::Invalid {
        part: format!("@{path}"),
        reason: format!("cannot read the file: {error}"),
    })?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Cuts a pattern into its parts. A comma separates always; a colon does when the text is not
/// itself an address or a range.
fn split(pattern: &str) -> Vec<String> {
    let trimmed = |part: &str| Some(part.trim().to_owned()).filter(|part| !part.is_empty());
    if pattern.contains(',') {
        return pattern.split(',').filter_map(trimmed).collect();
    }
    if address::parse(pattern).is_some() {
        return trimmed(pattern).into_iter().collect();
    }
    let mut parts = vec![String::new()];
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        match rest.strip_prefix('[').and_then(|inner| inner.find(']')) {
            Some(end) => {
                let (bracket, tail) = rest.split_at(end + 2);
                if let Some(part) = parts.last_mut() {
                    part.push_str(bracket);
                }
                rest = tail;
            }
            None => {
                if c == ':' || c.is_whitespace() {
                    parts.push(String::new());
                } else if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    parts.iter().filter_map(|part| trimmed(part)).collect()
}

enum Subscript {
    /// Counted from 0, or from the end when negative.
    One(i64),
    /// Both ends included; without an end up to the last.
    Range(usize, Option<usize>),
}

fn subscript(part: &str) -> Result<(&str, Option<Subscript>), PatternError> {
    let inside = part.strip_suffix(']').and_then(|head| head.rsplit_once('['));
    let (Some((name, inside)), false) = (inside, part.starts_with('~')) else { return Ok((part, None)) };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let too_large =
        || PatternError::Invalid { part: part.to_owned(), reason: "the number is too large".to_owned() };
    if name.is_empty() {
        return Ok((part, None));
    }
    if digits(inside.strip_prefix('-').unwrap_or(inside)) {
        return Ok((name, Some(Subscript::One(inside.parse().map_err(|_| too_large())?))));
    }
    match inside.split_once([':', '-']) {
        Some((first, last)) if digits(first) && (last.is_empty() || digits(last)) => {
            let last = if last.is_empty() { None } else { Some(last.parse().map_err(|_| too_large())?) };
            Ok((name, Some(Subscript::Range(first.parse().map_err(|_| too_large())?, last))))
        }
        // Anything else in brackets belongs to a glob: `web[ab]`.
        _ => Ok((part, None)),
    }
}

/// A glob (anchored at both ends) or, after `~`, a regular expression (anchored at the start).
fn matcher(name: &str, part: &str) -> Result<Regex, PatternError> {
    let text = match name.strip_prefix('~') {
        Some(regex) => format!("^(?:{regex})"),
        None => glob_to_regex(name),
    };
    Regex::new(&text)
        .map_err(|error| PatternError::Invalid { part: part.to_owned(), reason: error.to_string() })
}

/// Python's `fnmatch.translate`.
fn glob_to_regex(glob: &str) -> String {
    let mut regex = String::from("^(?s:");
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                let (negated, inner) = match rest.strip_prefix('!') {
                    Some(inner) => (true, inner),
                    None => (false, rest),
                };
                // A bracket right after the opening belongs to the set.
                let end = inner.char_indices().skip(1).find(|(_, c)| *c == ']').map(|(at, _)| at);
                match end {
                    Some(end) => {
                        let set: String = inner[..end].chars().flat_map(escaped_in_set).collect();
                        regex.push_str(if negated { "[^" } else { "[" });
                        regex.push_str(&set);
                        regex.push(']');
                        rest = &inner[end + 1..];
                    }
                    None => regex.push_str(r"\["),
                }
            }
            c => regex.push_str(&fancy_regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push_str(")$");
    regex
}

fn escaped_in_set(c: char) -> Vec<char> {
    if matches!(c, '\\' | '[' | ']' | '^' | '&' | '~') { vec!['\\', c] } else { vec![c] }
}

#[cfg(test)]
mod tests {
    use crate::{GroupRules, Inventory};

    #[test]
    fn regular_expressions_may_look_ahead_as_pythons_do() {
        let inventory = Inventory::from_ini("hosts", "a1\nb1\nb2\n", GroupRules::new()).unwrap();
        assert_eq!(inventory.select("~^(?!b)[a-z][0-9]").unwrap(), ["a1"]);
        assert_eq!(inventory.select("all:!~^b(?=1)").unwrap(), ["a1", "b2"]);
    }
}
