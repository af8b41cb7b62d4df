//! Downloads, as they go on: a live line on a terminal, else a line now and then.

use std::time::{Duration, Instant};

use muster_artifacts::Progress;

use crate::args::Form;
use crate::output::print;
use crate::output::screen::Screen;
use crate::output::text;

/// After how long without a line one says how far a download is.
const SILENCE: Duration = Duration::from_secs(8);

/// Shows downloads.
pub(crate) struct Downloads {
    screen: Screen,
    form: Form,
    item: String,
    last: Instant,
}

impl Downloads {
    pub(crate) fn new(screen: Screen, form: Form) -> Self {
        Self { screen, form, item: String::new(), last: Instant::now() }
    }

    /// Says what they are for.
    pub(crate) fn begin(&mut self, line: &str) {
        self.line(line);
    }

    /// Shows one piece of news.
    pub(crate) fn show(&mut self, news: &Progress<'_>) {
        match news {
            Progress::Published { files, by } => {
                self.line(&format!(
                    "  no checksum in the catalogue, compared with the one that {} publishes: {}",
                    text::harmless(by),
                    text::harmless(files)
                ));
            }
            Progress::Start { item, index, of } => {
                self.item = format!("[{index}/{of}] {item}");
                self.live("");
            }
            Progress::Bytes { done, of } => {
                let of = of.map(|of| format!(" of {}", text::size(of))).unwrap_or_default();
                let far = format!("{}{of}", text::size(*done));
                self.live(&far);
                if !self.screen.is_live() && self.last.elapsed() >= SILENCE {
                    self.line(&format!("  {}  {far}", self.item));
                }
            }
            Progress::Retry { attempt, of, wait, reason } => {
                let wait = text::duration(*wait);
                self.line(&format!(
                    "  {}  {}; try {} of {of} in {wait}",
                    self.item,
                    text::harmless(reason),
                    attempt + 1
                ));
            }
            Progress::Failed { reason } => {
                self.line(&format!("{} {}", self.screen.style.failed(), text::harmless(reason)));
            }
            Progress::Done { size, elapsed } => {
                let done = self.screen.style.done();
                self.line(&format!(
                    "{done} {}  {}  {}",
                    self.item,
                    text::size(*size),
                    text::duration(*elapsed)
                ));
            }
        }
    }

    /// There will be no more.
    pub(crate) fn end(&mut self) {
        self.screen.set_live(&[]);
    }

    fn live(&self, far: &str) {
        self.screen.set_live(&[format!("  {}  {far}", self.item)]);
    }

    fn line(&mut self, line: &str) {
        // Standard output holds JSON lines and nothing else.
        if self.form == Form::Jsonl {
            print::note(line);
        } else {
            self.screen.line(line);
        }
        self.last = Instant::now();
    }
}
