//! The other direction: what a role has on a machine is taken away by the definition that brought it there.

use super::{Plan, Probe, Resource, Seen};
use crate::event::Change;
use crate::script::sh;

/// A resource that can be taken away again, see `Step::remove`. It looks at the same as in the other direction and plans
/// from what it has seen, so `--check` and `--diff` hold for removal as well.
pub trait Removable: Resource {
    /// What to look at before it is taken away: the same as before it is brought about, unless that is not enough.
    fn probe_removal(&self) -> Probe {
        self.probe()
    }

    /// What of it is there, and how to take it away; no changes when nothing is. An error means that it must not be taken
    /// away, in words for the user.
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String>;
}

/// What a role has on a machine, defined once for both directions: `Step::ensure_all` brings it about, `Step::remove_all`
/// takes it away. In the order in which it comes about: a directory before what is in it, files before the service
/// that reads them. It holds what is the role's alone: a removed directory goes with everything in it.
#[derive(Default)]
pub struct Resources(Vec<Box<dyn Removable>>);

impl Resources {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more thing, which comes after the others and goes before them.
    pub fn with(mut self, resource: impl Removable + 'static) -> Self {
        self.0.push(Box::new(resource));
        self
    }
}

impl IntoIterator for Resources {
    type Item = Box<dyn Removable>;
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A resource that is not wanted.
pub(crate) struct Absent<R>(pub R);

impl<R: Removable> Resource for Absent<R> {
    fn label(&self) -> String {
        self.0.label()
    }

    fn probe(&self) -> Probe {
        self.0.probe_removal()
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        self.0.plan_removal(seen)
    }

    fn desired(&self) -> String {
        format!("no {}", self.0.label())
    }

    fn takes_long(&self) -> bool {
        self.0.takes_long()
    }
}

impl<R: Resource + ?Sized> Resource for Box<R> {
    fn label(&self) -> String {
        (**self).label()
    }

    fn probe(&self) -> Probe {
        (**self).probe()
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        (**self).plan(seen)
    }

    fn desired(&self) -> String {
        (**self).desired()
    }

    fn takes_long(&self) -> bool {
        (**self).takes_long()
    }
}

impl<R: Removable + ?Sized> Removable for Box<R> {
    fn probe_removal(&self) -> Probe {
        (**self).probe_removal()
    }

    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        (**self).plan_removal(seen)
    }
}

/// Removes a file or a link.
pub(super) fn unlink(resource: &dyn Resource, path: &str, diff: Option<String>) -> Plan {
    let change = Change { resource: resource.label(), what: "removed".into(), diff, momentary: false };
    Plan { changes: vec![change], script: Some(sh(r#"rm -f -- "$1""#, [path])), uploads: Vec::new() }
}
