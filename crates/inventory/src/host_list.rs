//! Hosts written on a command line: `a,b,c`, and shorthands for addresses that a shell would not
//! expand: `10.1.1.<4,5,6>`, `10.1.1.{4,5,6}`, `10.1.1.[4:6]`, `10.146.225.4 .5 .6`,
//! `user@host:port`.

use crate::address;

/// Whether a text without commas is a list of hosts all the same: it holds a shorthand.
pub(crate) fn is_shorthand(text: &str) -> bool {
    let text = text.trim();
    let words: Vec<&str> = text.split_whitespace().collect();
    text.contains(['<', '{', '[']) && !text.contains('/')
        || words.len() > 1 && words[1..].iter().all(|word| word.starts_with('.') || address::is_ip(word))
        || words.len() == 1
            && (address::is_ip(text) || text.split_once('@').is_some_and(|(user, _)| !user.contains('/')))
}

/// The hosts of a list, each as `[user@]host[:port]`, in the order they were written.
///
/// # Errors
/// A sentence saying which part cannot be read.
pub fn expand(text: &str) -> Result<Vec<String>, String> {
    let mut hosts: Vec<String> = Vec::new();
    for entry in split_outside_brackets(text)? {
        // `.5` repeats the entry before it with another last part.
        let entry = match (entry.strip_prefix('.'), hosts.last()) {
            (Some(_), Some(previous)) => {
                let address = previous.rsplit_once(':').map_or(previous.as_str(), |(host, _)| host);
                let parts = entry.matches('.').count();
                let kept: Vec<&str> = address.rsplitn(parts + 1, '.').collect();
                match kept.last() {
                    Some(head) if kept.len() == parts + 1 => format!("{head}{entry}"),
                    _ => return Err(format!("\"{entry}\" cannot follow \"{previous}\"")),
                }
            }
            (Some(_), None) => return Err(format!("\"{entry}\" follows no address")),
            (None, _) => entry,
        };
        expand_entry(&entry, &mut hosts)?;
    }
    Ok(hosts)
}

fn expand_entry(entry: &str, hosts: &mut Vec<String>) -> Result<(), String> {
    let Some((open, close, at)) = [('<', '>'), ('{', '}')]
        .into_iter()
        .find_map(|(open, close)| entry.find(open).map(|at| (open, close, at)))
    else {
        let (user, rest) = entry.split_once('@').map_or(("", entry), |(user, rest)| (user, rest));
        let prefix = if user.is_empty() { String::new() } else { format!("{user}@") };
        // `[::1]:22` has brackets that are no range.
        let range =
            rest.contains('[') && address::parse(rest).is_none_or(|address| address.host.contains('['));
        let (pattern, port) = match address::parse(rest) {
            Some(address) if range => (address.host, address.port.map(|port| format!(":{port}"))),
            _ => (rest.to_owned(), None),
        };
        let names = if range { address::expand(&pattern)? } else { vec![pattern] };
        let port = port.unwrap_or_default();
        hosts.extend(names.into_iter().map(|name| format!("{prefix}{name}{port}")));
        return Ok(());
    };
    let (head, rest) = (&entry[..at], &entry[at + 1..]);
    let Some((inside, tail)) = rest.split_once(close) else {
        return Err(format!("\"{entry}\" opens {open} and does not close it"));
    };
    for part in inside.split(',').map(str::trim) {
        if part.is_empty() {
            return Err(format!("\"{entry}\" has nothing at one side of a comma, or between its brackets"));
        }
        let numbers = part.split_once("..").or_else(|| part.split_once('-')).or_else(|| part.split_once(':'));
        match numbers.map(|(first, last)| (first.parse::<u32>(), last.parse::<u32>())) {
            Some((Ok(first), Ok(last))) if first <= last && last - first < 65_536 => {
                let width =
                    part.find(|c: char| !c.is_ascii_digit()).filter(|_| part.starts_with('0')).unwrap_or(0);
                for number in first..=last {
                    expand_entry(&format!("{head}{number:0width$}{tail}"), hosts)?;
                }
            }
            _ => expand_entry(&format!("{head}{part}{tail}"), hosts)?,
        }
        if hosts.len() > 1_000_000 {
            return Err(format!("\"{entry}\" stands for too many hosts"));
        }
    }
    Ok(())
}

/// Commas and blanks separate entries, except inside `<>`, `{}` and `[]`.
fn split_outside_brackets(text: &str) -> Result<Vec<String>, String> {
    let mut entries = Vec::new();
    let mut current = String::new();
    let mut depth = 0usize;
    for c in text.chars() {
        match c {
            '<' | '{' | '[' => depth += 1,
            '>' | '}' | ']' if depth == 0 => {
                return Err(format!("\"{text}\" closes {c} and never opened it"));
            }
            '>' | '}' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ',' || c.is_whitespace()) {
            if !current.is_empty() {
                entries.push(std::mem::take(&mut current));
            }
        } else {
            current.push(c);
        }
    }
    if depth > 0 {
        return Err(format!("a bracket in \"{text}\" is not closed"));
    }
    if !current.is_empty() {
        entries.push(current);
    }
    Ok(entries)
}
