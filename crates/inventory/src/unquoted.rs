//! Templates without quotes. YAML takes their braces for mappings, and what it says about those is of no help.

use crate::error::InventoryError;
use crate::origin::Origin;

/// How many lines below a template the parser may be when it gives up.
const LOOKED_BACK: u32 = 3;

/// An error of the parser; that a template lacks quotes, where that is the reason.
pub(crate) fn explained(error: InventoryError) -> InventoryError {
    let InventoryError::Syntax { origin, .. } = &error else { return error };
    let found = (0..=LOOKED_BACK).find_map(|up| template(&origin.above(up)?));
    match found {
        Some((origin, corrected)) => {
            let write = corrected.map(|line| format!("; write: {line}")).unwrap_or_default();
            let message =
                format!("a template must be in quotes, or YAML takes its braces for a mapping{write}");
            InventoryError::syntax(origin, message)
        }
        None => error,
    }
}

/// Where a value of a line is a template without quotes, and what the line should be: nothing where it holds a secret.
fn template(line: &Origin) -> Option<(Origin, Option<String>)> {
    let text = line.text()?;
    let begin = begins(text)?;
    let origin = line.in_column(text[..begin].chars().count() + 1);
    let corrected = (line.shown().as_deref() == Some(text)).then(|| corrected(text, begin));
    Some((origin, corrected))
}

/// Where a template begins that is not in quotes, and is the beginning of a value.
fn begins(text: &str) -> Option<usize> {
    let is_value = |before: &str| {
        let (trimmed, open) = (before.trim_end(), |quote: char| before.matches(quote).count() % 2 == 1);
        let follows = trimmed.is_empty()
            || trimmed.ends_with(['[', ','])
            || (trimmed.ends_with([':', '-']) && before.ends_with(char::is_whitespace));
        follows && !open('"') && !open('\'') && !trimmed.starts_with('#') && !before.contains(" #")
    };
    let mut marks: Vec<usize> =
        ["{{", "{%"].iter().flat_map(|mark| text.match_indices(mark)).map(|(at, _)| at).collect();
    marks.sort_unstable();
    marks.into_iter().find(|at| is_value(&text[..*at]))
}

/// The line with its template in quotes, from where that begins.
fn corrected(text: &str, begin: usize) -> String {
    let (before, mut rest) = text.split_at(begin);
    let mut line = before.trim_start().to_owned();
    if !before.contains(['[', '{']) {
        let end = rest.find(" #").unwrap_or(rest.len());
        return line + &quoted(rest[..end].trim_end());
    }
    // In a list in brackets each template is a value of its own.
    while let Some(begin) = rest.find("{{") {
        let end = rest[begin..].find("}}").map_or(rest.len(), |end| begin + end + 2);
        line += &rest[..begin];
        line += &quoted(&rest[begin..end]);
        rest = &rest[end..];
    }
    line + rest.trim_end()
}

fn quoted(text: &str) -> String {
    if text.contains(['"', '\\']) { format!("'{}'", text.replace('\'', "''")) } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_as_it_should_be() {
        for (line, expected) in [
            ("x: {{ y }}", r#"x: "{{ y }}""#),
            ("  x:   {{ y }}/z   # why", r#"x:   "{{ y }}/z""#),
            ("- {{ y | default('a') }}", r#"- "{{ y | default('a') }}""#),
            (r#"x: {{ y["a"] }}"#, r#"x: '{{ y["a"] }}'"#),
            (r#"x: {{ y["a"] or 'b' }}"#, r#"x: '{{ y["a"] or ''b'' }}'"#),
            ("x: [{{ y }}, {{ z }}]", r#"x: ["{{ y }}", "{{ z }}"]"#),
            ("x: {a: {{ y }}}", r#"x: {a: "{{ y }}"}"#),
            ("x: {% if y %}a{% endif %}", r#"x: "{% if y %}a{% endif %}""#),
        ] {
            assert_eq!(begins(line).map(|at| corrected(line, at)).as_deref(), Some(expected), "{line}");
        }
        for line in
            ["x: \"{{ y }}\"", "x: '{{ y }}'", "x: a {{ y }}", "# x: {{ y }}", "x: 1 # {{ y }}", "x: {}"]
        {
            assert_eq!(begins(line), None, "{line}");
        }
    }
}
