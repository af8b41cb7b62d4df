//! Why a command could not do what it was asked to, with what to do about it, as it is shown.

use muster_app::ErrorKind;
use muster_engine::failure::Problem;

use crate::environment::Environment;
use crate::error::CommandError;
use crate::output::advice::proposed;
use crate::output::screen::Screen;
use crate::output::style::{Style, Tone};
use crate::output::{print, problems};

/// Tells it, on standard error.
pub(crate) fn tell(error: &CommandError, environment: &Environment) {
    let (_, columns) = Screen::new(environment, false).size();
    print::note(&render(error, Style::of_stderr(environment), columns));
}

fn render(error: &CommandError, style: Style, columns: usize) -> String {
    let mut text = format!("{} {}", style.paint(Tone::Bad, "error:"), error.message);
    if let ErrorKind::Problems(found) = &error.kind {
        let proposed = |problem: &Problem| Problem { remedy: proposed(&problem.remedy), ..problem.clone() };
        let found: Vec<Problem> = found.iter().map(proposed).collect();
        text.push_str(&format!("\n\n{}\n", problems::of_inventory(&found, style, columns).join("\n")));
    }
    for hint in &error.hints {
        text.push_str(&format!("\n{} {}", style.paint(Tone::Strong, "hint:"), proposed(hint)));
    }
    text
}
