//! What follows from the machines' identities: whether a cluster stands, who begins one, and what is wrong with a machine.
//!
//! Nothing here asks a machine: these are functions of what was seen before the run changed anything. What a cluster that
//! lives cannot change, and is refused here:
//!
//! - its authority, and with it which cluster a machine is in ([`Standing::foreign`], [`Standing::split`]);
//! - a node's name, and whether it is a control plane ([`renamed`], [`worker_as_plane`]);
//! - the address that a node, its API server and its member of etcd are known by ([`moved`]);
//! - the folder of the cluster's certificates and of etcd's data ([`elsewhere`], [`other_data`]);
//! - the networks of services and pods, each node's part of them, the DNS domain, the cluster's name ([`settled`]);
//! - the API server's port ([`other_port`]);
//! - the version ([`Standing::other_version`]), but for a run that upgrades.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use muster_engine::prelude::Problem;
use muster_inventory::some_names;
use time::OffsetDateTime;

use super::certificate::Certificate;
use super::identity::{Authority, Identity};
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
    /// All control planes and members of etcd, and the other hosts of the run; all nodes, where a cluster is to begin.
    pub machines: BTreeMap<String, Seen>,
}

/// What a machine is to be, by the inventory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub node_name: String,
    /// Where it listens, and where the others reach it.
    pub address: Option<IpAddr>,
    pub access: Option<IpAddr>,
    pub control_plane: bool,
    pub etcd: bool,
    pub etcd_data_dir: String,
    pub kube_cert_dir: String,
    pub port: u16,
    /// Without a leading `v`.
    pub version: String,
    /// Whether the run brings the cluster to that version.
    pub upgrades: bool,
    /// What a cluster is begun with: names as in kubeadm's configuration, the variables, and their values.
    pub settled: Vec<(&'static str, &'static str, String)>,
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
    fn known(&self, name: &str) -> Option<&Identity> {
        self.machines.get(name)?.as_ref().ok().map(Arc::as_ref)
    }

    fn known_of<'s>(&'s self, group: &'s [String]) -> impl Iterator<Item = (&'s str, &'s Identity)> {
        group.iter().filter_map(|name| Some((name.as_str(), self.known(name)?)))
    }

    /// Control planes and members that could not be asked, and why.
    fn unknown(&self) -> Vec<(&str, &str)> {
        let all = self.planes.iter().chain(&self.members);
        let mut unknown: Vec<_> = all
            .filter_map(|name| Some((name.as_str(), self.machines.get(name)?.as_ref().err()?.as_str())))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
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

    /// The cluster's authority, and a control plane that has it.
    pub(crate) fn authority(&self) -> Option<(&str, Authority)> {
        let planes = || self.known_of(&self.planes).filter(|(_, seen)| seen.has_authority());
        let standing = planes().filter(|(_, seen)| seen.stands());
        standing.chain(planes()).find_map(|(name, seen)| Some((name, seen.authority()?)))
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
    fn versions(&self) -> Option<(&str, &str)> {
        let planes = self.known_of(&self.planes).filter(|(_, seen)| seen.stands());
        let mut versions: Vec<&str> = planes.filter_map(|(_, seen)| seen.version.as_deref()).collect();
        versions.sort_by_key(|version| versions::numbers(version));
        Some((*versions.first()?, *versions.last()?))
    }

    /// The version that a control plane ran before this run.
    pub(crate) fn version_of(&self, name: &str) -> Option<&str> {
        self.known(name)?.version.as_deref()
    }

    /// A member of etcd that could be asked.
    pub(crate) fn reached_member(&self) -> Option<&str> {
        self.known_of(&self.members).find(|(_, seen)| !seen.etcd.data.is_empty()).map(|(name, _)| name)
    }

    /// The name of a machine's node.
    pub(crate) fn node_of(&self, name: &str) -> Option<&str> {
        self.known(name)?.node.as_deref()
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
        if let Some((name, _)) = self.known_of(&self.planes).find(|(_, seen)| seen.has_authority()) {
            return Ok(Some(name));
        }
        let orphan = self.machines.iter().find_map(|(name, seen)| {
            let seen = seen.as_ref().ok().filter(|seen| seen.joined())?;
            Some((name, seen.authority()?, seen.server().unwrap_or_default()))
        });
        if let Some((name, authority, server)) = orphan {
            return Err(problem(
                format!(
                    "{name} belongs to a cluster (CA {authority}, {server}) whose CA no control plane of the inventory has"
                ),
                "the cluster's CA, or machines that are in no cluster",
                format!(
                    "to keep the cluster, put ca.crt, ca.key, sa.key, sa.pub and front-proxy-ca.* of a backup into kube_cert_dir \
                     of {}; to begin a new one, {LEAVE} on every machine of the old one",
                    self.planes.join(" or ")
                ),
            ));
        }
        Ok(self.first_in_run(&self.planes))
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

    /// Why a machine may not be reset by this inventory: it belongs to another cluster, or is another node than the one that is
    /// meant. Where no control plane tells which cluster is this one's, the machine is it if it was told of one of them.
    pub(crate) fn is_anothers(&self, name: &str, node: &str) -> Option<String> {
        let seen = self.known(name)?;
        let server = seen.server().unwrap_or_default();
        let address = server.strip_prefix("https://").and_then(|server| server.rsplit_once(':'));
        let is_of_planes = address
            .and_then(|(address, _)| address.trim_matches(['[', ']']).parse::<IpAddr>().ok())
            .is_some_and(|address| self.addresses.contains(&address));
        let other = match (seen.authority(), self.authority()) {
            (Some(own), Some((_, ours))) => own != ours,
            (Some(_), None) => !is_of_planes,
            (None, _) => false,
        };
        if other {
            return Some(format!("{name} belongs to another cluster ({server})"));
        }
        // A machine of etcd alone has no kubeconfig: its authority is compared with the one that control planes have for etcd, and
        // with that of the other members.
        let theirs = seen.etcd.authority.filter(|_| !seen.etcd.data.is_empty());
        let planes = self.known_of(&self.planes).filter(|(plane, seen)| *plane != name && seen.stands());
        let ours = planes.filter_map(|(_, seen)| seen.etcd.authority).next();
        let is_another = theirs.zip(ours).is_some_and(|(theirs, ours)| theirs != ours);
        if is_another || theirs.is_some() && self.is_ours(name) == Some(false) {
            return Some(format!("{name} holds etcd of another cluster"));
        }
        let is = seen.node.as_deref().filter(|is| seen.joined() && *is != node)?;
        Some(format!("the machine at the address of {name} is the node {is}"))
    }

    /// The control planes and members of etcd that could not be asked, and are not part of the run.
    pub(crate) fn silent(&self) -> Vec<&str> {
        let unknown = self.unknown().into_iter().map(|(name, _)| name);
        unknown.filter(|name| !self.in_run.iter().any(|host| host == name)).collect()
    }

    /// Whether a machine has anything of a cluster.
    pub(crate) fn belongs_to_any(&self, name: &str) -> bool {
        self.known(name).is_some_and(|seen| seen.authority().is_some() || !seen.etcd.data.is_empty())
    }

    /// The control planes and members of etcd that run, and are not part of the run.
    pub(crate) fn staying(&self) -> Vec<&str> {
        let planes = self.known_of(&self.planes).filter(|(_, seen)| seen.stands());
        let members = self.known_of(&self.members).filter(|(_, seen)| !seen.etcd.data.is_empty());
        let mut staying: Vec<&str> = planes
            .chain(members)
            .map(|(name, _)| name)
            .filter(|name| !self.in_run.iter().any(|host| host == name))
            .collect();
        staying.sort_unstable();
        staying.dedup();
        staying
    }

    /// Whether a machine belongs to this cluster; `None` where it belongs to none, or could not be asked.
    pub(crate) fn is_ours(&self, name: &str) -> Option<bool> {
        let seen = self.known(name)?;
        if let Some(own) = seen.authority() {
            return Some(self.authority().is_some_and(|(_, ours)| ours == own));
        }
        let own = seen.etcd.authority.filter(|_| !seen.etcd.data.is_empty())?;
        let others =
            self.known_of(&self.members).filter(|(other, seen)| *other != name && !seen.etcd.data.is_empty());
        let mut authorities = others.filter_map(|(_, seen)| seen.etcd.authority).peekable();
        // Where no other member can tell, it is not known.
        authorities.peek()?;
        Some(authorities.all(|ours| ours == own))
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
            seen.admin.is_some() && seen.has_authority() && ours.is_some() && seen.authority() == ours
        };
        for (name, seen) in self.machines.iter().filter(|(name, _)| !self.planes.contains(name)) {
            if let Some(seen) = seen.as_ref().ok().filter(|seen| is_plane(seen)) {
                let node = seen.node.as_ref().unwrap_or(name);
                warnings.push(format!(
                    "{name} is a control plane of the cluster, and not in [kube_control_plane] of the inventory: it keeps its API server, \
                     the CA's key, admin.conf and its taint; put it back into that group, or make it a worker: kubectl drain {node} \
                     --ignore-daemonsets, kubectl delete node {node}, then on it kubeadm reset -f and rm -rf /etc/kubernetes \
                     /etc/cni/net.d /var/lib/muster/stamps, and setup-cluster"
                ));
            }
        }
        warnings
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
                format!(
                    "put the data back where it was (etcdutl snapshot restore from a backup, or etcd_data_dir as it was); \
                     to begin a new cluster instead, {LEAVE} on every machine of the old one"
                ),
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
        self.authority().is_none() && self.known_of(&self.members).any(|(_, seen)| !seen.etcd.data.is_empty())
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

    /// What the restore of etcd that is under way has noted on a machine, and what the last one has that came to its end.
    pub(crate) fn restore(&self, name: &str) -> (Option<&str>, Option<&str>) {
        let etcd = self.known(name).map(|seen| &seen.etcd);
        (etcd.and_then(|etcd| etcd.restoring.as_deref()), etcd.and_then(|etcd| etcd.restored.as_deref()))
    }

    /// Everything that keeps this run from touching a machine.
    pub(crate) fn problems(&self, name: &str, wanted: &Wanted) -> Vec<Problem> {
        let mut problems = self.misfits(name, wanted);
        problems.extend(self.unfinished_restore());
        problems
    }

    /// That a restore of etcd was cut off: only the restore itself may go on.
    fn unfinished_restore(&self) -> Option<Problem> {
        let (name, _) = self.known_of(&self.members).find(|(_, seen)| seen.etcd.restoring.is_some())?;
        Some(Problem {
            check: "etcd".into(),
            found: format!("a restore of etcd was begun on {name} and did not come to its end"),
            needed: "a cluster of which all members have the same data".into(),
            remedy: "finish it with the same file: muster etcd restore FILE".into(),
        })
    }

    /// The same, but for a restore of etcd that was cut off.
    pub(crate) fn misfits(&self, name: &str, wanted: &Wanted) -> Vec<Problem> {
        let seen = match self.machines.get(name) {
            Some(Ok(seen)) => seen,
            Some(Err(why)) => {
                return vec![problem(
                    format!("which cluster {name} is in is not known ({why})"),
                    "a look at the machine before it is changed",
                    "mend what keeps it from being looked at, and run again",
                )];
            }
            // It is neither a node nor a member of etcd.
            None => return Vec::new(),
        };
        let mut problems = Vec::new();
        problems.extend(self.split());
        problems.extend(self.foreign(name, seen));
        if wanted.control_plane {
            problems.extend(worker_as_plane(name, seen).or_else(|| elsewhere(name, seen, wanted)));
            problems.extend(settled(seen, wanted));
            problems.extend(other_port(seen, wanted));
            if !seen.stands() && problems.is_empty() {
                problems.extend(self.birthplace().err());
            }
        }
        if wanted.etcd {
            problems.extend(other_data(name, seen, wanted));
            if problems.is_empty() {
                problems.extend(self.etcd_begins().err());
            }
        }
        problems.extend(self.other_version(wanted));
        problems.extend(renamed(name, seen, wanted));
        problems.extend(moved(name, seen, wanted));
        problems
    }

    /// That the cluster keeps its version, unless the run is there to change it.
    fn other_version(&self, wanted: &Wanted) -> Option<Problem> {
        let (oldest, newest) = self.versions()?;
        if wanted.upgrades {
            return versions::refused(oldest, newest, &wanted.version);
        }
        if oldest != newest {
            return Some(Problem {
                check: "kube_version".into(),
                found: format!("the control planes run {oldest} and {newest}: an upgrade was cut off"),
                needed: "control planes of one version".into(),
                remedy: format!("finish it: upgrade-cluster -e kube_version={newest}"),
            });
        }
        (oldest != wanted.version).then(|| Problem {
            check: "kube_version".into(),
            found: format!("{}, but the cluster runs {oldest}", wanted.version),
            needed: "the version that it runs, which setup-cluster keeps".into(),
            remedy: format!(
                "bring the cluster to {}: upgrade-cluster; or set kube_version: {oldest}",
                wanted.version
            ),
        })
    }

    /// That no two control planes, and no two members of etcd, belong to two clusters.
    fn split(&self) -> Option<Problem> {
        let planes = self.known_of(&self.planes).filter(|(_, seen)| seen.has_authority());
        let members = self.known_of(&self.members).filter(|(_, seen)| !seen.etcd.data.is_empty());
        let planes: Vec<_> = planes.filter_map(|(name, seen)| Some((name, seen.authority()?))).collect();
        let members: Vec<_> = members.filter_map(|(name, seen)| Some((name, seen.etcd.authority?))).collect();
        let differ = |list: &[(&str, Authority)]| {
            let (first, authority) = *list.first()?;
            let (other, another) = *list.iter().find(|(_, another)| *another != authority)?;
            Some(format!("{first} has the CA {authority}, {other} the CA {another}"))
        };
        let (check, found) = differ(&planes)
            .map(|found| ("cluster", found))
            .or_else(|| differ(&members).map(|found| ("etcd", found)))?;
        Some(Problem {
            check: check.into(),
            found: format!("machines of two clusters: {found}"),
            needed: "machines of one cluster, or of none".into(),
            remedy: "take those of the other cluster out of the inventory; its address may be a mistaken one"
                .into(),
        })
    }

    /// That the machine belongs to this cluster, or to none.
    fn foreign(&self, name: &str, seen: &Identity) -> Option<Problem> {
        // A control plane's authority is compared with those of the others.
        if self.planes.iter().any(|plane| plane == name) && seen.has_authority() {
            return None;
        }
        let own = seen.kubelet.as_ref().or(seen.admin.as_ref())?;
        let authority = seen.authority()?;
        let belongs = format!("{name} belongs to another cluster (CA {authority}, {})", own.server);
        let found = match self.authority() {
            Some((_, ours)) if ours == authority => return None,
            Some((plane, ours)) => format!("{belongs}; the CA of this one is {ours} (on {plane})"),
            // The control planes hold no authority, or could not be asked: then the address must do.
            None if self.known_of(&self.planes).count() < self.planes.len() => {
                let host = own.server.trim_start_matches("https://").rsplit_once(':').map(|(host, _)| host);
                let ours =
                    host.and_then(|host| host.parse().ok()).is_some_and(|ip| self.addresses.contains(&ip));
                if ours {
                    return None;
                }
                format!("{belongs}: at no address of this inventory's control planes")
            }
            // What it lacks is told by itself.
            None if seen.admin.is_some() && self.planes.iter().any(|plane| plane == name) => return None,
            None if seen.joined() => return self.birthplace().err(),
            None => format!("{belongs}; no control plane of the inventory has its CA"),
        };
        Some(problem(
            found,
            "a machine of this cluster, or of none",
            format!(
                "if its address in the inventory is a mistaken one, correct that; to move the machine to this cluster, remove it \
                 from the other one (kubectl drain and kubectl delete node there), then {LEAVE} on it"
            ),
        ))
    }
}

/// How a machine leaves its cluster, by hand.
const LEAVE: &str =
    "run kubeadm reset -f and rm -rf /etc/kubernetes /etc/cni/net.d /var/lib/muster/stamps (and etcd's data)";

/// A problem of a machine's place in the cluster.
fn problem(found: impl Into<String>, needed: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem { check: "cluster".into(), found: found.into(), needed: needed.into(), remedy: remedy.into() }
}

/// The authority of the objects in etcd is on no control plane.
pub(crate) fn orphaned(planes: &[String]) -> Problem {
    problem(
        "etcd holds the objects of a cluster whose CA no control plane of the inventory has",
        "the CA of that cluster, or an etcd without objects",
        format!(
            "to keep the cluster, put ca.crt, ca.key, sa.key, sa.pub and front-proxy-ca.* of a backup into kube_cert_dir of {}; to give it \
             up, stop etcd on all its members and move their etcd_data_dir away",
            planes.join(" or ")
        ),
    )
}

/// A worker cannot become a control plane: kubeadm takes its kubelet's credentials for those of a control plane that lost its CA.
fn worker_as_plane(name: &str, seen: &Identity) -> Option<Problem> {
    (seen.joined() && seen.admin.is_none() && !seen.ca_key).then(|| {
        problem(
            format!("{name} is a worker of the cluster, and is in [kube_control_plane] now"),
            "a machine that is no worker yet",
            format!(
                "take it out of [kube_control_plane]; or let it join anew: kubectl drain {name} --ignore-daemonsets, kubectl delete \
                 node {name}, and {LEAVE} on it"
            ),
        )
    })
}

/// A control plane whose authority is not where the variables say.
fn elsewhere(name: &str, seen: &Identity, wanted: &Wanted) -> Option<Problem> {
    (seen.admin.is_some() && !seen.ca_key).then(|| {
        problem(
            format!("{name} is a control plane, and its CA's key is not in {}", wanted.kube_cert_dir),
            "the folder of certificates that the cluster was begun with",
            "set kube_cert_dir to it (kubeadm's own is /etc/kubernetes/pki), or put ca.crt and ca.key back from a backup",
        )
    })
}

/// What is laid down when a cluster begins: its services, pods and certificates have addresses and names of these.
fn settled(seen: &Identity, wanted: &Wanted) -> Vec<Problem> {
    let differs = wanted.settled.iter().filter_map(|(key, variable, value)| {
        let (_, begun) = seen.begun.iter().find(|(known, begun)| known == key && begun != value)?;
        Some(Problem {
            check: (*variable).into(),
            found: format!("{value}, but the cluster was begun with {begun}"),
            needed: "what it was begun with: it cannot be changed under a cluster".into(),
            remedy: format!("set {variable}: {begun}, or make the cluster anew on fresh machines"),
        })
    });
    differs.collect()
}

/// Every kubeconfig of the cluster names the API server's port.
fn other_port(seen: &Identity, wanted: &Wanted) -> Option<Problem> {
    let server = &seen.admin.as_ref().filter(|_| seen.stands())?.server;
    let port: u16 = server.rsplit_once(':')?.1.parse().ok()?;
    (port != wanted.port).then(|| Problem {
        check: "kube_apiserver_port".into(),
        found: format!("{}, but the cluster's machines know its API at {server}", wanted.port),
        needed: "the port that it was begun with".into(),
        remedy: format!("set kube_apiserver_port: {port}"),
    })
}

/// A member's data is in another folder: etcd would begin with an empty database.
fn other_data(name: &str, seen: &Identity, wanted: &Wanted) -> Option<Problem> {
    let other = seen.etcd.data.iter().find(|folder| **folder != wanted.etcd_data_dir)?;
    Some(Problem {
        check: "etcd_data_dir".into(),
        found: format!("{}, but the data of {name} is in {other}", wanted.etcd_data_dir),
        needed: "the folder that it runs with: in another one it would begin with an empty database".into(),
        remedy: format!("set etcd_data_dir: {other}"),
    })
}

/// A node keeps the name in its certificate.
fn renamed(name: &str, seen: &Identity, wanted: &Wanted) -> Option<Problem> {
    let node = seen.node.as_ref().filter(|node| seen.joined() && **node != wanted.node_name)?;
    Some(Problem {
        check: "node name".into(),
        found: format!("{}, but the machine {name} is in the cluster as the node {node}", wanted.node_name),
        needed: "the name it joined with".into(),
        remedy: format!(
            "call it {node} in the inventory, or set its kube_override_hostname: {node}; to rename it, let it leave and join anew: \
             kubectl drain {node} --ignore-daemonsets, kubectl delete node {node}, and {LEAVE} on it"
        ),
    })
}

/// The address in a URL of etcd.
fn host_of(url: &str) -> Option<IpAddr> {
    url.strip_prefix("https://")?.rsplit_once(':')?.0.parse().ok()
}

/// A node, its API server and its member of etcd keep their address.
fn moved(name: &str, seen: &Identity, wanted: &Wanted) -> Option<Problem> {
    let address = wanted.address?;
    let peer = seen.etcd.peer_url.as_deref().and_then(host_of);
    // etcd's members know each other by the address at which they are reached; older clusters have the one of listening.
    let peer = peer.filter(|peer| *peer != address && wanted.etcd && !seen.etcd.data.is_empty());
    let access = wanted.access.unwrap_or(address);
    let peer_variable = if access == address { "ip" } else { "access_ip" };
    let known = [
        ("joined the cluster", "ip", address, seen.node_ip.filter(|_| seen.joined())),
        (
            "has its API server",
            "ip",
            address,
            seen.advertised.filter(|_| wanted.control_plane && seen.stands()),
        ),
        ("is a member of etcd", peer_variable, access, peer),
    ];
    let (what, variable, address, old) = known.into_iter().find_map(|(what, variable, address, old)| {
        Some((what, variable, address, old.filter(|old| *old != address)?))
    })?;
    Some(Problem {
        check: variable.into(),
        found: format!("{address} of {name}, which {what} with {old}"),
        needed: "the address it is known by: certificates, etcd and the other machines have it".into(),
        remedy: format!(
            "give the machine its old address and set {variable}={old}; or let it leave and join anew with the new one: {LEAVE} on it"
        ),
    })
}
