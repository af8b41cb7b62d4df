//! A list of a class as people have it: CSV (RFC 4180) out of a spreadsheet or a learning platform.

use std::fs;
use std::path::Path;

use muster_roles::Person;

use crate::environment::shown;
use crate::error::CommandError;

/// Headings of the column with names, of that with names for the cluster, and of that with groups.
const NAME: &[&str] = &["name", "student", "full name", "full_name", "fullname"];
const LOGIN: &[&str] = &["login", "username", "user", "namespace"];
const GROUPS: &[&str] = &["groups", "group"];

/// The people of a file, in its order.
///
/// # Errors
/// It cannot be read, is no text in UTF-8, or names nobody.
pub(crate) fn read(path: &Path) -> Result<Vec<Person>, CommandError> {
    let failed = |why: String| CommandError::written(format!("{}: {why}", shown(path)));
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        failed("it is no text in UTF-8".into()).hint("save it from the spreadsheet as CSV UTF-8")
    })?;
    parse(&text).map_err(failed)
}

/// Places of the columns.
struct Columns {
    name: usize,
    login: Option<usize>,
    groups: Option<usize>,
}

/// The people of a list. Its first line says what the columns are, if one of them is headed `name` or `login`; otherwise the
/// first column holds the names.
fn parse(text: &str) -> Result<Vec<Person>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut rows = rows(text)?;
    rows.retain(|(_, row)| row.iter().any(|cell| !cell.is_empty()));
    let Some((_, first)) = rows.first() else { return Err("it names nobody".into()) };
    let find =
        |headings: &[&str]| first.iter().position(|cell| headings.contains(&cell.to_lowercase().as_str()));
    let (name, login, groups) = (find(NAME), find(LOGIN), find(GROUPS));
    let columns = match name.or(login) {
        Some(name) => Columns { name, login, groups },
        None => Columns { name: 0, login: None, groups: None },
    };
    let headed = name.or(login).is_some();
    let people = rows.iter().skip(usize::from(headed)).map(|(line, row)| {
        let cell = |column: usize| row.get(column).map(String::as_str).filter(|cell| !cell.is_empty());
        let login = columns.login.and_then(cell);
        let name = cell(columns.name).or(login).ok_or_else(|| format!("line {line} has no name"))?;
        let groups = columns.groups.and_then(cell).unwrap_or_default();
        Ok(Person { name: name.to_owned(), login: login.map(str::to_owned), groups: groups.to_owned() })
    });
    let people: Vec<Person> = people.collect::<Result<_, String>>()?;
    if people.is_empty() { Err("it has headings, and names nobody".into()) } else { Ok(people) }
}

/// The cells of each row, with the number of the line that it begins in.
fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let first = text.lines().next().unwrap_or_default();
    // Spreadsheets separate by what the language of the computer does not use in numbers.
    let separator = [';', '\t'].into_iter().find(|separator| first.contains(*separator)).unwrap_or(',');
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun, mut opened) = (1, 1, None);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        line += usize::from(letter == '\n');
        match letter {
            '"' if opened.is_some() && letters.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' if opened.is_some() => opened = None,
            '"' if cell.trim().is_empty() => opened = Some(line),
            _ if opened.is_some() => cell.push(letter),
            '\n' => {
                row.push(std::mem::take(&mut cell).trim().to_owned());
                rows.push((begun, std::mem::take(&mut row)));
                begun = line;
            }
            _ if letter == separator => row.push(std::mem::take(&mut cell).trim().to_owned()),
            _ => cell.push(letter),
        }
    }
    if let Some(line) = opened {
        return Err(format!("a quote is opened in line {line} and not closed"));
    }
    row.push(cell.trim().to_owned());
    rows.push((begun, row));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, login: Option<&str>, groups: &str) -> Person {
        Person { name: name.into(), login: login.map(str::to_owned), groups: groups.into() }
    }

    #[test]
    fn a_list_is_read_with_and_without_headings() {
        let plain = parse("Łukasz Żak\nAnna\n\n").unwrap();
        assert_eq!(plain, [person("Łukasz Żak", None, ""), person("Anna", None, "")]);
        let excel =
            "\u{feff}Nr;Login;Name;Group;Mark\r\n1;lz;\"Żak; Łukasz\";I7;5\r\n2;;Anna \"\"A\"\";;\r\n";
        let people = parse(excel).unwrap();
        assert_eq!(people[0], person("Żak; Łukasz", Some("lz"), "I7"));
        assert_eq!(people[1].login, None);
        let quoted = parse("name,groups\n\"O\"\"Neil,\nJ.\",\"a,b\"\n").unwrap();
        assert_eq!(quoted, [person("O\"Neil,\nJ.", None, "a,b")]);
        assert_eq!(parse("login\ns1\n").unwrap(), [person("s1", Some("s1"), "")]);
    }

    #[test]
    fn a_list_that_cannot_be_used_says_where() {
        for (text, why) in [
            ("", "it names nobody"),
            ("name,groups\n", "it has headings, and names nobody"),
            ("name,groups\nAnna,a\n,b\n", "line 3 has no name"),
            ("name\nAnna\n\"Ewa\n", "a quote is opened in line 3 and not closed"),
        ] {
            assert_eq!(parse(text).unwrap_err(), why, "{text:?}");
        }
    }
}
