//! What there is in the project, and what of it is the cluster's.

use std::collections::BTreeMap;
use std::thread;

use serde_json::Value;

use crate::client::{CloudError, Session};
use crate::kind::Kind;
use crate::mark::Mark;
use crate::parallel::joined;

/// An object of the cloud.
#[derive(Debug, Clone)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its id, unique in the cloud; that of a key pair is its name.
    pub id: String,
    /// What it is called; the address of a floating IP.
    pub name: String,
    /// What it is for: the machine's name in the cluster, such as `cp-1`, or what all machines share, such as `network`.
    pub part: String,
    pub(crate) body: Value,
}

impl Object {
    /// Reads an object as a list has it, or the answer to the request that made it.
    pub(crate) fn of(kind: Kind, body: Value, part: String) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (id, name) = match kind {
            Kind::KeyPair => (text("name"), text("name")),
            Kind::FloatingIp => (text("id"), text("floating_ip_address")),
            _ => (text("id"), text("name")),
        };
        Self { kind, id, name, part, body }
    }

    /// A text of the object; empty, where it has none of this name.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// How it is named in messages: `port shop-cp-1 (5b0e...)`.
    pub fn shown(&self) -> String {
        let name = if self.name.is_empty() { "without a name" } else { &self.name };
        if self.kind == Kind::KeyPair {
            format!("{} {name}", self.kind)
        } else {
            format!("{} {name} ({})", self.kind, self.id)
        }
    }

    /// Whether it is a server that failed before it was ever started.
    pub(crate) fn never_ran(&self) -> bool {
        self.kind == Kind::Server
            && self.text("status") == "ERROR"
            && self.body["OS-SRV-USG:launched_at"].is_null()
    }

    /// The addresses of a port.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        let fixed = self.body["fixed_ips"].as_array().into_iter().flatten();
        fixed.filter_map(|address| address["ip_address"].as_str())
    }
}

/// All objects of the kinds that matter, as they were at one moment.
#[derive(Debug)]
pub(crate) struct View {
    all: BTreeMap<Kind, Vec<Value>>,
}

impl View {
    /// Lists them, all kinds at once.
    ///
    /// # Errors
    /// A service refuses or does not answer.
    pub(crate) fn look(session: &Session) -> Result<Self, CloudError> {
        Self::look_at(session, &Kind::ALL)
    }

    /// Lists some kinds.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub(crate) fn look_at(session: &Session, kinds: &[Kind]) -> Result<Self, CloudError> {
        let lists = thread::scope(|scope| {
            let ask = |kind: Kind| {
                scope.spawn(move || {
                    let form = kind.form();
                    Ok((kind, session.list(form.service, form.list, form.many)?))
                })
            };
            let asked: Vec<_> = kinds.iter().map(|kind| ask(*kind)).collect();
            asked.into_iter().map(joined).collect::<Result<BTreeMap<_, _>, _>>()
        })?;
        Ok(Self { all: lists })
    }

    /// All objects of a kind, whoever has made them.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        // Key pairs are wrapped once more in their list.
        self.all.get(&kind).into_iter().flatten().map(move |object| match kind {
            Kind::KeyPair => &object["keypair"],
            _ => object,
        })
    }

    /// Those of a kind that are the cluster's.
    pub(crate) fn ours(&self, kind: Kind, mark: &Mark) -> Vec<Object> {
        let part = |object: &Value| match kind {
            Kind::KeyPair => {
                mark.is_of_key(object["name"].as_str().unwrap_or_default()).then(|| "key".to_owned())
            }
            _ => mark.part_of(object),
        };
        self.all(kind).filter_map(|object| Some(Object::of(kind, object.clone(), part(object)?))).collect()
    }

    /// All that is the cluster's, in the order in which it can be removed.
    pub(crate) fn all_ours(&self, mark: &Mark) -> Vec<Object> {
        Kind::ALL.into_iter().flat_map(|kind| self.ours(kind, mark)).collect()
    }
}
