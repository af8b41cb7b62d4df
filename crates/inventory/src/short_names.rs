//! Names of hosts in sentences.

/// Names in short: neighbours that differ in their last number only become a range, `node1-3, node7`.
pub fn names<S: AsRef<str>>(names: &[S]) -> String {
    ranges(names).join(", ")
}

/// As [`names`], of many only the first ones.
pub fn some_names<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 5;
    let ranges = ranges(names);
    match ranges.len().saturating_sub(MOST) {
        0 | 1 => ranges.join(", "),
        more => format!("{}, and {more} more", ranges[..MOST].join(", ")),
    }
}

fn ranges<S: AsRef<str>>(names: &[S]) -> Vec<String> {
    /// A name, or several that differ in their last number only.
    struct Range<'a> {
        text: String,
        /// What they have in common, the first number and the last.
        numbers: Option<(&'a str, u64, u64)>,
    }
    let mut ranges: Vec<Range<'_>> = Vec::new();
    for name in names.iter().map(AsRef::as_ref) {
        let numbered = split_number(name);
        if let (Some(range), Some((stem, number))) = (ranges.last_mut(), numbered)
            && let Some((before, first, last)) = &mut range.numbers
            && *before == stem
            && *last + 1 == number
        {
            *last = number;
            range.text = format!("{stem}{first}-{last}");
            continue;
        }
        let numbers = numbered.map(|(stem, number)| (stem, number, number));
        ranges.push(Range { text: name.to_owned(), numbers });
    }
    ranges.into_iter().map(|range| range.text).collect()
}

/// `node12` as `node` and 12. Numbers with zeros in front are not: `pc-01-3` would be hard to read.
fn split_number(name: &str) -> Option<(&str, u64)> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[stem.len()..];
    // The last number of an address is no number of a name.
    if stem.is_empty() || stem.ends_with('.') || digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some((stem, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_ranges() {
        assert_eq!(names(&["node1", "node2", "node3", "node7"]), "node1-3, node7");
        assert_eq!(names(&["node1", "alpha", "node2"]), "node1, alpha, node2");
        assert_eq!(names(&["10.1.1.4", "10.1.1.5"]), "10.1.1.4, 10.1.1.5");
        assert_eq!(names(&["pc-08", "pc-09", "pc-10"]), "pc-08, pc-09, pc-10");
        assert_eq!(names::<&str>(&[]), "");
        let many: Vec<String> = (0..10).map(|number| format!("pc{}", number * 2)).collect();
        assert_eq!(some_names(&many), "pc0, pc2, pc4, pc6, pc8, and 5 more");
        assert_eq!(some_names(&many[..6]), "pc0, pc2, pc4, pc6, pc8, pc10");
    }
}
