//! The part of POSIX sh that the engine's programs are written in, as a tree.

use std::sync::Arc;

pub(crate) type List = Vec<Item>;

/// Pipelines joined by `&&` and `||`, perhaps in the background.
#[derive(Debug)]
pub(crate) struct Item {
    pub chain: Vec<(Join, Pipeline)>,
    pub background: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    First,
    And,
    Or,
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub negated: bool,
    pub commands: Vec<Arc<Command>>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub kind: Kind,
    pub redirects: Vec<Redirect>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Simple { assignments: Vec<(String, Word)>, words: Vec<Word> },
    Group(Arc<List>),
    Subshell(Arc<List>),
    If { arms: Vec<(List, List)>, otherwise: List },
    For { name: String, words: Option<Vec<Word>>, body: List },
    While { until: bool, condition: List, body: List },
    Case { word: Word, arms: Vec<(Vec<Word>, List)> },
    Function(String, Arc<Command>),
}

#[derive(Debug)]
pub(crate) struct Redirect {
    pub fd: u8,
    pub kind: RedirectKind,
    pub target: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedirectKind {
    Read,
    Write,
    Append,
    Duplicate,
}

pub(crate) type Word = Vec<Piece>;

#[derive(Debug)]
pub(crate) enum Piece {
    Text {
        text: String,
        quoted: bool,
    },
    Parameter {
        name: String,
        operation: Option<(Operation, Word)>,
        quoted: bool,
    },
    Output {
        list: Arc<List>,
        quoted: bool,
    },
    Sum {
        word: Word,
        quoted: bool,
    },
    /// A mark of the program, by its number ([`Program`]).
    Mark {
        number: usize,
        quoted: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Length,
    ShortestPrefix,
    LongestPrefix,
    ShortestSuffix,
    LongestSuffix,
    /// `${x:-word}`
    Default,
    /// `${x:+word}`
    Alternative,
}
