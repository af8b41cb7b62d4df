//! Variables of a host as a struct.
//!
//! A struct is read field by field, so only what it declares is resolved. When a field is wrong,
//! its problem is noted and the struct is read again with a stand-in for that field, until every
//! problem is known.

use std::collections::BTreeMap;
use std::{fmt, iter};

use serde::de::value::{MapDeserializer, StringDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

use crate::host_vars::HostVars;
use crate::hushed::is_secret;
use crate::origin::Origin;
use crate::similar::closest;
use crate::value::{Kind, Value, bool_of_text};
use crate::vars_error::{Reason, Unreadable, VarsError};

/// More wrong variables than this are told another time.
const MAX_PROBLEMS: usize = 200;

pub(crate) fn deserialize<T: DeserializeOwned>(vars: &HostVars) -> Result<T, VarsError> {
    let bad = match read(vars) {
        Ok(value) => return Ok(value),
        Err(bad) => bad,
    };
    let mut problems = Vec::new();
    for wrong in bad {
        match wrong.reason {
            // It says everything by itself.
            Reason::Unresolvable(error)
                if !matches!(*error, VarsError::Template { .. } | VarsError::Vault { .. }) =>
            {
                return Err(*error);
            }
            _ => problems.push(wrong.problem()),
        }
    }
    Err(VarsError::Invalid { host: vars.name().to_owned(), problems })
}

pub(crate) fn unreadable<T: DeserializeOwned>(vars: &HostVars) -> Vec<Unreadable> {
    let mut bad = read::<T>(vars).err().unwrap_or_default();
    bad.retain(|wrong| !matches!(&wrong.reason, Reason::Unresolvable(error) if error.needs_facts()));
    bad
}

/// Reads a struct, or finds everything that is wrong with it, by the variables' names.
fn read<T: DeserializeOwned>(vars: &HostVars) -> Result<T, Vec<Unreadable>> {
    let mut bad: BTreeMap<String, Unreadable> = BTreeMap::new();
    loop {
        match T::deserialize(Root { vars, bad: &bad }) {
            Ok(value) if bad.is_empty() => return Ok(value),
            // The stand-in may not help: then what is known so far is everything that can be known.
            Ok(_) | Err(Fault::StandIn) => break,
            Err(Fault::Field(wrong)) => {
                let known = bad.insert(wrong.variable.clone(), wrong).is_some();
                if known || bad.len() > MAX_PROBLEMS {
                    break;
                }
            }
            Err(Fault::Message { reason, .. }) => {
                let variable = "variables".to_owned();
                bad.insert(String::new(), Unreadable { variable, reason, origin: None });
                break;
            }
        }
    }
    Err(bad.into_values().collect())
}

/// Why reading stopped.
#[derive(Debug)]
enum Fault {
    /// A field is missing or wrong.
    Field(Unreadable),
    /// A stand-in was refused.
    StandIn,
    /// What is wrong with a value, with its place.
    Message { reason: Reason, origin: Option<Origin> },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(wrong) => wrong.clone().problem().fmt(f),
            Self::StandIn => f.write_str("stand-in refused"),
            Self::Message { reason, .. } => f.write_str(&reason.to_string()),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Message { reason: Reason::Other(message.to_string()), origin: None }
    }

    fn missing_field(field: &'static str) -> Self {
        let reason = Reason::Other("is not set".to_owned());
        Self::Field(Unreadable { variable: field.to_owned(), reason, origin: None })
    }
}

/// The variables of a host as a mapping.
struct Root<'a> {
    vars: &'a HostVars,
    bad: &'a BTreeMap<String, Unreadable>,
}

impl<'de> Deserializer<'de> for Root<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let names: Vec<String> = self.vars.raw().into_keys().collect();
        visitor.visit_map(Fields::new(self, names))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let names = fields.iter().map(|field| (*field).to_owned()).collect();
        visitor.visit_map(Fields::new(self, names))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Fields<'a> {
    root: Root<'a>,
    /// Names still to come, last first. Those with known problems come last, so that the problems
    /// of the others are found before a stand-in can be refused.
    names: Vec<String>,
    current: Option<(String, Option<Value>)>,
}

impl<'a> Fields<'a> {
    fn new(root: Root<'a>, mut names: Vec<String>) -> Self {
        names.sort_by_key(|name| root.bad.contains_key(name));
        names.reverse();
        Self { root, names, current: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        while let Some(name) = self.names.pop() {
            let value = if self.root.bad.contains_key(&name) {
                None
            } else {
                match self.root.vars.get(&name) {
                    Ok(Some(value)) => Some(value),
                    Ok(None) => continue,
                    Err(error) => {
                        let reason = Reason::Unresolvable(Box::new(error));
                        return Err(Fault::Field(Unreadable { variable: name, reason, origin: None }));
                    }
                }
            };
            let key = seed.deserialize(StringDeserializer::<Fault>::new(name.clone()))?;
            self.current = Some((name, value));
            return Ok(Some(key));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.current.take() {
            Some((_, None)) | None => seed.deserialize(StandIn).map_err(|_| Fault::StandIn),
            Some((name, Some(value))) => {
                let origin = value.origin.clone();
                let reader = Reader { value: &value, path: "", is_secret: is_secret(&name) };
                seed.deserialize(reader).map_err(|fault| match fault {
                    Fault::Message { reason, origin: inner } => {
                        Fault::Field(Unreadable { variable: name, reason, origin: inner.or(origin) })
                    }
                    Fault::Field(wrong) => {
                        let reason = Reason::Other(format!("lacks \"{}\"", wrong.variable));
                        Fault::Field(Unreadable { variable: name, reason, origin })
                    }
                    other => other,
                })
            }
        }
    }
}

/// A resolved value as serde sees it.
#[derive(Clone, Copy)]
struct Reader<'a> {
    value: &'a Value,
    /// Where in the variable: `.name[0]`.
    path: &'a str,
    /// Whether a name on the way to it says that it is nobody's business.
    is_secret: bool,
}

impl Reader<'_> {
    fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    fn wrong(&self, wanted: &str) -> Fault {
        let is_secret = self.is_secret || self.value.origin.as_ref().is_some_and(Origin::is_secret);
        let shown = match &self.value.kind {
            Kind::Str(_) | Kind::Raw(_) | Kind::Int(_) if is_secret => {
                "something that is not shown".to_owned()
            }
            Kind::Str(text) | Kind::Raw(text) => format!("the text \"{}\"", shortened(text)),
            Kind::Bool(truth) => format!("the boolean {truth}"),
            Kind::Int(number) => format!("the number {number}"),
            Kind::Float(number) => format!("the number {number}"),
            _ => self.value.type_name().to_owned(),
        };
        let reason = Reason::Type { at: self.path.to_owned(), found: shown, needed: wanted.to_owned() };
        Fault::Message { reason, origin: self.value.origin.clone() }
    }

    fn integer(&self, wanted: &str) -> Result<i128, Fault> {
        match &self.value.kind {
            Kind::Int(number) => Ok(i128::from(*number)),
            #[expect(clippy::cast_possible_truncation, reason = "the number is whole and in range")]
            Kind::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => Ok(*number as i128),
            _ => self.text().and_then(|text| text.trim().parse().ok()).ok_or_else(|| self.wrong(wanted)),
        }
    }

    fn number(&self) -> Result<f64, Fault> {
        self.value
            .as_f64()
            .or_else(|| self.text().and_then(|text| text.trim().parse().ok()))
            .ok_or_else(|| self.wrong("a number"))
    }

    /// Adds the place to what serde says about this value.
    fn place<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| match fault {
            Fault::Message { reason, origin: None } => {
                let reason = match self.path {
                    "" => reason,
                    path => Reason::Other(format!("at {path}: {reason}")),
                };
                Fault::Message { reason, origin: self.value.origin.clone() }
            }
            other => other,
        })
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 {
        text.to_owned()
    } else {
        text.chars().take(57).chain("...".chars()).collect()
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty, $wanted:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let number = self.integer($wanted)?;
            let number = <$type>::try_from(number).map_err(|_| self.wrong($wanted))?;
            self.place(visitor.$visit(number))
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match &self.value.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(truth) => visitor.visit_bool(*truth),
            Kind::Int(number) => visitor.visit_i64(*number),
            Kind::Float(number) => visitor.visit_f64(*number),
            Kind::Str(text) | Kind::Raw(text) => visitor.visit_str(text),
            Kind::Vault(_) => return Err(self.wrong("a decrypted text")),
            Kind::List(items) => visitor.visit_seq(Items {
                items: items.iter(),
                path: self.path,
                is_secret: self.is_secret,
                at: 0,
            }),
            Kind::Map(map) => visitor.visit_map(Entries {
                entries: map.iter(),
                path: self.path,
                is_secret: self.is_secret,
                value: None,
            }),
        };
        self.place(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let truth = match &self.value.kind {
            Kind::Str(text) | Kind::Raw(text) if !text.is_empty() => bool_of_text(text),
            Kind::Str(_) | Kind::Raw(_) => None,
            _ => self.value.as_bool(),
        };
        match truth {
            Some(truth) => self.place(visitor.visit_bool(truth)),
            None => Err(self.wrong("true or false")),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8, "a whole number from -128 to 127";
        deserialize_i16 visit_i16 i16, "a whole number from -32768 to 32767";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number, not negative";
        deserialize_u64 visit_u64 u64, "a whole number, not negative";
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.number()?;
        self.place(visitor.visit_f64(number))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.number()?;
        self.place(visitor.visit_f64(number))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match &self.value.kind {
            Kind::Str(text) | Kind::Raw(text) => visitor.visit_str(text),
            Kind::Int(number) => visitor.visit_string(number.to_string()),
            Kind::Float(number) => visitor.visit_string(format!("{number:?}")),
            _ => return Err(self.wrong("a text")),
        };
        self.place(result)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value.kind {
            Kind::Null => visitor.visit_none(),
            Kind::Str(text) | Kind::Raw(text) if text == crate::magic::OMIT => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    /// A variable that is written without a value has nothing in it, as in a loop or a template of Ansible's.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value.kind {
            Kind::List(_) => self.deserialize_any(visitor),
            Kind::Null => self.place(visitor.visit_seq(Items {
                items: [].iter(),
                path: self.path,
                at: 0,
                is_secret: self.is_secret,
            })),
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value.kind {
            Kind::Map(_) => self.deserialize_any(visitor),
            Kind::Null => self.place(visitor.visit_map(MapDeserializer::new(iter::empty::<(&str, &str)>()))),
            _ => Err(self.wrong("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value.kind {
            Kind::Str(text) | Kind::Raw(text) => {
                if !variants.contains(&text.as_str()) {
                    let meant = closest(text, variants.iter().copied());
                    let meant = meant.map(|meant| format!(" (did you mean {meant}?)")).unwrap_or_default();
                    return Err(self.wrong(&format!("one of {}{meant}", variants.join(", "))));
                }
                self.place(visitor.visit_enum(text.as_str().into_deserializer()))
            }
            // An unquoted `off` or `1` is not a text in YAML 1.1; the variant may be called so.
            Kind::Bool(_) | Kind::Int(_) => {
                let spelled = match &self.value.kind {
                    Kind::Bool(true) => ["true", "yes", "on"].as_slice(),
                    Kind::Bool(false) => ["false", "no", "off"].as_slice(),
                    _ => &[],
                };
                match variants.iter().find(|variant| spelled.contains(variant)) {
                    Some(variant) => self.place(visitor.visit_enum((*variant).into_deserializer())),
                    None => Err(self.wrong(&format!("one of {}", variants.join(", ")))),
                }
            }
            Kind::Map(map) => {
                let json =
                    serde_json::Value::Object(map.iter().map(|(k, v)| (k.clone(), v.to_json())).collect());
                let result = json.deserialize_enum(name, variants, visitor);
                self.place(result.map_err(de::Error::custom))
            }
            _ => Err(self.wrong(&format!("one of {}", variants.join(", ")))),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Value>,
    path: &'a str,
    is_secret: bool,
    at: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let path = format!("{}[{}]", self.path, self.at);
        self.at += 1;
        seed.deserialize(Reader { value, path: &path, is_secret: self.is_secret }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'a> {
    entries: indexmap::map::Iter<'a, String, Value>,
    path: &'a str,
    is_secret: bool,
    value: Option<(&'a str, &'a Value)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key, value));
        seed.deserialize(StringDeserializer::<Fault>::new(key.clone())).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, value)) = self.value.take() else {
            return Err(de::Error::custom("a value is missing"));
        };
        let path = format!("{}.{key}", self.path);
        seed.deserialize(Reader { value, path: &path, is_secret: self.is_secret || is_secret(key) })
    }
}

/// Something of any type that is asked for, to get past a field whose problem is known.
struct StandIn;

macro_rules! stand_in {
    ($($method:ident => $visit:ident($value:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for StandIn {
    type Error = Fault;

    stand_in! {
        deserialize_any => visit_str("");
        deserialize_bool => visit_bool(false);
        deserialize_i8 => visit_i8(0);
        deserialize_i16 => visit_i16(0);
        deserialize_i32 => visit_i32(0);
        deserialize_i64 => visit_i64(0);
        deserialize_u8 => visit_u8(0);
        deserialize_u16 => visit_u16(0);
        deserialize_u32 => visit_u32(0);
        deserialize_u64 => visit_u64(0);
        deserialize_f32 => visit_f32(0.0);
        deserialize_f64 => visit_f64(0.0);
        deserialize_char => visit_char(' ');
        deserialize_str => visit_str("");
        deserialize_string => visit_str("");
        deserialize_bytes => visit_bytes(&[]);
        deserialize_byte_buf => visit_bytes(&[]);
        deserialize_identifier => visit_str("");
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(de::value::SeqDeserializer::new(std::iter::empty::<u8>()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(de::value::MapDeserializer::new(std::iter::empty::<(u8, u8)>()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(variants.first().copied().unwrap_or_default().into_deserializer())
    }

    serde::forward_to_deserialize_any! { i128 u128 }
}
