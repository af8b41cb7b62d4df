//! The form of a configuration as data: which keys there are, what stands behind them, since which version. [`check`] compares
//! a text with it and finds every mistake at once, each with its place.

use indexmap::IndexMap;
use muster_inventory::{Origin, closest};

use crate::mistake::Mistake;
use crate::mode::{self, Of};
use crate::yaml::{Kind, Node};

/// What stands behind a key.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// A text, of which the rule says what is wrong with it.
    Text(fn(&str) -> Result<(), String>),
    /// A whole number of at least 0.
    Whole,
    /// `true` or `false`.
    Truth,
    /// The mode of a file or directory.
    Mode(Of),
    /// A list in which nothing stands twice that this key (of mappings) or value (of texts) tells apart.
    List(&'static Shape, Unique),
    /// A mapping with these keys.
    Map(&'static Object),
    /// A key that the format has and muster does not follow, and why, with what to do instead.
    NotFollowed(&'static str),
}

/// What may not stand twice in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unique {
    /// The same text.
    Value,
    /// A mapping with the same value behind this key.
    By(&'static str),
    /// Anything may.
    Nothing,
}

/// A mapping.
pub(crate) struct Object {
    /// Whose keys they are, with its article: `a user`, `the section storage`.
    pub(crate) what: &'static str,
    pub(crate) fields: &'static [Field],
}

/// A key.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// It must be there; this is an example.
    needed: Option<&'static str>,
    /// The first generation of the format that has it.
    since: u8,
}

/// A key with a shape.
pub(crate) const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, needed: None, since: 0 }
}

impl Field {
    /// It must be there, as in this example.
    pub(crate) const fn needed(self, example: &'static str) -> Self {
        Self { needed: Some(example), ..self }
    }

    /// Generations before this one do not have it.
    pub(crate) const fn since(self, generation: u8) -> Self {
        Self { since: generation, ..self }
    }
}

/// A version of a format.
#[derive(Clone, Copy)]
pub(crate) struct Edition {
    /// How it is written: `fcos 1.5.0`.
    pub(crate) name: &'static str,
    /// Which fields it has: those that are not of a later generation.
    pub(crate) generation: u8,
    /// The first edition of the same variant that has a generation, if one has.
    pub(crate) first_with: fn(u8) -> Option<&'static str>,
}

/// A value that has the form it should have. Keys are those of the tables.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) origin: Origin,
    pub(crate) value: Typed,
}

#[derive(Debug, Clone)]
pub(crate) enum Typed {
    Text(String),
    Whole(i64),
    Truth(bool),
    List(Vec<Item>),
    Map(IndexMap<&'static str, Item>),
}

impl Item {
    /// What stands behind a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Item> {
        match &self.value {
            Typed::Map(entries) => entries.get(key),
            _ => None,
        }
    }

    /// What stands behind one key after the other.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Item> {
        path.iter().try_fold(self, |item, key| item.get(key))
    }

    /// The items of the list there; none where there is no list.
    pub(crate) fn list(&self, path: &[&str]) -> &[Item] {
        match self.at(path).map(|item| &item.value) {
            Some(Typed::List(items)) => items,
            _ => &[],
        }
    }

    /// The text behind a key, unless it is empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Item::as_text).filter(|text| !text.is_empty())
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Typed::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn whole(&self, key: &str) -> Option<i64> {
        match self.get(key)?.value {
            Typed::Whole(number) => Some(number),
            _ => None,
        }
    }

    /// Whether a key says `true`.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.get(key).is_some_and(|item| matches!(item.value, Typed::Truth(true)))
    }
}

/// Compares a mapping with its form. What is wrong is left out of the result.
pub(crate) fn check(
    node: &Node,
    object: &'static Object,
    edition: Edition,
    found: &mut Vec<Mistake>,
) -> Item {
    Check { edition, found }.map(node, object)
}

struct Check<'a> {
    edition: Edition,
    found: &'a mut Vec<Mistake>,
}

impl Check<'_> {
    fn tell(&mut self, origin: &Origin, message: impl Into<String>) {
        self.found.push(Mistake::new(origin, message));
    }

    fn map(&mut self, node: &Node, object: &'static Object) -> Item {
        let mut entries = IndexMap::new();
        let what = object.what;
        let written = match &node.kind {
            Kind::Map(written) => written.as_slice(),
            Kind::Null => &[],
            _ => {
                let keys = names(object, self.edition).join(", ");
                let message =
                    format!("here is {}, where {what} with its keys was meant ({keys})", called(node));
                self.tell(&node.origin, message);
                return Item { origin: node.origin.clone(), value: Typed::Map(entries) };
            }
        };
        for (key, value) in written {
            let Some(field) = object.fields.iter().find(|field| field.name == key.name) else {
                let message = unknown(&key.name, object, self.edition);
                self.tell(&key.origin, message);
                continue;
            };
            if field.since > self.edition.generation {
                let edition = self.edition.name;
                let message = match (self.edition.first_with)(field.since) {
                    Some(first) => format!(
                        "\"{}\" of {what} came with {first}, and this file is {edition}; give it the newer version",
                        key.name
                    ),
                    None => format!(
                        "{edition} has no \"{}\" of {what}, and no later version has it yet",
                        key.name
                    ),
                };
                self.tell(&key.origin, message);
                continue;
            }
            if let Shape::NotFollowed(why) = field.shape {
                self.tell(&key.origin, format!("muster does not follow \"{}\" of {what}: {why}", key.name));
                continue;
            }
            // As for Butane, nothing behind a key is the same as no key.
            if matches!(value.kind, Kind::Null) {
                continue;
            }
            if let Some(item) = self.value(value, field.name, field.shape, what) {
                entries.insert(field.name, item);
            }
        }
        for field in object.fields {
            let Some(example) = field.needed.filter(|_| field.since <= self.edition.generation) else {
                continue;
            };
            let written = written.iter().find(|(key, _)| key.name == field.name);
            let empty = |node: &Node| match &node.kind {
                Kind::Null => true,
                Kind::Scalar { text, .. } => text.is_empty(),
                Kind::List(items) => items.is_empty(),
                Kind::Map(entries) => entries.is_empty(),
            };
            if written.is_none_or(|(_, value)| empty(value)) {
                let origin = written.map_or(&node.origin, |(key, _)| &key.origin);
                self.tell(origin, format!("{what} needs its \"{}\", such as {example}", field.name));
            }
        }
        Item { origin: node.origin.clone(), value: Typed::Map(entries) }
    }

    fn value(&mut self, node: &Node, name: &str, shape: Shape, what: &str) -> Option<Item> {
        let value = match (shape, &node.kind) {
            (Shape::Map(object), _) => return Some(self.map(node, object)),
            (Shape::List(each, unique), Kind::List(items)) => {
                let items: Vec<Item> =
                    items.iter().filter_map(|item| self.value(item, name, *each, what)).collect();
                self.twice(&items, name, unique, what);
                Typed::List(items)
            }
            (Shape::Text(rule), Kind::Scalar { text, .. }) => {
                // What is missing where it is needed is told as that.
                if let Err(wrong) = if text.is_empty() { Ok(()) } else { rule(text) } {
                    self.tell(&node.origin, format!("\"{name}\" of {what}: {wrong}"));
                    return None;
                }
                Typed::Text(text.clone())
            }
            (Shape::Truth, Kind::Scalar { text, quoted: false }) if truth(text).is_some() => {
                Typed::Truth(truth(text)?)
            }
            (Shape::Whole, Kind::Scalar { text, quoted: false }) if whole(text).is_some_and(|n| n >= 0) => {
                Typed::Whole(whole(text)?)
            }
            (Shape::Mode(of), Kind::Scalar { text, quoted: false }) if whole(text).is_some() => {
                let number = whole(text)?;
                if let Err(wrong) = mode::check(number, text, of) {
                    self.tell(&node.origin, format!("\"{name}\" of {what}: {wrong}"));
                    return None;
                }
                Typed::Whole(number)
            }
            _ => {
                let quoted = matches!(&node.kind, Kind::Scalar { text, quoted: true }
                    if whole(text).is_some() || truth(text).is_some());
                let meant = match shape {
                    Shape::Text(_) => "a text",
                    Shape::Truth => "true or false",
                    Shape::Whole => "a whole number of at least 0",
                    Shape::Mode(_) => "an octal number such as 0644",
                    Shape::List(..) => "a list",
                    Shape::Map(_) | Shape::NotFollowed(_) => "a mapping",
                };
                let hint = match shape {
                    Shape::List(..) => ", each item on a line of its own, behind \"- \"",
                    Shape::Truth | Shape::Whole | Shape::Mode(_) if quoted => {
                        "; leave out the quotation marks"
                    }
                    _ => "",
                };
                let is = called(node);
                self.tell(&node.origin, format!("\"{name}\" of {what} is {is}, and {meant} was meant{hint}"));
                return None;
            }
        };
        Some(Item { origin: node.origin.clone(), value })
    }

    /// Finds what stands twice in a list.
    fn twice(&mut self, items: &[Item], name: &str, unique: Unique, what: &str) {
        let key = |item: &Item| match unique {
            Unique::Nothing => None,
            Unique::Value => item.as_text().map(str::to_owned),
            Unique::By(key) => item.text(key).map(str::to_owned),
        };
        let mut seen: IndexMap<String, &Item> = IndexMap::new();
        for item in items {
            let Some(key) = key(item) else { continue };
            if let Some(first) = seen.get(&key) {
                let place = match unique {
                    Unique::By(key) => item.get(key).unwrap_or(item),
                    _ => item,
                };
                let line = first.origin.line();
                let message = match unique {
                    Unique::By(by) => {
                        format!("\"{name}\" of {what} has the {by} \"{key}\" twice, here and at line {line}")
                    }
                    _ => format!("\"{name}\" of {what} has \"{key}\" twice, here and at line {line}"),
                };
                self.found.push(Mistake::new(&place.origin, message));
            } else {
                seen.insert(key, item);
            }
        }
    }
}

/// The keys that an edition has for a mapping.
fn names(object: &Object, edition: Edition) -> Vec<&'static str> {
    let there =
        |field: &&Field| field.since <= edition.generation && !matches!(field.shape, Shape::NotFollowed(_));
    object.fields.iter().filter(there).map(|field| field.name).collect()
}

fn unknown(name: &str, object: &Object, edition: Edition) -> String {
    let known = names(object, edition);
    let begin = format!("{} has no key \"{name}\"", object.what);
    match closest(name, known.iter().copied()) {
        Some(meant) => format!("{begin}; did you mean \"{meant}\"?"),
        None => format!("{begin}; its keys are {}", known.join(", ")),
    }
}

/// What was found, in words.
fn called(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "nothing".to_owned(),
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a mapping".to_owned(),
        Kind::Scalar { quoted: false, text } if whole(text).is_some() => format!("the number {text}"),
        Kind::Scalar { quoted: false, text } if truth(text).is_some() => format!("the word {text}"),
        // A long text, or one that may be secret, stands in the excerpt.
        Kind::Scalar { text, .. } if text.len() > 40 || text.contains('\n') => "a text".to_owned(),
        Kind::Scalar { text, .. } => format!("the text \"{text}\""),
    }
}

/// `true` or `false`, and what yaml.v3 takes for them where a boolean is meant.
fn truth(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// A whole number as yaml.v3 reads it: a leading 0 or 0o makes it octal, 0x hexadecimal, 0b binary.
pub(crate) fn whole(text: &str) -> Option<i64> {
    let text = text.replace('_', "");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let radix =
        |prefix: &str, radix| digits.strip_prefix(prefix).map(|rest| i64::from_str_radix(rest, radix).ok());
    let number = radix("0x", 16)
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0", 8).filter(|_| digits.len() > 1))
        .unwrap_or_else(|| digits.parse().ok())?;
    Some(if negative { -number } else { number })
}
