//! Methods of Python's texts, lists and mappings that the engine's own set lacks.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::args::{Args, invalid, kind};

/// Which side a text is padded on.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Left,
    Right,
    Both,
}

pub(super) fn padded(text: &str, width: usize, fill: char, side: Side) -> String {
    // Wider than any text a template makes on purpose.
    let missing = width.min(100_000).saturating_sub(text.chars().count());
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        // Python puts the odd blank to the left only when the width is odd.
        Side::Both => missing / 2 + (missing & width & 1),
    };
    let pad = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    format!("{}{text}{}", pad(left), pad(missing - left))
}

/// Python's `str.split`.
pub(super) fn split(text: &str, separator: Option<&str>, limit: Option<usize>) -> Result<Value, Error> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut parts: Vec<String> = Vec::new();
    match separator {
        Some("") => return Err(invalid("split: the separator is empty")),
        Some(separator) => {
            let limit = limit.saturating_add(1);
            parts.extend(text.splitn(limit, separator).map(str::to_owned));
        }
        None => {
            let mut rest = text.trim_start();
            while !rest.is_empty() {
                match rest.find(char::is_whitespace).filter(|_| parts.len() < limit) {
                    Some(end) => {
                        parts.push(rest[..end].to_owned());
                        rest = rest[end..].trim_start();
                    }
                    None => {
                        let last = if parts.len() < limit { rest } else { rest.trim_end() };
                        parts.push(last.to_owned());
                        rest = "";
                    }
                }
            }
        }
    }
    Ok(parts.into())
}

/// Called for every method the engine does not know itself.
pub(super) fn unknown(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let found = match value.kind() {
        ValueKind::String => of_text(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq | ValueKind::Iterable => of_list(value, method, args)?,
        ValueKind::Map => of_map(value, method, args)?,
        ValueKind::Number => match method {
            "bit_length" => {
                value.as_i64().map(|number| Value::from(64 - number.unsigned_abs().leading_zeros()))
            }
            _ => None,
        },
        _ => None,
    };
    match found {
        Some(found) => Ok(found),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args).map_err(
            |error| match error.kind() {
                ErrorKind::UnknownMethod => Error::new(
                    ErrorKind::UnknownMethod,
                    format!("{} has no method \"{method}\"", kind(value)),
                ),
                _ => error,
            },
        ),
    }
}

/// Lists and mappings of a template cannot be changed in place.
fn frozen(method: &str, instead: &str) -> Error {
    invalid(format!("\"{method}\" would change a value in place, which is not supported; write {instead}"))
}

fn of_text(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let rest = || args.to_vec();
    let padding = |side: Side| {
        let mut args = Args::bind("padding", &["width", "fill"], rest())?;
        let width = usize::try_from(args.number("width")?.unwrap_or(0)).unwrap_or(0);
        let fill = args.text("fill")?.and_then(|fill| fill.chars().next()).unwrap_or(' ');
        Ok::<_, Error>(Some(Value::from(padded(text, width, fill, side))))
    };
    let one =
        |name: &'static str| Args::bind(name, &["text"], rest())?.need("text").map(|value| value.to_string());
    let triple =
        |parts: [&str; 3]| Some(Value::from(Tuple::new(parts.into_iter().map(Value::from).collect())));
    Ok(match method {
        "split" | "rsplit" => {
            let mut args = Args::bind("split", &["sep", "maxsplit"], rest())?;
            let separator = args.text("sep")?;
            let limit = args.number("maxsplit")?.and_then(|limit| usize::try_from(limit).ok());
            match (method, separator, limit) {
                ("rsplit", Some(separator), Some(limit)) if !separator.is_empty() => {
                    let mut parts: Vec<&str> = text.rsplitn(limit.saturating_add(1), &separator).collect();
                    parts.reverse();
                    Some(parts.into_iter().map(Value::from).collect::<Vec<_>>().into())
                }
                (_, separator, limit) => Some(split(text, separator.as_deref(), limit)?),
            }
        }
        "partition" => {
            let separator = one("partition")?;
            triple(match text.split_once(&separator) {
                Some((head, tail)) => [head, &separator, tail],
                None => [text, "", ""],
            })
        }
        "rpartition" => {
            let separator = one("rpartition")?;
            triple(match text.rsplit_once(&separator) {
                Some((head, tail)) => [head, &separator, tail],
                None => ["", "", text],
            })
        }
        "zfill" => {
            let width =
                usize::try_from(Args::bind("zfill", &["width"], rest())?.number("width")?.unwrap_or(0))
                    .unwrap_or(0);
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => (&text[..1], digits),
                None => ("", text),
            };
            Some(Value::from(format!(
                "{sign}{}",
                padded(digits, width.saturating_sub(sign.len()), '0', Side::Left)
            )))
        }
        "ljust" => padding(Side::Right)?,
        "rjust" => padding(Side::Left)?,
        "center" => padding(Side::Both)?,
        "casefold" => Some(text.to_lowercase().into()),
        "swapcase" => Some(text.chars().map(swapped).collect::<String>().into()),
        "removeprefix" => Some(text.strip_prefix(one("removeprefix")?.as_str()).unwrap_or(text).into()),
        "removesuffix" => Some(text.strip_suffix(one("removesuffix")?.as_str()).unwrap_or(text).into()),
        "isdecimal" => Some((!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())).into()),
        "isidentifier" => Some(
            (text.starts_with(|c: char| c.is_alphabetic() || c == '_')
                && text.chars().all(|c| c.is_alphanumeric() || c == '_'))
            .into(),
        ),
        "index" | "rindex" => {
            let wanted = one("index")?;
            let at = if method == "index" { text.find(&wanted) } else { text.rfind(&wanted) };
            match at {
                Some(at) => Some(text[..at].chars().count().into()),
                None => return Err(invalid(format!("\"{wanted}\" is not in \"{text}\""))),
            }
        }
        "expandtabs" => Some(text.replace('\t', "        ").into()),
        "encode" => Some(text.into()),
        _ => None,
    })
}

fn swapped(c: char) -> char {
    let mut other: Vec<char> =
        if c.is_lowercase() { c.to_uppercase().collect() } else { c.to_lowercase().collect() };
    match other.len() {
        1 => other.remove(0),
        _ => c,
    }
}

fn of_list(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let first = || args.first().cloned().ok_or_else(|| invalid(format!("\"{method}\" needs an argument")));
    Ok(match method {
        "index" => {
            let wanted = first()?;
            match value.try_iter()?.position(|item| item == wanted) {
                Some(at) => Some(at.into()),
                None => return Err(invalid(format!("{wanted} is not in the list"))),
            }
        }
        "count" => {
            let wanted = first()?;
            Some(value.try_iter()?.filter(|item| *item == wanted).count().into())
        }
        "copy" => Some(value.clone()),
        "append" | "insert" | "extend" | "pop" | "remove" | "sort" | "reverse" | "clear" => {
            return Err(frozen(
                method,
                "{% set ns = namespace(x=[]) %} before a loop and {% set ns.x = ns.x + [item] %} in it, or use a filter (map, sort, reverse)",
            ));
        }
        _ => None,
    })
}

fn of_map(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(match method {
        "copy" => Some(value.clone()),
        "update" | "pop" | "setdefault" | "clear" | "popitem" => {
            return Err(frozen(
                method,
                "{% set ns = namespace(x={}) %} before a loop and {% set ns.x = ns.x | combine({'key': value}) %} in it",
            ));
        }
        // A key called like the method is no method, but `get` and friends work all the same.
        "get" => {
            let Some(key) = args.first() else { return Err(invalid("get needs a key")) };
            let found = value.get_item(key).ok().filter(|found| !found.is_undefined());
            let found = found.map(super::valid).transpose()?;
            Some(found.or_else(|| args.get(1).cloned()).unwrap_or(Value::from(())))
        }
        _ => None,
    })
}
