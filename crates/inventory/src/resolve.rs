//! Resolving variables: templates are rendered when a value is asked for, variables they mention
//! are resolved the same way, and circles are found.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Error, ErrorKind, Value as Engine};

use crate::convert;
use crate::fact_names;
use crate::inventory::HostId;
use crate::jinja::prepare::{self, Backslashes};
use crate::literal::{self, Words};
use crate::magic;
use crate::origin::Origin;
use crate::similar;
use crate::value::{Kind, Value, has_markers};
use crate::vars::Inner;
use crate::vars_error::{Link, VarsError};

/// How many variables may refer to each other in a row. Each takes stack of the calling thread;
/// the deepest chains people write are around ten.
const MAX_DEPTH: usize = 48;

/// One variable that is being resolved, and who asked for it.
#[derive(Debug)]
struct Frame {
    host: HostId,
    variable: String,
    origin: Option<Origin>,
    parent: Option<Arc<Frame>>,
    depth: usize,
}

/// The variables of one host as a template sees them.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) inner: Arc<Inner>,
    pub(crate) host: HostId,
    frame: Option<Arc<Frame>>,
    /// Variables of this template only; they win.
    extra: Option<Engine>,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scope({})", self.host_name())
    }
}

impl Scope {
    pub(crate) fn new(inner: Arc<Inner>, host: HostId) -> Self {
        Self { inner, host, frame: None, extra: None }
    }

    /// The same scope with variables for one template.
    pub(crate) fn with_extra(self, extra: Engine) -> Self {
        Self { extra: Some(extra), ..self }
    }

    /// The variables of another host, asked for by the same variable.
    pub(crate) fn of_host(&self, host: HostId) -> Self {
        Self { inner: Arc::clone(&self.inner), host, frame: self.frame.clone(), extra: None }
    }

    pub(crate) fn host_name(&self) -> &str {
        &self.inner.inventory.hosts[self.host].name
    }

    /// The value of a variable; `None` when there is none of that name.
    pub(crate) fn resolve(&self, name: &str) -> Result<Option<Engine>, VarsError> {
        if let Some(value) = self.extra.as_ref().and_then(|extra| extra.get_attr(name).ok())
            && !value.is_undefined()
        {
            return Ok(Some(value));
        }
        if let Some(value) = magic::variable(self, name) {
            return Ok(Some(value));
        }
        if let Some(value) = self.inner.recall(self.host, name) {
            return Ok(Some(value));
        }
        let generation = self.inner.generation();
        let Some(definition) = self.inner.definition(self.host, name) else {
            if fact_names::is_fact(name) && self.inner.machine_facts(self.host).is_none() {
                return Err(self.needs_facts(name));
            }
            return Ok(magic::fallback(self, name));
        };
        // A part of what is being worked out: the other parts of it are not needed for that.
        if matches!(definition.kind, Kind::Map(_)) && self.is_inside(name) {
            return Ok(Some(Engine::from_object(Parts {
                scope: self.clone(),
                name: name.to_owned(),
                value: definition,
            })));
        }
        let inside = self.enter(name, definition.origin.clone())?;
        let value = inside.evaluate(&definition)?;
        self.inner.remember(self.host, name, &value, generation);
        Ok(Some(value))
    }

    /// Whether a variable of this host is being worked out.
    fn is_inside(&self, name: &str) -> bool {
        std::iter::successors(self.frame.as_deref(), |frame| frame.parent.as_deref())
            .any(|frame| frame.host == self.host && frame.variable == name)
    }

    /// The scope inside a variable; an error when that makes a circle.
    fn enter(&self, name: &str, origin: Option<Origin>) -> Result<Self, VarsError> {
        let depth = self.frame.as_ref().map_or(0, |frame| frame.depth) + 1;
        let mut frames: Vec<&Frame> =
            std::iter::successors(self.frame.as_deref(), |frame| frame.parent.as_deref()).collect();
        if let Some(at) = frames.iter().position(|frame| frame.host == self.host && frame.variable == name) {
            frames.truncate(at + 1);
            frames.reverse();
            let links = frames.into_iter().map(|frame| self.link(frame)).collect();
            return Err(VarsError::Cycle { host: self.host_name().to_owned(), links });
        }
        if depth > MAX_DEPTH {
            let chain = frames.into_iter().rev().map(|frame| self.link(frame)).collect();
            return Err(VarsError::TooDeep { host: self.host_name().to_owned(), limit: MAX_DEPTH, chain });
        }
        let frame =
            Frame { host: self.host, variable: name.to_owned(), origin, parent: self.frame.clone(), depth };
        Ok(Self {
            inner: Arc::clone(&self.inner),
            host: self.host,
            frame: Some(Arc::new(frame)),
            extra: None,
        })
    }

    /// That a fact is asked for which no machine has told yet. It is an error also under `default()` and `is defined`: what
    /// they would make of it is not what they make of it later.
    pub(crate) fn needs_facts(&self, fact: &str) -> VarsError {
        // Whoever asks for the fact itself is told of the fact.
        let link = self.frame.as_deref().map(|frame| self.link(frame));
        let link = link.unwrap_or_else(|| Link {
            host: self.host_name().to_owned(),
            variable: fact.to_owned(),
            origin: None,
        });
        VarsError::NeedsFacts {
            host: link.host,
            variable: link.variable,
            origin: link.origin,
            fact: fact.to_owned(),
            of: self.host_name().to_owned(),
        }
    }

    fn link(&self, frame: &Frame) -> Link {
        Link {
            host: self.inner.inventory.hosts[frame.host].name.clone(),
            variable: frame.variable.clone(),
            origin: frame.origin.clone(),
        }
    }

    /// A value with all templates in it rendered.
    pub(crate) fn evaluate(&self, value: &Value) -> Result<Engine, VarsError> {
        Ok(match &value.kind {
            Kind::Str(text) if has_markers(text) => self.template(text, value.origin.as_ref())?,
            Kind::Vault(vault) => {
                let plain = vault.decrypt(&self.inner.secrets).map_err(|source| VarsError::Vault {
                    variable: self.frame.as_ref().map(|frame| frame.variable.clone()).unwrap_or_default(),
                    origin: value.origin.clone(),
                    source,
                })?;
                Engine::from(plain)
            }
            Kind::List(items) => {
                items.iter().map(|item| self.evaluate(item)).collect::<Result<Vec<_>, _>>()?.into()
            }
            Kind::Map(map) => {
                let entries: Result<Vec<(&str, Engine)>, VarsError> =
                    map.iter().map(|(key, item)| Ok((key.as_str(), self.evaluate(item)?))).collect();
                Engine::from_pairs(entries?)
            }
            other => convert::plain_to_engine(other),
        })
    }

    /// Renders the value of a variable. A text that is one expression keeps the type of its value;
    /// a rendered text that looks like a list, a mapping or a boolean becomes one.
    fn template(&self, text: &str, origin: Option<&Origin>) -> Result<Engine, VarsError> {
        let prepared = prepare::prepare(text, Backslashes::Literal);
        let environment = &self.inner.environment;
        let context = Engine::from_object(self.clone());
        let result = match &prepared.expression {
            Some(expression) => environment.compile_expression(expression).and_then(|compiled| {
                let value = compiled.eval(context)?;
                match value.is_undefined() {
                    // Printing tells what is undefined from `x if y` without an else, which is nothing.
                    true => environment
                        .render_str(&prepared.text, Engine::from_object(self.clone()))
                        .map(Engine::from)
                        .map_err(|_| {
                            let message = format!("`{}` is undefined", prepare::as_written(expression));
                            Error::new(ErrorKind::UndefinedError, message)
                        }),
                    false => convert::unrolled(value),
                }
            }),
            None => environment
                .template_from_str(&prepared.text)
                .and_then(|template| template.render(context))
                .map(Engine::from),
        };
        let code = prepared.expression.as_deref().unwrap_or(&prepared.text);
        let value = result.map_err(|error| self.error(error, code, None, origin))?;
        let Some(rendered) = value.as_str() else { return Ok(value) };
        // Filters that make texts on purpose (`to_json`, `string`) mark them as safe.
        if !value.is_safe()
            && let Some(parsed) = structured(rendered)
        {
            return Ok(convert::plain_to_engine(&parsed.kind));
        }
        Ok(if text.ends_with('\n') { Engine::from(keep_newlines(text, rendered.to_owned())) } else { value })
    }

    /// Renders a template file.
    pub(crate) fn render(&self, name: &str, text: &str) -> Result<String, VarsError> {
        let prepared = prepare::prepare(text, Backslashes::Escape);
        self.inner
            .environment
            .template_from_named_str(name, &prepared.text)
            .and_then(|template| template.render(Engine::from_object(self.clone())))
            .map(|rendered| keep_newlines(text, rendered))
            .map_err(|error| {
                let source = crate::origin::SourceText::new(name, text);
                let origin = Origin::new(&source, error.line().unwrap_or(0), 1);
                self.error(error, &prepared.text, Some(&format!("render {name}")), Some(&origin))
            })
    }

    /// The engine's error as ours; `code` is the text the engine was given. An error of a variable inside comes out as itself, with this
    /// variable added to its chain.
    fn error(&self, error: Error, code: &str, what: Option<&str>, origin: Option<&Origin>) -> VarsError {
        let own_link = self.frame.as_deref().map(|frame| self.link(frame));
        if let Some(inner) = inner_error(&error) {
            let mut inner = inner.clone();
            if let VarsError::Template { chain, .. } = &mut inner {
                match (own_link, what) {
                    (Some(link), _) => chain.push(link),
                    (None, Some(what)) => chain.push(Link {
                        host: self.host_name().to_owned(),
                        variable: what.to_owned(),
                        origin: origin.cloned(),
                    }),
                    (None, None) => {}
                }
            }
            return inner;
        }
        let what = match (what, &own_link) {
            (Some(what), _) => what.to_owned(),
            (None, Some(link)) => format!("resolve \"{}\"", link.variable),
            (None, None) => "evaluate the expression".to_owned(),
        };
        let message =
            match crate::jinja::is_about_undefined(&error).then(|| self.undefined_in(code)).flatten() {
                Some(message) => message,
                None => crate::jinja::message(&error, code),
            };
        let line = error.line().unwrap_or(1).saturating_sub(1);
        let shown = code.lines().nth(line).map(prepare::as_written);
        let further = origin.zip(shown).and_then(|(origin, shown)| origin.further(line, &shown));
        VarsError::Template {
            host: self.host_name().to_owned(),
            what,
            message,
            origin: further.or_else(|| origin.cloned()),
            chain: Vec::new(),
        }
    }

    /// Which variables in a text or an expression do not exist, with the names that may be meant.
    fn undefined_in(&self, code: &str) -> Option<String> {
        let environment = &self.inner.environment;
        let names = match environment.compile_expression(code) {
            Ok(expression) => expression.undeclared_variables(false),
            Err(_) => environment.template_from_str(code).ok()?.undeclared_variables(false),
        };
        let is_global = |name: &str| environment.globals().any(|(global, _)| global == name);
        let mut missing: Vec<String> = names
            .into_iter()
            .filter(|name| !is_global(name) && matches!(self.resolve(name), Ok(None)))
            .collect();
        missing.sort();
        let known = magic::all_names(self);
        let shown: Vec<String> = missing
            .iter()
            .map(|name| match similar::closest(name, known.iter().map(String::as_str)) {
                Some(similar) => format!("`{name}` is undefined (did you mean `{similar}`?)"),
                None => format!("`{name}` is undefined"),
            })
            .collect();
        (!shown.is_empty()).then(|| shown.join(", "))
    }
}

/// A mapping that one of its own values refers to: each value is worked out when it is asked for.
#[derive(Debug)]
struct Parts {
    scope: Scope,
    /// `root`, or `root.a` of a mapping inside.
    name: String,
    value: Value,
}

impl Object for Parts {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Engine) -> Option<Engine> {
        let key = key.as_str()?;
        let value = self.value.as_map()?.get(key)?.clone();
        let name = format!("{}.{key}", self.name);
        let inside = match self.scope.enter(&name, value.origin.clone()) {
            Ok(inside) => inside,
            Err(error) => return Some(magic::failed(error)),
        };
        Some(match value.kind {
            Kind::Map(_) => Engine::from_object(Self { scope: inside, name, value }),
            _ => inside.evaluate(&value).unwrap_or_else(magic::failed),
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let keys = self.value.as_map().into_iter().flat_map(|map| map.keys());
        Enumerator::Values(keys.map(|key| Engine::from(key.as_str())).collect())
    }
}

/// The error of a variable that was asked for by a template.
fn inner_error(error: &Error) -> Option<&VarsError> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<VarsError>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// What a rendered text becomes by Ansible's rule for results that look like data.
fn structured(text: &str) -> Option<Value> {
    let looks_so = text.starts_with(['[', '{']) || matches!(text, "True" | "False");
    looks_so.then(|| literal::parse(text, Words::PythonOrJson)).flatten()
}

/// Jinja drops newlines at the end; Ansible puts back as many as the template had.
fn keep_newlines(template: &str, mut rendered: String) -> String {
    let count = |text: &str| text.len() - text.trim_end_matches('\n').len();
    for _ in count(&rendered)..count(template) {
        rendered.push('\n');
    }
    rendered
}

impl Object for Scope {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Engine) -> Option<Engine> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Engine> {
        match self.resolve(name) {
            Ok(value) => value,
            Err(error) => Some(magic::failed(error)),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        // These two hold everything, so listing them here would never end.
        let names =
            magic::all_names(self).into_iter().filter(|name| !matches!(name.as_str(), "vars" | "hostvars"));
        Enumerator::Values(names.map(Engine::from).collect())
    }
}
