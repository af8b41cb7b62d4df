//! What the user sees. [`show`] listens to the events of a run; one of three sinks shows them: [`terminal`] live,
//! [`plain`] line by line, [`jsonl`] for programs. [`closing`] says how it ended.

pub(crate) mod advice;
mod closing;
pub(crate) mod command_error;
mod costs;
mod downloads;
mod frontend;
pub(crate) mod jsonl;
mod next_command;
pub(crate) mod plain;
mod plan;
pub(crate) mod print;
pub(crate) mod problems;
pub(crate) mod recap;
pub(crate) mod remarks;
mod screen;
pub(crate) mod sentence;
mod show;
pub(crate) mod style;
pub(crate) mod table;
mod terminal;
pub(crate) mod text;
mod view;

pub(crate) use closing::{Again, Closing, exit_of};
pub(crate) use downloads::Downloads;
pub(crate) use frontend::CommandLine;
pub(crate) use plan::plan_lines;
pub(crate) use screen::Screen;
pub(crate) use sentence::{Detail, gist};
pub(crate) use show::{show, sink};
pub(crate) use view::View;
