//! `docs/kubespray.md`: what each variable of kubespray's sample group_vars does here, and the test that shows it. Made from the
//! roles' `defaults.yml`, from `roles/kubespray/keys.yml` and from the tests themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use muster_roles::{kubespray, reference};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What only takes time, or matters where something else has failed, and of which no test says anything. Nothing new belongs here.
const IN_NO_TEST: [&str; 7] = [
    "allow_ungraceful_removal",
    "etcd_backup_retention_count",
    "cilium_timeout",
    "flannel_timeout",
    "kubeadm_token_minutes",
    "system_upgrade_autoclean",
    "upgrade_node_always_cordon",
];

/// Set to write the page anew instead of comparing it.
const UPDATE: &str = "UPDATE_DOCS";

/// The sample's files with the variables in them.
fn sample() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut files: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in include_str!("kubespray-sample.txt").lines().filter(|line| !line.starts_with('#')) {
        let names = match line.split_once(": ") {
            Some((file, names)) => {
                files.push((file, Vec::new()));
                names
            }
            None => line,
        };
        files.last_mut().unwrap().1.extend(names.split_whitespace());
    }
    files
}

/// The words of each test: where it stands, its name (none for what several tests of a file share), and what it names. Those of the
/// crates come after those of the roles, because most of these know a name as an example alone; what is said of the forms of values
/// (preflight) comes last: it says nothing of what they do.
fn tests() -> Vec<(String, String, BTreeSet<String>)> {
    let mut files = Vec::new();
    for folder in ["tests/lab", "tests/model", "tests/it", "crates", "roles"] {
        collect(&Path::new(ROOT).join(folder), &mut files);
    }
    let path = |file: &PathBuf| file.strip_prefix(ROOT).unwrap().display().to_string();
    files.sort_by_key(|file| (path(file).contains("preflight"), path(file).starts_with("crates/")));
    let mut tests = Vec::new();
    for file in files {
        let text =
            fs::read_to_string(&file).unwrap().replace("\\n", " ").replace("#[tokio::test]", "#[test]");
        let is_all_tests = path(&file).contains("tests/") || path(&file).ends_with("tests.rs");
        let begin = if is_all_tests { Some(0) } else { text.find("#[cfg(test)]") };
        let Some(begin) = begin else { continue };
        for (number, part) in text[begin..].split("#[test]").enumerate() {
            let name = part.split_once("fn ").filter(|_| number > 0).map(|(_, rest)| rest);
            let name = name.and_then(|rest| rest.split('(').next()).unwrap_or_default();
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let words = part.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
            tests.push((path(&file), name.to_owned(), words.map(str::to_owned).collect()));
        }
    }
    tests
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with(file!()) {
            files.push(path);
        }
    }
}

/// The first sentence of an explanation.
fn first_sentence(lines: &[&str]) -> String {
    let text = lines.join(" ");
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    text[..end].trim_end_matches(['.', ':', ';']).replace('|', "\\|")
}

fn page() -> (String, Vec<String>) {
    let explained: BTreeMap<&str, String> = reference::sections()
        .into_iter()
        .flat_map(|section| section.paragraphs)
        .flat_map(|paragraph| {
            let told = first_sentence(&paragraph.explanation);
            paragraph.variables.into_iter().map(move |variable| (variable.name, told.clone()))
        })
        .collect();
    let (tests, mut untested) = (tests(), Vec::new());
    let renamed = |name: &str| match name {
        "dns_replicas" => "coredns_replicas",
        "containerd_metadata_root_dir" => "containerd_storage_dir",
        _ => "",
    };
    let mut page = include_str!("kubespray-page.md").to_owned();
    for (file, names) in sample() {
        page.push_str(&format!("\n## {file}\n\n"));
        let (mut own, mut others): (Vec<&str>, BTreeMap<String, Vec<&str>>) = Default::default();
        for name in names {
            if explained.contains_key(name) || explained.contains_key(renamed(name)) {
                own.push(name);
            } else {
                let why = kubespray::about(name).unwrap_or_else(|| panic!("nothing is said of {name}")).why;
                others.entry(why).or_default().push(name);
            }
        }
        if !own.is_empty() {
            page.push_str("| variable | what it does here | test |\n|---|---|---|\n");
        }
        for name in own {
            let own_name = if explained.contains_key(name) { name } else { renamed(name) };
            let test = tests.iter().find(|(_, _, words)| words.contains(own_name));
            let test = test.map(|(file, test, _)| match test.as_str() {
                "" => format!("`{file}`"),
                test => format!("`{file}`: `{test}`"),
            });
            if test.is_none() {
                untested.push(name.to_owned());
            }
            page.push_str(&format!(
                "| `{name}` | {} | {} |\n",
                explained[own_name],
                test.unwrap_or_default()
            ));
        }
        if !others.is_empty() {
            page.push_str("\n| without effect | why |\n|---|---|\n");
        }
        for (why, names) in others {
            page.push_str(&format!("| `{}` | {} |\n", names.join("`, `"), why.replace('|', "\\|")));
        }
    }
    (page.replace("\n\n\n", "\n\n"), untested)
}

#[test]
fn every_variable_of_kubesprays_sample_is_in_the_page() {
    let (page, _) = page();
    let path = Path::new(ROOT).join("docs/kubespray.md");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "docs/kubespray.md is not what the program and its tests say now: run this test with {UPDATE}=1, and read the difference"
    );
}

#[test]
fn every_variable_is_in_a_test() {
    let (_, untested) = page();
    assert!(untested.is_empty(), "no test names {untested:?}");
    let tests = tests();
    let is_named = |name: &&str| tests.iter().any(|(_, _, words)| words.contains(*name));
    let others: BTreeSet<&str> =
        reference::variables().map(|variable| variable.name).filter(|name| !is_named(name)).collect();
    assert_eq!(others, BTreeSet::from(IN_NO_TEST), "a variable has a test that fails when it is ignored");
}
