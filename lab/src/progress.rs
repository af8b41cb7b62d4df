//! News from long operations, for whoever shows them to a person.

/// What an operation is doing right now. The same news may come again when nothing changes for some seconds, so that
/// a terminal never looks dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The step, in a few words: `machine image`, `node2`.
    pub what: &'a str,
    /// What happens in it: `downloading packages with apt`.
    pub detail: &'a str,
    /// Which step of how many, counted from 1.
    pub step: (usize, usize),
}

/// Receives [`Progress`]; may be called from several threads.
pub type ProgressFn<'a> = dyn Fn(Progress<'_>) + Sync + 'a;

/// A step of an operation: knows its name and number, so that the code doing it only says what happens.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) what: &'a str,
    pub(crate) number: (usize, usize),
    pub(crate) report: &'a ProgressFn<'a>,
}

impl Step<'_> {
    pub(crate) fn say(&self, detail: &str) {
        (self.report)(Progress { what: self.what, detail, step: self.number });
    }
}
