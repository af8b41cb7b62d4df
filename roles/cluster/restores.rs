//! Whether the data of etcd's members is that of one cluster: restores that only some of them have gone through, and members that the
//! cluster has gone on without. Whether it has a majority is in [`super::majority`].

use std::collections::BTreeSet;

use muster_engine::prelude::Problem;

use super::identity::Identity;
use super::standing::Standing;

/// Whom a member of etcd knows as members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemberList {
    /// The URLs at which they find each other.
    pub urls: Vec<String>,
    /// Those of them that vote.
    pub voters: Vec<String>,
    /// Whether the member that was asked sees a majority of them.
    pub has_majority: bool,
}

/// What a machine's data of etcd is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data<'s> {
    /// There is none, or nothing says that it is not the cluster's.
    Good,
    /// It is from before a restore that this member has gone through.
    Outdated(&'s str),
    /// This member has gone through a restore; whether the data has, nobody can tell who answers.
    Unclear(&'s str),
}

impl Standing {
    /// Whether members have gone through different restores of etcd, or one of them does not know of one. Then [`Standing::lists`]
    /// tells who belongs together.
    pub(super) fn restores_differ(&self) -> bool {
        let mut with_data = self.with_data();
        let first = with_data.next();
        first.is_some_and(|(_, first)| with_data.any(|(_, other)| other.etcd.restored != first.etcd.restored))
    }

    /// The members that have data.
    pub(super) fn with_data(&self) -> impl Iterator<Item = (&str, &Identity)> {
        self.known_of(&self.members).filter(|(_, seen)| !seen.etcd.data.is_empty())
    }

    /// What a machine's data of etcd is to the cluster. Etcd's own list of members decides; where no member that knows of another
    /// restore answers, the number of restores does.
    pub(super) fn data_of(&self, name: &str) -> Data<'_> {
        let own = self.known(name).map(|seen| &seen.etcd).filter(|own| !own.data.is_empty());
        let Some(own) = own.filter(|own| own.restoring.is_none() || !own.restore_begun) else {
            return Data::Good;
        };
        if self.lists.get(name).is_some_and(|list| list.has_majority) {
            return Data::Good;
        }
        let others =
            || self.with_data().filter(|(other, seen)| *other != name && seen.etcd.restored != own.restored);
        let has_own = |list: &MemberList| own.peer_url.as_ref().is_some_and(|url| list.urls.contains(url));
        let mut listed = others().filter_map(|(other, _)| Some((other, self.lists.get(other)?)));
        if let Some((other, list)) = listed.find(|(_, list)| list.has_majority) {
            return if has_own(list) { Data::Good } else { Data::Outdated(other) };
        }
        let later = || others().filter(|(_, seen)| seen.etcd.generation() > own.generation());
        let Some((first, _)) = later().next() else { return Data::Good };
        let lists: Vec<&MemberList> = later().filter_map(|(other, _)| self.lists.get(other)).collect();
        match lists.as_slice() {
            [] if own.restored.is_none() => Data::Unclear(first),
            lists if lists.iter().any(|list| has_own(list)) => Data::Good,
            _ => Data::Outdated(first),
        }
    }

    /// Whether the cluster has gone on without a machine's member: one that sees a majority does not list it.
    pub(crate) fn was_left_behind(&self, name: &str) -> bool {
        match self.data_of(name) {
            Data::Outdated(other) => self.lists.get(other).is_some_and(|list| list.has_majority),
            Data::Good | Data::Unclear(_) => false,
        }
    }

    /// Whether a host of the inventory was lost when the cluster was restored without it, and has not come back into it since.
    pub(crate) fn is_given_up(&self, name: &str) -> bool {
        let last = self.with_data().map(|(_, seen)| &seen.etcd).max_by_key(|etcd| etcd.generation());
        let without = last.is_some_and(|etcd| etcd.given_up().any(|host| host == name));
        let is_back = || self.known(name).is_some_and(|seen| seen.stands() || seen.authority().is_none());
        matches!(self.data_of(name), Data::Outdated(_)) || without && !is_back()
    }

    /// How many restores the cluster has gone through, as far as machines know of them.
    pub(crate) fn generation(&self) -> u64 {
        self.known_of(&self.members).map(|(_, seen)| seen.etcd.generation()).max().unwrap_or(0)
    }

    /// What a machine that belongs to the members which work together does not know of the last restore.
    pub(crate) fn restore_to_note(&self, name: &str) -> Option<&str> {
        let own = &self.known(name).filter(|seen| !seen.etcd.data.is_empty())?.etcd;
        let good = self.with_data().filter(|(other, _)| matches!(self.data_of(other), Data::Good));
        let (_, last) = good.max_by_key(|(_, seen)| seen.etcd.generation())?;
        let line = last.etcd.restored.as_ref()?;
        let is_together =
            matches!(self.data_of(name), Data::Good) && own.generation() < last.etcd.generation();
        is_together.then_some(line.as_str())
    }

    /// A member of a restore of etcd that has begun and not come to its end. One that was only prepared has not: etcd goes on with its
    /// own data, and so may everything else. Who cannot be asked may know better, unless it has no part in the restore (`without`), or
    /// etcd works: no data is replaced before all members have stopped.
    pub(crate) fn begun_restore(&self, without: &BTreeSet<String>) -> Option<&str> {
        let (name, _) = self.marked().next()?;
        let mut all = self.known_of(&self.planes).chain(self.known_of(&self.members));
        let works =
            || self.marked().any(|(name, _)| self.lists.get(name).is_some_and(|list| list.has_majority));
        let may_know_better = || self.unknown().iter().any(|(host, _)| !without.contains(*host)) && !works();
        (all.any(|(_, seen)| seen.etcd.restore_begun) || may_know_better()).then_some(name)
    }

    /// The members that have noted a restore of etcd which is under way.
    fn marked(&self) -> impl Iterator<Item = (&str, &Identity)> {
        self.known_of(&self.members).filter(|(_, seen)| seen.etcd.restoring.is_some())
    }

    /// Whether [`Standing::lists`] are needed to tell what restores have made of the members' data, or whether etcd has a majority.
    pub(super) fn needs_lists(&self) -> bool {
        self.restores_differ()
            || self.marked().next().is_some() && !self.unknown().is_empty()
            || self.may_lack_majority()
    }

    /// The machines that could not be asked, and without which a restore of etcd would stop in its middle.
    pub(crate) fn missing_for_restore(&self, without: &BTreeSet<String>) -> Vec<Problem> {
        let missing = self.unknown().into_iter().filter(|(host, _)| !without.contains(*host));
        let is_begun = self.begun_restore(without).is_some();
        let problem = |(host, why): (&str, &str)| {
            let gone = if is_begun {
                "take it out of the inventory".to_owned()
            } else {
                format!("muster remove-node {host}")
            };
            Problem {
                check: "machines".into(),
                found: format!("{host} could not be asked ({why})"),
                needed: "every control plane and member of etcd: a restore stops all of them".into(),
                remedy: format!("switch {host} on; or, if it is gone for good, first: {gone}"),
            }
        };
        missing.map(problem).collect()
    }

    /// What the restore of etcd that is under way has noted on a machine, and what the last one has that came to its end.
    pub(crate) fn restore(&self, name: &str) -> (Option<&str>, Option<&str>) {
        let etcd = self.known(name).map(|seen| &seen.etcd);
        (etcd.and_then(|etcd| etcd.restoring.as_deref()), etcd.and_then(|etcd| etcd.restored.as_deref()))
    }
}
