//! The test `version`: versions compared as Python's distutils, or as SemVer.

use std::cmp::Ordering;

use minijinja::{Environment, Error, Value};

use super::args::{Args, Rest, invalid, text};

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_test("version", version);
    environment.add_test("version_compare", version);
}

fn version(value: Value, rest: Rest) -> Result<bool, Error> {
    let value = text("version", &value)?;
    let mut args =
        Args::bind("version", &["version", "operator", "strict", "version_type"], rest.into_values())?;
    let other = args.need("version")?.to_string();
    let operator = args.text("operator")?.unwrap_or_else(|| "eq".to_owned());
    let strict = args.get("strict")?;
    let scheme = args.text("version_type")?;
    if value.is_empty() || other.is_empty() {
        return Err(invalid("version: there is nothing to compare, the text is empty"));
    }
    if strict.is_some() && scheme.is_some() {
        return Err(invalid("version: give strict or version_type, not both"));
    }
    let scheme = match (strict, scheme) {
        (Some(strict), _) if strict.is_true() => "strict".to_owned(),
        (_, Some(scheme)) => scheme,
        _ => "loose".to_owned(),
    };
    let wanted: fn(Option<Ordering>) -> bool = match operator.as_str() {
        "==" | "=" | "eq" => |order| order == Some(Ordering::Equal),
        "!=" | "<>" | "ne" => |order| order != Some(Ordering::Equal),
        "<" | "lt" => |order| order == Some(Ordering::Less),
        "<=" | "le" => |order| matches!(order, Some(Ordering::Less | Ordering::Equal)),
        ">" | "gt" => |order| order == Some(Ordering::Greater),
        ">=" | "ge" => |order| matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        _ => return Err(invalid(format!("version: the operator \"{operator}\" is not known"))),
    };
    let order = match scheme.as_str() {
        "loose" => match loose(&value, &other) {
            None => {
                return Err(invalid(format!(
                    "version: \"{value}\" and \"{other}\" cannot be compared: a number meets a word; is one of them written with a \"v\"?"
                )));
            }
            order => order,
        },
        "strict" => Some(strict_parts(&value)?.cmp(&strict_parts(&other)?)),
        "semver" | "semantic" => Some(Semantic::parse(&value)?.cmp(&Semantic::parse(&other)?)),
        _ => {
            return Err(invalid(format!(
                "version: the type \"{scheme}\" is not known; known are loose, strict and semver"
            )));
        }
    };
    Ok(wanted(order))
}

/// A part of a loose version.
#[derive(PartialEq)]
enum Part {
    Number(u128),
    Word(String),
}

/// Compares as distutils' `LooseVersion`: numbers and words part by part. `None` when a number
/// meets a word, which Python cannot compare.
fn loose(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (loose_parts(left), loose_parts(right));
    for (a, b) in left.iter().zip(&right) {
        if a == b {
            continue;
        }
        return match (a, b) {
            (Part::Number(a), Part::Number(b)) => Some(a.cmp(b)),
            (Part::Word(a), Part::Word(b)) => Some(a.cmp(b)),
            _ => None,
        };
    }
    Some(left.len().cmp(&right.len()))
}

fn loose_parts(version: &str) -> Vec<Part> {
    let class = |c: char| match c {
        '0'..='9' => 0,
        'a'..='z' => 1,
        '.' => 2,
        _ => 3,
    };
    let mut parts = Vec::new();
    let mut rest = version;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| class(c) != class(first)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        match class(first) {
            0 => parts.push(part.parse().map_or_else(|_| Part::Word(part.to_owned()), Part::Number)),
            2 => {}
            _ => parts.push(Part::Word(part.to_owned())),
        }
    }
    parts
}

/// distutils' `StrictVersion`: two or three numbers and perhaps `a1` or `b2`.
fn strict_parts(version: &str) -> Result<(Vec<u64>, (u8, u64)), Error> {
    let wrong = || invalid(format!("version: \"{version}\" is not a strict version (1.2, 1.2.3, 1.2b1)"));
    let at = version.find(['a', 'b']);
    let (numbers, pre) = version.split_at(at.unwrap_or(version.len()));
    let mut parts: Vec<u64> =
        numbers.split('.').map(|part| part.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    if parts.len() < 2 || parts.len() > 3 {
        return Err(wrong());
    }
    parts.resize(3, 0);
    let pre = match pre.chars().next() {
        None => (2, 0),
        Some(letter) => (u8::from(letter == 'b'), pre[1..].parse().map_err(|_| wrong())?),
    };
    Ok((parts, pre))
}

/// <https://semver.org>
#[derive(PartialEq, Eq)]
struct Semantic {
    numbers: [u64; 3],
    pre: Vec<String>,
}

impl Semantic {
    fn parse(version: &str) -> Result<Self, Error> {
        let wrong =
            || invalid(format!("version: \"{version}\" is not a semantic version (1.2.3-rc.1+build)"));
        let without_build = version.split_once('+').map_or(version, |(version, _)| version);
        let (core, pre) =
            without_build.split_once('-').map_or((without_build, ""), |(core, pre)| (core, pre));
        let numbers: Vec<u64> =
            core.split('.').map(|part| part.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
        let numbers = <[u64; 3]>::try_from(numbers).map_err(|_| wrong())?;
        let pre = if pre.is_empty() { Vec::new() } else { pre.split('.').map(str::to_owned).collect() };
        Ok(Self { numbers, pre })
    }
}

impl Ord for Semantic {
    fn cmp(&self, other: &Self) -> Ordering {
        let identifiers = |a: &String, b: &String| match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => a.cmp(b),
        };
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self
                .pre
                .iter()
                .zip(&other.pre)
                .map(|(a, b)| identifiers(a, b))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| self.pre.len().cmp(&other.pre.len())),
        })
    }
}

impl PartialOrd for Semantic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
