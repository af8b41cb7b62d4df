//! What follows from the machines' identities: whether a cluster stands, who begins one, who does what, and whose a machine is.
//! What is wrong with a machine is in [`super::misfits`].
//!
//! Nothing here asks a machine: these are functions of what was seen before the run changed anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use muster_engine::prelude::Problem;
use muster_inventory::some_names;
use time::OffsetDateTime;

use super::certificate::Certificate;
use super::identity::{Authority, Identity};
use super::refusals::{elsewhere, not_of_this_etcd, problem, unmarked};
use super::restores::MemberList;
use crate::certificates::Keys;
use crate::upgrade::versions;

/// A machine's identity, or why it is not known.
pub(crate) type Seen = Result<Arc<Identity>, String>;

/// The machines as they were before this run changed anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// The groups of the inventory, in its order.
    pub planes: Vec<String>,
    pub members: Vec<String>,
    /// Which of the hosts take part in the run.
    pub in_run: Vec<String>,
    /// The addresses of control planes, as far as they are known.
    pub addresses: Vec<IpAddr>,
    /// All control planes and members of etcd, and the other hosts of the run; all nodes, where a cluster is to begin
    /// or one of them is in another cluster.
    pub machines: BTreeMap<String, Seen>,
    /// What members of etcd that answer know of each other; asked only where [`Standing::needs_lists`] says so.
    pub lists: BTreeMap<String, MemberList>,
}

/// What a machine is to be, by the inventory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub node_name: String,
    /// Where it listens, and where the others reach it.
    pub address: Option<IpAddr>,
    pub access: Option<IpAddr>,
    /// Whether it is to have an address of IPv6, too, and which.
    pub ipv6: bool,
    pub address6: Option<IpAddr>,
    pub control_plane: bool,
    pub worker: bool,
    pub etcd: bool,
    pub etcd_data_dir: String,
    pub port: u16,
    /// Without a leading `v`.
    pub version: String,
    /// Whether the run brings the cluster to that version.
    pub upgrades: bool,
    /// Whether the run adopts the cluster.
    pub adopts: bool,
    /// What a cluster is begun with: names as in kubeadm's configuration, the variables, and their values.
    pub settled: Vec<(&'static str, &'static str, String)>,
    /// What a node cannot change while its pods run: names as in [`Identity::kept`], the variables, and their values.
    pub kept: Vec<(&'static str, &'static str, String)>,
}

impl Wanted {
    /// The same, of what is laid down or kept no more than this.
    pub(super) fn only(&self, keys: &[&str]) -> Self {
        let chosen = |all: &[(&'static str, &'static str, String)]| {
            all.iter().filter(|(key, ..)| keys.contains(key)).cloned().collect()
        };
        Self { settled: chosen(&self.settled), kept: chosen(&self.kept), ..self.clone() }
    }
}

/// What a control plane is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// It begins the cluster, or goes on with a beginning that was cut off.
    Birth,
    /// It stands, and takes over what has changed.
    Reconfigure,
    /// It joins the cluster.
    Join,
}

impl Standing {
    pub(super) fn known(&self, name: &str) -> Option<&Identity> {
        self.machines.get(name)?.as_ref().ok().map(Arc::as_ref)
    }

    pub(super) fn known_of<'s>(
        &'s self,
        group: &'s [String],
    ) -> impl Iterator<Item = (&'s str, &'s Identity)> {
        group.iter().filter_map(|name| Some((name.as_str(), self.known(name)?)))
    }

    /// Control planes and members that could not be asked, and why.
    pub(super) fn unknown(&self) -> Vec<(&str, &str)> {
        let all = self.planes.iter().chain(&self.members);
        let mut unknown: Vec<_> = all
            .filter_map(|name| Some((name.as_str(), self.machines.get(name)?.as_ref().err()?.as_str())))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Control planes that could not be asked, and why.
    pub(crate) fn unknown_planes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.unknown().into_iter().filter(|(name, _)| self.planes.iter().any(|plane| plane == name))
    }

    /// The address that a machine has joined with.
    pub(crate) fn address_of(&self, name: &str) -> Option<IpAddr> {
        let seen = self.known(name)?;
        let joined = || seen.node_ip.filter(|_| seen.joined());
        let member = || host_of(self.peer_url(name)?);
        joined().or_else(|| seen.advertised.filter(|_| seen.stands())).or_else(member)
    }

    /// The URL by which the other members of etcd know a machine that has data.
    pub(crate) fn peer_url(&self, name: &str) -> Option<&str> {
        self.known(name).filter(|seen| !seen.etcd.data.is_empty())?.etcd.peer_url.as_deref()
    }

    /// The control planes that stand, in the inventory's order.
    pub(crate) fn standing(&self) -> Vec<&str> {
        self.known_of(&self.planes).filter(|(_, seen)| seen.stands()).map(|(name, _)| name).collect()
    }

    /// What keys the cluster's authority has; `None` where there is none yet, and for a kind that kubeadm does not make.
    pub(crate) fn authority_keys(&self) -> Option<Keys> {
        self.have_authority().find_map(|(_, seen)| seen.ca_keys)
    }

    /// The cluster's authority, and a control plane that has it.
    pub(crate) fn authority(&self) -> Option<(&str, Authority)> {
        self.have_authority().find_map(|(name, seen)| Some((name, seen.authority()?)))
    }

    /// The control planes that have the authority with its key; those that stand first.
    fn have_authority(&self) -> impl Iterator<Item = (&str, &Identity)> {
        let planes = || self.known_of(&self.planes).filter(|(_, seen)| seen.has_authority());
        planes().filter(|(_, seen)| seen.stands()).chain(planes())
    }

    /// The version that the control planes run; the lowest where they differ.
    pub(crate) fn version(&self) -> Option<&str> {
        self.versions().map(|(oldest, _)| oldest)
    }

    /// Whether all control planes run the same version.
    pub(crate) fn is_of_one_version(&self) -> bool {
        self.versions().is_none_or(|(oldest, newest)| oldest == newest)
    }

    /// The lowest and the highest version that the control planes run.
    pub(super) fn versions(&self) -> Option<(&str, &str)> {
        let mut versions: Vec<&str> =
            self.known_of(&self.planes).filter_map(|(_, seen)| seen.version_of_cluster()).collect();
        versions.sort_by_key(|version| versions::numbers(version));
        Some((*versions.first()?, *versions.last()?))
    }

    /// The version that a control plane ran before this run.
    pub(crate) fn version_of(&self, name: &str) -> Option<&str> {
        self.known(name)?.version.as_deref()
    }

    /// Whether the API server of a control plane encrypts by a file with this path.
    pub(crate) fn encrypts_with(&self, name: &str, path: &str) -> bool {
        self.known(name).is_some_and(|seen| seen.encryption.as_deref() == Some(path))
    }

    /// The version of a node's kubelet before this run.
    pub(crate) fn kubelet_of(&self, name: &str) -> Option<&str> {
        self.known(name).filter(|seen| seen.joined())?.kubelet_version.as_deref()
    }

    /// The nodes whose machines have the program of a kubelet of this version.
    pub(crate) fn nodes_with_kubelet(&self, version: &str) -> BTreeSet<String> {
        let machines = self.machines.values().filter_map(|seen| seen.as_ref().ok());
        let have = machines.filter(|seen| seen.joined() && seen.kubelet_version.as_deref() == Some(version));
        have.filter_map(|seen| seen.node.clone()).collect()
    }

    /// A member of etcd that could be asked.
    pub(crate) fn reached_member(&self) -> Option<&str> {
        self.known_of(&self.members).find(|(_, seen)| !seen.etcd.data.is_empty()).map(|(name, _)| name)
    }

    /// The names of the nodes whose machines could be asked.
    pub(crate) fn reached(&self) -> BTreeSet<String> {
        self.machines.values().filter_map(|seen| seen.as_ref().ok()?.node.clone()).collect()
    }

    /// `HOST:PORT` of the API as the cluster's machines know it; `None` where no cluster stands.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        let planes = self.known_of(&self.planes).filter(|(_, seen)| seen.stands());
        planes.filter_map(|(_, seen)| seen.admin.as_ref()?.server.strip_prefix("https://")).next()
    }

    /// Who begins the cluster, or goes on with a beginning that was cut off; `None` where it stands. The order of hosts decides
    /// only among machines of which none is in a cluster.
    ///
    /// # Errors
    /// It cannot be proved that there is no cluster yet.
    pub(crate) fn birthplace(&self) -> Result<Option<&str>, Problem> {
        if !self.standing().is_empty() {
            return Ok(None);
        }
        if let Some((name, why)) = self.unknown().first() {
            return Err(problem(
                format!("whether a cluster exists is not known, because {name} could not be asked ({why})"),
                "a look at every control plane and etcd member before a cluster begins",
                format!("switch {name} on, or take it out of the inventory if it is gone for good"),
            ));
        }
        if let Some((name, seen)) = self.known_of(&self.planes).find(|(_, seen)| seen.runs_unmarked()) {
            return Err(unmarked(name, seen));
        }
        if let Some((name, seen)) = self.known_of(&self.planes).find(|(_, seen)| seen.has_authority()) {
            return match self.etcd_of_others(seen) {
                None => Ok(Some(name)),
                Some(member) => Err(not_of_this_etcd(name, seen, member)),
            };
        }
        // With a wrong folder every machine of the cluster would look like an orphan.
        if let Some((name, _)) = self.known_of(&self.planes).find(|(_, seen)| seen.lacks_its_key()) {
            return Err(elsewhere(name));
        }
        match self.misplaced().or_else(|| self.orphaned()) {
            Some(problem) => Err(problem),
            None => Ok(self.first_in_run(&self.planes)),
        }
    }

    /// Machines that are in a cluster of which no machine of the inventory is a control plane.
    fn orphaned(&self) -> Option<Problem> {
        let joined = || {
            self.machines
                .iter()
                .filter_map(|(name, seen)| Some((name, seen.as_ref().ok().filter(|seen| seen.joined())?)))
        };
        let (authority, server) =
            joined().find_map(|(_, seen)| Some((seen.authority()?, seen.server().unwrap_or_default())))?;
        let is_of_it = |seen: &Identity| seen.authority().is_some_and(|own| own.is_same_as(authority));
        let names: Vec<&String> = joined().filter(|(_, seen)| is_of_it(seen)).map(|(name, _)| name).collect();
        let silent: Vec<&String> =
            self.machines.iter().filter(|(_, seen)| seen.is_err()).map(|(name, _)| name).collect();
        let belong = if names.len() == 1 { "belongs" } else { "belong" };
        // It may be a control plane in another group.
        let first = match silent.as_slice() {
            [] => String::new(),
            silent => format!(
                "see first that {} can be asked, which may be its control plane; ",
                some_names(silent)
            ),
        };
        let leaving = names.iter().map(|name| name.as_str()).collect::<Vec<_>>();
        Some(problem(
            format!(
                "{} {belong} to a cluster (CA {authority}, {server}) whose CA no control plane of the inventory has",
                some_names(&names)
            ),
            "the cluster's CA, or machines that are in no cluster",
            format!(
                "{first}if an address in the inventory is a mistaken one, or the machines are to stay there, take them out of the \
                 inventory; if this is that cluster and its control plane was lost, put ca.crt, ca.key, sa.key, sa.pub and \
                 front-proxy-ca.* of a backup into kube_cert_dir of {}; to take machines away from a cluster that is in use, first there: \
                 muster remove-node {}; from one that is given up: reset-cluster --foreign --limit {}",
                self.planes.join(" or "),
                leaving.join(" "),
                leaving.join(",")
            ),
        ))
    }

    /// A member of etcd with data that a control plane, which has an authority and does not stand, has no part in: before a cluster
    /// begins, each of its control planes gets the authority of its etcd.
    fn etcd_of_others(&self, plane: &Identity) -> Option<&str> {
        let known = |own: Authority| plane.etcd.authority.is_some_and(|theirs| theirs.is_same_as(own));
        let mut members = self.known_of(&self.members).filter(|(_, seen)| !seen.etcd.data.is_empty());
        members.find(|(_, seen)| !seen.etcd.authority.is_some_and(known)).map(|(name, _)| name)
    }

    /// Whether a host of the run is to begin a cluster of which no control plane has anything yet. A machine of another cluster
    /// would be cut off from it, be it part of the run or not.
    pub(crate) fn begins_here(&self) -> bool {
        let begins = self.birthplace().ok().flatten();
        self.authority().is_none() && begins.is_some_and(|name| self.in_run.iter().any(|host| host == name))
    }

    /// Whether a machine had been told of a cluster before this run.
    pub(crate) fn had_joined(&self, name: &str) -> bool {
        self.known(name).is_some_and(|seen| seen.kubelet.is_some())
    }

    /// Whether a machine was told of one of the control planes, or of the load balancer in front of them, by an address.
    pub(super) fn was_led_here(&self, seen: &Identity) -> bool {
        seen.api_addresses().any(|address| self.addresses.contains(&address))
    }

    /// Whether the kernel of a machine takes in packets for pods already, and answers none.
    pub(crate) fn takes_in_packets_for_pods(&self, name: &str) -> bool {
        self.had_joined(name) || self.known(name).is_some_and(|seen| seen.has_vxlan)
    }

    /// The control planes and members of etcd that could not be asked, and are not part of the run.
    pub(crate) fn silent(&self) -> Vec<&str> {
        let unknown = self.unknown().into_iter().map(|(name, _)| name);
        unknown.filter(|name| !self.in_run.iter().any(|host| host == name)).collect()
    }

    /// The control planes and members of etcd that run, and are not part of the run; also control planes that are in another group.
    pub(crate) fn staying(&self) -> Vec<&str> {
        let planes = self.known_of(&self.planes).filter(|(_, seen)| seen.stands());
        let members = self.known_of(&self.members).filter(|(_, seen)| !seen.etcd.data.is_empty());
        let mut staying: Vec<&str> = planes
            .chain(members)
            .map(|(name, _)| name)
            .chain(self.displaced())
            .filter(|name| !self.in_run.iter().any(|host| host == name))
            .collect();
        staying.sort_unstable();
        staying.dedup();
        staying
    }

    /// Whether a machine answered when it was asked.
    pub(crate) fn answered(&self, name: &str) -> bool {
        self.known(name).is_some()
    }

    /// The name by which the cluster took a machine in.
    pub(crate) fn node(&self, name: &str) -> Option<&str> {
        self.known(name).filter(|seen| seen.joined())?.node.as_deref()
    }

    /// The URLs of API servers in the kubeconfigs of a machine.
    pub(crate) fn servers(&self, name: &str) -> Vec<&str> {
        let confs = self.known(name).into_iter().flat_map(|seen| [&seen.kubelet, &seen.admin]).flatten();
        confs.map(|conf| conf.server.as_str()).collect()
    }

    /// What is not as it should be, and keeps nobody from anything.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.ending(OffsetDateTime::now_utc());
        let silent: Vec<&String> =
            self.machines.iter().filter(|(_, seen)| seen.is_err()).map(|(name, _)| name).collect();
        if self.begins_here() && !silent.is_empty() {
            warnings.push(format!(
                "a cluster begins, and whether {} belongs to another one is not known, because it could not be asked: a machine that \
                 does is refused later, until it has left that one",
                some_names(&silent)
            ));
        }
        // Not one of another cluster: that is refused.
        let ours = self.authority().map(|(_, ours)| ours);
        let is_plane = |seen: &Identity| {
            let is_ours = |own: Authority| ours.is_some_and(|ours| ours.is_same_as(own));
            seen.admin.is_some() && seen.has_authority() && seen.authority().is_some_and(is_ours)
        };
        for (name, seen) in self.machines.iter().filter(|(name, _)| !self.planes.contains(name)) {
            if seen.as_ref().is_ok_and(|seen| is_plane(seen)) {
                warnings.push(format!(
                    "{name} is a control plane of the cluster, and not in [kube_control_plane] of the inventory: it keeps its API server, \
                     the CA's key, admin.conf and its taint; put it back into that group, or make it a worker: muster remove-node {name}, \
                     put it back into the inventory as a worker, then setup-cluster"
                ));
            }
        }
        warnings
    }

    /// The certificates that have ended and can be renewed, by host: their files.
    pub(crate) fn ended(&self, now: OffsetDateTime) -> BTreeMap<&str, Vec<&str>> {
        let has_ended = |certificate: &&Certificate| {
            !certificate.is_authority && certificate.days_left(now).is_some_and(|left| left < 0)
        };
        let mut all = BTreeMap::new();
        for (name, seen) in &self.machines {
            let certificates = seen.iter().flat_map(|seen| &seen.certificates);
            let files: Vec<&str> = certificates.filter(has_ended).map(Certificate::file).collect();
            if !files.is_empty() {
                all.insert(name.as_str(), files);
            }
        }
        all
    }

    /// Which certificates end soon. The kubelet's is told later than others, because it is renewed by the kubelet itself.
    fn ending(&self, now: OffsetDateTime) -> Vec<String> {
        let soon = |certificate: &Certificate| -> Option<String> {
            let left = certificate.days_left(now)?;
            let told_below = if certificate.rotates() { 30 } else { 60 };
            let when = if left < 0 { "has ended".to_owned() } else { format!("ends in {left} days") };
            (left < told_below).then(|| format!("{} {when}", certificate.file()))
        };
        let of = |(name, seen): (&String, &Seen)| -> Option<String> {
            let all: Vec<String> = seen.as_ref().ok()?.certificates.iter().filter_map(soon).collect();
            let advice = "muster certs check shows all of them, muster certs renew renews them";
            (!all.is_empty()).then(|| format!("certificates of {name}: {}; {advice}", all.join(", ")))
        };
        self.machines.iter().filter_map(of).collect()
    }

    /// What a control plane is to do.
    ///
    /// # Errors
    /// As [`Standing::birthplace`].
    pub(crate) fn story(&self, name: &str) -> Result<Story, Problem> {
        if self.known(name).is_some_and(Identity::stands) {
            return Ok(Story::Reconfigure);
        }
        Ok(if self.birthplace()? == Some(name) { Story::Birth } else { Story::Join })
    }

    /// The control planes in the order in which they are worked on: those that stand, who begins, those that join.
    ///
    /// # Errors
    /// As [`Standing::birthplace`].
    pub(crate) fn in_order(&self) -> Result<Vec<&str>, Problem> {
        let mut order = self.standing();
        order.extend(self.birthplace()?);
        order.extend(
            self.planes.iter().map(String::as_str).filter(|name| !order.contains(name)).collect::<Vec<_>>(),
        );
        Ok(order)
    }

    /// The machine on which etcd may begin anew; `None` where it has begun.
    ///
    /// # Errors
    /// There may be members or a cluster elsewhere.
    pub(crate) fn etcd_begins(&self) -> Result<Option<&str>, Problem> {
        if self.known_of(&self.members).any(|(_, seen)| !seen.etcd.data.is_empty()) {
            return Ok(None);
        }
        if let Some((name, why)) = self.unknown().first() {
            return Err(problem(
                format!("etcd may have data on {name}, which could not be asked ({why})"),
                "a look at every etcd member and control plane before etcd begins",
                format!("switch {name} on, or take it out of the inventory if it is gone for good"),
            ));
        }
        if let Some((name, authority)) = self.authority() {
            return Err(problem(
                format!(
                    "no etcd member has data, and {name} is a control plane of a cluster (CA {authority})"
                ),
                "the data of that cluster's etcd",
                "put the data back where it was (etcdutl snapshot restore from a backup, or etcd_data_dir as it was); \
                 to begin a new cluster instead, first: muster reset-cluster",
            ));
        }
        Ok(self.first_in_run(&self.members))
    }

    /// The first host of a group that takes part in the run, else the first one.
    fn first_in_run<'s>(&self, group: &'s [String]) -> Option<&'s str> {
        group.iter().find(|name| self.in_run.contains(name)).or(group.first()).map(String::as_str)
    }

    /// The members in the order in which they are worked on: those that have data, then those that begin or join.
    pub(crate) fn members_in_order(&self) -> Vec<String> {
        let has_data = |name: &&String| self.known(name).is_some_and(|seen| !seen.etcd.data.is_empty());
        let (with, without): (Vec<_>, Vec<_>) = self.members.iter().partition(has_data);
        let begins = self.first_in_run(&self.members).filter(|_| with.is_empty());
        let (first, others): (Vec<_>, Vec<_>) =
            without.into_iter().partition(|name| Some(name.as_str()) == begins);
        with.into_iter().chain(first).chain(others).cloned().collect()
    }

    /// The members that have etcd's authority, those that have data first; and whether its key is there, too.
    pub(crate) fn etcd_authorities(&self) -> Vec<(&str, bool)> {
        let mut all: Vec<_> =
            self.known_of(&self.members).filter(|(_, seen)| seen.etcd.authority.is_some()).collect();
        all.sort_by_key(|(_, seen)| seen.etcd.data.is_empty());
        all.into_iter().map(|(name, seen)| (name, seen.etcd.authority_key)).collect()
    }

    /// Whether etcd had data before this run, and no control plane has the authority of a cluster in it.
    pub(crate) fn may_be_orphaned(&self) -> bool {
        self.authority().is_none() && self.members_with_data().next().is_some()
    }

    /// The members that had data before this run.
    pub(crate) fn members_with_data(&self) -> impl Iterator<Item = &str> {
        self.known_of(&self.members).filter(|(_, seen)| !seen.etcd.data.is_empty()).map(|(name, _)| name)
    }

    /// Whether each control plane of the inventory could be asked.
    pub(crate) fn have_planes_answered(&self) -> bool {
        self.known_of(&self.planes).count() == self.planes.len()
    }

    /// A member that has data, and not the certificate that each member gets before it has any: another tool has set it up. What
    /// kubespray gives has other names.
    pub(crate) fn member_of_others(&self) -> Option<&str> {
        let has_certificate =
            |seen: &Identity| seen.certificates.iter().any(|own| own.file() == "member.pem");
        let mut with_data = self.known_of(&self.members).filter(|(_, seen)| !seen.etcd.data.is_empty());
        with_data.find(|(_, seen)| !has_certificate(seen)).map(|(name, _)| name)
    }

    /// The control plane whose variables hold for what is the cluster's as a whole, whether it takes part in the run or not.
    pub(crate) fn speaker(&self) -> Option<&str> {
        let stands = self.standing().first().copied();
        stands.or_else(|| self.birthplace().ok().flatten()).or(self.planes.first().map(String::as_str))
    }

    /// The control plane of the run that speaks for the cluster: it gives it its configuration.
    pub(crate) fn leader(&self) -> Option<&str> {
        let in_run = |name: &&str| self.in_run.iter().any(|host| host == name);
        let standing = self.standing();
        if standing.is_empty() {
            return self.birthplace().ok().flatten().filter(in_run);
        }
        standing.into_iter().find(in_run)
    }

    /// The control plane of the run that does what is done once: the one that leads, else the first of those that join.
    pub(crate) fn foremost(&self) -> Option<&str> {
        let first = || self.planes.iter().find(|name| self.in_run.contains(name)).map(String::as_str);
        self.leader().or_else(first)
    }

    /// Whether an API server asks only some of these members of etcd, by their URLs.
    pub(crate) fn may_miss_members(&self, urls: &[String]) -> bool {
        let planes = self.known_of(&self.planes).filter(|(_, seen)| seen.stands());
        let mut asked = planes.map(|(_, seen)| &seen.etcd_servers).filter(|asked| !asked.is_empty());
        asked.any(|asked| urls.iter().any(|url| !asked.contains(url)))
    }

    /// Whether a machine is to join members of etcd that have data.
    pub(crate) fn joins_etcd(&self, name: &str) -> bool {
        let has_data = |seen: &Identity| !seen.etcd.data.is_empty();
        !self.known(name).is_some_and(has_data)
            && self.known_of(&self.members).any(|(_, seen)| has_data(seen))
    }

    /// The names of etcd's members, by host: those that they have, and the first free ones of etcd1, etcd2, ... for the others.
    /// `given`: by variables. `listed`: those that etcd lists, by host, or by anything else where the inventory does not have the
    /// member.
    pub(crate) fn member_names(
        &self,
        given: &BTreeMap<String, String>,
        listed: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let has_name = |name: &String| {
            let own = || self.known(name).filter(|seen| !seen.etcd.data.is_empty())?.etcd.name.clone();
            given.get(name).cloned().or_else(own).or_else(|| listed.get(name).cloned())
        };
        let mut names: BTreeMap<String, String> =
            self.members.iter().filter_map(|host| Some((host.clone(), has_name(host)?))).collect();
        for host in &self.members {
            if !names.contains_key(host) {
                let free = |name: &String| !names.values().chain(listed.values()).any(|taken| taken == name);
                let name = (1..).map(|number| format!("etcd{number}")).find(free).unwrap_or_default();
                names.insert(host.clone(), name);
            }
        }
        names
    }

    /// Who a machine was before the run; `None` where it could not be asked.
    pub(crate) fn identity(&self, name: &str) -> Option<&Identity> {
        self.known(name)
    }

    /// What a machine is to etcd: its name as a member, and the URL at which other members find it.
    pub(crate) fn etcd_member(&self, name: &str) -> Option<(&str, &str)> {
        let etcd = &self.known(name)?.etcd;
        Some((etcd.name.as_deref()?, etcd.peer_url.as_deref()?))
    }
}

#[cfg(test)]
impl Standing {
    /// Control planes, of which some stand.
    pub(crate) fn of_planes(planes: &[&str], standing: &[&str]) -> Self {
        let plane = |name: &&str| {
            let mut seen = Identity { settled: standing.contains(name), ca_key: true, ..Identity::default() };
            seen.admin = seen.settled.then(Default::default);
            ((*name).to_owned(), Ok(Arc::new(seen)))
        };
        let planes_of_inventory = planes.iter().map(|name| (*name).to_owned()).collect();
        Self { planes: planes_of_inventory, machines: planes.iter().map(plane).collect(), ..Self::default() }
    }
}

/// The address in a URL of etcd.
pub(super) fn host_of(url: &str) -> Option<IpAddr> {
    url.strip_prefix("https://")?.rsplit_once(':')?.0.parse().ok()
}
