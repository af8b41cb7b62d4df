//! YAML as PyYAML reads it: YAML 1.1 scalars, merge keys, `!vault`, `!unsafe`; every value keeps
//! its place, and keys that are given twice are reported.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use crate::error::InventoryError;
use crate::origin::{Origin, SourceText, Warning};
use crate::value::{Kind, Value};
use crate::vault::VaultText;
use crate::{unquoted, yaml_relaxed, yaml_scalar};

/// Nested deeper than any file a person writes; guards the stack.
const MAX_DEPTH: usize = 128;
/// Values one document may hold once its aliases are expanded: stops "billion laughs".
const MAX_NODES: usize = 2_000_000;

/// A value whose key is given a second time.
pub(crate) struct Lost {
    pub(crate) key: String,
    pub(crate) value: Value,
    /// Where the value begins that counts.
    pub(crate) by: Option<Origin>,
}

/// Reads the one document of a text. An empty text is [`Kind::Null`].
///
/// # Errors
/// When the text is not YAML, with the place.
pub(crate) fn parse(
    source: &Arc<SourceText>,
    text: &str,
    warnings: &mut Vec<Warning>,
) -> Result<Value, InventoryError> {
    parse_all(source, text, warnings, &mut Vec::new())
}

/// The same, with the values that are lost.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_all(
    source: &Arc<SourceText>,
    text: &str,
    warnings: &mut Vec<Warning>,
    lost: &mut Vec<Lost>,
) -> Result<Value, InventoryError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Found::default();
    let read = read(source, text, &[], &mut found).or_else(|strict| {
        let relaxed = yaml_relaxed::relaxed(text);
        found = Found::default();
        // What is not YAML at all is told as it was written.
        read(source, &relaxed.text, &relaxed.moved, &mut found).map_err(|_| unquoted::explained(strict))
    });
    warnings.append(&mut found.warnings);
    lost.append(&mut found.lost);
    read
}

/// What is noticed on the way.
#[derive(Default)]
struct Found {
    warnings: Vec<Warning>,
    lost: Vec<Lost>,
}

/// Reads a text of which each line was moved to the right by so many columns.
fn read(
    source: &Arc<SourceText>,
    text: &str,
    moved: &[usize],
    found: &mut Found,
) -> Result<Value, InventoryError> {
    let parser = Parser::new_from_str(text);
    let unended = (!text.ends_with('\n')).then(|| text.chars().count());
    let mut reader = Reader { source, parser, moved, unended, anchors: HashMap::new(), nodes: 0, found };
    let mut document = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(document.unwrap_or(Value::NULL)),
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) if document.is_some() => {
                return Err(reader.error(span.start, "a second document starts here; only one is allowed"));
            }
            Event::DocumentStart(_) => {
                let (event, span) = reader.next()?;
                document = Some(reader.node(event, span, 0)?.value);
            }
            _ => return Err(reader.error(span.start, "content outside a document")),
        }
    }
}

struct Reader<'a, 'f> {
    source: &'a Arc<SourceText>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    moved: &'a [usize],
    /// Where the text ends, when its last line has no end.
    unended: Option<usize>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    found: &'f mut Found,
}

/// A value, and whether it was written as a bare `<<`.
#[derive(Clone)]
struct Node {
    value: Value,
    is_merge: bool,
    /// How many values it holds, itself included.
    size: usize,
}

impl<'a> Reader<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), InventoryError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let hint = match error.info() {
                    info if info.contains("found character that cannot start any token") => {
                        " (a value that starts with {{, % or @ must be in quotes; indentation must not use tabs)"
                    }
                    // It is found out only where the next name begins.
                    info if info.contains("simple key expect ':'") => {
                        " (is a colon missing behind a name in a line above?)"
                    }
                    info if info.contains("mapping values are not allowed") => {
                        " (is a colon missing behind a name in a line above, or does a value with a colon lack quotes?)"
                    }
                    _ => "",
                };
                Err(self.error(*error.marker(), &format!("not valid YAML: {}{hint}", error.info())))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn origin(&self, mark: Marker) -> Origin {
        let moved = mark.line().checked_sub(1).and_then(|line| self.moved.get(line)).copied().unwrap_or(0);
        Origin::new(self.source, mark.line(), mark.col().saturating_sub(moved) + 1)
    }

    fn error(&self, mark: Marker, message: &str) -> InventoryError {
        InventoryError::syntax(self.origin(mark), message)
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, InventoryError> {
        if depth > MAX_DEPTH {
            return Err(self.error(span.start, "nested too deeply"));
        }
        self.nodes += 1;
        let start = self.nodes;
        let (anchor, node) = match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(self.error(span.start, "this alias refers to a value that contains it"));
                };
                self.nodes += node.size;
                if self.nodes > MAX_NODES {
                    return Err(
                        self.error(span.start, "the aliases of this text multiply to too many values")
                    );
                }
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(text, style, tag, span)?),
            Event::SequenceStart(anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth + 1)?.value),
                    }
                }
                let mut value = Value::at(Kind::List(items), self.origin(span.start));
                self.collection_tag(tag, &mut value);
                (anchor, Node { value, is_merge: false, size: 0 })
            }
            Event::MappingStart(anchor, tag) => {
                let map = self.mapping(depth)?;
                let mut value = Value::at(Kind::Map(map), self.origin(span.start));
                self.collection_tag(tag, &mut value);
                (anchor, Node { value, is_merge: false, size: 0 })
            }
            _ => return Err(self.error(span.start, "a value is missing here")),
        };
        let node = Node { size: self.nodes - start + 1, ..node };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<IndexMap<String, Value>, InventoryError> {
        let mut own: IndexMap<String, Value> = IndexMap::new();
        let mut merged: Vec<Value> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?.value;
            if key.is_merge {
                self.merge(value, value_span, &mut merged)?;
                continue;
            }
            let Some(name) = key_text(&key.value) else {
                let message = format!("a key must be a text or a number, this is {}", key.value.type_name());
                return Err(self.error(span.start, &message));
            };
            if let Some(first) = own.get(&name) {
                let first = first.origin.as_ref().map(Origin::line).unwrap_or_default();
                let message = format!("the key \"{name}\" is given twice; the value of line {first} is lost");
                self.found.warnings.push(Warning::new(message, Some(self.origin(span.start))));
            }
            let by = value.origin.clone();
            if let Some(value) = own.insert(name.clone(), value) {
                self.found.lost.push(Lost { key: name, value, by });
            }
        }
        if merged.is_empty() {
            return Ok(own);
        }
        // The mapping's own keys win over merged ones, which come first (PyYAML,
        // SafeConstructor.flatten_mapping).
        let mut map = IndexMap::new();
        for source in merged.iter().filter_map(Value::as_map) {
            map.extend(source.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        map.extend(own);
        Ok(map)
    }

    fn merge(&mut self, value: Value, span: Span, merged: &mut Vec<Value>) -> Result<(), InventoryError> {
        match value.kind {
            Kind::Map(_) => merged.push(value),
            Kind::List(items) if items.iter().all(|item| item.as_map().is_some()) => {
                // In a list, earlier mappings win over later ones.
                merged.extend(items.into_iter().rev());
            }
            _ => return Err(self.error(span.start, "<< needs a mapping or a list of mappings")),
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: Cow<'a, str>,
        style: ScalarStyle,
        tag: Option<Cow<'a, Tag>>,
        span: Span,
    ) -> Result<Node, InventoryError> {
        let origin = self.origin(span.start);
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        // A block keeps the end of its last line where there is one.
        let text = match text.strip_suffix('\n') {
            Some(rest) if is_block && self.unended.is_some_and(|end| span.end.index() >= end) => {
                Cow::Owned(rest.to_owned())
            }
            _ => text,
        };
        let plain = style == ScalarStyle::Plain;
        let is_merge = plain && tag.is_none() && text == "<<";
        let kind = match tag {
            None if plain => yaml_scalar::resolve(&text),
            // The tag `!` alone says nothing for PyYAML.
            Some(tag) if plain && tag_name(&tag) == "!" => yaml_scalar::resolve(&text),
            None => Kind::Str(text.into_owned()),
            Some(tag) => self.tagged(&tag, text.into_owned(), &origin)?,
        };
        Ok(Node { value: Value::at(kind, origin), is_merge, size: 1 })
    }

    fn tagged(&mut self, tag: &Tag, text: String, origin: &Origin) -> Result<Kind, InventoryError> {
        let name = tag_name(tag);
        let wrong = |what: &str| {
            InventoryError::syntax(origin.clone(), format!("\"{text}\" is tagged {name} but is not {what}"))
        };
        Ok(match name.as_str() {
            "!" | "!!str" => Kind::Str(text),
            "!!null" => Kind::Null,
            "!!bool" => match yaml_scalar::boolean(&text) {
                Some(truth) => Kind::Bool(truth),
                None => return Err(wrong("a boolean")),
            },
            "!!int" => match yaml_scalar::integer(&text) {
                Some(kind) => kind,
                None => return Err(wrong("an integer")),
            },
            "!!float" => match yaml_scalar::float(&text).or_else(|| text.trim().parse().ok()) {
                Some(number) => Kind::Float(number),
                None => return Err(wrong("a number")),
            },
            "!!timestamp" | "!!binary" => Kind::Str(text),
            "!unsafe" => Kind::Raw(text),
            "!vault" | "!vault-encrypted" => match VaultText::parse(&text) {
                Ok(vault) => Kind::Vault(Arc::new(vault)),
                Err(error) => return Err(InventoryError::syntax(origin.clone(), error.to_string())),
            },
            _ => {
                let message =
                    format!("the tag {name} is not known; known are !vault, !unsafe and those of YAML");
                return Err(InventoryError::syntax(origin.clone(), message));
            }
        })
    }

    /// `!unsafe` on a list or mapping holds for every text in it; other tags of collections say
    /// nothing that matters here.
    fn collection_tag(&mut self, tag: Option<Cow<'a, Tag>>, value: &mut Value) {
        match tag {
            Some(tag) if tag_name(&tag) == "!unsafe" => make_raw(value),
            Some(tag) if !tag_name(&tag).starts_with("!!") && tag_name(&tag) != "!" => {
                let message = format!("the tag {} is not known and is ignored", tag_name(&tag));
                self.found.warnings.push(Warning::new(message, value.origin.clone()));
            }
            _ => {}
        }
    }
}

/// A tag as people write it: `!vault`, `!!str`, and `!` for the one that says nothing.
fn tag_name(tag: &Tag) -> String {
    const CORE: &str = "tag:yaml.org,2002:";
    match (tag.handle.as_str(), tag.suffix.strip_prefix(CORE)) {
        (CORE, _) => format!("!!{}", tag.suffix),
        ("", Some(name)) => format!("!!{name}"),
        ("", None) => tag.suffix.clone(),
        _ => tag.to_string(),
    }
}

fn make_raw(value: &mut Value) {
    match &mut value.kind {
        Kind::Str(text) => value.kind = Kind::Raw(std::mem::take(text)),
        Kind::List(items) => items.iter_mut().for_each(make_raw),
        Kind::Map(map) => map.values_mut().for_each(make_raw),
        _ => {}
    }
}

/// A key as text, spelled as Python's `json` spells keys that are not texts.
fn key_text(key: &Value) -> Option<String> {
    match &key.kind {
        Kind::Str(text) | Kind::Raw(text) => Some(text.clone()),
        Kind::Null => Some("null".to_owned()),
        Kind::Bool(truth) => Some(truth.to_string()),
        Kind::Int(number) => Some(number.to_string()),
        Kind::Float(number) => Some(format!("{number:?}")),
        Kind::Vault(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}
