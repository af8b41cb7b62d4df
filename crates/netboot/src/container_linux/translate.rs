//! A Container Linux Config as Ignition's JSON of specification 2.3.

use serde_json::{Map, Value, json};

use crate::butane::camel_case;
use crate::local_files::{LocalFiles, data_url};
use crate::mistake::Mistake;
use crate::shape::{Item, Typed};
use crate::texts::{TYPE_WORDS, mebibytes};

/// The whole configuration; what cannot be read is a mistake.
pub(super) fn translate(whole: &Item, files: &LocalFiles, found: &mut Vec<Mistake>) -> Value {
    let mut translation = Translation { files, found };
    let mut config = translation.value(whole);
    config["ignition"]["version"] = json!("2.3.0");
    // What is not told has these in the format's own transpiler, whatever Ignition's would be.
    for (list, mode) in [("files", Some(0o644)), ("directories", Some(0o755)), ("links", None)] {
        for node in config["storage"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            defaults(node, "filesystem", json!("root"));
            if let Some(mode) = mode {
                defaults(node, "mode", json!(mode));
            }
            if list == "files" {
                defaults(node, "contents", json!({ "source": "data:," }));
            }
        }
    }
    if config["storage"].is_null()
        && let Value::Object(config) = &mut config
    {
        config.remove("storage");
    }
    config
}

fn defaults(node: &mut Value, key: &str, value: Value) {
    if node.get(key).is_none() {
        node[key] = value;
    }
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
                for (&key, item) in entries {
                    let (name, value) = self.entry(key, item);
                    object.insert(name, value);
                }
                Value::Object(object)
            }
        }
    }

    /// What a key becomes; most stay as they are.
    fn entry(&mut self, key: &str, item: &Item) -> (String, Value) {
        let text = item.as_text();
        match key {
            "contents" if text.is_none() => ("contents".to_owned(), self.contents(item)),
            "hash" if text.is_none() => {
                let part = |key| item.text(key).unwrap_or_default();
                ("hash".to_owned(), json!(format!("{}-{}", part("function"), part("sum"))))
            }
            "size" | "start" => (format!("{key}MiB"), json!(text.and_then(|text| mebibytes(text).ok()))),
            "type_guid" => {
                let word = TYPE_WORDS.iter().find(|(word, _)| text == Some(word));
                ("typeGuid".to_owned(), json!(word.map(|(_, guid)| *guid).or(text)))
            }
            _ => (camel_case(key), self.value(item)),
        }
    }

    fn contents(&mut self, contents: &Item) -> Value {
        let mut object = Map::new();
        let source = if let Some(remote) = contents.get("remote") {
            if let Value::Object(rest) = self.value(remote) {
                object = rest;
            }
            object.remove("url").unwrap_or_default()
        } else if let Some(local) = contents.get("local") {
            let content = self.files.read(local.as_text().unwrap_or_default());
            let content = content.map_err(|wrong| self.found.push(Mistake::new(&local.origin, wrong)));
            json!(data_url(&content.unwrap_or_default()))
        } else {
            json!(data_url(contents.text("inline").unwrap_or_default().as_bytes()))
        };
        object.insert("source".to_owned(), source);
        Value::Object(object)
    }
}
