//! Inventories, YAML scalars and Jinja expressions, compared with what Ansible makes of them. The
//! data was made with the real program by `goldens/generate.py`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_inventory::{GroupRules, Inventory, LoadOptions, Source, Vars, VarsBuilder, VaultSecrets};
use serde_json::Value as Json;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn json(path: &Path) -> Json {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// One inventory: its files, how it is called, whether reading it must fail.
#[derive(Default)]
struct Case {
    name: String,
    arguments: String,
    files: Vec<File>,
}

#[derive(Default)]
struct File {
    name: String,
    flags: Vec<String>,
    text: String,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("##### ") {
            cases.push(Case { name: name.to_owned(), arguments: "-i hosts".to_owned(), files: Vec::new() });
            continue;
        }
        let case = cases.last_mut().expect("a text begins with a case");
        if let Some(arguments) = line.strip_prefix("$ ") {
            case.arguments = arguments.to_owned();
        } else if let Some(header) = line.strip_prefix("=== ") {
            let mut words = header.split_whitespace().map(str::to_owned);
            let name = words.next().unwrap();
            case.files.push(File { name, flags: words.collect(), text: String::new() });
        } else if let Some(file) = case.files.last_mut() {
            file.text.push_str(line);
            file.text.push('\n');
        }
    }
    cases
}

fn unpack(case: &Case, root: &Path, encrypted: &Json) {
    for file in &case.files {
        let path = root.join(&file.name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let secret = encrypted.get(format!("{}:{}", case.name, file.name)).and_then(Json::as_str);
        let mut text = secret.map_or_else(|| file.text.clone(), str::to_owned);
        if file.flags.iter().any(|flag| flag == "crlf") {
            text = text.replace('\n', "\r\n");
        }
        fs::write(&path, text).unwrap();
        if file.flags.iter().any(|flag| flag == "+x") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

/// Splits arguments at blanks outside single quotes, which is all the cases use.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

fn load(case: &Case, root: &Path, rules: &GroupRules) -> Result<Arc<Vars>, String> {
    let mut sources = Vec::new();
    let mut secrets = VaultSecrets::new();
    let mut extra = Vec::new();
    let mut playbook = None;
    let arguments = words(&case.arguments);
    for pair in arguments.chunks(2) {
        let value = pair[1].as_str();
        match pair[0].as_str() {
            "-i" if value.contains(',') => sources.push(Source::HostList(value.to_owned())),
            "-i" => sources.push(Source::Path(root.join(value))),
            "-e" => extra.push(value.replace('@', &format!("@{}/", root.display()))),
            "--playbook-dir" => playbook = Some(root.join(value)),
            "--vault-password-file" => secrets.add("default", &fs::read(root.join(value)).unwrap()),
            "--vault-id" => {
                let (id, file) = value.split_once('@').unwrap();
                secrets.add(id, &fs::read(root.join(file)).unwrap());
            }
            other => panic!("unknown argument {other}"),
        }
    }
    let mut options =
        LoadOptions { rules: rules.clone(), secrets: secrets.clone(), ..LoadOptions::default() };
    // The release that made the goldens passes these over, 2.19 and we do not.
    options.ignored_endings.push(".ini".to_owned());
    let inventory = Inventory::load(&sources, &options).map_err(|error| error.to_string())?;
    let mut builder = VarsBuilder::new(Arc::new(inventory)).secrets(secrets);
    if let Some(dir) = playbook {
        builder = builder.playbook_dir(dir);
    }
    for argument in extra {
        builder = builder.extra_vars(&argument).map_err(|error| error.to_string())?;
    }
    builder.build().map_err(|error| error.to_string())
}

fn check_inventories(topic: &str, rules: &GroupRules) {
    let dir = goldens().join("inventories");
    let expected = json(&dir.join(format!("{topic}.json")));
    let encrypted = expected.get("_encrypted").cloned().unwrap_or_default();
    let mut wrong = Vec::new();
    for case in cases(&fs::read_to_string(dir.join(format!("{topic}.txt"))).unwrap()) {
        let root = tempfile::tempdir().unwrap();
        unpack(&case, root.path(), &encrypted);
        let expected = &expected[&case.name];
        match load(&case, root.path(), rules) {
            Err(_) if expected["fails"] == true => {}
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
            Ok(_) if expected["fails"] == true => wrong.push(format!("{}: must fail", case.name)),
            Ok(vars) => {
                let list = vars.list_json();
                if list != expected["list"] {
                    wrong.push(format!("{}:\n   ours {list}\nansible {}", case.name, expected["list"]));
                }
                let graph = vars.inventory().graph("all").unwrap();
                if graph != expected["graph"] {
                    wrong.push(format!("{}:\n{graph}\nansible\n{}", case.name, expected["graph"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ from Ansible:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn samples_of_every_era() {
    check_inventories("eras", &GroupRules::new());
}

/// Old names of groups are one with the new ones, but shown as the user wrote them.
#[test]
fn samples_of_every_era_with_group_rules() {
    let rules = GroupRules::new()
        .alias("kube-master", "kube_control_plane")
        .alias("kube-node", "kube_node")
        .alias("k8s-cluster", "k8s_cluster")
        .alias("calico-rr", "calico_rr")
        .union("k8s_cluster", &["kube_control_plane", "kube_node", "calico_rr"]);
    check_inventories("eras", &rules);
}

#[test]
fn ini_rules() {
    check_inventories("ini", &GroupRules::new());
}

#[test]
fn yaml_inventories() {
    check_inventories("yaml", &GroupRules::new());
}

#[test]
fn sources() {
    check_inventories("sources", &GroupRules::new());
}

#[test]
fn files_of_variables() {
    check_inventories("group_vars", &GroupRules::new());
}

#[test]
fn encrypted_files() {
    check_inventories("vault", &GroupRules::new());
}

/// Expressions, compared with ansible-core 2.18 (which kubespray asks for) and 2.19. Where these
/// two differ, a whole expression keeps its type as in 2.19, and a text that looks like data becomes
/// data as in 2.18: see README.md.
#[test]
fn jinja_expressions() {
    let inventory = Inventory::from_ini("hosts", "localhost\n", GroupRules::new()).unwrap();
    let text = fs::read_to_string(goldens().join("jinja_vars.yml")).unwrap();
    let vars =
        VarsBuilder::new(Arc::new(inventory)).defaults("jinja_vars.yml", &text).unwrap().build().unwrap();
    let host = vars.host("localhost").unwrap();
    let expected = json(&goldens().join("jinja.json"));
    let expected = expected.as_object().unwrap();
    let mut wrong = Vec::new();
    let mut agreed = 0;
    for (template, golden) in expected {
        let ours = host.resolve(&template.replace('␤', "\n").into());
        let (old, new) = (&golden["2.18"], &golden["2.19"]);
        let same = |golden: &Json| match (&ours, golden.get("value")) {
            (Ok(ours), Some(value)) => {
                let big = value.get("big").or_else(|| value.get("float")).and_then(Json::as_str);
                match big {
                    Some(digits) => ours.as_str() == Some(digits),
                    None => ours.to_json() == *value,
                }
            }
            (Err(_), None) => true,
            _ => false,
        };
        if same(old) || same(new) {
            agreed += 1;
        } else {
            let ours = match &ours {
                Ok(ours) => ours.to_json().to_string(),
                Err(error) => error.to_string(),
            };
            wrong.push(format!("{template}\n    ours {ours}\n    2.18 {old}\n    2.19 {new}"));
        }
    }
    assert!(wrong.is_empty(), "{agreed} agree, {} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Scalars where this program differs on purpose, each with the reason.
const YAML_DIFFERENCES: [(&str, &str); 8] = [
    ("2020-01-01T10:20:30Z", "a point in time stays the text that was written"),
    ("2020-01-01t10:20:30.5+02:00", "a point in time stays the text that was written"),
    ("=", "PyYAML cannot read its own `value` type; here it is the text it looks like"),
    ("␤-␉a", "a tab separates as a blank does, as in YAML 1.2"),
    ("␤-␉a: 1␤-␉b", "the same"),
    ("␤- ␉a", "the same"),
    ("␤  ␉a: 1", "the same"),
    ("<<", "only as a key does it merge; as a value it is the text it looks like"),
];

#[test]
fn yaml_scalars() {
    let expected = json(&goldens().join("yaml_scalars.json"));
    let mut wrong = Vec::new();
    for golden in expected.as_array().unwrap() {
        let text = golden["yaml"].as_str().unwrap();
        let document = format!("v: {text}").replace('␤', "\n").replace('␉', "\t");
        let inventory = Inventory::from_ini("hosts", "h\n", GroupRules::new()).unwrap();
        let ours = VarsBuilder::new(Arc::new(inventory))
            .defaults("scalar", &document)
            .and_then(VarsBuilder::build)
            .map(|vars| vars.host("h").unwrap().raw()["v"].clone());
        let differs = YAML_DIFFERENCES.iter().any(|(different, _)| *different == text);
        let same = match (&ours, golden.get("value")) {
            (Ok(ours), Some(value)) => match (value.get("big"), value.get("float")) {
                (Some(digits), _) => {
                    ours.as_str() == digits.as_str()
                        || ours.as_i64().is_some_and(|n| n.to_string() == digits.as_str().unwrap())
                }
                (_, Some(special)) => {
                    ours.as_f64().is_some_and(|n| n.to_string().to_lowercase() == special.as_str().unwrap())
                }
                _ => ours.to_json() == *value,
            },
            (Err(_), None) => true,
            _ => false,
        };
        if same == differs {
            wrong.push(format!("{text}\n    ours {ours:?}\n    golden {golden}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Names that match nothing, which Ansible only warns about: mistyped, so an error here.
const MISTYPED: [&str; 7] = ["nowhere", "WEB", "Web1", "we", "web:nowhere", "10.0.0.[12]", "n[12]"];

#[test]
fn patterns() {
    let inventory =
        Inventory::load(&[Source::Path(goldens().join("patterns.ini"))], &LoadOptions::default()).unwrap();
    let expected = json(&goldens().join("patterns.json"));
    let mut wrong = Vec::new();
    for (pattern, golden) in expected.as_object().unwrap() {
        let ours = inventory.select(pattern);
        let same = match (&ours, golden.is_null() || MISTYPED.contains(&pattern.as_str())) {
            (Ok(hosts), false) => serde_json::json!(hosts) == *golden,
            (Err(_), true) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!("{pattern}\n    ours {ours:?}\n    golden {golden}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
