//! Filters that write and read JSON and YAML.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::args::{Args, Rest, entries, invalid, is_list, items, text};
use super::yaml_out::{self, Style};
use crate::convert;
use crate::origin::SourceText;

/// Texts that these filters write are marked safe: a text that looks like data must stay a text (see
/// `Scope::template`).
pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("to_json", |value: Value, rest: Rest| {
        to_json(&value, rest, false).map(Value::from_safe_string)
    });
    environment.add_filter("to_nice_json", |value: Value, rest: Rest| {
        to_json(&value, rest, true).map(Value::from_safe_string)
    });
    environment.add_filter("tojson", |value: Value, rest: Rest| {
        to_json(&value, rest, false).map(Value::from_safe_string)
    });
    environment.add_filter("to_yaml", |value: Value, rest: Rest| {
        to_yaml(&value, rest, false).map(Value::from_safe_string)
    });
    environment.add_filter("to_nice_yaml", |value: Value, rest: Rest| {
        to_yaml(&value, rest, true).map(Value::from_safe_string)
    });
    environment.add_filter("from_json", from_json);
    environment.add_filter("from_yaml", from_yaml);
    environment.add_filter("from_yaml_all", from_yaml_all);
}

fn to_json(value: &Value, rest: Rest, nice: bool) -> Result<String, Error> {
    const NAMES: &[&str] =
        &["indent", "sort_keys", "ensure_ascii", "separators", "vault_to_text", "preprocess_unsafe"];
    let mut args = Args::bind("to_json", NAMES, rest.into_values())?;
    let indent = args.number("indent")?.or(nice.then_some(4)).and_then(|indent| usize::try_from(indent).ok());
    let separators = match args.get("separators")? {
        Some(separators) if !nice => {
            let separators = items("separators", &separators)?;
            let [item, key] = separators.as_slice() else {
                return Err(invalid("to_json: separators are two texts"));
            };
            (item.to_string(), key.to_string())
        }
        _ if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        _ => (", ".to_owned(), ": ".to_owned()),
    };
    let mut writer = Json {
        out: String::new(),
        indent,
        sort: args.flag("sort_keys", nice)?,
        ascii: args.flag("ensure_ascii", true)?,
        separators,
    };
    writer.value(value, 0)?;
    Ok(writer.out)
}

/// JSON as Python's `json.dumps` writes it.
struct Json {
    out: String,
    indent: Option<usize>,
    sort: bool,
    ascii: bool,
    separators: (String, String),
}

impl Json {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > 100 {
            return Err(invalid("the value is nested too deeply for JSON"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)),
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Map => {
                let mut pairs: Vec<(String, Value)> = entries("to_json", value)?
                    .into_iter()
                    .map(|(key, item)| (key_text(&key), item))
                    .collect();
                if self.sort {
                    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.out.push('{');
                let empty = pairs.is_empty();
                for (at, (key, item)) in pairs.into_iter().enumerate() {
                    self.start_item(at, depth + 1);
                    self.text(&key);
                    self.out.push_str(&self.separators.1.clone());
                    self.value(&item, depth + 1)?;
                }
                self.end(empty, depth, '}');
            }
            _ if is_list(value) => {
                let list = items("to_json", value)?;
                self.out.push('[');
                for (at, item) in list.iter().enumerate() {
                    self.start_item(at, depth + 1);
                    self.value(item, depth + 1)?;
                }
                self.end(list.is_empty(), depth, ']');
            }
            ValueKind::Undefined => {
                return Err(Error::new(ErrorKind::UndefinedError, "a part of the value is undefined"));
            }
            _ => return Err(invalid(format!("{value} has no form in JSON"))),
        }
        Ok(())
    }

    fn start_item(&mut self, at: usize, depth: usize) {
        if at > 0 {
            self.out.push_str(&self.separators.0.clone());
        }
        self.line(depth);
    }

    fn end(&mut self, empty: bool, depth: usize, bracket: char) {
        if !empty {
            self.line(depth);
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            self.out.push_str(&" ".repeat(indent.min(40) * depth));
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\x08' => self.out.push_str("\\b"),
                '\x0c' => self.out.push_str("\\f"),
                c if c < ' ' || self.ascii && !c.is_ascii() => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(number) if number.is_nan() => "NaN".to_owned(),
        Ok(number) if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Ok(number) if !value.is_integer() => super::scalars::float_text(number),
        _ => value.to_string(),
    }
}

fn key_text(key: &Value) -> String {
    match key.kind() {
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => key.is_true().to_string(),
        _ => key.to_string(),
    }
}

fn to_yaml(value: &Value, rest: Rest, nice: bool) -> Result<String, Error> {
    const NAMES: &[&str] = &[
        "indent",
        "width",
        "default_flow_style",
        "sort_keys",
        "allow_unicode",
        "explicit_start",
        "explicit_end",
    ];
    let mut args = Args::bind("to_yaml", NAMES, rest.into_values())?;
    let positive = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok());
    let indent = positive(args.number("indent")?).unwrap_or(if nice { 4 } else { 2 });
    let width = positive(args.number("width")?).unwrap_or(80);
    let flow_leaves = match args.get("default_flow_style")? {
        Some(style) if style.is_true() => {
            return Err(invalid("to_yaml: default_flow_style=true is not supported"));
        }
        Some(_) => false,
        None => !nice,
    };
    // Outside these bounds PyYAML takes its defaults.
    let style = Style {
        indent: if (2..10).contains(&indent) { indent } else { 2 },
        width: if width > indent * 2 { width } else { 80 },
        flow_leaves,
        sort_keys: args.flag("sort_keys", true)?,
    };
    let start = if args.flag("explicit_start", false)? { "---\n" } else { "" };
    Ok(format!("{start}{}", yaml_out::write(value, &style)?))
}

fn from_json(value: Value) -> Result<Value, Error> {
    let content = text("from_json", &value)?;
    let json: serde_json::Value =
        serde_json::from_str(&content).map_err(|error| invalid(format!("from_json: not JSON: {error}")))?;
    Ok(convert::plain_to_engine(&crate::Value::from_json(&json).kind))
}

fn from_yaml(value: Value) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => read_yaml(text),
        None if value.is_undefined() => {
            Err(Error::new(ErrorKind::UndefinedError, "from_yaml is given something undefined"))
        }
        None => Ok(value),
    }
}

fn read_yaml(text: &str) -> Result<Value, Error> {
    let source = SourceText::new("from_yaml", text);
    let document =
        crate::yaml::parse(&source, text, &mut Vec::new()).map_err(|error| invalid(error.to_string()))?;
    Ok(convert::plain_to_engine(&document.kind))
}

fn from_yaml_all(value: Value) -> Result<Value, Error> {
    let content = text("from_yaml_all", &value)?;
    let mut documents = vec![String::new()];
    for line in content.split_inclusive('\n') {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
        }
    }
    let first_is_empty =
        documents.len() > 1 && documents.first().is_some_and(|document| document.trim().is_empty());
    let documents: Result<Vec<Value>, Error> =
        documents.iter().skip(usize::from(first_is_empty)).map(|document| read_yaml(document)).collect();
    Ok(documents?.into())
}
