//! What keeps a run from touching a machine. What a cluster that lives cannot change, and is refused here:
//!
//! - its authority, and with it which cluster a machine is in ([`Standing::foreign`], [`Standing::split`]);
//! - a node's name, and whether it is a control plane ([`renamed`], [`worker_as_plane`]);
//! - the address that a node, its API server and its member of etcd are known by ([`moved`]);
//! - the folder of the cluster's certificates and of etcd's data ([`elsewhere`], [`other_data`]), and data from before a restore
//!   ([`Standing::outdated`]);
//! - the networks of services and pods, their families, each node's part of them, the DNS domain, the cluster's name, for how long its
//!   authority is good ([`settled`], [`other_ipv6`]);
//! - the API server's port ([`other_port`]);
//! - where the container engine has its pods, and how; where they ask for names; their network plugin; the folder of programs, and that of
//!   etcd's certificates ([`kept`]);
//! - for a run that sets machines up: a rotation of the authorities that is under way ([`Standing::unfinished_rotation`]);
//! - for a run that sets machines up and does not upgrade: the version ([`Standing::other_version`], [`Standing::other_kubelet`]).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use muster_engine::prelude::Problem;
use muster_inventory::some_names;

use super::families::{self, moved_ipv6, other_ipv6};
use super::identity::{Authority, Identity};
use super::refusals::{elsewhere, problem, unmarked};
use super::restores::Data;
use super::standing::{Standing, Wanted, host_of};
use crate::upgrade::versions;

impl Standing {
    /// Everything that keeps this run from setting a machine up.
    pub(crate) fn problems_of_set_up(&self, name: &str, wanted: &Wanted) -> Vec<Problem> {
        if let Some(problem) = self.to_be_adopted().filter(|_| !wanted.adopts) {
            return vec![problem];
        }
        let mut problems = self.problems(name, wanted);
        // Whoever only looks after what runs goes on with the address of before.
        problems.extend(self.known(name).and_then(|seen| moved_ipv6(name, seen, wanted, self.only(name))));
        problems.extend(self.other_version(wanted));
        problems.extend(self.other_kubelet(name, wanted));
        problems.extend(self.unfinished_rotation());
        if !wanted.adopts && self.unfinished_restore().is_none() {
            problems.extend(self.lost_majority());
        }
        problems
    }

    /// That a rotation of the authorities was cut off: whoever joins now would not know both.
    fn unfinished_rotation(&self) -> Option<Problem> {
        let mut all = self.known_of(&self.planes).chain(self.known_of(&self.members));
        let (name, _) = all.find(|(_, seen)| seen.rotates)?;
        Some(Problem {
            check: "authorities".into(),
            found: format!(
                "the rotation of the certificate authorities that {name} knows of has not come to its end"
            ),
            needed: "a cluster of which all machines trust the same authorities".into(),
            remedy: "finish it: muster certs renew --ca".into(),
        })
    }

    /// Everything that keeps this run from touching a machine, whatever the versions are.
    pub(crate) fn problems(&self, name: &str, wanted: &Wanted) -> Vec<Problem> {
        if let Some(problem) = self.to_be_adopted().filter(|_| !wanted.adopts) {
            return vec![problem];
        }
        let mut problems = self.misfits(name, wanted);
        problems.extend(self.unfinished_restore());
        problems
    }

    /// That the cluster is another tool's, wholly or in part. What else does not fit a run that does not adopt it follows from that.
    pub(crate) fn to_be_adopted(&self) -> Option<Problem> {
        self.unfinished_adoption().or_else(|| self.made_by_another())
    }

    /// Why the cluster is another tool's as a whole: nothing of it is muster's, and no adoption was begun. So it is told, too, where
    /// a control plane is silent that may know better.
    pub(crate) fn of_another_tool(&self) -> Option<String> {
        let is_begun = self.unfinished_adoption().is_some();
        self.made_by_another().filter(|_| !is_begun).map(|problem| problem.found)
    }

    /// That control planes run of which muster has set up none, wherever the authority is that they have; or, where not all of them
    /// could be asked, that this is not known.
    pub(super) fn made_by_another(&self) -> Option<Problem> {
        let planes = || self.known_of(&self.planes);
        if planes().any(|(_, seen)| seen.settled || seen.begins) {
            return None;
        }
        let (name, seen) = planes().find(|(_, seen)| seen.joined() && seen.version.is_some())?;
        match self.have_planes_answered() {
            true => Some(unmarked(name, seen)),
            // One that is silent may have the mark.
            false => self.birthplace().err(),
        }
    }

    /// That an adoption was cut off: some of the machines are as another tool has left them.
    fn unfinished_adoption(&self) -> Option<Problem> {
        let (name, _) = self.machines.iter().find(|(_, seen)| seen.as_ref().is_ok_and(|seen| seen.adopts))?;
        Some(problem(
            format!("the adoption of the cluster was begun on {name} and did not come to its end"),
            "a cluster of which all machines are as muster has them",
            "finish it: muster adopt --apply",
        ))
    }

    /// That a restore of etcd was cut off after something had stopped for it: only the restore itself may go on.
    pub(crate) fn unfinished_restore(&self) -> Option<Problem> {
        let name = self.begun_restore(&BTreeSet::new())?;
        Some(Problem {
            check: "etcd".into(),
            found: format!("a restore of etcd was begun on {name} and did not come to its end"),
            needed: "a cluster of which all members have the same data".into(),
            remedy: "finish it: muster etcd restore FILE, with the same file; or, if most members were lost, muster recover".into(),
        })
    }

    /// The same, but for a restore of etcd that was cut off.
    pub(crate) fn misfits(&self, name: &str, wanted: &Wanted) -> Vec<Problem> {
        if let Some(problem) = self.unseen(name) {
            return vec![problem];
        }
        // Else it is neither a node nor a member of etcd.
        let Some(seen) = self.known(name) else { return Vec::new() };
        let mut problems = Vec::new();
        problems.extend(self.split().or_else(|| self.etcd_of_another(name)));
        if let Some(foreign) = self.foreign(name, seen) {
            // What else does not fit is of another cluster.
            problems.push(foreign);
            return problems;
        }
        if wanted.control_plane {
            problems.extend(
                worker_as_plane(name, seen).or_else(|| seen.lacks_its_key().then(|| elsewhere(name))),
            );
        }
        problems.extend(self.other_cluster_wide(seen, wanted));
        if wanted.control_plane && !seen.stands() && problems.is_empty() {
            problems.extend(self.birthplace().err());
        }
        if wanted.etcd {
            problems.extend(other_data(name, seen, wanted));
            problems.extend(self.outdated(name));
            if problems.is_empty() {
                problems.extend(self.etcd_begins().err());
            }
        }
        let follows = |problem: &Problem| problem.check == DNS_SERVER && self.tells_of_services(wanted);
        let only = self.only(name);
        problems.extend(kept(name, seen, wanted, only).into_iter().filter(|problem| !follows(problem)));
        problems.extend(renamed(name, seen, wanted, only));
        problems.extend(moved(name, seen, wanted, only));
        // A control plane knows it of the cluster as a whole.
        let is_told = problems.iter().any(|problem| problem.check == "ipv6_stack");
        problems.extend(other_ipv6(name, seen, wanted).filter(|_| !is_told));
        problems
    }

    /// What the cluster has as a whole, and the inventory wants otherwise. A machine that is no control plane yet is held to what one
    /// has that stands, and a worker to as much of it as is in its kubelet's configuration: in a run without that one, too, it would
    /// bring its own values into the cluster.
    fn other_cluster_wide(&self, seen: &Identity, wanted: &Wanted) -> Vec<Problem> {
        let standing =
            self.known_of(&self.planes).find(|(_, plane)| plane.stands()).filter(|_| !seen.stands());
        let has = standing.map_or(seen, |(_, plane)| plane);
        let mut problems = match (wanted.control_plane, wanted.worker) {
            (true, _) => settled(has, wanted).into_iter().chain(other_port(has, wanted)).collect(),
            (false, true) => settled(has, &wanted.only(&["dnsDomain", families::BOTH])),
            (false, false) => return Vec::new(),
        };
        if let Some((plane, has)) = standing.filter(|_| !seen.joined()) {
            let services_differ = !settled(has, &wanted.only(&["serviceSubnet"])).is_empty();
            let kept = kept(plane, has, &wanted.only(&["clusterDNS", "network"]), None).into_iter();
            // The server of names has an address of that network.
            let follows = wanted.control_plane && services_differ;
            problems.extend(kept.filter(|problem| problem.check != DNS_SERVER || !follows));
        }
        problems
    }

    /// What a machine is alone, so that it cannot leave the cluster for a while.
    fn only(&self, name: &str) -> Option<Only> {
        let is_alone = |group: &[String]| matches!(group, [one] if one == name);
        match () {
            () if is_alone(&self.planes) => Some(Only("control plane")),
            () if is_alone(&self.members) => Some(Only("member of etcd")),
            () => None,
        }
    }

    /// Whether a control plane of the run says that the network of services is another one than the cluster was begun with: the
    /// server of names, which has an address of it, differs for that reason alone.
    fn tells_of_services(&self, wanted: &Wanted) -> bool {
        let services = wanted.only(&["serviceSubnet"]);
        let planes = self.known_of(&self.planes);
        let mut planes = planes.filter(|(name, _)| self.in_run.iter().any(|host| host == name));
        planes.any(|(_, seen)| !settled(seen, &services).is_empty())
    }

    /// That a member's data is not from before a restore that another one has gone through: with it the cluster that was replaced
    /// would come back.
    fn outdated(&self, name: &str) -> Option<Problem> {
        let (found, remedy) = match self.data_of(name) {
            Data::Good => return None,
            Data::Outdated(other) => (
                format!("{name} has data of etcd from before the restore that {other} has gone through"),
                format!(
                    "take the old data away: reset-cluster --limit {name}; then put the machine back into its place: muster replace-node \
                     {name}"
                ),
            ),
            Data::Unclear(other) => (
                format!(
                    "{other} has gone through a restore of etcd of which {name} has no note, and no member of etcd answers who would know \
                     whether {name} is one of them"
                ),
                format!(
                    "start etcd on {other} (systemctl start etcd) and run again; if it needs {name} to start, and {name} was made a member \
                     after that restore, copy /var/lib/muster/etcd-restored of {other} to it"
                ),
            ),
        };
        Some(Problem {
            check: "etcd".into(),
            found,
            needed: "the data that the other members have, or none".into(),
            remedy,
        })
    }

    /// That the cluster keeps its version, unless the run is there to change it.
    fn other_version(&self, wanted: &Wanted) -> Option<Problem> {
        if wanted.upgrades {
            let (oldest, newest) = self.versions()?;
            return versions::refused(oldest, newest, &wanted.version)
                .map(|refused| self.cut_off_above(&wanted.version).unwrap_or(refused));
        }
        self.not_of_version(&wanted.version)
    }

    /// That all control planes run this version.
    pub(crate) fn not_of_version(&self, version: &str) -> Option<Problem> {
        let runs = self.version()?;
        let other = || Problem {
            check: "kube_version".into(),
            found: format!("{version}, but the cluster runs {runs}"),
            needed: "the version that it runs, which setup-cluster keeps".into(),
            remedy: match versions::is_older(version, runs) {
                true => format!("set kube_version: {runs}; a cluster does not go back to an older one"),
                false => format!(
                    "bring the cluster to it: upgrade-cluster -e kube_version={version}; or set kube_version: {runs}"
                ),
            },
        };
        self.half_upgraded().or_else(|| self.cut_off_above(version)).or_else(|| (runs != version).then(other))
    }

    /// That an upgrade to a newer version than this one was cut off, or has left a node behind: as where the inventory still has the
    /// version from before, and the new one was typed.
    fn cut_off_above(&self, version: &str) -> Option<Problem> {
        let (_, newest) = self.versions().filter(|(_, newest)| versions::is_older(version, newest))?;
        let is_behind =
            |name: &&String| self.kubelet_of(name).is_some_and(|own| versions::is_older(own, newest));
        let behind = || {
            let host = self.machines.keys().find(is_behind)?;
            let kubelet = self.kubelet_of(host)?;
            Some(Problem {
                check: "kube_version".into(),
                found: format!(
                    "the control planes run {newest}, and the kubelet of {host} is {kubelet}: an upgrade was cut off"
                ),
                needed: format!("{newest} on all nodes, and not {version}: a cluster does not go back"),
                remedy: format!(
                    "finish it: upgrade-cluster -e kube_version={newest}; and write kube_version: {newest} into the inventory"
                ),
            })
        };
        self.half_upgraded().or_else(behind)
    }

    /// That no upgrade has ended between two control planes.
    pub(crate) fn half_upgraded(&self) -> Option<Problem> {
        let (oldest, newest) = self.versions()?;
        (oldest != newest).then(|| Problem {
            check: "kube_version".into(),
            found: format!("the control planes run {oldest} and {newest}: an upgrade was cut off"),
            needed: "control planes of one version".into(),
            remedy: format!("finish it: upgrade-cluster -e kube_version={newest}"),
        })
    }

    /// That a node keeps its version: a newer program under pods that run is for `upgrade-cluster`, which moves them away first.
    fn other_kubelet(&self, name: &str, wanted: &Wanted) -> Option<Problem> {
        let kubelet = self.kubelet_of(name)?;
        let version = wanted.version.as_str();
        // Of a cluster that has another version that is told.
        let is_told = self.version().is_some_and(|runs| runs != version);
        (kubelet != version && !is_told && !wanted.upgrades).then(|| Problem {
            check: "kubelet".into(),
            found: format!("{name} is a node of Kubernetes {kubelet}, and the cluster is to be {version}"),
            needed: "the version that the cluster runs, on all its nodes".into(),
            remedy: if versions::is_older(kubelet, version) {
                format!("bring the node to it, or finish an upgrade that was cut off: upgrade-cluster -e kube_version={version}")
            } else {
                format!("bring the cluster to that of the node: upgrade-cluster -e kube_version={kubelet}")
            },
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
            let (other, another) = *list.iter().find(|(_, another)| !another.is_same_as(authority))?;
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

    /// That the data of a member is that of the etcd which this cluster's control planes ask, also where it does not run: they have
    /// the CA that it shows.
    fn etcd_of_another(&self, name: &str) -> Option<Problem> {
        let (theirs, plane, ours) = self.other_etcd(name)?;
        Some(problem(
            format!(
                "{name} holds etcd of another cluster (CA {theirs}); that of this one has the CA {ours} (on {plane})"
            ),
            "a member of this cluster's etcd, or a machine without data",
            format!(
                "if its address in the inventory is a mistaken one, correct that; if that cluster is given up, take its data away first: \
                 muster reset-cluster --foreign --limit {name}"
            ),
        ))
    }

    /// That the machine belongs to this cluster, or to none.
    fn foreign(&self, name: &str, seen: &Identity) -> Option<Problem> {
        // A control plane's authority is compared with those of the others.
        if self.planes.iter().any(|plane| plane == name) && seen.has_authority() {
            return None;
        }
        let own = seen.kubelet.as_ref().or(seen.admin.as_ref())?;
        let authority = seen.authority()?;
        if let Some(misplaced) = self.misplaced() {
            return Some(misplaced);
        }
        let is_former = self.is_of_a_former(seen);
        let belongs = format!("{name} belongs to {} (CA {authority}, {})", of_which(is_former), own.server);
        let found = match self.authority() {
            Some((_, ours)) if ours.is_same_as(authority) => return None,
            Some((plane, ours)) => format!("{belongs}; the CA of this one is {ours} (on {plane})"),
            // The control planes hold no authority, or could not be asked: then the address must do.
            None if self.known_of(&self.planes).count() < self.planes.len() => {
                if self.was_led_here(seen) {
                    return None;
                }
                format!("{belongs}: at no address of this inventory's control planes")
            }
            // What it lacks is told by itself.
            None if seen.admin.is_some() && self.planes.iter().any(|plane| plane == name) => return None,
            None if seen.joined() => return self.birthplace().err(),
            None => format!("{belongs}; no control plane of the inventory has its CA"),
        };
        let mistaken = "if its address in the inventory is a mistaken one, correct that";
        let companions = self.companions(name);
        let remedy = match companions.is_empty() || !self.carries(name) {
            true if is_former => format!(
                "its API is gone: where it was there is that of this cluster, which was made while {name} was off; to move the machine to \
                 this one: muster reset-cluster --foreign --keep-images --limit {name}"
            ),
            true => format!(
                "{mistaken}; to move the machine to this cluster, remove it from the other one (there: muster remove-node {name}, or \
                 kubectl drain and kubectl delete node), then: muster reset-cluster --foreign --limit {name}"
            ),
            // Whoever took it away would destroy that cluster.
            false => format!(
                "{mistaken}; it carries that cluster, to which {} of the inventory belong as well: an inventory is of one cluster, so \
                 take the machines of the other one out of it",
                some_names(&companions)
            ),
        };
        Some(problem(found, "a machine of this cluster, or of none", remedy))
    }
}

/// How the cluster is called to which a machine belongs that is none of this one's.
pub(super) fn of_which(is_former: bool) -> &'static str {
    if is_former { "a former cluster of these machines" } else { "another cluster" }
}

/// What a machine is alone in its cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Only(&'static str);

impl Only {
    /// How something is changed for which another machine would leave the cluster and join anew. `how` it can be done before.
    pub(super) fn remedy(self, name: &str, how: &str) -> String {
        let Self(what) = self;
        format!(
            "{name} is the only {what}, and cannot leave the cluster to join it anew: for another value, {how} and let another {what} join \
             before, or make the cluster anew (reset-cluster with the value that it has)"
        )
    }
}

/// A worker cannot become a control plane: kubeadm takes its kubelet's credentials for those of a control plane that lost its CA.
fn worker_as_plane(name: &str, seen: &Identity) -> Option<Problem> {
    (seen.joined() && seen.admin.is_none() && !seen.ca_key).then(|| {
        problem(
            format!("{name} is a worker of the cluster, and is in [kube_control_plane] now"),
            "a machine that is no worker yet",
            format!(
                "take it out of [kube_control_plane]; or let it join anew: muster remove-node {name}, put it back into the inventory, \
                 then setup-cluster"
            ),
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

/// The variable of the address at which CoreDNS gives names.
pub(super) const DNS_SERVER: &str = "skydns_server";

/// How pods go on asking for names where they were told to. `services`: the network of services, which a CoreDNS of muster's is in.
fn same_names(variable: &str, told: &str, services: Option<Ipv4Net>) -> String {
    let is_elsewhere = |net: Ipv4Net| told.parse().is_ok_and(|told: Ipv4Addr| !net.contains(&told));
    match variable {
        DNS_SERVER if services.is_some_and(is_elsewhere) => format!(
            "set skydns_server: {told}; or, if a server of your own answers there, dns_mode: manual and manual_dns_server: {told}"
        ),
        DNS_SERVER => format!("set skydns_server: {told}"),
        _ => format!(
            "set dns_mode as it was, coredns by default; or, if a server of your own answers there, manual_dns_server: {told}"
        ),
    }
}

/// Whether pods find a cache of names at an address, which each node has by itself: it comes and goes by a variable.
pub(crate) fn is_of_this_machine(address: &str) -> bool {
    address.parse().is_ok_and(|address: Ipv4Addr| address.is_link_local())
}

/// What a machine runs with and cannot change under what runs: with another folder the container engine would forget its pods, and
/// start all of them a second time.
fn kept(name: &str, seen: &Identity, wanted: &Wanted, only: Option<Only>) -> Vec<Problem> {
    let services = wanted.settled.iter().find(|(key, ..)| *key == "serviceSubnet");
    let services: Option<Ipv4Net> = services.and_then(|(.., network)| network.parse().ok());
    let differs = wanted.kept.iter().filter_map(|(key, variable, value)| {
        let is_of_etcd = *key == "etcd_cert_dir";
        let runs = if is_of_etcd { !seen.etcd.data.is_empty() } else { seen.joined() };
        let has = seen.kept.iter().filter(|(known, _)| known == key && runs).map(|(_, has)| has.as_str());
        let has: Vec<&str> = has.filter(|has| *key != "clusterDNS" || !is_of_this_machine(has)).collect();
        // In front of the server of names stands the cache, where there is one, and behind it perhaps a second one.
        let is_service = |address: &&&str| {
            address.parse().is_ok_and(|address: Ipv4Addr| services.is_some_and(|net| net.contains(&address)))
        };
        let told = match *key {
            "clusterDNS" => has.iter().find(is_service).or(has.last()),
            _ => has.first(),
        };
        let told = told.filter(|_| has.iter().all(|has| has != value))?;
        // Who brings a network without muster may bring that one.
        if *key == "network" && ["none", "cni", "custom_cni"].contains(&value.as_str()) && ["calico", "cilium"].contains(told) {
            return None;
        }
        let remedy = match (*key, only) {
            ("clusterDNS", _) => same_names(variable, told, services),
            ("etcd_cert_dir", _) => format!("set {variable}: {told}"),
            ("network", _) => format!("set {variable}: {told}; another network begins with a new cluster: reset-cluster"),
            (_, Some(only)) => {
                format!("set {variable}: {told}; {}", only.remedy(name, &format!("set that for {name} alone")))
            }
            _ => format!(
                "set {variable}: {told}; to change it, take the machine out of the cluster before (muster remove-node {name}), set it, \
                 and put the machine back: setup-cluster"
            ),
        };
        Some(Problem {
            check: (*variable).into(),
            found: format!("{value}, but {name} runs with {told}"),
            needed: format!("what it runs with: it cannot be changed under {}", if is_of_etcd { "etcd" } else { "pods" }),
            remedy,
        })
    });
    differs.collect()
}

/// Every kubeconfig of the cluster names the API server's port.
fn other_port(seen: &Identity, wanted: &Wanted) -> Option<Problem> {
    let server = &seen.admin.as_ref().filter(|_| seen.stands())?.server;
    // A load balancer in front of it may have another one.
    let told = || server.rsplit_once(':')?.1.parse().ok();
    let port = seen.api_port.or_else(told)?;
    (port != wanted.port).then(|| Problem {
        check: "kube_apiserver_port".into(),
        found: match seen.api_port {
            Some(port) => format!("{}, but the API server listens at {port}", wanted.port),
            None => format!("{}, but the cluster's machines know its API at {server}", wanted.port),
        },
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
fn renamed(name: &str, seen: &Identity, wanted: &Wanted, only: Option<Only>) -> Option<Problem> {
    let node = seen.node.as_ref().filter(|node| seen.joined() && **node != wanted.node_name)?;
    Some(Problem {
        check: "node name".into(),
        found: format!("{}, but the machine {name} is in the cluster as the node {node}", wanted.node_name),
        needed: "the name it joined with".into(),
        remedy: format!(
            "call it {node} in the inventory, or set its kube_override_hostname: {node}; {}",
            match only {
                Some(only) => only.remedy(name, "do that"),
                None => format!(
                    "to rename it, call it {node} first, then: muster remove-node {node}, put it back into the inventory by its new name, \
                     setup-cluster"
                ),
            }
        ),
    })
}

/// A node, its API server and its member of etcd keep their address.
fn moved(name: &str, seen: &Identity, wanted: &Wanted, only: Option<Only>) -> Option<Problem> {
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
            "give the machine its old address and set {variable}={old}; {}",
            match only {
                Some(only) => only.remedy(name, "do that"),
                None => format!(
                    "or let it leave and join anew: set {variable}={old} and ansible_host={address}, muster remove-node {name}, put it back \
                     into the inventory with {variable}={address}, setup-cluster"
                ),
            }
        ),
    })
}
