//! Whose a machine is: this cluster's, another one's, or nobody's. It follows from the authorities on it, and on the others.

use super::identity::{Authority, Identity};
use super::misfits::of_which;
use super::standing::Standing;

impl Standing {
    /// Why a machine may not be reset by this inventory: it belongs to another cluster, or is another node than the one that is
    /// meant. Where no control plane tells which cluster is this one's, the machine is it if it was told of one of them.
    pub(crate) fn is_anothers(&self, name: &str, node: &str) -> Option<String> {
        let seen = self.known(name)?;
        let server = seen.server().unwrap_or_default();
        let other = match (seen.authority(), self.ours()) {
            (Some(own), Some(ours)) => !own.is_same_as(ours),
            (Some(_), None) => !self.was_led_here(seen),
            (None, _) => false,
        };
        if other {
            let of_which = of_which(self.is_of_a_former(seen));
            return Some(format!("{name} belongs to {of_which} ({server})"));
        }
        if self.other_etcd(name).is_some() || self.is_member_of_ours(name) == Some(false) {
            return Some(format!("{name} holds etcd of another cluster"));
        }
        let is = seen.node.as_deref().filter(|is| seen.joined() && *is != node)?;
        Some(format!("the machine at the address of {name} is the node {is}"))
    }

    /// Whether the cluster of a machine is gone that is another one: where its API was is that of this cluster now, and no control
    /// plane has its authority. So it is where the cluster was made anew while the machine was off. Not one that carries a cluster.
    pub(super) fn is_of_a_former(&self, seen: &Identity) -> bool {
        let Some(own) = seen.authority() else { return false };
        let lives_on = || {
            let mut all = self.known_of(&self.planes).filter_map(|(_, plane)| plane.authority());
            all.any(|other| other.is_same_as(own))
        };
        let carries = seen.has_authority() || !seen.etcd.data.is_empty();
        !carries && self.ours().is_some() && self.was_led_here(seen) && !lives_on()
    }

    /// The authority of a machine's etcd, where it holds data and is not the one that a control plane of this cluster has for etcd;
    /// and that control plane with its own. A machine of etcd alone has no kubeconfig that could tell.
    pub(crate) fn other_etcd(&self, name: &str) -> Option<(Authority, &str, Authority)> {
        let theirs = self.known(name)?.etcd.clone();
        let theirs = theirs.authority.filter(|_| !theirs.data.is_empty())?;
        let planes = self.known_of(&self.planes).filter(|(plane, seen)| *plane != name && seen.stands());
        let (plane, ours) = planes.filter_map(|(plane, seen)| Some((plane, seen.etcd.authority?))).next()?;
        (!theirs.is_same_as(ours)).then_some((theirs, plane, ours))
    }

    /// Why a machine may not be reset that carries a member of etcd and nothing else: nothing tells whose its data are, because no
    /// control plane of the inventory that could be asked has their authority. A reset takes it from control planes last.
    pub(crate) fn holds_unknown_etcd(&self, name: &str) -> Option<String> {
        let seen =
            self.known(name).filter(|seen| seen.authority().is_none() && !seen.etcd.data.is_empty())?;
        let is_known = |plane: &Identity| {
            let both = plane.etcd.authority.zip(seen.etcd.authority);
            both.is_some_and(|(theirs, own)| theirs.is_same_as(own))
        };
        let is_plane = self.planes.iter().any(|plane| plane == name);
        let nobody = !is_plane && !self.known_of(&self.planes).any(|(_, plane)| is_known(plane));
        nobody.then(|| {
            format!("{name} holds data of etcd, and no control plane of the inventory that answers has their authority")
        })
    }

    /// Whether a machine has anything of a cluster.
    pub(crate) fn belongs_to_any(&self, name: &str) -> bool {
        self.known(name).is_some_and(|seen| seen.authority().is_some() || !seen.etcd.data.is_empty())
    }

    /// Whether a machine belongs to this cluster; `None` where it belongs to none, or could not be asked.
    pub(crate) fn is_ours(&self, name: &str) -> Option<bool> {
        let seen = self.known(name)?;
        if let Some(own) = seen.authority() {
            return Some(self.ours().is_some_and(|ours| ours.is_same_as(own)));
        }
        self.is_member_of_ours(name)
    }

    /// Whether a machine's data of etcd belongs to the cluster of the other members; `None` where it has none, or no other member
    /// can tell: they may have been reset already.
    fn is_member_of_ours(&self, name: &str) -> Option<bool> {
        let own = &self.known(name)?.etcd;
        let own = own.authority.filter(|_| !own.data.is_empty())?;
        let others =
            self.known_of(&self.members).filter(|(other, seen)| *other != name && !seen.etcd.data.is_empty());
        let mut authorities = others.filter_map(|(_, seen)| seen.etcd.authority).peekable();
        authorities.peek()?;
        Some(authorities.all(|ours| ours.is_same_as(own)))
    }

    /// Why a network of pods, by the name that machines are seen to run with, cannot be brought to a cluster that muster has not brought
    /// it to before: its control planes had it before this run.
    pub(crate) fn network_of_others(&self, plugin: &str) -> Option<String> {
        let has = |seen: &Identity| seen.kept.iter().any(|(key, value)| key == "network" && value == plugin);
        let (machine, _) = self.known_of(&self.planes).find(|(_, seen)| seen.stands() && has(seen))?;
        Some(format!(
            "{machine} runs with a {plugin} that muster has not brought, and whose objects it would write over: set kube_network_plugin as it \
             was (none, or custom_cni), and that {plugin} stays as it is"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{plane, worker};
    use super::*;

    #[test]
    fn a_network_that_machines_have_from_before_is_somebodys() {
        let of = |seen: Identity, network: &str| {
            let kept = vec![("network".to_owned(), network.to_owned())];
            let seen = Arc::new(Identity { kept, ..seen });
            let machines = [("a".to_owned(), Err("no answer".to_owned())), ("b".to_owned(), Ok(seen))];
            let planes = vec!["a".to_owned(), "b".to_owned()];
            Standing { planes, machines: machines.into(), ..Standing::default() }
        };
        let with = |network: &str| of(plane(1), network);
        let why = with("calico").network_of_others("calico").unwrap();
        assert!(why.starts_with("b runs with a calico that muster has not brought"), "{why}");
        for (there, wanted) in [("calico", "cilium"), ("flannel", "calico"), ("", "calico")] {
            assert_eq!(with(there).network_of_others(wanted), None, "{there} {wanted}");
        }
        assert_eq!(of(worker(1), "calico").network_of_others("calico"), None, "of a cluster that is no more");
        assert_eq!(Standing::default().network_of_others("calico"), None);
    }
}
