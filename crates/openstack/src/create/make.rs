//! One object made.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::Creation;
use crate::client::Service;
use crate::kind::Kind;
use crate::machines::MachinesError;
use crate::view::{Object, View};

/// How often something is made anew whose making had no clear end.
pub(super) const ATTEMPTS: u32 = 4;
/// How long until it is looked whether it was made after all.
pub(super) const BEFORE_LOOKING: Duration = Duration::from_secs(2);

impl Creation<'_> {
    /// The cluster's object of this kind, of neutron's, and purpose: the one that is there, or a new one, with its tags.
    pub(super) fn ensure(&self, kind: Kind, part: &str, mut body: Value) -> Result<Object, MachinesError> {
        let mark = &self.machines.mark;
        let object = match self.find(kind, part) {
            Some(object) => object.clone(),
            None => {
                body["description"] = mark.description(part).into();
                let name = body["name"].as_str().unwrap_or_default().to_owned();
                self.make(kind, part, &name, body)?
            }
        };
        if !mark.is_tagged(&object.body, part) {
            let tags = object.body["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut tags: Vec<String> = tags.map(str::to_owned).chain(mark.tags(part)).collect();
            tags.sort();
            tags.dedup();
            let path = format!("{}/{}/tags", kind.form().path, object.id);
            let tagged = self.machines.session.put(Service::Network, &path, &json!({"tags": tags}));
            let what = || format!("the tags of {}", object.shown());
            tagged.map_err(|source| MachinesError::Making { what: what(), source })?;
        }
        Ok(object)
    }

    /// Makes an object. Where it is not clear whether it was made, it is looked for before it is made once more.
    pub(super) fn make(
        &self,
        kind: Kind,
        part: &str,
        name: &str,
        body: Value,
    ) -> Result<Object, MachinesError> {
        let form = kind.form();
        let body = json!({form.one: body});
        let what = || format!("the {kind} {}", if name.is_empty() { part } else { name });
        let mut attempt = 1;
        loop {
            let source = match self.machines.session.post(form.service, form.path, &body) {
                Ok(mut answer) => {
                    let made = Object::of(kind, answer[form.one].take(), part.to_owned());
                    self.tell(&format!("{kind} {}", if made.name.is_empty() { name } else { &made.name }));
                    return Ok(made);
                }
                Err(source) => source,
            };
            if !source.is_unclear() || attempt == ATTEMPTS {
                return Err(MachinesError::Making { what: what(), source });
            }
            self.tell(&format!("{}: {source}; looking whether it was made", what()));
            thread::sleep(BEFORE_LOOKING * attempt);
            let there = View::look_at(self.machines.session, &[kind])?.ours(kind, &self.machines.mark);
            if let Some(made) = there.into_iter().find(|object| object.part == part) {
                return Ok(made);
            }
            attempt += 1;
        }
    }
}
