//! What becomes of variables that no role uses: a few lines before a run, or all of it as a table.

use std::path::Path;

use muster_inventory::Origin;
use muster_roles::kubespray::{Remark, Verdict};

use crate::environment::shown;
use crate::output::style::{Style, Tone};
use crate::output::table::Table;

/// So many variables of which the same is to be said are named.
const MOST: usize = 4;

/// One line for each thing that is to be said. Whether names were left out is the second part of the answer.
pub(crate) fn lines(remarks: &[Remark]) -> (Vec<String>, bool) {
    let mut groups: Vec<Vec<&Remark>> = Vec::new();
    for remark in remarks {
        if remark.verdict == Verdict::Quiet {
            continue;
        }
        // Other defaults are one matter, whatever they are.
        let same = |group: &&mut Vec<&Remark>| {
            group[0].verdict == remark.verdict
                && (remark.verdict == Verdict::Default || group[0].why == remark.why)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(remark),
            None => groups.push(vec![remark]),
        }
    }
    groups.sort_by_key(|group| group[0].verdict);
    let shortened = groups.iter().any(|group| group[0].verdict != Verdict::Default && group.len() > MOST + 1);
    (groups.iter().map(|group| line(group)).collect(), shortened)
}

fn line(group: &[&Remark]) -> String {
    let (first, one) = (group[0], group.len() == 1);
    let mut names: Vec<String> = group.iter().map(|remark| remark.name.clone()).collect();
    if names.len() > MOST + 1 {
        let more = names.len() - MOST;
        names.truncate(MOST);
        names.push(format!("{more} more"));
    }
    let names = match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    };
    let (is, why) = (if one { "is" } else { "are" }, &first.why);
    let told = match first.verdict {
        Verdict::Refused => format!("{names} {is} refused; needed: {why}"),
        Verdict::Unknown if one => format!("\"{}\" is {}", first.name, what(first)),
        Verdict::Unknown => format!("{names} are {}", what(first)),
        Verdict::Absent => format!("{names} {is} not implemented: {why}"),
        Verdict::Lost => format!("{names} {is} ignored: {why}"),
        Verdict::Default => {
            let each: Vec<String> =
                group.iter().map(|remark| format!("{}: {}", remark.name, remark.why)).collect();
            format!("not set, and not as in kubespray: {}", each.join(", "))
        }
        Verdict::Quiet => names,
    };
    let mut places: Vec<String> = group.iter().filter_map(|remark| remark.places.first()).map(at).collect();
    places.dedup();
    match places.len() {
        0 => told,
        1..=MOST => format!("{}: {told}", places.join(", ")),
        more => format!("{} and {} more places: {told}", places[..MOST - 1].join(", "), more - (MOST - 1)),
    }
}

/// What becomes of one variable.
pub(crate) fn what(remark: &Remark) -> String {
    let why = &remark.why;
    match remark.verdict {
        Verdict::Refused => format!("refused; needed: {why}"),
        Verdict::Unknown if why.is_empty() => "set but used by no role".to_owned(),
        Verdict::Unknown => format!("set but used by no role; did you mean \"{why}\"?"),
        Verdict::Absent => format!("not implemented: {why}"),
        Verdict::Lost => format!("ignored: {why}"),
        Verdict::Default => format!("not set: {why}"),
        Verdict::Quiet => format!("changes nothing: {why}"),
    }
}

/// Every variable that no role uses, with all its places: a table for each kind, what asks for something first.
pub(crate) fn tables(remarks: &[Remark], style: Style, width: usize) -> Vec<String> {
    let kinds = [
        (Verdict::Refused, "Refused: a run would not begin"),
        (Verdict::Unknown, "Used by no role, because of a mistyped name, perhaps"),
        (Verdict::Default, "Not set, and something else than in kubespray"),
        (Verdict::Absent, "Not implemented"),
        (Verdict::Lost, "Ignored, because there is nothing like it any more"),
        (Verdict::Quiet, "Without effect, and nothing is missing"),
    ];
    let mut lines = Vec::new();
    for (kind, heading) in kinds {
        let mut table = Table::new(&["variable", "set in", "why"]);
        for remark in remarks.iter().filter(|remark| remark.verdict == kind) {
            let places: Vec<String> = remark.places.iter().map(at).collect();
            let why = match (remark.verdict, remark.why.as_str()) {
                (Verdict::Unknown, "") => String::new(),
                (Verdict::Unknown, meant) => format!("did you mean \"{meant}\"?"),
                (Verdict::Refused, why) => format!("needed: {why}"),
                (_, why) => why.to_owned(),
            };
            table.row(vec![remark.name.clone(), places.join("\n"), why]);
        }
        if table.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(style.paint(Tone::Strong, heading));
        lines.extend(table.render(style, width));
    }
    lines
}

/// `FILE:LINE`, the file as a user would type it.
pub(crate) fn at(place: &Origin) -> String {
    let file = shown(Path::new(place.file()));
    if place.line() == 0 { file } else { format!("{file}:{}", place.line()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remark(name: &str, verdict: Verdict, why: &str) -> Remark {
        Remark { name: name.into(), verdict, why: why.into(), places: Vec::new() }
    }

    #[test]
    fn variables_of_several_places_have_each_their_own() {
        let at = |name: &str, file: &str| {
            let text = muster_inventory::SourceText::new(file, "x");
            let places = vec![Origin::new(&text, 1, 1)];
            Remark { places, ..remark(name, Verdict::Unknown, "c") }
        };
        let (told, _) = lines(&[at("a", "-e"), at("b", "all.yml"), at("d", "all.yml")]);
        assert_eq!(told, ["-e:1, all.yml:1: a, b and d are set but used by no role; did you mean \"c\"?"]);
    }

    #[test]
    fn variables_of_which_the_same_is_to_be_said_are_one_line() {
        use Verdict::{Absent, Default, Lost, Quiet, Refused, Unknown};
        let mut remarks = vec![
            remark("a", Lost, "old"),
            remark("b", Absent, "X is not installed"),
            remark("c", Lost, "old"),
            remark("d", Lost, "gone"),
            remark("e", Unknown, ""),
            remark("f", Unknown, "g"),
            remark("h", Quiet, "old"),
            remark("i", Refused, "j"),
            remark("k", Default, "l (kubespray: m)"),
            remark("n", Default, "o (kubespray: p)"),
        ];
        let expected = [
            "i is refused; needed: j",
            "\"e\" is set but used by no role",
            "\"f\" is set but used by no role; did you mean \"g\"?",
            "not set, and not as in kubespray: k: l (kubespray: m), n: o (kubespray: p)",
            "b is not implemented: X is not installed",
            "a and c are ignored: old",
            "d is ignored: gone",
        ];
        assert_eq!(lines(&remarks), (expected.map(str::to_owned).into(), false));
        remarks.extend(["1", "2", "3", "4"].map(|name| remark(name, Lost, "old")));
        let (told, shortened) = lines(&remarks);
        assert_eq!((told[5].as_str(), shortened), ("a, c, 1, 2 and 2 more are ignored: old", true));
    }
}
