//! What took long in a run, for `-v`.

use crate::output::closing::Closing;
use crate::output::text;

/// How many of the slowest steps are told.
const SLOWEST: usize = 5;

impl Closing<'_> {
    /// The slowest steps and the exchanges, for `-v`.
    pub(super) fn costs(&self) -> Vec<String> {
        let mut steps: Vec<_> = self.view.steps.iter().collect();
        steps.sort_by_key(|(_, step)| std::cmp::Reverse(step.time));
        let slowest: Vec<String> = steps
            .iter()
            .take(SLOWEST)
            .map(|((role, step), slowest)| {
                format!("  {:>6}  {role}: {step} ({})", text::duration(slowest.time), slowest.host)
            })
            .collect();
        let exchanges: Vec<String> =
            self.outcome.iter().map(|(name, host)| format!("{name} {}", host.summary.exchanges)).collect();
        let mut lines = Vec::new();
        if !slowest.is_empty() {
            lines.push("slowest steps:".to_owned());
            lines.extend(slowest);
        }
        lines.push(format!("exchanges: {}", exchanges.join(", ")));
        lines
    }
}
