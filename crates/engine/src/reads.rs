//! What roles read of variables, said beforehand: so that it is tried before any machine is touched.

use std::any::type_name;

use muster_inventory::{HostVars, Inventory, Unreadable};
use serde::de::DeserializeOwned;

use crate::host::Host;

/// A struct of variables that a role reads ([`Host::vars`]), and whose variables they are.
#[derive(Clone, Copy)]
pub struct Read {
    /// Those of every machine of these groups, in the run or not; `None`: of each machine that goes through the role.
    groups: Option<&'static [&'static str]>,
    name: fn() -> &'static str,
    unreadable: fn(&HostVars) -> Vec<Unreadable>,
}

impl Read {
    /// The variables of the machine that goes through the role.
    pub const fn own<T: DeserializeOwned>() -> Self {
        Self { groups: None, name: type_name::<T>, unreadable: HostVars::unreadable::<T> }
    }

    /// The variables of the machines of some groups, for which others ask as well.
    pub const fn of<T: DeserializeOwned>(groups: &'static [&'static str]) -> Self {
        Self { groups: Some(groups), ..Self::own::<T>() }
    }

    /// What the struct is called in the program.
    pub fn name(&self) -> &'static str {
        (self.name)()
    }

    /// The machines whose variables are read when these go through the role.
    pub fn machines<'i>(&self, inventory: &'i Inventory, own: &[&'i str]) -> Vec<&'i str> {
        match self.groups {
            None => own.to_vec(),
            Some(groups) => groups.iter().flat_map(|group| inventory.group(group)).collect(),
        }
    }

    /// Everything that keeps the struct from being read from these variables.
    pub fn unreadable(&self, vars: &HostVars) -> Vec<Unreadable> {
        (self.unreadable)(vars)
    }

    fn is_of(&self, host: &Host, own: bool) -> bool {
        self.groups.map_or(own, |groups| groups.iter().any(|group| host.in_group(group)))
    }
}

/// A role that is under way: what it reads, and on which host it is.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) role: &'static str,
    pub(crate) reads: &'static [&'static [Read]],
    pub(crate) host: String,
}

tokio::task_local! {
    pub(crate) static READER: Reader;
}

/// That the role that is under way has said that it reads this of the host: a role that has not is wrong on every machine, and
/// tests find it.
pub(crate) fn is_said<T>(host: &Host) {
    let look = |reader: &Reader| {
        let own = reader.host == host.name();
        let mut reads = reader.reads.iter().copied().flatten();
        let said = reads.any(|read| read.name() == type_name::<T>() && read.is_of(host, own));
        assert!(
            said,
            "the role {} on {} reads {} of {}, and its `reads` does not say so",
            reader.role,
            reader.host,
            type_name::<T>(),
            host.name()
        );
    };
    // Outside of a role nobody reads.
    READER.try_with(look).ok();
}
