//! Lines of files as messages may show them: without what is secret in them.

/// Whether a value under this name is nobody's business: by the words that names of passwords and tokens have.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "credential", "key-data", "key_data"].iter().any(|word| name.contains(word))
        || name == "authorization"
        || name == "auth"
        || name.ends_with("_auth")
}

/// A line in which the values of such names (`name=value`, `name: value`, also in quotes or braces) are stars, as many as they have
/// characters: so a place in the line stays where it is.
pub(crate) fn hushed(line: &str) -> String {
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
        if !is_secret(&name) || !matches!(shown.get(value), Some('=' | ':')) {
            continue;
        }
        value += 1;
        value += shown[value..].iter().take_while(|c| c.is_whitespace()).count();
        at = value + length(&shown[value..]);
        for c in &mut shown[value..at] {
            *c = '*';
        }
    }
    shown.into_iter().collect()
}

/// How long a value is: to its closing quote or bracket, or to where a plain one ends; words behind a blank may belong to it.
fn length(text: &[char]) -> usize {
    let closing = match text.first() {
        Some(quote @ ('"' | '\'')) => *quote,
        Some('[') => ']',
        Some('{') => '}',
        _ => return text.iter().take_while(|c| !matches!(c, ',' | '}' | ']')).count(),
    };
    text.iter().skip(1).position(|c| *c == closing).map_or(text.len(), |end| end + 2)
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
        ] {
            assert_eq!(hushed(line), shown);
        }
    }
}
