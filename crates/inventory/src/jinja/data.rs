//! Filters on lists and mappings.

use minijinja::value::{Kwargs, Tuple, ValueKind};
use minijinja::{Environment, Error, State, Value};
use rand::Rng;

use super::args::{Args, Rest, defined, entries, invalid, is_list, items, kind, split};

/// More combinations than this are taken for a mistake.
const MAX_ITEMS: usize = 100_000;

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_function("dict", dict);
    environment.add_filter("combine", combine);
    environment.add_filter("dict2items", dict2items);
    environment.add_filter("items2dict", items2dict);
    environment.add_filter("flatten", flatten);
    environment.add_filter("union", |left: Value, right: Value| {
        let mut all = items("union", &left)?;
        all.extend(items("union", &right)?);
        Ok::<_, Error>(distinct(all))
    });
    environment.add_filter("intersect", |left: Value, right: Value| {
        let right = items("intersect", &right)?;
        Ok::<_, Error>(distinct(
            items("intersect", &left)?.into_iter().filter(|item| right.contains(item)).collect(),
        ))
    });
    environment.add_filter("difference", |left: Value, right: Value| {
        let right = items("difference", &right)?;
        Ok::<_, Error>(distinct(
            items("difference", &left)?.into_iter().filter(|item| !right.contains(item)).collect(),
        ))
    });
    environment.add_filter("symmetric_difference", |left: Value, right: Value| {
        let (left, right) = (items("symmetric_difference", &left)?, items("symmetric_difference", &right)?);
        let only = |these: &[Value], those: &[Value]| {
            these.iter().filter(|item| !those.contains(item)).cloned().collect::<Vec<_>>()
        };
        Ok::<_, Error>(distinct([only(&left, &right), only(&right, &left)].concat()))
    });
    environment.add_filter("product", product);
    environment.add_filter("permutations", |value: Value, length: Option<usize>| {
        let items = items("permutations", &value)?;
        let length = length.unwrap_or(items.len());
        arrangements(&items, length, Order::Permutations)
    });
    environment.add_filter("combinations", |value: Value, length: usize| {
        arrangements(&items("combinations", &value)?, length, Order::Combinations)
    });
    environment.add_filter("zip_longest", zip_longest);
    environment.add_filter("subelements", |value: Value, rest: Rest| {
        let mut args = Args::bind("subelements", &["subelements", "skip_missing"], rest.into_values())?;
        let path = args.need("subelements")?;
        subelements(&value, &path, args.flag("skip_missing", false)?)
    });
    environment.add_filter("rekey_on_member", rekey_on_member);
    environment.add_filter("extract", extract);
    environment.add_filter("random", random);
    environment.add_filter("shuffle", shuffle);
    environment.add_filter("json_query", |_: Value, _: Rest| -> Result<Value, Error> {
        Err(invalid("json_query is not supported; use selectattr, rejectattr and map(attribute=...)"))
    });
    environment.add_test("subset", |left: Value, right: Value| {
        let right = items("subset", &right)?;
        Ok::<_, Error>(items("subset", &left)?.iter().all(|item| right.contains(item)))
    });
    environment.add_test("superset", |left: Value, right: Value| {
        let left = items("superset", &left)?;
        Ok::<_, Error>(items("superset", &right)?.iter().all(|item| left.contains(item)))
    });
    environment.add_test("contains", |container: Value, item: Value| {
        defined("contains", &container)?;
        match (container.as_str(), item.as_str()) {
            (Some(text), Some(part)) => Ok::<_, Error>(text.contains(part)),
            _ => Ok(items("contains", &container)?.contains(&item)),
        }
    });
    environment
        .add_test("any", |value: Value| Ok::<_, Error>(items("any", &value)?.iter().any(Value::is_true)));
    environment
        .add_test("all", |value: Value| Ok::<_, Error>(items("all", &value)?.iter().all(Value::is_true)));
}

/// The items, each once, in the order of their first appearance.
/// Python's `dict`: of a mapping, or of pairs (`dict(names | zip(values))`), with more entries by name.
fn dict(value: Option<Value>, more: Kwargs) -> Result<Value, Error> {
    let Some(pairs) = value.as_ref().filter(|value| is_list(value)) else {
        return minijinja::functions::dict(value, more);
    };
    let pair = |pair: Value| match pair.try_iter()?.collect::<Vec<_>>().as_slice() {
        [key, value] => Ok((key.clone(), value.clone())),
        _ => Err(invalid("dict needs pairs of a key and a value")),
    };
    let pairs: Result<Vec<(Value, Value)>, Error> = pairs.try_iter()?.map(pair).collect();
    minijinja::functions::dict(Some(Value::from_pairs(pairs?)), more)
}

fn distinct(items: Vec<Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}

/// How lists meet in `combine`.
#[derive(Clone, Copy, PartialEq)]
enum Lists {
    Replace,
    Keep,
    Append,
    Prepend,
    AppendRest,
    PrependRest,
}

fn combine(first: Value, rest: Rest) -> Result<Value, Error> {
    let (others, named) = split(rest.into_values())?;
    let mut recursive = false;
    let mut lists = Lists::Replace;
    for (name, value) in named {
        match name.as_str() {
            "recursive" => recursive = value.is_true(),
            "list_merge" => {
                lists = match value.to_string().as_str() {
                    "replace" => Lists::Replace,
                    "keep" => Lists::Keep,
                    "append" => Lists::Append,
                    "prepend" => Lists::Prepend,
                    "append_rp" => Lists::AppendRest,
                    "prepend_rp" => Lists::PrependRest,
                    other => return Err(invalid(format!("combine: list_merge \"{other}\" is not known"))),
                };
            }
            other => return Err(invalid(format!("combine: unknown argument {other}"))),
        }
    }
    let mut maps = Vec::new();
    for value in std::iter::once(first).chain(others) {
        if is_list(&value) {
            maps.extend(items("combine", &value)?);
        } else {
            maps.push(value);
        }
    }
    let mut maps = maps.into_iter();
    let Some(mut result) = maps.next() else { return Ok(Value::from_pairs(Vec::<(Value, Value)>::new())) };
    entries("combine", &result)?;
    for map in maps {
        result = merge(&result, &map, recursive, lists, 0)?;
    }
    Ok(result)
}

fn merge(low: &Value, high: &Value, recursive: bool, lists: Lists, depth: usize) -> Result<Value, Error> {
    if depth > 64 {
        return Err(invalid("combine: nested too deeply"));
    }
    let mut merged = entries("combine", low)?;
    for (key, value) in entries("combine", high)? {
        let Some(at) = merged.iter().position(|(known, _)| *known == key) else {
            merged.push((key, value));
            continue;
        };
        let old = &merged[at].1;
        let new = match (old.kind(), value.kind()) {
            (ValueKind::Map, ValueKind::Map) if recursive => merge(old, &value, recursive, lists, depth + 1)?,
            _ if is_list(old) && is_list(&value) => {
                let (old, new) = (items("combine", old)?, items("combine", &value)?);
                let without = |items: &[Value], others: &[Value]| {
                    items.iter().filter(|item| !others.contains(item)).cloned().collect::<Vec<_>>()
                };
                match lists {
                    Lists::Replace => new,
                    Lists::Keep => old,
                    Lists::Append => [old, new].concat(),
                    Lists::Prepend => [new, old].concat(),
                    Lists::AppendRest => [without(&old, &new), new].concat(),
                    Lists::PrependRest => {
                        let rest = without(&old, &new);
                        [new, rest].concat()
                    }
                }
                .into()
            }
            _ => value,
        };
        merged[at].1 = new;
    }
    Ok(Value::from_pairs(merged))
}

fn dict2items(value: Value, rest: Rest) -> Result<Value, Error> {
    let mut args = Args::bind("dict2items", &["key_name", "value_name"], rest.into_values())?;
    let key_name = args.text("key_name")?.unwrap_or_else(|| "key".to_owned());
    let value_name = args.text("value_name")?.unwrap_or_else(|| "value".to_owned());
    let item = |(key, value)| Value::from_pairs([(key_name.as_str(), key), (value_name.as_str(), value)]);
    Ok(entries("dict2items", &value)?.into_iter().map(item).collect::<Vec<_>>().into())
}

fn items2dict(value: Value, rest: Rest) -> Result<Value, Error> {
    let mut args = Args::bind("items2dict", &["key_name", "value_name"], rest.into_values())?;
    let key_name = args.get("key_name")?.unwrap_or_else(|| "key".into());
    let value_name = args.get("value_name")?.unwrap_or_else(|| "value".into());
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    for item in items("items2dict", &value)? {
        let part = |name: &Value| {
            let part = item.get_item(name).ok().filter(|part| !part.is_undefined());
            part.ok_or_else(|| invalid(format!("items2dict: an item has no \"{name}\": {item}")))
        };
        pairs.push((part(&key_name)?, part(&value_name)?));
    }
    Ok(Value::from_pairs(pairs))
}

fn flatten(value: Value, rest: Rest) -> Result<Value, Error> {
    let mut args = Args::bind("flatten", &["levels", "skip_nulls"], rest.into_values())?;
    let levels = args.number("levels")?;
    let skip = args.flag("skip_nulls", true)?;
    let mut out = Vec::new();
    flatten_into(&items("flatten", &value)?, levels, skip, &mut out, 0)?;
    Ok(out.into())
}

fn flatten_into(
    list: &[Value],
    levels: Option<i64>,
    skip: bool,
    out: &mut Vec<Value>,
    depth: usize,
) -> Result<(), Error> {
    if depth > 64 {
        return Err(invalid("flatten: nested too deeply"));
    }
    for item in list {
        let null = item.is_none() || matches!(item.as_str(), Some("None" | "null"));
        if skip && null {
            continue;
        }
        if is_list(item) && levels.is_none_or(|levels| levels >= 1) {
            flatten_into(&items("flatten", item)?, levels.map(|levels| levels - 1), skip, out, depth + 1)?;
        } else {
            out.push(item.clone());
        }
    }
    Ok(())
}

fn product(first: Value, rest: Rest) -> Result<Value, Error> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in std::iter::once(first).chain(rest.into_values()) {
        let list = items("product", &list)?;
        if rows.len().saturating_mul(list.len()) > MAX_ITEMS {
            return Err(invalid("product: too many combinations"));
        }
        rows = rows
            .iter()
            .flat_map(|row| list.iter().map(|item| row.iter().cloned().chain([item.clone()]).collect()))
            .collect();
    }
    Ok(rows.into_iter().map(|row| Value::from(Tuple::new(row))).collect::<Vec<_>>().into())
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Permutations,
    Combinations,
}

fn arrangements(items: &[Value], length: usize, order: Order) -> Result<Value, Error> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..length {
        let mut next = Vec::new();
        for row in &rows {
            let start = if order == Order::Combinations { row.last().map_or(0, |last| last + 1) } else { 0 };
            next.extend(
                (start..items.len())
                    .filter(|at| !row.contains(at))
                    .map(|at| [row.as_slice(), &[at]].concat()),
            );
            if next.len() > MAX_ITEMS {
                return Err(invalid("there are too many arrangements"));
            }
        }
        rows = next;
    }
    let row =
        |row: Vec<usize>| Value::from(Tuple::new(row.into_iter().map(|at| items[at].clone()).collect()));
    Ok(rows.into_iter().map(row).collect::<Vec<_>>().into())
}

fn zip_longest(first: Value, rest: Rest) -> Result<Value, Error> {
    let (others, named) = split(rest.into_values())?;
    let fill =
        named.into_iter().find(|(name, _)| name == "fillvalue").map_or(Value::from(()), |(_, value)| value);
    let lists: Vec<Vec<Value>> = std::iter::once(first)
        .chain(others)
        .map(|list| items("zip_longest", &list))
        .collect::<Result<_, _>>()?;
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let row =
        |at: usize| Tuple::new(lists.iter().map(|list| list.get(at).unwrap_or(&fill).clone()).collect());
    Ok((0..longest).map(|at| Value::from(row(at))).collect::<Vec<_>>().into())
}

/// Pairs of an element and each item of a list inside it.
pub(super) fn subelements(value: &Value, path: &Value, skip_missing: bool) -> Result<Value, Error> {
    let path: Vec<String> = match path.as_str() {
        Some(path) => path.split('.').map(str::to_owned).collect(),
        None => items("subelements", path)?.iter().map(ToString::to_string).collect(),
    };
    let elements = match value.kind() {
        ValueKind::Map => entries("subelements", value)?.into_iter().map(|(_, element)| element).collect(),
        _ => items("subelements", value)?,
    };
    let mut pairs = Vec::new();
    for element in elements {
        let mut found = element.clone();
        for key in &path {
            found = found.get_attr(key).unwrap_or_default();
        }
        if found.is_undefined() && skip_missing {
            continue;
        }
        if found.is_undefined() || !is_list(&found) {
            return Err(invalid(format!("subelements: \"{}\" is no list in {element}", path.join("."))));
        }
        for item in items("subelements", &found)? {
            pairs.push(Value::from(Tuple::new(vec![element.clone(), item])));
        }
    }
    Ok(pairs.into())
}

fn rekey_on_member(value: Value, rest: Rest) -> Result<Value, Error> {
    let mut args = Args::bind("rekey_on_member", &["key", "duplicates"], rest.into_values())?;
    let key = args.need("key")?;
    let overwrite = args.text("duplicates")?.as_deref() == Some("overwrite");
    let elements = match value.kind() {
        ValueKind::Map => {
            entries("rekey_on_member", &value)?.into_iter().map(|(_, element)| element).collect()
        }
        _ => items("rekey_on_member", &value)?,
    };
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    for element in elements {
        let name = element.get_item(&key).unwrap_or_default();
        if name.is_undefined() {
            return Err(invalid(format!("rekey_on_member: \"{key}\" is not in {element}")));
        }
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if overwrite => *known = element,
            Some(_) => return Err(invalid(format!("rekey_on_member: \"{name}\" comes twice"))),
            None => pairs.push((name, element)),
        }
    }
    Ok(Value::from_pairs(pairs))
}

fn extract(key: Value, rest: Rest) -> Result<Value, Error> {
    let mut args = Args::bind("extract", &["container", "morekeys"], rest.into_values())?;
    let mut found = args.need("container")?;
    let more = match args.get("morekeys")? {
        None => Vec::new(),
        Some(keys) if is_list(&keys) => items("extract", &keys)?,
        Some(key) => vec![key],
    };
    for key in std::iter::once(key).chain(more) {
        if is_list(&key) || key.kind() == ValueKind::Map {
            return Err(invalid(format!("extract: {} is no key", kind(&key))));
        }
        found = if found.is_undefined() { found } else { super::valid(found.get_item(&key)?)? };
    }
    Ok(found)
}

/// The seed as the start of a small generator. The choice is the same on every run, but not the
/// one that Python would make.
fn seeded(seed: &Value) -> u64 {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(seed.to_string());
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A number below a limit: from a seed, or from the system.
fn pick(seed: Option<&Value>, round: u64, limit: usize) -> usize {
    match seed {
        Some(seed) => {
            let mixed = seeded(&Value::from(format!("{seed}/{round}")));
            usize::try_from(mixed % limit.max(1) as u64).unwrap_or(0)
        }
        None => rand::rng().random_range(0..limit.max(1)),
    }
}

fn random(value: Value, rest: Rest) -> Result<Value, Error> {
    let mut args = Args::bind("random", &["start", "step", "seed"], rest.into_values())?;
    let start = args.number("start")?.unwrap_or(0);
    let step = args.number("step")?.unwrap_or(1);
    let seed = args.get("seed")?;
    defined("random", &value)?;
    if let Some(end) = value.as_i64() {
        let count = usize::try_from((end - start).checked_div(step).unwrap_or(0)).unwrap_or(0);
        if count == 0 {
            return Err(invalid("random: there is no number in this range"));
        }
        let at = i64::try_from(pick(seed.as_ref(), 0, count)).unwrap_or(0);
        return Ok(Value::from(start + at * step));
    }
    let list = items("random", &value)?;
    match list.get(pick(seed.as_ref(), 0, list.len())) {
        Some(item) => Ok(item.clone()),
        None => Err(invalid("random: the list is empty")),
    }
}

fn shuffle(_: &State, value: Value, rest: Rest) -> Result<Value, Error> {
    let mut args = Args::bind("shuffle", &["seed"], rest.into_values())?;
    let seed = args.get("seed")?;
    let mut list = items("shuffle", &value)?;
    for at in (1..list.len()).rev() {
        list.swap(at, pick(seed.as_ref(), at as u64, at + 1));
    }
    Ok(list.into())
}
