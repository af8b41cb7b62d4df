//! Machines that carry a cluster which other machines of the inventory are in, where the inventory does not say so: a control plane that
//! was moved out of [kube_control_plane], say. To take one away would destroy that cluster, whatever the inventory calls it.

use muster_engine::prelude::Problem;
use muster_inventory::some_names;

use super::identity::{Authority, Identity};
use super::refusals::problem;
use super::standing::Standing;

impl Standing {
    /// The authority of the inventory's cluster: that of its control planes; where none of them has one, that of a control plane
    /// which is in another group.
    pub(crate) fn ours(&self) -> Option<Authority> {
        let of_planes = self.authority().map(|(_, ours)| ours);
        of_planes.or_else(|| self.displaced().first().and_then(|name| self.known(name)?.authority()))
    }

    /// Where no control plane of the inventory has a cluster: the machines outside of [kube_control_plane] that are control planes of
    /// the cluster which other machines of the inventory are in.
    pub(crate) fn displaced(&self) -> Vec<&str> {
        if self.authority().is_some() {
            return Vec::new();
        }
        // Where the folder of certificates is another one the key is not seen.
        let holds =
            |name: &str| self.known(name).is_some_and(|seen| seen.has_authority() || seen.version.is_some());
        let others = self.machines.keys().map(String::as_str).filter(|name| !self.is_plane(name));
        others.filter(|name| holds(name) && !self.companions(name).is_empty()).collect()
    }

    /// The other machines that were asked and are in the cluster of this one, as nodes or with its etcd.
    pub(crate) fn companions(&self, name: &str) -> Vec<&str> {
        let Some(own) = self.known(name) else { return Vec::new() };
        let same = |one: Option<Authority>, other: Option<Authority>| {
            one.zip(other).is_some_and(|(one, other)| one.is_same_as(other))
        };
        let is_one = |seen: &Identity| {
            let in_etcd = !own.etcd.data.is_empty() && same(own.etcd.authority, seen.etcd.authority);
            in_etcd || (seen.joined() || seen.stands()) && same(own.authority(), seen.authority())
        };
        let others = self.machines.iter().filter(|(other, _)| *other != name);
        others
            .filter(|(_, seen)| seen.as_ref().is_ok_and(|seen| is_one(seen)))
            .map(|(other, _)| other.as_str())
            .collect()
    }

    /// Whether machines that take no part in the run may be in the cluster of one that does, and it is not the cluster of the
    /// inventory's control planes: then all nodes are asked.
    pub(crate) fn may_have_companions(&self) -> bool {
        let ours = self.authority().map(|(_, ours)| ours);
        let is_others = |seen: &Identity| {
            seen.authority().is_some_and(|own| !ours.is_some_and(|ours| ours.is_same_as(own)))
        };
        self.machines.values().any(|seen| seen.as_ref().is_ok_and(|seen| is_others(seen)))
    }

    /// Whether a machine carries the cluster that it is in, be it in a group that says so or not: with etcd's data, an API server, or
    /// the key of an authority that no control plane of the inventory has.
    pub(crate) fn carries(&self, name: &str) -> bool {
        let Some(seen) = self.known(name) else { return false };
        let of_planes = self.authority().zip(seen.authority());
        let of_planes = of_planes.is_some_and(|((_, ours), own)| ours.is_same_as(own));
        !seen.etcd.data.is_empty() || seen.version.is_some() || seen.has_authority() && !of_planes
    }

    /// Those that take no part in the run and would lose what a machine carries of their cluster.
    pub(crate) fn bereft_of(&self, name: &str) -> Vec<&str> {
        if !self.carries(name) || self.was_left_behind(name) {
            return Vec::new();
        }
        let stays = |name: &&str| !self.in_run.iter().any(|host| host == name);
        self.companions(name).into_iter().filter(stays).collect()
    }

    /// The control planes that stand, and whose API servers ask none of these members of etcd, by their URLs.
    pub(crate) fn asking_none_of(&self, urls: &[String]) -> Vec<&str> {
        let planes = self.known_of(&self.planes).filter(|(_, seen)| seen.stands());
        let asks = |seen: &Identity| {
            !seen.etcd_servers.is_empty() && !seen.etcd_servers.iter().any(|asked| urls.contains(asked))
        };
        planes.filter(|(_, seen)| asks(seen)).map(|(name, _)| name).collect()
    }

    /// Why nothing can be done with a cluster whose control plane the inventory has as something else.
    pub(super) fn misplaced(&self) -> Option<Problem> {
        let displaced = self.displaced();
        let authority = self.known(displaced.first()?)?.authority()?;
        let (names, are) = (
            some_names(&displaced),
            if displaced.len() == 1 { "is a control plane" } else { "are control planes" },
        );
        let others = some_names(&self.companions(displaced.first()?));
        let workers: Vec<&String> =
            self.planes.iter().filter(|name| self.known(name).is_some_and(Identity::joined)).collect();
        let workers = match workers.as_slice() {
            [] => String::new(),
            workers => format!(", and {}, which joined as worker, into [kube_node]", some_names(workers)),
        };
        Some(problem(
            format!(
                "{names} {are} of this cluster (CA {authority}; {others} belong to it, too), and the inventory does not have {} in \
                 [kube_control_plane]",
                if displaced.len() == 1 { "it" } else { "them" }
            ),
            "the cluster's control planes in [kube_control_plane]",
            format!("put {names} back into [kube_control_plane]{workers}"),
        ))
    }

    pub(super) fn is_plane(&self, name: &str) -> bool {
        self.planes.iter().any(|plane| plane == name)
    }
}
