//! A Butane configuration as Ignition's JSON: the same keys in camel case, with contents in place of the ways to give them.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Map, Value, json};

use crate::local_files::{LocalFiles, data_url};
use crate::mistake::Mistake;
use crate::shape::{Item, Typed};

/// Keys that only Butane has, and that become something else.
const OWN: [&str; 8] = [
    "variant",
    "version",
    "inline",
    "local",
    "contents_local",
    "ssh_authorized_keys_local",
    "trees",
    "with_mount_unit",
];

/// The whole configuration; what cannot be read is a mistake.
pub(super) fn translate(whole: &Item, spec: &str, files: &LocalFiles, found: &mut Vec<Mistake>) -> Value {
    let mut translation = Translation { files, found };
    let mut config = translation.value(whole);
    config["ignition"]["version"] = json!(spec);
    translation.trees(whole, &mut config);
    translation.mount_units(whole, &mut config);
    translation.links(whole, &config);
    config
}

struct Translation<'a> {
    files: &'a LocalFiles,
    found: &'a mut Vec<Mistake>,
}

impl Translation<'_> {
    fn value(&mut self, item: &Item) -> Value {
        match &item.value {
            Typed::Text(text) => json!(text),
            Typed::Whole(number) => json!(number),
            Typed::Truth(truth) => json!(truth),
            Typed::List(items) => items.iter().map(|item| self.value(item)).collect(),
            Typed::Map(entries) => {
                let mut object = Map::new();
                for (key, item) in entries.iter().filter(|(key, _)| !OWN.contains(key)) {
                    object.insert(camel_case(key), self.value(item));
                }
                self.content(item, &mut object);
                self.texts(item, &mut object);
                Value::Object(object)
            }
        }
    }

    /// `inline` and `local` of a content. Like Butane it says that nothing is compressed, so that no configuration that this one
    /// is merged into says otherwise.
    fn content(&mut self, item: &Item, object: &mut Map<String, Value>) {
        let content = match (item.get("inline"), item.get("local")) {
            (Some(inline), _) => inline.as_text().map(|text| text.as_bytes().to_owned()),
            // A tree's is a folder.
            (None, Some(local)) => self.read(local, LocalFiles::read),
            (None, None) => return,
        };
        if let Some(content) = content {
            object.insert("source".to_owned(), json!(data_url(&content)));
            object.entry("compression").or_insert_with(|| json!(""));
        }
    }

    /// Texts of units, and keys of users, that stand in files of their own.
    fn texts(&mut self, item: &Item, object: &mut Map<String, Value>) {
        if let Some(local) = item.get("contents_local")
            && let Some(text) = self.read(local, LocalFiles::read_text)
        {
            if let Err(wrong) = crate::unit_text::check(&text) {
                self.found.push(Mistake::new(&local.origin, wrong));
            }
            object.insert("contents".to_owned(), json!(text));
        }
        let mut keys = Vec::new();
        for local in item.list(&["ssh_authorized_keys_local"]) {
            let Some(text) = self.read(local, LocalFiles::read_text) else { continue };
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                match crate::texts::ssh_key(line) {
                    Ok(()) => keys.push(json!(line)),
                    Err(wrong) => self.found.push(Mistake::new(&local.origin, wrong)),
                }
            }
        }
        if !keys.is_empty()
            && let Value::Array(all) = object.entry("sshAuthorizedKeys").or_insert_with(|| json!([]))
        {
            keys.retain(|key| !all.contains(key));
            all.extend(keys);
        }
    }

    fn read<T>(&mut self, local: &Item, read: fn(&LocalFiles, &str) -> Result<T, String>) -> Option<T> {
        read(self.files, local.as_text()?)
            .map_err(|wrong| self.found.push(Mistake::new(&local.origin, wrong)))
            .ok()
    }

    /// Folders that are taken in as they are. Of what is in them the lists files and links may say more than its content.
    fn trees(&mut self, whole: &Item, config: &mut Value) {
        for tree in whole.list(&["storage", "trees"]) {
            let Some(local) = tree.get("local") else { continue };
            let Some(name) = local.as_text() else { continue };
            let Some(paths) = self.read(local, LocalFiles::tree) else { continue };
            let below = tree.text("path").unwrap_or("/").trim_end_matches('/').to_owned();
            for relative in paths {
                let source = format!("{name}/{}", relative.display());
                let target = format!("{below}/{}", relative.display());
                if let Err(wrong) = self.node(tree, &source, &target, config) {
                    self.found.push(Mistake::new(&local.origin, wrong));
                }
            }
        }
    }

    /// One thing of a tree.
    fn node(&self, tree: &Item, source: &str, target: &str, config: &mut Value) -> Result<(), String> {
        let path = self.files.path(source)?;
        let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        let kind = path.symlink_metadata().map_err(unreadable)?;
        let mut new = Map::from_iter([("path".to_owned(), json!(target))]);
        for (key, owner) in ["user", "group"].into_iter().filter_map(|key| Some((key, tree.get(key)?))) {
            let fields = ["id", "name"].into_iter().filter_map(|key| match &owner.get(key)?.value {
                Typed::Whole(number) => Some((key.to_owned(), json!(number))),
                Typed::Text(text) => Some((key.to_owned(), json!(text))),
                _ => None,
            });
            new.insert(key.to_owned(), Value::Object(fields.collect()));
        }
        let (list, key, content) = if kind.is_dir() {
            // Ignition makes the folders of files by itself; they are told only where something is said of them.
            if tree.get("dir_mode").is_none() && new.len() == 1 {
                return Ok(());
            }
            ("directories", "mode", json!(tree.whole("dir_mode").unwrap_or(0o755)))
        } else if kind.is_symlink() {
            ("links", "target", json!(std::fs::read_link(&path).map_err(unreadable)?.to_string_lossy()))
        } else if kind.is_file() {
            let usual = if kind.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            new.insert("mode".to_owned(), json!(tree.whole("file_mode").unwrap_or(usual)));
            let content = std::fs::read(&path).map_err(unreadable)?;
            ("files", "contents", json!({ "compression": "", "source": data_url(&content) }))
        } else {
            return Err(format!("{} is neither a file nor a folder nor a link", path.display()));
        };
        new.insert(key.to_owned(), content);
        let storage = &mut config["storage"];
        for other in ["files", "directories", "links"].into_iter().filter(|other| *other != list) {
            if position(&storage[other], target).is_some() {
                return Err(format!("{target} is in the tree, and in the list {other}, too"));
            }
        }
        let there = position(&storage[list], target);
        match (there, storage[list].as_array_mut()) {
            (Some(at), Some(all)) => {
                let given = &mut all[at];
                let empty =
                    given.get(key).is_none_or(|value| value.get("source").is_none() && !value.is_string());
                if !empty {
                    return Err(format!(
                        "{target} is in the tree, and the list {list} gives it another content"
                    ));
                }
                // What the list says counts more than what the tree's file is like.
                for (name, value) in new {
                    if name == key || given.get(&name).is_none() {
                        given[name] = value;
                    }
                }
            }
            (_, Some(all)) => all.push(Value::Object(new)),
            (_, None) => storage[list] = json!([new]),
        }
        Ok(())
    }

    /// A link leads somewhere, unless a tree says where.
    fn links(&mut self, whole: &Item, config: &Value) {
        for link in whole.list(&["storage", "links"]) {
            let Some(path) = link.text("path") else { continue };
            let links = &config["storage"]["links"];
            let at = position(links, path);
            if at.is_none_or(|at| links[at]["target"].as_str().is_none_or(str::is_empty)) {
                let message =
                    "a link needs its \"target\", such as target: ../usr/share/zoneinfo/Europe/Warsaw";
                self.found.push(Mistake::new(&link.origin, message));
            }
        }
    }

    /// Units that mount file systems.
    fn mount_units(&self, whole: &Item, config: &mut Value) {
        for filesystem in
            whole.list(&["storage", "filesystems"]).iter().filter(|item| item.is("with_mount_unit"))
        {
            let (Some(device), Some(format)) = (filesystem.text("device"), filesystem.text("format")) else {
                continue;
            };
            let options: Vec<&str> =
                filesystem.list(&["mount_options"]).iter().filter_map(Item::as_text).collect();
            let options =
                if options.is_empty() { String::new() } else { format!("Options={}\n", options.join(",")) };
            let (name, text) = match (format, filesystem.text("path")) {
                ("swap", _) => (
                    format!("{}.swap", escaped(device)),
                    format!("[Swap]\nWhat={device}\n{options}\n[Install]\nRequiredBy=swap.target\n"),
                ),
                (_, Some(path)) => {
                    let check = format!("systemd-fsck@{}.service", escaped(device));
                    (
                        format!("{}.mount", escaped(path)),
                        format!(
                            "[Unit]\nRequires={check}\nAfter={check}\n\n[Mount]\nWhere={path}\nWhat={device}\nType={format}\n\
                             {options}\n[Install]\nRequiredBy=local-fs.target\n"
                        ),
                    )
                }
                (_, None) => continue,
            };
            let units = &mut config["systemd"]["units"];
            // A unit that the configuration gives is the one that is meant; only what it leaves open is filled in.
            let given = units
                .as_array_mut()
                .and_then(|units| units.iter_mut().find(|unit| unit["name"] == json!(name)));
            match given {
                Some(unit) => {
                    if unit.get("contents").is_none() {
                        unit["contents"] = json!(text);
                    }
                    if unit.get("enabled").is_none() {
                        unit["enabled"] = json!(true);
                    }
                }
                None => {
                    let new = json!({ "contents": text, "enabled": true, "name": name });
                    match units.as_array_mut() {
                        Some(units) => units.push(new),
                        None => *units = json!([new]),
                    }
                }
            }
        }
    }
}

fn position(list: &Value, path: &str) -> Option<usize> {
    list.as_array()?.iter().position(|node| node["path"] == json!(path))
}

/// Butane's names are those of Ignition in another case.
pub(crate) fn camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        // The one unit that keeps its own case.
        if word == "mib" {
            name.push_str("MiB");
            continue;
        }
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

/// A path as the name of a unit (systemd.unit(5), "STRING ESCAPING FOR INCLUSION IN UNIT NAMES").
fn escaped(path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::new();
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(char::from(byte)),
            _ => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_and_units() {
        assert_eq!(camel_case("ssh_authorized_keys"), "sshAuthorizedKeys");
        assert_eq!(camel_case("size_mib"), "sizeMiB");
        assert_eq!(camel_case("uuid"), "uuid");
        assert_eq!(escaped("/var/lib/my-data"), "var-lib-my\\x2ddata");
        assert_eq!(escaped("/"), "-");
        assert_eq!(escaped("/.x"), "\\x2ex");
    }
}
