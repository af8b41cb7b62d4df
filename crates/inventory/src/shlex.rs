//! Words of a line as Python's `shlex.split(line, comments=True)` cuts them, which is how Ansible
//! reads host lines of an INI inventory.

/// A word and the column (characters, from 0) it starts at.
#[derive(Debug, PartialEq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) column: usize,
}

/// Why a line cannot be cut into words.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) enum Unfinished {
    Quote,
    Escape,
}

/// Cuts a line. Quotes join, a backslash escapes (inside double quotes only `"` and itself), and
/// `#` ends the line wherever it stands outside quotes, even in the middle of a word.
pub(crate) fn split(line: &str) -> Result<Vec<Word>, Unfinished> {
    let mut words = Vec::new();
    let mut current: Option<Word> = None;
    let mut chars = line.chars().enumerate();
    while let Some((column, c)) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(current.take()),
            '#' => break,
            _ => {
                let word = current.get_or_insert_with(|| Word { text: String::new(), column });
                match c {
                    '\\' => word.text.push(chars.next().ok_or(Unfinished::Escape)?.1),
                    '\'' => loop {
                        match chars.next().ok_or(Unfinished::Quote)?.1 {
                            '\'' => break,
                            inner => word.text.push(inner),
                        }
                    },
                    '"' => loop {
                        match chars.next().ok_or(Unfinished::Quote)?.1 {
                            '"' => break,
                            '\\' => match chars.next().ok_or(Unfinished::Escape)?.1 {
                                escaped @ ('"' | '\\') => word.text.push(escaped),
                                other => word.text.extend(['\\', other]),
                            },
                            inner => word.text.push(inner),
                        }
                    },
                    _ => word.text.push(c),
                }
            }
        }
    }
    words.extend(current);
    Ok(words)
}
