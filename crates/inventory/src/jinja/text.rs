//! Filters on texts: encodings, hashes, paths, addresses of the web, comments.

use std::fmt::Write;

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Environment, Error, Value};
use sha2::Digest;

use super::args;
use super::args::{Args, Rest, entries, invalid, items, text};

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("b64encode", |value: Value| {
        Ok::<_, Error>(base64_encode(text("b64encode", &value)?.as_bytes()))
    });
    environment.add_filter("b64decode", b64decode);
    environment.add_filter("quote", |value: Value| match value.is_none() {
        true => Ok("''".to_owned()),
        false => text("quote", &value).map(|value| quote(&value)),
    });
    environment.add_filter("hash", |value: Value, rest: Rest| {
        let mut args = Args::bind("hash", &["hashtype"], rest.into_values())?;
        hash(&text("hash", &value)?, args.text("hashtype")?.as_deref().unwrap_or("sha1"))
    });
    for (name, algorithm) in [("md5", "md5"), ("sha1", "sha1"), ("checksum", "sha1")] {
        environment.add_filter(name, move |value: Value| hash(&text(name, &value)?, algorithm));
    }
    environment.add_filter("to_uuid", to_uuid);
    environment.add_filter("password_hash", |_: Value, _: Rest| -> Result<Value, Error> {
        Err(invalid(
            "password_hash is not supported; put the hash itself into the variable (mkpasswd prints it)",
        ))
    });
    environment.add_filter("basename", |value: Value| {
        Ok::<_, Error>(basename(&text("basename", &value)?).to_owned())
    });
    environment.add_filter("dirname", |value: Value| Ok::<_, Error>(dirname(&text("dirname", &value)?)));
    environment.add_filter("splitext", splitext);
    environment.add_filter("path_join", path_join);
    environment.add_filter("normpath", |value: Value| Ok::<_, Error>(normpath(&text("normpath", &value)?)));
    // Links on the controller are not looked at: the answer must not depend on its disk.
    environment.add_filter("realpath", |value: Value| Ok::<_, Error>(normpath(&text("realpath", &value)?)));
    environment.add_filter("relpath", relpath);
    environment.add_filter("win_basename", |value: Value| {
        let value = text("win_basename", &value)?;
        Ok::<_, Error>(value.rsplit(['/', '\\']).next().unwrap_or_default().to_owned())
    });
    environment.add_filter("urlsplit", urlsplit);
    environment.add_filter("comment", comment);
    environment.add_filter("split", split);
    environment.add_filter(super::prepare::PERCENT, percent);
    environment.add_filter("center", |value: Value, width: Option<usize>| {
        let value = text("center", &value)?;
        Ok::<_, Error>(super::methods::padded(&value, width.unwrap_or(80), ' ', super::methods::Side::Both))
    });
    environment.add_filter("truncate", truncate);
    environment.add_filter("wordcount", |value: Value| {
        let value = text("wordcount", &value)?;
        Ok::<_, Error>(
            value.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).count(),
        )
    });
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, with padding.
fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at)) & 63;
            out.push(if at <= chunk.len() { char::from(BASE64[index as usize]) } else { '=' });
        }
    }
    out
}

fn b64decode(value: Value) -> Result<String, Error> {
    let value = text("b64decode", &value)?;
    let mut bytes = Vec::with_capacity(value.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    // Like Python, anything outside the alphabet is passed over.
    for digit in value.bytes().filter_map(|byte| BASE64.iter().position(|known| *known == byte)) {
        bits = bits << 6 | u32::try_from(digit).unwrap_or(0);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 255).unwrap_or(0));
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid("b64decode: the decoded bytes are not a text"))
}

/// A word for a POSIX shell, as Python's `shlex.quote`.
fn quote(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        write!(out, "{byte:02x}").ok();
        out
    })
}

fn hash(text: &str, algorithm: &str) -> Result<String, Error> {
    let bytes = text.as_bytes();
    Ok(match algorithm {
        "md5" => hex(&md5::compute(bytes).0),
        "sha1" => hex(&sha1::Sha1::digest(bytes)),
        "sha224" => hex(&sha2::Sha224::digest(bytes)),
        "sha256" => hex(&sha2::Sha256::digest(bytes)),
        "sha384" => hex(&sha2::Sha384::digest(bytes)),
        "sha512" => hex(&sha2::Sha512::digest(bytes)),
        other => return Err(invalid(format!("hash: the algorithm \"{other}\" is not known"))),
    })
}

/// A UUID version 5 (RFC 9562) in Ansible's own namespace.
fn to_uuid(value: Value) -> Result<String, Error> {
    const NAMESPACE: [u8; 16] =
        [0x36, 0x1e, 0x6d, 0x51, 0xfa, 0xec, 0x44, 0x4a, 0x90, 0x79, 0x34, 0x13, 0x86, 0xda, 0x8e, 0x2e];
    let digest = sha1::Sha1::new().chain_update(NAMESPACE).chain_update(text("to_uuid", &value)?).finalize();
    let mut bytes: Vec<u8> = digest.iter().copied().take(16).collect();
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    Ok([&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"))
}

fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn dirname(path: &str) -> String {
    let head = &path[..path.rfind('/').map_or(0, |at| at + 1)];
    let trimmed = head.trim_end_matches('/');
    if trimmed.is_empty() { head.to_owned() } else { trimmed.to_owned() }
}

fn splitext(value: Value) -> Result<Value, Error> {
    let path = text("splitext", &value)?;
    let name_start = path.rfind('/').map_or(0, |at| at + 1);
    let name = &path[name_start..];
    let leading = name.len() - name.trim_start_matches('.').len();
    let at = name
        .rfind('.')
        .filter(|at| *at > leading.saturating_sub(1) && *at > 0)
        .map_or(path.len(), |at| name_start + at);
    let (root, ending) = path.split_at(at);
    Ok(Value::from(Tuple::new(vec![root.into(), ending.into()])))
}

fn path_join(value: Value) -> Result<String, Error> {
    let parts = match value.as_str() {
        Some(path) => return Ok(path.to_owned()),
        None => items("path_join", &value)?,
    };
    let mut path = String::new();
    for part in parts {
        let part = part.to_string();
        if part.starts_with('/') {
            path = part;
        } else {
            if !path.is_empty() && !path.ends_with('/') {
                path.push('/');
            }
            path.push_str(&part);
        }
    }
    Ok(path)
}

fn normpath(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    match (absolute, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

fn relpath(value: Value, start: Option<String>) -> Result<String, Error> {
    let path = normpath(&text("relpath", &value)?);
    let start = normpath(start.as_deref().unwrap_or("/"));
    let split =
        |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (path, start) = (split(&path), split(&start));
    let common = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), start.len() - common);
    let parts: Vec<String> = up.chain(path[common..].iter().cloned()).collect();
    Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

fn urlsplit(value: Value, query: Option<String>) -> Result<Value, Error> {
    let url = text("urlsplit", &value)?;
    let (rest, fragment) = url.split_once('#').unwrap_or((&url, ""));
    let (rest, search) = rest.split_once('?').unwrap_or((rest, ""));
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
        _ => (String::new(), rest),
    };
    let (location, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (user, host) = location.rsplit_once('@').map_or((None, location), |(user, host)| (Some(user), host));
    let (name, password) = user.map_or((None, None), |user| match user.split_once(':') {
        Some((name, password)) => (Some(name), Some(password)),
        None => (Some(user), None),
    });
    let (hostname, port) = match host.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => {
            Some(port.parse::<u16>().map_err(|_| invalid(format!("urlsplit: \"{port}\" is no port")))?)
        }
        None => None,
    };
    let parts: Vec<(&str, Value)> = vec![
        ("fragment", fragment.into()),
        (
            "hostname",
            Some(hostname.to_lowercase())
                .filter(|name| !name.is_empty())
                .map_or(Value::from(()), Value::from),
        ),
        ("netloc", location.into()),
        ("password", password.map_or(Value::from(()), Value::from)),
        ("path", path.into()),
        ("port", port.map_or(Value::from(()), Value::from)),
        ("query", search.into()),
        ("scheme", scheme.into()),
        ("username", name.map_or(Value::from(()), Value::from)),
    ];
    match query.filter(|query| !query.is_empty()) {
        None => Ok(Value::from_pairs(parts)),
        Some(query) => match parts.into_iter().find(|(name, _)| *name == query) {
            Some((_, part)) => Ok(part),
            None => Err(invalid(format!("urlsplit: a URL has no part \"{query}\""))),
        },
    }
}

fn comment(value: Value, rest: Rest) -> Result<String, Error> {
    let content = text("comment", &value)?;
    let (positional, named) = args::split(rest.into_values())?;
    let style = positional.first().map(ToString::to_string);
    let mut named: std::collections::HashMap<String, String> =
        named.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    let style = style.or_else(|| named.remove("style")).unwrap_or_else(|| "plain".to_owned());
    let (beginning, decoration, end) = match style.as_str() {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        _ => return Err(invalid(format!("comment: the style \"{style}\" is not known"))),
    };
    let mut option = |name: &str, default: &str| named.remove(name).unwrap_or_else(|| default.to_owned());
    let decoration = option("decoration", decoration);
    let newline = option("newline", "\n");
    let beginning = option("beginning", beginning);
    let end = option("end", end);
    let edge = decoration.trim_end().to_owned();
    let prefix = option("prefix", &edge);
    let postfix = option("postfix", &edge);
    let count = |text: String| text.trim().parse::<usize>().unwrap_or(1).min(1000);
    let (before, after) = (count(option("prefix_count", "1")), count(option("postfix_count", "1")));
    let mut out = String::new();
    if !beginning.is_empty() {
        out.push_str(&beginning);
        out.push_str(&newline);
    }
    if !prefix.is_empty() {
        let line = if prefix == newline { newline.clone() } else { format!("{prefix}{newline}") };
        out.push_str(&line.repeat(before));
    }
    let body = format!("{decoration}{}", content.replace(&newline, &format!("{newline}{decoration}")));
    out.push_str(&body.replace(&format!("{decoration}{newline}"), &format!("{edge}{newline}")));
    out.push_str(&format!("{newline}{postfix}").repeat(after));
    if !end.is_empty() {
        out.push_str(&newline);
        out.push_str(&end);
    }
    Ok(out)
}

/// Python's `str.split`: without a separator at any white space.
fn split(value: Value, rest: Rest) -> Result<Value, Error> {
    let value = text("split", &value)?;
    let mut args = Args::bind("split", &["sep", "maxsplit"], rest.into_values())?;
    let separator = args.text("sep")?;
    let limit = args.number("maxsplit")?.and_then(|limit| usize::try_from(limit).ok());
    super::methods::split(&value, separator.as_deref(), limit)
}

/// `'text' % values`: a tuple or list gives several, a mapping is used by name.
fn percent(format: Value, values: Value) -> Result<String, Error> {
    let format = text("%", &format)?;
    let values = match values.kind() {
        _ if values.is_tuple() => items("%", &values)?,
        ValueKind::Map => return percent_named(&format, &values),
        _ => vec![values],
    };
    minijinja::formatting::format(minijinja::formatting::FormatStyle::Printf, &format, &values)
}

/// `'%(name)s' % {'name': ...}`
fn percent_named(format: &str, values: &Value) -> Result<String, Error> {
    let mut out = format.to_owned();
    for (key, value) in entries("%", values)? {
        for kind in ['s', 'd'] {
            out = out.replace(&format!("%({key}){kind}"), &value.to_string());
        }
    }
    Ok(out)
}

/// Jinja's own `truncate`.
fn truncate(value: Value, rest: Rest) -> Result<String, Error> {
    let value = text("truncate", &value)?;
    let mut args = Args::bind("truncate", &["length", "killwords", "end", "leeway"], rest.into_values())?;
    let positive = |number: i64| usize::try_from(number).unwrap_or(0);
    let length = positive(args.number("length")?.unwrap_or(255));
    let kill = args.flag("killwords", false)?;
    let end = args.text("end")?.unwrap_or_else(|| "...".to_owned());
    let leeway = positive(args.number("leeway")?.unwrap_or(5));
    if value.chars().count() <= length + leeway {
        return Ok(value);
    }
    let kept: String = value.chars().take(length.saturating_sub(end.chars().count())).collect();
    let kept =
        if kill { kept.as_str() } else { kept.rsplit_once(' ').map_or(kept.as_str(), |(words, _)| words) };
    Ok(format!("{kept}{end}"))
}
