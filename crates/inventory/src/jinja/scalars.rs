//! Filters and tests on numbers, booleans and what values are.

use std::path::Path;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::args::{Args, Rest, boolean, defined, invalid, kind, text};

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("bool", to_bool);
    environment.add_filter("string", |value: Value| {
        defined("string", &value)?;
        // Safe means: stays a text even when it looks like data.
        Ok::<_, Error>(Value::from_safe_string(python_text(&value)))
    });
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("ternary", |value: Value, rest: Rest| {
        defined("ternary", &value)?;
        let arguments = rest.into_values();
        let (choices, _) = super::args::split(arguments.clone())?;
        let choice = |at: usize| choices.get(at).cloned();
        let mut args = Args::bind("ternary", &["true_val", "false_val", "none_val"], arguments)?;
        let none = args.get("none_val")?.or_else(|| choice(2));
        if let (true, Some(none)) = (value.is_none(), none) {
            return Ok::<_, Error>(none);
        }
        let (name, at) = if value.is_true() { ("true_val", 0) } else { ("false_val", 1) };
        Ok(args.get(name)?.or_else(|| choice(at)).unwrap_or(Value::from(())))
    });
    environment.add_filter("mandatory", |value: Value, rest: Rest| {
        let mut args = Args::bind("mandatory", &["msg"], rest.into_values())?;
        match args.text("msg")? {
            _ if !value.is_undefined() => Ok::<_, Error>(value),
            Some(message) => Err(Error::new(ErrorKind::UndefinedError, message)),
            None => Err(Error::from(ErrorKind::UndefinedError)),
        }
    });
    environment.add_filter("log", |value: Value, base: Option<f64>| {
        let number = number("log", &value)?;
        Ok::<_, Error>(match base {
            None => number.ln(),
            Some(10.0) => number.log10(),
            Some(2.0) => number.log2(),
            Some(base) => number.log(base),
        })
    });
    environment
        .add_filter("pow", |value: Value, power: f64| Ok::<_, Error>(number("pow", &value)?.powf(power)));
    environment.add_filter("root", |value: Value, base: Option<f64>| {
        let number = number("root", &value)?;
        Ok::<_, Error>(match base {
            None | Some(2.0) => number.sqrt(),
            Some(base) => number.powf(1.0 / base),
        })
    });
    environment.add_filter("human_readable", human_readable);
    environment.add_filter("human_to_bytes", human_to_bytes);
    environment.add_filter("type_debug", |value: Value| match value.kind() {
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::None => "NoneType",
        ValueKind::Map => "dict",
        _ if value.is_tuple() => "tuple",
        ValueKind::Seq | ValueKind::Iterable => "list",
        _ => "AnsibleUndefined",
    });
    environment.add_test("truthy", |value: Value, rest: Rest| truthy(&value, rest));
    environment.add_test("falsy", |value: Value, rest: Rest| truthy(&value, rest).map(|truth| !truth));
    // A text is a sequence of characters for Python.
    environment.add_test("sequence", |value: Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::String | ValueKind::Map)
    });
    environment.add_test("callable", |value: Value| value.kind() == ValueKind::Plain);
    environment
        .add_test("vault_encrypted", |value: Value| value.as_str().is_some_and(crate::vault::is_vault));
    register_files(environment);
    register_results(environment);
}

fn register_files(environment: &mut Environment<'_>) {
    type Test = (&'static [&'static str], fn(&Path) -> bool);
    let tests: [Test; 5] = [
        (&["exists"], Path::exists),
        (&["file", "is_file"], Path::is_file),
        (&["directory", "is_dir"], Path::is_dir),
        (&["link", "is_link"], Path::is_symlink),
        (&["abs", "is_abs"], Path::is_absolute),
    ];
    for (names, test) in tests {
        for name in names {
            environment
                .add_test(*name, move |value: Value| Ok::<_, Error>(test(Path::new(&text(name, &value)?))));
        }
    }
    environment.add_test("link_exists", |value: Value| {
        Ok::<_, Error>(Path::new(&text("link_exists", &value)?).symlink_metadata().is_ok())
    });
}

/// Tests on what a task returned. Variables may hold such mappings.
fn register_results(environment: &mut Environment<'_>) {
    let tests: [(&[&'static str], &'static str, bool); 6] = [
        (&["failed", "failure"], "failed", true),
        (&["succeeded", "success", "successful"], "failed", false),
        (&["changed", "change"], "changed", true),
        (&["skipped", "skip"], "skipped", true),
        (&["unreachable"], "unreachable", true),
        (&["reachable"], "unreachable", false),
    ];
    for (names, key, wanted) in tests {
        for name in names {
            environment.add_test(*name, move |value: Value| {
                defined(name, &value)?;
                if value.kind() != ValueKind::Map {
                    return Err(invalid(format!(
                        "the test {name} needs the result of a task, this is {}",
                        kind(&value)
                    )));
                }
                Ok(value.get_attr(key).unwrap_or_default().is_true() == wanted)
            });
        }
    }
}

/// Ansible's `bool`: `yes on 1 true` in any case are true, the rest is false.
fn to_bool(value: Value) -> Result<Value, Error> {
    defined("bool", &value)?;
    Ok(match value.kind() {
        ValueKind::Bool => value,
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default().to_lowercase();
            matches!(text.as_str(), "yes" | "on" | "1" | "true").into()
        }
        ValueKind::Number => (f64::try_from(value)? == 1.0).into(),
        _ => false.into(),
    })
}

/// A value as Python's `str` prints it.
pub(super) fn python_text(value: &Value) -> String {
    match (value.kind(), f64::try_from(value.clone())) {
        (ValueKind::Number, Ok(number)) if !value.is_integer() => float_text(number),
        _ => value.to_string(),
    }
}

/// A number as Python's `repr` prints it: an exponent from 1e16 on and below 0.0001.
pub(super) fn float_text(number: f64) -> String {
    if number == 0.0 || (1e-4..1e16).contains(&number.abs()) || !number.is_finite() {
        return Value::from(number).to_string();
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, power)) => {
            let (sign, power) = power.strip_prefix('-').map_or(("+", power), |power| ("-", power));
            format!("{digits}e{sign}{power:0>2}")
        }
        None => text,
    }
}

/// Jinja's `int`: what is no number is the default, which is 0.
fn int(value: Value, rest: Rest) -> Result<Value, Error> {
    defined("int", &value)?;
    let mut args = Args::bind("int", &["default", "base"], rest.into_values())?;
    let default = args.get("default")?.unwrap_or_else(|| Value::from(0));
    let base = args.number("base")?.and_then(|base| u32::try_from(base).ok()).unwrap_or(10);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the fraction is to be dropped, and the size is checked"
    )]
    let whole = |number: f64| (number.is_finite() && number.abs() < 1e18).then(|| Value::from(number as i64));
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => value,
        ValueKind::Number => whole(f64::try_from(value)?).unwrap_or(default),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default().trim().replace('_', "");
            let digits = match base {
                16 => text.trim_start_matches("0x"),
                8 => text.trim_start_matches("0o"),
                2 => text.trim_start_matches("0b"),
                _ => &text,
            };
            let number = (2..=36).contains(&base).then(|| i64::from_str_radix(digits, base).ok()).flatten();
            match number {
                Some(number) => Value::from(number),
                None => text.parse::<f64>().ok().and_then(whole).unwrap_or(default),
            }
        }
        _ => default,
    })
}

fn float(value: Value, rest: Rest) -> Result<Value, Error> {
    defined("float", &value)?;
    let mut args = Args::bind("float", &["default"], rest.into_values())?;
    let default = args.get("default")?.unwrap_or_else(|| Value::from(0.0));
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => Value::from(f64::try_from(value)?),
        ValueKind::String => {
            value.as_str().and_then(|text| text.trim().parse::<f64>().ok()).map_or(default, Value::from)
        }
        _ => default,
    })
}

fn number(what: &str, value: &Value) -> Result<f64, Error> {
    defined(what, value)?;
    match value.kind() {
        ValueKind::Number => f64::try_from(value.clone()),
        _ => Err(invalid(format!("{what} needs a number, this is {}", kind(value)))),
    }
}

fn truthy(value: &Value, rest: Rest) -> Result<bool, Error> {
    defined("truthy", value)?;
    let mut args = Args::bind("truthy", &["convert_bool"], rest.into_values())?;
    Ok(if args.flag("convert_bool", false)? { boolean(value) } else { value.is_true() })
}

const UNITS: [(char, f64); 9] = [
    ('Y', 1_208_925_819_614_629_174_706_176.0),
    ('Z', 1_180_591_620_717_411_303_424.0),
    ('E', 1_152_921_504_606_846_976.0),
    ('P', 1_125_899_906_842_624.0),
    ('T', 1_099_511_627_776.0),
    ('G', 1_073_741_824.0),
    ('M', 1_048_576.0),
    ('K', 1024.0),
    ('B', 1.0),
];

fn human_readable(value: Value, rest: Rest) -> Result<String, Error> {
    let size = number("human_readable", &value)?;
    let mut args = Args::bind("human_readable", &["isbits", "unit"], rest.into_values())?;
    let base = if args.flag("isbits", false)? { "bits" } else { "Bytes" };
    let unit = args.text("unit")?.map(|unit| unit.to_uppercase());
    let wanted = |(letter, limit): &&(char, f64)| match &unit {
        Some(unit) => unit.starts_with(*letter),
        None => size >= *limit,
    };
    let (letter, limit) = UNITS.iter().find(wanted).unwrap_or(&UNITS[8]);
    let suffix = if *letter == 'B' { base.to_owned() } else { format!("{letter}{}", &base[..1]) };
    Ok(format!("{:.2} {suffix}", size / limit))
}

fn human_to_bytes(value: Value, rest: Rest) -> Result<i64, Error> {
    let size = text("human_to_bytes", &value)?;
    let mut args = Args::bind("human_to_bytes", &["default_unit", "isbits"], rest.into_values())?;
    let default = args.text("default_unit")?;
    let bits = args.flag("isbits", false)?;
    let wrong = || invalid(format!("human_to_bytes cannot read \"{size}\""));
    let trimmed = size.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let number: f64 = trimmed[..end].parse().map_err(|_| wrong())?;
    let unit = Some(trimmed[end..].trim().to_owned()).filter(|unit| !unit.is_empty()).or(default);
    let limit = match unit {
        None => 1.0,
        Some(unit) => {
            let first = unit.chars().next().unwrap_or('B').to_ascii_uppercase();
            let class = if bits { 'b' } else { 'B' };
            let short = if first == 'B' { class.to_string() } else { format!("{first}{class}") };
            if unit.len() > 1
                && unit != short
                && !unit.to_lowercase().ends_with(if bits { "bit" } else { "byte" })
            {
                return Err(wrong());
            }
            UNITS.iter().find(|(letter, _)| *letter == first).map(|(_, limit)| *limit).ok_or_else(wrong)?
        }
    };
    #[expect(clippy::cast_possible_truncation, reason = "the size is checked")]
    match (number * limit).round() {
        bytes if bytes.abs() < 9.2e18 => Ok(bytes as i64),
        _ => Err(wrong()),
    }
}
