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
    fn a_machine_cannot_make_the_terminal_do_anything() {
        assert_eq!(harmless("a\u{1b}]0;title\u{7}b\tc\rd"), r"a\u{1b}]0;title\u{7}b c\rd");
        assert_eq!(harmless("ok \u{202e}gnp.exe"), r"ok \u{202e}gnp.exe");
        assert_eq!(harmless_lines("a\nb\u{8}"), "a\nb\\u{8}");
        assert_eq!(harmless("Größe ✔"), "Größe ✔");
    }
}
