//! Lines of files as messages may show them: without what is secret in them.

/// Whether a value under this name is nobody's business: by the words that names of passwords and tokens have.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "credential", "key-data", "key_data"].iter().any(|word| name.contains(word))
        || name == "authorization"
        || name == "auth"
        || name.ends_with("_auth")
        || name.ends_with("_key")
        || name.ends_with("-key")
}

/// A line in which the values of such names (`name=value`, `name: value`, also in quotes or braces) are stars, as many as they have
/// characters: so a place in the line stays where it is. `open` are names that hide nothing whatever their words.
pub(crate) fn hushed(line: &str, open: &[&str]) -> String {
    let mut shown: Vec<char> = line.chars().collect();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let mut at = 0;
    while at < shown.len() {
        if !is_name(shown[at]) {
            at += 1;
            continue;
        }
        let begin = at;
        at += shown[at..].iter().take_while(|c| is_name(**c)).count();
        let name: String = shown[begin..at].iter().collect();
        let mut value = at + shown[at..].iter().take_while(|c| matches!(c, '"' | '\'' | ' ')).count();
        if !is_secret(&name) || open.contains(&name.as_str()) || !matches!(shown.get(value), Some('=' | ':'))
        {
            continue;
        }
        value += 1;
        value += shown[value..].iter().take_while(|c| c.is_whitespace()).count();
        let in_brackets = shown[..begin].iter().any(|c| matches!(c, '{' | '['));
        at = value + length(&shown[value..], in_brackets);
        for c in &mut shown[value..at] {
            *c = '*';
        }
    }
    hush_user_info(&mut shown);
    shown.into_iter().collect()
}

/// The password of `scheme://user:password@host` is stars.
fn hush_user_info(shown: &mut [char]) {
    for begin in 0..shown.len() {
        if !shown[begin..].starts_with(&[':', '/', '/']) {
            continue;
        }
        let from = begin + 3;
        let word =
            shown[from..].iter().take_while(|c| !c.is_whitespace() && !matches!(c, '"' | '\'')).count();
        let word = &mut shown[from..from + word];
        let (Some(colon), Some(end)) =
            (word.iter().position(|c| *c == ':'), word.iter().rposition(|c| *c == '@'))
        else {
            continue;
        };
        if colon < end {
            word[colon + 1..end].fill('*');
        }
    }
}

/// Whether a line belongs to the value of such a name above it, as a line of a block does. `above`: the lines before it, the last one
/// first.
pub(crate) fn is_within_secret<'t>(line: &str, above: impl Iterator<Item = &'t str>, open: &[&str]) -> bool {
    let indent = |line: &str| line.chars().take_while(|c| matches!(c, ' ' | '-')).count();
    let mut least = indent(line);
    for line in above.filter(|line| !line.trim().is_empty()) {
        if least == 0 {
            break;
        }
        if indent(line) >= least {
            continue;
        }
        least = indent(line);
        let mut names = line.split(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)));
        if line.contains(':') && names.any(|name| is_secret(name) && !open.contains(&name)) {
            return true;
        }
    }
    false
}

/// How long a value is: to its closing quote or bracket. A plain one ends with the line, or in brackets where its entry does.
fn length(text: &[char], in_brackets: bool) -> usize {
    match text.first() {
        Some('"' | '\'') => quoted(text),
        Some('[' | '{') => bracketed(text),
        _ if in_brackets => text.iter().take_while(|c| !matches!(c, ',' | '}' | ']')).count(),
        _ => text.len(),
    }
}

/// To the closing quote: in double quotes `\"` is none, and in single ones `''` is none.
fn quoted(text: &[char]) -> usize {
    let (quote, mut at) = (text[0], 1);
    while at < text.len() {
        match text[at] {
            '\\' if quote == '"' => at += 1,
            c if c == quote && quote == '\'' && text.get(at + 1) == Some(&quote) => at += 1,
            c if c == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// To the bracket that closes the first one; those in quotes are none.
fn bracketed(text: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match text[at] {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            '"' | '\'' if matches!(text[at - 1], '[' | '{' | ',' | ':' | ' ') => {
                at += quoted(&text[at..]);
                continue;
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_a_line_is_not_shown() {
        for (line, shown) in [
            ("ip: [", "ip: ["),
            ("ansible_password: s3cret", "ansible_password: ******"),
            (
                "node1 ip=10.0.0.1 ansible_become_pass='s3 cret' x=[",
                "node1 ip=10.0.0.1 ansible_become_pass=********* x=[",
            ),
            ("auth: {user: a, password: p, x: y}", "auth: ****************************"),
            (
                "[{username: u, \"password\": \"p,q\", registry: r}]",
                "[{username: u, \"password\": *****, registry: r}]",
            ),
            ("header: {authorization: 'Basic eA=='}", "header: {authorization: ************}"),
            ("kube_version: 1.36.3", "kube_version: 1.36.3"),
            ("kube_encrypt_token: ab cd", "kube_encrypt_token: *****"),
            ("password:", "password:"),
            ("registry_password: 'ab''s3cret' # x", "registry_password: ************ # x"),
            (r#"password: "a\"s3cret" # x"#, "password: *********** # x"),
            ("password: a,s3cret", "password: ********"),
            ("kubeadm_certificate_key: s3cret", "kubeadm_certificate_key: ******"),
            ("private_key: s3cret", "private_key: ******"),
            ("https_proxy: http://u:s3cret@proxy:1", "https_proxy: http://u:******@proxy:1"),
            ("mirror: https://host:5000/x", "mirror: https://host:5000/x"),
            ("{auth: {basic: {a: '}'}, key: s3}, b: 1}", "{auth: **************************, b: 1}"),
        ] {
            assert_eq!(hushed(line, &[]), shown);
        }
        let line = "passwd: {users: [{name: a, password_hash: s3cret}]}";
        assert_eq!(hushed(line, &["passwd"]), "passwd: {users: [{name: a, password_hash: ******}]}");
    }

    #[test]
    fn a_line_of_a_secret_block_is_one() {
        let is_within = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            let (line, above) = lines.split_last().unwrap();
            is_within_secret(line, above.iter().rev().copied(), &[])
        };
        for text in [
            "password: |\n  s3cret",
            "password: |\n\n  s3cret\n  more",
            "a:\n  private_key: |\n    -----BEGIN\n    s3cret",
            "auth:\n  basic:\n    key: s3cret",
            "tokens:\n- s3cret",
        ] {
            assert!(is_within(text), "{text}");
        }
        for text in ["password: a\nb: c", "a:\n  password: b\n  c: d", "a: b", "a:\n- b\n- c"] {
            assert!(!is_within(text), "{text}");
        }
        assert!(!is_within_secret("  users:", ["passwd:"].into_iter(), &["passwd"]));
    }
}
