//! What a plain YAML 1.1 scalar means, by the rules of PyYAML's resolver and constructor
//! (`yaml/resolver.py`, `yaml/constructor.py`), which differ from YAML 1.2 and from the
//! specification of YAML 1.1.

use std::sync::LazyLock;

use regex::Regex;

use crate::value::Kind;

#[expect(clippy::unwrap_used, reason = "the patterns are constants, and every one is used by the tests")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

static INT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
    )
});
static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    )
});

/// The meaning of an untagged plain scalar.
pub(crate) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        _ => {}
    }
    // The cheap look at the first byte spares most texts the patterns.
    let numeric = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
    if text.as_bytes().first().is_some_and(numeric) {
        if INT.is_match(text) {
            if let Some(kind) = integer(text) {
                return kind;
            }
        } else if FLOAT.is_match(text)
            && let Some(number) = float(text)
        {
            return Kind::Float(number);
        }
    } else if let Some(truth) = plain_boolean(text) {
        return Kind::Bool(truth);
    }
    Kind::Str(text.to_owned())
}

/// The spellings that the resolver takes for a boolean: lower, Capitalised, UPPER. Single letters
/// (`y`, `n`) are texts for PyYAML.
fn plain_boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// A scalar tagged `!!bool`, in any case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    plain_boolean(&text.to_ascii_lowercase())
}

/// An integer in any of the notations: `0b1`, `0755`, `0x1f`, `1_000`, `190:20:30`. One that needs
/// more than 64 bits becomes the text of its digits.
pub(crate) fn integer(text: &str) -> Option<Kind> {
    let clean = text.replace('_', "");
    let (sign, digits) = match clean.as_bytes().first()? {
        b'-' => (-1, &clean[1..]),
        b'+' => (1, &clean[1..]),
        _ => (1, clean.as_str()),
    };
    let number = if digits == "0" {
        Some(0)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        i128::from_str_radix(binary, 2).ok()
    } else if let Some(hex) = digits.strip_prefix("0x") {
        i128::from_str_radix(hex, 16).ok()
    } else if digits.starts_with('0') {
        i128::from_str_radix(digits, 8).ok()
    } else if digits.contains(':') {
        digits.split(':').try_fold(0i128, |sum, part| sum.checked_mul(60)?.checked_add(part.parse().ok()?))
    } else if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(
            match digits.parse::<i128>().ok().and_then(|number| i64::try_from(sign * number).ok()) {
                Some(number) => Kind::Int(number),
                None => Kind::Str(clean),
            },
        );
    } else {
        return None;
    }?;
    i64::try_from(sign * number).ok().map(Kind::Int)
}

/// A number with a point, an exponent, sexagesimal parts, `.inf` or `.nan`.
pub(crate) fn float(text: &str) -> Option<f64> {
    let clean = text.replace('_', "").to_ascii_lowercase();
    let (sign, digits) = match clean.as_bytes().first()? {
        b'-' => (-1.0, &clean[1..]),
        b'+' => (1.0, &clean[1..]),
        _ => (1.0, clean.as_str()),
    };
    match digits {
        ".inf" => Some(sign * f64::INFINITY),
        ".nan" => Some(f64::NAN),
        _ if digits.contains(':') => {
            let sum =
                digits.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?));
            Some(sign * sum?)
        }
        _ => digits.parse::<f64>().ok().map(|number| sign * number),
    }
}

/// Plain scalars that are no text for PyYAML although they mean nothing here: dates, `<<`, `=`.
pub(crate) fn is_special(text: &str) -> bool {
    matches!(text, "<<" | "=") || is_date(text)
}

fn is_date(text: &str) -> bool {
    let digits = |part: &str, count: std::ops::RangeInclusive<usize>| {
        count.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let end = text.find(['t', 'T', ' ', '\t']).unwrap_or(text.len());
    let parts: Vec<&str> = text[..end].split('-').collect();
    matches!(parts.as_slice(), [year, month, day] if digits(year, 4..=4) && digits(month, 1..=2) && digits(day, 1..=2))
}
