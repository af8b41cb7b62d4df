//! The text of a unit of systemd: sections, and in them lines `Key=value` (systemd.syntax(7)).

/// Whether systemd can read it.
///
/// # Errors
/// A line belongs to nothing.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let mut section = false;
    let mut continued = false;
    for (number, line) in text.lines().enumerate() {
        let (number, line) = (number + 1, line.trim());
        let is_comment = line.starts_with(['#', ';']);
        if continued {
            // Comments within a line that goes on do not end it.
            continued = line.ends_with('\\') || is_comment;
            continue;
        }
        if line.is_empty() || is_comment {
            continue;
        }
        continued = line.ends_with('\\');
        if let Some(rest) = line.strip_prefix('[') {
            if rest.strip_suffix(']').is_none_or(str::is_empty) {
                return Err(format!(
                    "line {number} of this text, \"{line}\", is no section such as [Service]"
                ));
            }
            section = true;
            continue;
        }
        match line.split_once('=') {
            Some((key, _)) if !key.trim().is_empty() && section => {}
            Some(_) if !section => {
                return Err(format!(
                    "line {number} of this text stands before any section such as [Service]"
                ));
            }
            _ => return Err(format!("line {number} of this text is neither a section nor Key=value")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_reads_is_good_and_the_rest_is_told_by_its_line() {
        for good in [
            "",
            "# a\n[Unit]\nDescription=a=b\n\n[Service]\nExecStart=/bin/x \\\n  -y\nEnvironment=\n",
            "[X]\nA=b \\\n# a comment\n  c\nD=e\n",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, told) in [
            ("[Unit]\nDescription\n", "line 2 of this text is neither"),
            ("A=b\n", "line 1 of this text stands before any section"),
            ("[Unit\nA=b\n", "is no section"),
            ("[Unit]\n=b\n", "line 2"),
        ] {
            let why = check(bad).unwrap_err();
            assert!(why.contains(told), "{why}");
        }
    }
}
