//! Names and addresses of hosts: `name:port`, ranges `node[01:10]`, and lists of addresses as
//! people write them on a command line.

use std::sync::LazyLock;

use regex::Regex;

/// More hosts than this from one range is taken for a mistake.
const MAX_HOSTS: usize = 1_000_000;

/// A host name or range as written, without its port.
#[derive(Debug, PartialEq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

const NUMBERS: &str = r"\[[0-9]+:[0-9]+(?::[0-9]+)?\]";
const HEX: &str = r"\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]";
const LETTERS: &str = r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]";

#[expect(
    clippy::unwrap_used,
    reason = "the pattern is constant, and used by every test that loads an inventory"
)]
static HOST: LazyLock<Regex> = LazyLock::new(|| {
    let four = format!(r"(?:[01]?[0-9]{{1,2}}|2[0-4][0-9]|25[0-5]|{NUMBERS})");
    let six = format!(r"(?:[0-9a-f]{{1,4}}|{HEX})");
    let label = format!(r"(?:\w|{LETTERS})(?:(?:[\w-]|{LETTERS})*(?:[^\W_]|{LETTERS}))?");
    let compressed: String =
        (1..=5).map(|left| format!("|(?:{six}:){{{left}}}(?::{six}){{1,{}}}", 7 - left)).collect();
    let ipv6 = format!(
        r"(?:{six}:){{7}}{six}|(?:{six}:){{1,6}}:{compressed}|(?:{six}:){{6}}(?::{six})|:(?::{six}){{1,6}}|{six}?::|(?:0:){{6}}(?:{six}\.){{3}}{six}|::(?:ffff:)?(?:{six}\.){{3}}{six}|(?:0:){{5}}ffff:(?:{six}\.){{3}}{six}"
    );
    let pattern = format!(r"(?i)^(?:(?:{four}\.){{3}}{four}|{ipv6}|{label}(?:\.{label})*)$");
    regex::RegexBuilder::new(&pattern).size_limit(64 << 20).build().unwrap()
});

/// Whether a text is an IPv4 or IPv6 address, without ranges.
pub(crate) fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// Splits `host:port`, `[host]:port` or a host alone; `None` when it is none of them.
pub(crate) fn parse(text: &str) -> Option<Address> {
    let (host, port) = split_port(text);
    // Plain names are nearly all of them; they need no pattern.
    let plain = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && host.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && host.bytes().last().is_some_and(|byte| byte.is_ascii_alphanumeric())
    };
    (plain(host) || HOST.is_match(host)).then(|| Address { host: host.to_owned(), port })
}

fn split_port(text: &str) -> (&str, Option<u16>) {
    let Some((head, digits)) = text.rsplit_once(':') else { return (text, None) };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return (text, None);
    }
    let Ok(port) = digits.parse() else { return (text, None) };
    if let Some(inner) = head.strip_prefix('[').and_then(|head| head.strip_suffix(']')) {
        return (inner, Some(port));
    }
    // A colon outside brackets before the last one means an IPv6 address without a port.
    let mut depth = 0i32;
    for byte in head.bytes() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b':' if depth == 0 => return (text, None),
            _ => {}
        }
    }
    if depth == 0 { (head, Some(port)) } else { (text, None) }
}

/// The host names that a pattern with ranges stands for: `n[01:03]`, `n[1:9:2]`, `n[a:f]`, several
/// in one name. A name without a bracket is itself.
///
/// # Errors
/// A sentence saying what is wrong with the range.
pub(crate) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(name) = open.pop() {
        if !name.contains('[') {
            done.push(name);
        } else {
            open.extend(expand_first(&name)?.into_iter().rev());
        }
        if done.len() + open.len() > MAX_HOSTS {
            return Err(format!("the range \"{pattern}\" stands for more than {MAX_HOSTS} hosts"));
        }
    }
    Ok(done)
}

fn expand_first(name: &str) -> Result<Vec<String>, String> {
    let Some((head, rest)) = name.split_once('[') else { return Ok(vec![name.to_owned()]) };
    let Some((range, tail)) = rest.split_once(']') else {
        return Err(format!("the range in \"{name}\" has no closing bracket"));
    };
    let bounds: Vec<&str> = range.split(':').collect();
    let (begin, end, step) = match bounds.as_slice() {
        [begin, end] => (*begin, *end, "1"),
        [begin, end, step] => (*begin, *end, *step),
        _ => return Err(format!("the range [{range}] must be [begin:end] or [begin:end:step]")),
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    if end.is_empty() {
        return Err(format!("the range [{range}] has no end"));
    }
    let step = match step.parse::<usize>() {
        Ok(step) if step > 0 => step,
        _ => return Err(format!("the step of the range [{range}] must be a number above 0")),
    };
    let padded = begin.starts_with('0') && begin.len() > 1;
    if padded && begin.len() != end.len() {
        return Err(format!("begin and end of the range [{range}] must have the same number of digits"));
    }
    let width = if padded { begin.len() } else { 0 };
    if let (Some(first), Some(last)) = (letter(begin), letter(end)) {
        if first > last {
            return Err(format!("the range [{range}] must begin before it ends"));
        }
        return Ok((first..=last)
            .step_by(step)
            .map(|index| format!("{head}{}{tail}", char::from(LETTER_ORDER[index])))
            .collect());
    }
    let (Ok(first), Ok(last)) = (begin.parse::<usize>(), end.parse::<usize>()) else {
        return Err(format!("the range [{range}] must have two numbers or two letters"));
    };
    if last.saturating_sub(first) / step >= MAX_HOSTS {
        return Err(format!("the range [{range}] stands for more than {MAX_HOSTS} hosts"));
    }
    Ok((first..=last).step_by(step).map(|number| format!("{head}{number:0width$}{tail}")).collect())
}

/// Python's `string.ascii_letters`: a range may run from small to capital letters.
const LETTER_ORDER: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn letter(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [byte] => LETTER_ORDER.iter().position(|letter| letter == byte),
        _ => None,
    }
}
