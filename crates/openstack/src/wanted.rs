//! The machines that a declaration asks for, and what they are called.

use std::net::Ipv4Addr;

use crate::declaration::{Declaration, Machinery, Pool};
use crate::rules::Group;

/// One machine of a pool.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Its name within the cluster: `cp-1`.
    pub part: String,
    /// The pool.
    pub pool: &'a Pool,
}

impl Wanted<'_> {
    /// Its hostname, which tells it from machines of other clusters, too.
    pub(crate) fn name(&self, cluster: &str) -> String {
        format!("{cluster}-{}", self.part)
    }

    /// The security groups that it is in.
    pub(crate) fn groups(&self) -> &'static [Group] {
        if self.pool.is_control_plane() { &Group::ALL } else { &[Group::Machines] }
    }
}

impl Pool {
    /// The names within the cluster that its machines may have, in the order in which they are given out: `worker-1` and so on; those
    /// of machines that exist are made of their addresses (`worker-192-0-2-12`), so that no other machine has one in another order
    /// of them.
    pub fn names(&self) -> Box<dyn Iterator<Item = String> + '_> {
        match &self.machinery {
            Machinery::Made(_) => {
                Box::new((1..=u32::MAX).map(move |number| format!("{}-{number}", self.name)))
            }
            Machinery::Existing { addresses, .. } => {
                Box::new(addresses.iter().map(move |address| self.name_at(*address)))
            }
        }
    }

    fn name_at(&self, address: Ipv4Addr) -> String {
        format!("{}-{}", self.name, address.to_string().replace('.', "-"))
    }

    /// Where a machine of this name is, if it is one that exists.
    pub fn address(&self, part: &str) -> Option<Ipv4Addr> {
        let rest = part.strip_prefix(self.name.as_str())?.strip_prefix('-')?;
        matches!(self.machinery, Machinery::Existing { .. }).then(|| rest.replace('-', ".").parse().ok())?
    }

    /// Where a machine of this name stands among those of the pool; nothing, if it is none of them. Machines whose address is not one
    /// of the pool's any more come last.
    pub fn place(&self, part: &str) -> Option<u32> {
        let rest = part.strip_prefix(self.name.as_str())?.strip_prefix('-')?;
        match &self.machinery {
            Machinery::Made(_) => {
                rest.bytes().all(|byte| byte.is_ascii_digit()).then(|| rest.parse().ok())?
            }
            Machinery::Existing { addresses, .. } => {
                let address = self.address(part)?;
                let at = addresses.iter().position(|known| *known == address);
                Some(at.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX))
            }
        }
    }

    /// The machines that it has and wants, of those that are there: as many as `count`, those that are as declared before those that are
    /// not, and those with the lowest numbers. And the names of those that are missing.
    pub fn share<'t>(
        &self,
        there: &[&'t str],
        is_as_declared: impl Fn(&str) -> bool,
    ) -> (Vec<&'t str>, Vec<String>) {
        let mut own: Vec<&str> = there.iter().copied().filter(|part| self.place(part).is_some()).collect();
        own.sort_by_key(|part| (!is_as_declared(part), self.place(part)));
        own.dedup();
        own.truncate(self.count as usize);
        own.sort_by_key(|part| self.place(part));
        let missing = self.count as usize - own.len();
        let free = self.names().filter(|name| there.iter().all(|part| part != name));
        let missing = free.take(missing).collect();
        (own, missing)
    }
}

/// All machines that are wanted where these are there, pool by pool.
pub(crate) fn wanted<'d>(declaration: &'d Declaration, there: &[&str]) -> Vec<Wanted<'d>> {
    let mut machines = Vec::new();
    for pool in &declaration.pools {
        let (kept, missing) = pool.share(there, |_| true);
        let mut parts: Vec<String> = kept.into_iter().map(str::to_owned).chain(missing).collect();
        parts.sort_by_key(|part| pool.place(part));
        machines.extend(parts.into_iter().map(|part| Wanted { part, pool }));
    }
    machines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::tests::{EXISTING, GOOD, read};

    fn parts(count: u32, there: &[&str]) -> Vec<String> {
        let text = GOOD.replace("count: 2", &format!("count: {count}"));
        let declaration = read(&text).unwrap();
        let all = wanted(&declaration, there);
        all.into_iter().map(|machine| machine.part).filter(|part| part != "cp-1").collect()
    }

    #[test]
    fn numbers_stay_with_their_machines_and_free_ones_are_given_out() {
        assert_eq!(parts(2, &[]), ["worker-1", "worker-2"]);
        assert_eq!(parts(2, &["worker-2", "worker-3", "router-port"]), ["worker-2", "worker-3"]);
        assert_eq!(parts(1, &["worker-2", "worker-10"]), ["worker-2"]);
        assert_eq!(parts(4, &["worker-2", "worker-3"]), ["worker-1", "worker-2", "worker-3", "worker-4"]);
        assert_eq!(parts(0, &["worker-2"]), [""; 0]);
    }

    #[test]
    fn what_is_as_declared_is_kept_before_a_lower_number() {
        let declaration = read(GOOD).unwrap();
        let pool = &declaration.pools[1];
        let there = ["worker-1", "worker-2", "worker-3", "worker-4"];
        let (kept, missing) = pool.share(&there, |part| part == "worker-4");
        assert_eq!((kept, missing), (vec!["worker-1", "worker-4"], Vec::new()));
    }

    #[test]
    fn machines_that_exist_are_called_after_their_addresses() {
        let declaration = read(EXISTING).unwrap();
        let worker = &declaration.pools[1];
        assert_eq!(
            worker.names().collect::<Vec<_>>(),
            ["worker-192-0-2-12", "worker-192-0-2-13", "worker-192-0-2-14"]
        );
        assert_eq!(worker.place("worker-192-0-2-13"), Some(1));
        assert_eq!(worker.place("worker-192-0-2-99"), Some(u32::MAX), "not one of the pool's any more");
        assert_eq!((worker.place("worker-1"), worker.place("cp-192-0-2-11")), (None, None));
        assert_eq!(declaration.pool_of("cp-192-0-2-11").map(|pool| pool.name.as_str()), Some("cp"));
        let (kept, missing) = worker.share(&["worker-192-0-2-13"], |_| true);
        assert_eq!((kept, missing), (vec!["worker-192-0-2-13"], vec!["worker-192-0-2-12".to_owned()]));
    }
}
