//! Modes of files and directories, and decimal numbers where octal ones were meant.

/// What has the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    File,
    Directory,
}

/// The most that chmod(2) takes.
const MOST: i64 = 0o7777;

/// Whether a mode can be meant. YAML reads `644` as a decimal number, which is the mode 1204: the sticky bit, and writing for the
/// owner alone. Butane warns of such a number; whoever boots a classroom from it does not see the warning.
///
/// # Errors
/// It is no mode, or was written in decimal.
pub(crate) fn check(mode: i64, written: &str, of: Of) -> Result<(), String> {
    let as_octal = written.parse::<u16>().ok().and_then(|_| i64::from_str_radix(written, 8).ok());
    if let Some(meant) = as_octal.filter(|meant| *meant != mode && (0..=MOST).contains(meant))
        && usual(meant, of)
        && !((0..=MOST).contains(&mode) && usual(mode, of))
    {
        return Err(format!(
            "{written} is a decimal number, the mode 0{mode:o}; 0{meant:o} was meant. Write it with a leading 0, or 0o{mode:o} \
             if it is the one that you want"
        ));
    }
    if !(0..=MOST).contains(&mode) {
        return Err(format!("{written} is no mode; modes are octal numbers from 0 to 07777, such as 0644"));
    }
    Ok(())
}

/// Whether somebody would give a file or directory this mode: whoever is nearer to it may do no less, and what may be written or
/// executed may be read.
fn usual(mode: i64, of: Of) -> bool {
    let [owner, group, others] = [6, 3, 0].map(|shift| (mode >> shift) & 7);
    let shrinks = owner & group == group && group & others == others;
    let readable = |may: i64| may == 0 || may & 4 != 0;
    let executable = (owner | group | others) & 1 != 0;
    let special = mode & 0o7000;
    let kind = match of {
        Of::File => special & 0o1000 == 0 && (special == 0 || executable),
        Of::Directory => special & 0o4000 == 0 && executable,
    };
    mode == 0 || (shrinks && [owner, group, others].into_iter().all(readable) && owner != 0 && kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_are_told_from_octal_ones() {
        for (written, mode, of) in [
            ("0644", 0o644, Of::File),
            ("420", 420, Of::File),
            ("384", 384, Of::File),
            ("0755", 0o755, Of::Directory),
            ("493", 493, Of::Directory),
            ("01777", 0o1777, Of::Directory),
            ("0", 0, Of::File),
            ("0o1204", 0o1204, Of::File),
        ] {
            assert_eq!(check(mode, written, of), Ok(()), "{written}");
        }
        for (written, mode, of, meant) in [
            ("644", 644, Of::File, "0644 was meant"),
            ("600", 600, Of::File, "0600 was meant"),
            ("755", 755, Of::Directory, "0755 was meant"),
            ("1777", 1777, Of::Directory, "01777 was meant"),
            ("9999", 9999, Of::File, "is no mode"),
            ("-1", -1, Of::File, "is no mode"),
            ("010000", 0o10000, Of::File, "is no mode"),
        ] {
            let told = check(mode, written, of).unwrap_err();
            assert!(told.contains(meant), "{told}");
        }
    }
}
