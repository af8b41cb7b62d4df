//! Words for messages: what came from elsewhere made harmless, and numbers of things.

/// What came from a machine or a file, safe to show: control characters, with which a terminal could be made to do
/// anything, become visible (`\u{1b}`); a tab becomes a space.
pub fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => safe.push(' '),
            // Bidirectional controls reorder what stands around them (Unicode Standard Annex 9).
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                safe.extend(c.escape_default());
            }
            c => safe.push(c),
        }
    }
    safe
}

/// A line that a program wrote, safe to show and without its colours: the sequences with which a terminal is told colours and
/// places (ECMA-48, 5.4: `ESC [`, parameters, one final character) are left out.
pub fn quoted(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.trim_start_matches(|c| (' '..='?').contains(&c));
        match end.strip_prefix(|c| ('@'..='~').contains(&c)) {
            Some(rest) => shown.push_str(rest),
            // The line ends within it.
            None if end.is_empty() => {}
            None => shown.push_str(&["\u{1b}[", piece].concat()),
        }
    }
    harmless(&shown)
}

/// As [`harmless`], with line breaks kept.
pub fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

/// `1 host`, `3 hosts`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_wrote_is_quoted_without_its_colours() {
        assert_eq!(quoted("\u{1b}[0;37mW1\u{1b}[0m a warning\u{1b}[K\u{7}"), r"W1 a warning\u{7}");
        assert_eq!(quoted("cut \u{1b}[3"), "cut ");
        assert_eq!(quoted("\u{1b}[Größe ✔"), "röße ✔");
        assert_eq!(quoted("\u{1b}[0✔ plain [0m"), r"\u{1b}[0✔ plain [0m");
    }

    #[test]
    fn a_machine_cannot_make_the_terminal_do_anything() {
        assert_eq!(harmless("a\u{1b}]0;title\u{7}b\tc\rd"), r"a\u{1b}]0;title\u{7}b c\rd");
        assert_eq!(harmless("ok \u{202e}gnp.exe"), r"ok \u{202e}gnp.exe");
        assert_eq!(harmless_lines("a\nb\u{8}"), "a\nb\\u{8}");
        assert_eq!(harmless("Größe ✔"), "Größe ✔");
    }
}
