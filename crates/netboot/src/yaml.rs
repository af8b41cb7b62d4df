//! A text of YAML as a tree in which everything knows its place. Scalars stay as they were written: what one means depends on
//! the key that it stands behind, as it does for Butane (Go's yaml.v3 decodes into typed fields), so `0644` is an octal number
//! behind `mode` and a text behind `label`.

use std::collections::HashMap;
use std::sync::Arc;

use muster_inventory::{Origin, SourceText};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

use crate::mistake::Mistake;

/// Nested deeper than any configuration; guards the stack.
const MAX_DEPTH: usize = 64;
/// Values that one text may hold once its aliases are expanded.
const MAX_NODES: usize = 200_000;

/// A value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) kind: Kind,
}

/// What a value is, as far as YAML itself says so.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Scalar { text: String, quoted: bool },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// Reads the one document of a text.
///
/// # Errors
/// It is not YAML, holds more than one document, or gives a key twice.
pub(crate) fn read(source: &Arc<SourceText>, text: &str) -> Result<Node, Mistake> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { source, parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut document = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => {
                let empty = || Mistake::new(&Origin::whole(source), "the file is empty");
                return document.ok_or_else(empty);
            }
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) if document.is_some() => {
                return Err(
                    reader.mistake(span.start, "a second document begins here; a configuration is one")
                );
            }
            Event::DocumentStart(_) => {
                let (event, span) = reader.next()?;
                document = Some(reader.node(event, span, 0)?);
            }
            _ => return Err(reader.mistake(span.start, "this belongs to no document")),
        }
    }
}

struct Reader<'a> {
    source: &'a Arc<SourceText>,
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                Err(self.mistake(*error.marker(), &format!("this is not valid YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn origin(&self, mark: Marker) -> Origin {
        Origin::new(self.source, mark.line(), mark.col() + 1)
    }

    fn mistake(&self, mark: Marker, message: &str) -> Mistake {
        Mistake::new(&self.origin(mark), message)
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Mistake> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(
                self.mistake(span.start, "this is nested too deeply, or grows too large by its aliases")
            );
        }
        let origin = self.origin(span.start);
        let (anchor, kind) = match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(self.mistake(span.start, "this alias stands within what it refers to"));
                };
                self.nodes += size(&node);
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                // The tag !!str makes a text of anything; others mean what the key means.
                let quoted =
                    style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix.ends_with("str"));
                let null = !quoted && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                (anchor, if null { Kind::Null } else { Kind::Scalar { text: text.into_owned(), quoted } })
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
                (anchor, Kind::List(items))
            }
            Event::MappingStart(anchor, _) => (anchor, Kind::Map(self.mapping(depth)?)),
            _ => return Err(self.mistake(span.start, "a value is missing here")),
        };
        let node = Node { origin, kind };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Mistake> {
        let mut own: Vec<(Key, Node)> = Vec::new();
        let mut merged: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            let Kind::Scalar { text: name, quoted } = key.kind else {
                return Err(Mistake::new(&key.origin, "a key is a word, such as passwd or storage"));
            };
            if name == "<<" && !quoted {
                merged.extend(mappings(value)?);
                continue;
            }
            if let Some((first, _)) = own.iter().find(|(key, _)| key.name == name) {
                let line = first.origin.line();
                return Err(Mistake::new(
                    &key.origin,
                    format!(
                        "the key \"{name}\" is given twice, here and in line {line}; a list has all of a kind behind one key"
                    ),
                ));
            }
            own.push((Key { name, origin: key.origin }, value));
        }
        // A mapping's own keys win over those that it takes over, and of several sources the first one wins.
        for (key, value) in merged {
            if own.iter().all(|(known, _)| known.name != key.name) {
                own.push((key, value));
            }
        }
        Ok(own)
    }
}

/// What `<<` takes over.
fn mappings(value: Node) -> Result<Vec<(Key, Node)>, Mistake> {
    match value.kind {
        Kind::Map(entries) => Ok(entries),
        Kind::List(items) => Ok(items.into_iter().map(mappings).collect::<Result<Vec<_>, _>>()?.concat()),
        _ => Err(Mistake::new(&value.origin, "<< takes over a mapping, or a list of mappings")),
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Null | Kind::Scalar { .. } => 0,
        Kind::List(items) => items.iter().map(size).sum(),
        Kind::Map(entries) => entries.iter().map(|(_, value)| size(value)).sum(),
    }
}
