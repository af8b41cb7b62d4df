//! What the user sees. [`show`] listens to the events of a run; one of three sinks shows them: [`terminal`] live,
//! [`plain`] line by line, [`jsonl`] for programs. [`closing`] says how it ended.

mod closing;
mod downloads;
mod jsonl;
mod plain;
pub(crate) mod print;
pub(crate) mod problems;
mod recap;
pub(crate) mod remarks;
mod screen;
mod sentence;
mod show;
pub(crate) mod style;
pub(crate) mod table;
mod terminal;
pub(crate) mod text;
mod view;

pub(crate) use closing::{Closing, exit_of};
pub(crate) use downloads::Downloads;
pub(crate) use screen::Screen;
pub(crate) use sentence::Detail;
pub(crate) use show::show;
pub(crate) use view::{Outline, OutlinePlay, View};
