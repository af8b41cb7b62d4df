//! Names of people made into names of namespaces (RFC 1123 labels: a-z, 0-9 and `-`, at most 63), the same for the same person in
//! every run.

use std::collections::{BTreeMap, BTreeSet};

use super::{Person, Student};

/// The longest name of a namespace.
const LONGEST: usize = 63;

/// Letters of the Latin alphabet, and how they are written without marks.
const PLAIN: &[(&str, &str)] = &[
    ("àáâãäåāăąǎ", "a"),
    ("æ", "ae"),
    ("çćĉċč", "c"),
    ("ďđð", "d"),
    ("èéêëēĕėęěẽ", "e"),
    ("ĝğġģ", "g"),
    ("ĥħ", "h"),
    ("ìíîïĩīĭįı", "i"),
    ("ĵ", "j"),
    ("ķ", "k"),
    ("ĺļľŀł", "l"),
    ("ñńņňŋ", "n"),
    ("òóôõöøōŏőơ", "o"),
    ("œ", "oe"),
    ("ŕŗř", "r"),
    ("śŝşšș", "s"),
    ("ß", "ss"),
    ("ţťŧț", "t"),
    ("þ", "th"),
    ("ùúûüũūŭůűųư", "u"),
    ("ŵ", "w"),
    ("ýÿŷ", "y"),
    ("źżž", "z"),
];

/// The name of a namespace for what somebody is called.
///
/// # Errors
/// A letter of it has no plain form, nothing is left of it, or the name is one of the system's.
pub fn namespace_of(called: &str) -> Result<String, String> {
    let mut name = String::new();
    for letter in called.chars().flat_map(char::to_lowercase) {
        match letter {
            'a'..='z' | '0'..='9' => name.push(letter),
            // Marks that follow their letter, and apostrophes.
            '\u{300}'..='\u{36f}' | '\'' | '’' => {}
            _ if letter.is_alphanumeric() => {
                let plain = PLAIN.iter().find(|(letters, _)| letters.contains(letter));
                let (_, plain) = plain.ok_or_else(|| {
                    format!("{called:?} has the letter {letter}, which names in a cluster cannot have")
                })?;
                name.push_str(plain);
            }
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = shortened(name.trim_matches('-'), LONGEST);
    match name {
        "" => Err(format!("{called:?} has no letter or digit")),
        "default" => Err(format!("{called:?} would get the namespace default, which is everybody's")),
        _ if name.starts_with("kube-") => {
            Err(format!("{called:?} would get the namespace {name}, and those of kube- are the system's"))
        }
        _ => Ok(name.to_owned()),
    }
}

/// The beginning of a name that is a name.
fn shortened(name: &str, longest: usize) -> &str {
    name[..name.len().min(longest)].trim_end_matches('-')
}

/// Gives each person a namespace. Whoever has one keeps it: `known` are the students' namespaces, and whose they are. A second
/// person of the same name gets it with a number; which of them is which is told by their groups alone.
///
/// # Errors
/// What is wrong with the names, all of it.
pub(super) fn assign(
    people: &[Person],
    known: &BTreeMap<String, Person>,
) -> Result<Vec<Student>, Vec<String>> {
    let mut problems = Vec::new();
    let mut given: BTreeMap<String, &Person> = BTreeMap::new();
    let mut namespaces: Vec<Option<String>> = vec![None; people.len()];
    // A login says by itself whose it is.
    for (person, namespace) in people.iter().zip(&mut namespaces) {
        let Some(login) = &person.login else { continue };
        match namespace_of(login) {
            Ok(name) => match given.insert(name.clone(), person) {
                Some(other) => {
                    problems.push(format!("{} and {} have the same login, {login}", other.name, person.name))
                }
                None => *namespace = Some(name),
            },
            Err(problem) => problems.push(problem),
        }
    }
    let mut doubtful = BTreeSet::new();
    for (person, namespace) in people.iter().zip(&mut namespaces).filter(|(person, _)| person.login.is_none())
    {
        match own(person, people, known) {
            Ok(Some(name)) if !given.contains_key(name) => {
                given.insert(name.to_owned(), person);
                *namespace = Some(name.to_owned());
            }
            Ok(_) => {}
            Err(()) => drop(doubtful.insert(&person.name)),
        }
    }
    problems.extend(doubtful.into_iter().map(|name| {
        format!("which namespace is whose of those who are called {name} is not told by their groups")
    }));
    for (person, namespace) in people.iter().zip(&mut namespaces) {
        if namespace.is_some() || person.login.is_some() {
            continue;
        }
        match namespace_of(&person.name) {
            Ok(name) => {
                let numbered = (2..).map(|number| {
                    let number = format!("-{number}");
                    format!("{}{number}", shortened(&name, LONGEST - number.len()))
                });
                let mut names = std::iter::once(name.clone()).chain(numbered);
                let free = names.find(|name| !given.contains_key(name) && !known.contains_key(name));
                let free = free.unwrap_or(name);
                given.insert(free.clone(), person);
                *namespace = Some(free);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let student = |(person, namespace): (&Person, Option<String>)| {
        Some(Student { name: person.name.clone(), groups: person.groups.clone(), namespace: namespace? })
    };
    Ok(people.iter().zip(namespaces).filter_map(student).collect())
}

/// The namespace that somebody without a login has. Where the list or the cluster has several of the name, it is the one with the
/// same groups.
///
/// # Errors
/// That does not tell them apart.
fn own<'k>(
    person: &Person,
    people: &[Person],
    known: &'k BTreeMap<String, Person>,
) -> Result<Option<&'k str>, ()> {
    let namesakes: Vec<&Person> =
        people.iter().filter(|other| other.login.is_none() && other.name == person.name).collect();
    let theirs: Vec<(&str, &Person)> = known
        .iter()
        .filter(|(_, owner)| owner.name == person.name)
        .map(|(name, owner)| (name.as_str(), owner))
        .collect();
    if namesakes.len() == 1 && theirs.len() <= 1 {
        return Ok(theirs.first().map(|(name, _)| *name));
    }
    if namesakes.iter().filter(|other| other.groups == person.groups).count() > 1 {
        return Err(());
    }
    let mut alike = theirs.iter().filter(|(_, owner)| owner.groups == person.groups);
    match (alike.next(), alike.next()) {
        (Some((name, _)), None) => Ok(Some(name)),
        // Somebody new, if each of the others is somebody else on the list.
        (None, _)
            if theirs.iter().all(|(_, owner)| namesakes.iter().any(|other| other.groups == owner.groups)) =>
        {
            Ok(None)
        }
        _ => Err(()),
    }
}

/// Whose namespaces are meant by a word: a namespace, what somebody is called, or what would become a namespace.
pub(super) fn meant<'k>(word: &str, known: &'k BTreeMap<String, Person>) -> Vec<&'k str> {
    if let Some((namespace, _)) = known.get_key_value(word) {
        return vec![namespace];
    }
    let called =
        known.iter().filter(|(_, owner)| owner.name == word).map(|(namespace, _)| namespace.as_str());
    let called: Vec<&str> = called.collect();
    if !called.is_empty() {
        return called;
    }
    let made = namespace_of(word).ok();
    made.and_then(|made| known.get_key_value(&made))
        .map(|(namespace, _)| namespace.as_str())
        .into_iter()
        .collect()
}

/// The same, where several names may stand in one word. Those of whom nobody is there are the second list.
pub(super) fn meant_by<'k, 'w>(
    word: &'w str,
    known: &'k BTreeMap<String, Person>,
) -> (Vec<&'k str>, Vec<&'w str>) {
    let (whole, parts) = (meant(word, known), word.split_whitespace());
    if !whole.is_empty() {
        return (whole, Vec::new());
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for part in parts {
        match meant(part, known) {
            none if none.is_empty() => missing.push(part),
            some => found.extend(some),
        }
    }
    // Where none of them is there, a person's first and last name may be meant.
    if found.is_empty() { (found, vec![word]) } else { (found, missing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(names: &[&str]) -> Vec<Person> {
        names.iter().map(|name| Person { name: (*name).to_owned(), ..Person::default() }).collect()
    }

    fn known(pairs: &[(&str, &str)]) -> BTreeMap<String, Person> {
        let owner = |name: &str| Person { name: name.to_owned(), ..Person::default() };
        pairs.iter().map(|(namespace, name)| ((*namespace).to_owned(), owner(name))).collect()
    }

    fn namespaces(names: &[&str], live: &[(&str, &str)]) -> Vec<String> {
        let students = assign(&people(names), &known(live)).unwrap();
        students.into_iter().map(|student| student.namespace).collect()
    }

    #[test]
    fn a_word_is_one_name_or_several_of_those_who_are_there() {
        let known = known(&[("anna", "Anna"), ("jan-kowalski", "Jan Kowalski")]);
        assert_eq!(meant_by("Jan Kowalski", &known), (vec!["jan-kowalski"], vec![]));
        assert_eq!(meant_by("jan-kowalski anna", &known), (vec!["jan-kowalski", "anna"], vec![]));
        assert_eq!(meant_by("anna zzz", &known), (vec!["anna"], vec!["zzz"]));
        assert_eq!(meant_by("Ewa Nowak", &known), (vec![], vec!["Ewa Nowak"]));
    }

    #[test]
    fn names_become_labels_of_rfc_1123() {
        for (called, name) in [
            ("nazarewk", "nazarewk"),
            ("Łukasz Żółć", "lukasz-zolc"),
            ("Zoe\u{308}  O'Brien-Strauß", "zoe-obrien-strauss"),
            ("_jan.kowalski@example_", "jan-kowalski-example"),
            ("123456", "123456"),
        ] {
            assert_eq!(namespace_of(called).as_deref(), Ok(name));
        }
        let long = namespace_of(&format!("{}-b", "a".repeat(62))).unwrap();
        assert_eq!(long, "a".repeat(62));
        for wrong in ["", "...", "王伟", "default", "Kube System", "kube-public"] {
            assert!(namespace_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_of_the_same_name_are_told_apart_and_keep_what_they_have() {
        assert_eq!(namespaces(&["Łukasz", "Lukasz", "łukasz"], &[]), ["lukasz", "lukasz-2", "lukasz-3"]);
        // Whoever comes or goes, and in whatever order they stand, nobody gets the namespace of another one.
        let live = [("lukasz", "Łukasz"), ("lukasz-2", "Lukasz")];
        assert_eq!(namespaces(&["Lukasz"], &live), ["lukasz-2"]);
        assert_eq!(namespaces(&["LUKASZ", "Lukasz", "Łukasz"], &live), ["lukasz-3", "lukasz-2", "lukasz"]);
        let (long, other) = ("a".repeat(63), "A".repeat(63));
        let both = namespaces(&[&long, &other], &[]);
        assert_eq!(both, [long.clone(), format!("{}-2", "a".repeat(61))]);
    }

    #[test]
    fn namesakes_are_told_apart_by_their_groups_or_not_at_all() {
        let anna = |groups: &str| Person { name: "Anna".into(), login: None, groups: groups.into() };
        let live = |pairs: &[(&str, &str)]| -> BTreeMap<String, Person> {
            pairs.iter().map(|(namespace, groups)| ((*namespace).to_owned(), anna(groups))).collect()
        };
        let given = |groups: &[&str], pairs: &[(&str, &str)]| {
            let people: Vec<Person> = groups.iter().map(|groups| anna(groups)).collect();
            let students = assign(&people, &live(pairs)).ok()?;
            Some(students.into_iter().map(|student| student.namespace).collect::<Vec<_>>())
        };
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let both = [("anna", "7b"), ("anna-2", "7a")];
        assert_eq!(given(&["7b", "7a"], &[]), names(&["anna", "anna-2"]));
        assert_eq!(given(&["7a", "7b"], &both), names(&["anna-2", "anna"]));
        assert_eq!(given(&["7a"], &both), names(&["anna-2"]), "the one of 7b has left");
        assert_eq!(given(&["7c"], &both), None, "which of the two has gone to 7c is not known");
        assert_eq!(given(&["7b", "7c"], &[("anna", "7b")]), names(&["anna", "anna-2"]));
        assert_eq!(given(&["7c", "7d"], &[("anna", "7b")]), None);
        assert_eq!(given(&["", ""], &[]), None);
        // Alone, she may go to another class.
        assert_eq!(given(&["8a"], &[("anna", "7a")]), names(&["anna"]));
    }

    #[test]
    fn a_login_is_the_namespace_whatever_its_owner_is_called() {
        let person = |name: &str, login: &str| Person {
            name: name.into(),
            login: Some(login.into()),
            ..Person::default()
        };
        let list = [person("王伟", "wang"), person("Anna", "s123")];
        let students = assign(&list, &known(&[("wang", "Wang")])).unwrap();
        assert_eq!((students[0].namespace.as_str(), students[1].namespace.as_str()), ("wang", "s123"));
        let problems = assign(&[person("Anna", "s1"), person("Ewa", "S1")], &BTreeMap::new()).unwrap_err();
        assert_eq!(problems, ["Anna and Ewa have the same login, S1"]);
    }

    #[test]
    fn a_word_means_a_namespace_or_whoever_is_called_so() {
        let live = known(&[("lukasz", "Łukasz"), ("lukasz-2", "Lukasz"), ("wang", "王伟")]);
        assert_eq!(meant("lukasz", &live), ["lukasz"]);
        assert_eq!(meant("Lukasz", &live), ["lukasz-2"]);
        assert_eq!(meant("王伟", &live), ["wang"]);
        assert_eq!(meant("ŁUKASZ", &live), ["lukasz"]);
        assert!(meant("anna", &live).is_empty());
    }
}
