//! Commands that are a part of every shell.

use super::disk::Entry;
use super::shell::Shell;

/// What `[ ... ]` says, or why it can say nothing.
pub(super) fn test(shell: &Shell, words: &[&str]) -> Result<bool, String> {
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{text}: bad number"));
    Ok(match words {
        [] => false,
        [text] => !text.is_empty(),
        [left, "=", right] => left == right,
        [left, "!=", right] => left != right,
        [left, "-eq", right] => number(left)? == number(right)?,
        [left, "-ne", right] => number(left)? != number(right)?,
        [left, "-lt", right] => number(left)? < number(right)?,
        [left, "-le", right] => number(left)? <= number(right)?,
        [left, "-gt", right] => number(left)? > number(right)?,
        [left, "-ge", right] => number(left)? >= number(right)?,
        [left, "-ef", right] => {
            let (left, right) = (shell.machine.inode(left), shell.machine.inode(right));
            left.is_some() && left == right
        }
        ["!", rest @ ..] => !test(shell, rest)?,
        ["-z", text] => text.is_empty(),
        ["-n", text] => !text.is_empty(),
        [what, path] => {
            let path = &*shell.absolute(path);
            let state = shell.machine.state();
            let disk = &state.kept.disk;
            match *what {
                // All files belong to whoever runs the tests.
                "-e" | "-r" | "-w" | "-O" => disk.exists(path) || path == "/proc/sys/kernel/random/boot_id",
                "-f" => disk.file(path).is_some(),
                "-d" => disk.is_dir(path),
                "-L" | "-h" => matches!(disk.entry(path), Some(Entry::Link(_))),
                "-s" => disk.is_dir(path) || disk.file(path).is_some_and(|file| !file.content.is_empty()),
                "-x" => disk.is_dir(path) || disk.file(path).is_some_and(|file| file.mode & 0o111 != 0),
                _ => {
                    drop(state);
                    shell.wrong(&format!("[ {words:?}"));
                    false
                }
            }
        }
        _ => {
            shell.wrong(&format!("[ {words:?}"));
            false
        }
    })
}

pub(super) fn printf(words: &[&str]) -> String {
    let mut out = String::new();
    let mut values = words[1..].iter();
    loop {
        let mut chars = words[0].chars().peekable();
        while let Some(c) = chars.next() {
            match (c, chars.peek()) {
                ('%', Some('s')) => {
                    chars.next();
                    out += values.next().copied().unwrap_or_default();
                }
                ('%', Some('b')) => {
                    chars.next();
                    out += &unescaped(values.next().copied().unwrap_or_default());
                }
                // A number in base 8 with three digits.
                ('%', Some('0')) => {
                    chars.by_ref().take("03o".len()).for_each(drop);
                    let number = values.next().and_then(|value| value.parse::<u32>().ok());
                    out += &format!("{:03o}", number.unwrap_or_default());
                }
                ('%', Some('%')) => {
                    chars.next();
                    out.push('%');
                }
                ('\\', Some('n')) => {
                    chars.next();
                    out.push('\n');
                }
                ('\\', Some('t')) => {
                    chars.next();
                    out.push('\t');
                }
                ('\\', Some('\\')) => {
                    chars.next();
                    out.push('\\');
                }
                ('\\', Some('0')) => {
                    let digits: String = chars.by_ref().take(3).collect();
                    out.extend(u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32));
                }
                (c, _) => out.push(c),
            }
        }
        // A format without a place for a value is said once.
        if values.len() == 0 || !words[0].contains("%s") && !words[0].contains("%b") {
            return out;
        }
    }
}

/// A text in which a backslash and three digits are a byte, as %b of printf has it.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(3).unwrap_or_default();
        out.extend(u32::from_str_radix(digits, 8).ok().and_then(char::from_u32));
        out += rest;
    }
    out
}

pub(super) fn read(shell: &mut Shell, words: &[&str]) -> i32 {
    let (line, complete) = shell.read_line(0);
    let whole = shell.variables.get("IFS").is_some_and(String::is_empty);
    let mut rest = if whole { line.as_str() } else { line.trim_matches([' ', '\t']) };
    let names = words.strip_prefix(&["-r"]).unwrap_or(words);
    for (number, name) in names.iter().enumerate() {
        let end = if whole || number + 1 == names.len() { None } else { rest.find([' ', '\t']) };
        let (value, left) = rest.split_at(end.unwrap_or(rest.len()));
        shell.assign(name, value.to_owned());
        rest = left.trim_start_matches([' ', '\t']);
    }
    i32::from(!complete)
}

/// The value of what `$((...))` holds, after parameters have been expanded.
pub(super) fn arithmetic(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<i64, String> {
    let mut sum = Sum { rest: text.trim_start(), variable };
    let value = sum.level(0)?;
    if sum.rest.is_empty() { Ok(value) } else { Err(format!("arithmetic {text:?}")) }
}

struct Sum<'t> {
    rest: &'t str,
    variable: &'t dyn Fn(&str) -> Option<String>,
}

/// Operators by how tightly they bind, the loosest first. A longer one stands before those it begins with.
const OPERATORS: [&[&str]; 7] =
    [&["||"], &["&&"], &["&"], &["==", "!="], &["<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"]];

impl Sum<'_> {
    fn skip(&mut self, what: &str) -> bool {
        let found = self.rest.strip_prefix(what).filter(|rest| what != "&" || !rest.starts_with('&'));
        if let Some(rest) = found {
            self.rest = rest.trim_start();
        }
        found.is_some()
    }

    fn level(&mut self, level: usize) -> Result<i64, String> {
        let Some(operators) = OPERATORS.get(level) else { return self.value() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.skip(operator)) {
            let right = self.level(level + 1)?;
            let value = match *operator {
                "||" => Some(i64::from(left != 0 || right != 0)),
                "&&" => Some(i64::from(left != 0 && right != 0)),
                "&" => Some(left & right),
                "==" => Some(i64::from(left == right)),
                "!=" => Some(i64::from(left != right)),
                "<=" => Some(i64::from(left <= right)),
                ">=" => Some(i64::from(left >= right)),
                "<" => Some(i64::from(left < right)),
                ">" => Some(i64::from(left > right)),
                "+" => left.checked_add(right),
                "-" => left.checked_sub(right),
                "*" => left.checked_mul(right),
                "/" => left.checked_div(right),
                _ => left.checked_rem(right),
            };
            left = value.ok_or("division by zero, or too large")?;
        }
        Ok(left)
    }

    fn value(&mut self) -> Result<i64, String> {
        if self.skip("-") {
            return Ok(-self.value()?);
        }
        if self.skip("!") {
            return Ok(i64::from(self.value()? == 0));
        }
        if self.skip("(") {
            let value = self.level(0)?;
            return if self.skip(")") { Ok(value) } else { Err("missing )".into()) };
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        let name = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let value = if name { (self.variable)(word).unwrap_or_default() } else { word.to_owned() };
        // A variable that is empty counts as nothing.
        let value = if name && value.is_empty() { Ok(0) } else { value.trim().parse() };
        value.map_err(|_| format!("bad number in arithmetic: {word:?}"))
    }
}
