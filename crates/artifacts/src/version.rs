//! Version numbers as upstream writes them: compared number by number, not letter by letter.

use std::cmp::Ordering;

/// The numbers of a version, e.g. `[1, 9, 1]` of `1.9.1-flannel1`; what is not a number counts as 0.
fn numbers(version: &str) -> Vec<u64> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    core.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// Whether a version is three numbers as upstream writes them, as `1.36.4`.
pub(crate) fn is_of_three_numbers(version: &str) -> bool {
    let is_number = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_digit())
            && !part.is_empty()
            && (part == "0" || !part.starts_with('0'))
    };
    version.split('.').count() == 3 && version.split('.').all(is_number)
}

/// Whether it is a version at all.
pub(crate) fn begins_with_a_number(version: &str) -> bool {
    version.split('.').next().is_some_and(|part| part.parse::<u64>().is_ok())
}

/// Orders versions by their numbers, then by their text: `1.9.0` < `1.10.0` < `1.10.0-rc.1`.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

/// At most `count` of `versions`, those closest to `wanted` first: same major and minor before a close patch.
pub(crate) fn nearest<'a>(
    versions: impl IntoIterator<Item = &'a str>,
    wanted: &str,
    count: usize,
) -> Vec<&'a str> {
    let wanted = numbers(wanted);
    let distance = |version: &str| -> Vec<u64> {
        let found = numbers(version);
        let apart = |i: usize| {
            // What was left out is any: of 1.36 all of its patches are as near.
            let wanted = wanted.get(i)?;
            Some(found.get(i).copied().unwrap_or(0).abs_diff(*wanted))
        };
        let mut distance: Vec<u64> = (0..2).map_while(apart).collect();
        // Patches of another minor have nothing to do with the wanted one: the newest is the nearest.
        if distance.iter().all(|apart| *apart == 0) {
            distance.extend(apart(2));
        }
        distance
    };
    let mut sorted: Vec<&str> = versions.into_iter().collect();
    sorted.sort_by(|a, b| distance(a).cmp(&distance(b)).then_with(|| compare(b, a)));
    sorted.truncate(count);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let mut versions = ["1.34.10", "1.34.9", "1.9.1-flannel1", "3.6.14"];
        versions.sort_by(|a, b| compare(a, b));
        assert_eq!(versions, ["1.9.1-flannel1", "1.34.9", "1.34.10", "3.6.14"]);
    }

    #[test]
    fn nearest_prefers_the_same_minor() {
        let known = ["1.34.0", "1.35.9", "1.36.0", "1.36.3", "1.36.4"];
        assert_eq!(nearest(known, "1.36.9", 3), ["1.36.4", "1.36.3", "1.36.0"]);
        assert_eq!(nearest(known, "1.36", 2), ["1.36.4", "1.36.3"]);
        assert_eq!(nearest(known, "1.38.0", 4), ["1.36.4", "1.36.3", "1.36.0", "1.35.9"]);
        assert_eq!(nearest(known, "nonsense", 1), ["1.36.4"]);
    }
}
