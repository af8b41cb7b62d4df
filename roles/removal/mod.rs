//! removal: machines leave the cluster, whether they are well, dead or gone; or make room for what was installed anew in their
//! place.
//!
//! Everything is done by control planes that stay, the first of them for all, once a run. Nothing is changed before it is known
//! that etcd keeps a majority at each moment and a control plane stays. Then the others learn where the API is, if it was at one
//! of the machines; the nodes are drained; and when nothing can go wrong any more the members of etcd go, and the nodes. What is
//! left is on the machines themselves: they are reset where they can be reached and are this cluster's.
//!
//! Every step looks at the cluster before it changes it: whoever is killed in between runs the same command again.

mod api_address;
mod node_gone;

use std::sync::Arc;

use futures::future::FutureExt;
use muster_engine::play::{Play, Share};
use muster_engine::prelude::*;
use muster_engine::run::Role;
use muster_inventory::some_names;
use serde::Deserialize;

use crate::addresses::ip_of;
use crate::apps::registry;
use crate::cluster::{self, Standing};
use crate::common::cluster_vars;
use crate::kubectl::Kubectl;
use crate::reset::{self, Reset};
use crate::{bootstrap_os, containerd, drain, etcd};
use node_gone::NodeGone;

#[derive(Deserialize)]
struct Vars {
    allow_ungraceful_removal: bool,
}

/// What the roles of a removal read: those that are removed are reset.
const READS: &[&[Read]] = &[
    cluster::READS,
    drain::READS,
    &[Read::of::<Vars>(cluster::MACHINES)],
    reset::READS,
    bootstrap_os::READS,
    containerd::READS,
    registry::READS,
];

/// What is to leave, and why.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The hosts, by their names in the inventory.
    pub hosts: Vec<String>,
    /// Whether the machines were installed anew and come back: then nothing is left on them, and the API stays at their address.
    pub come_back: bool,
}

/// Under which it is kept for the run that they have left.
const LEFT: &str = "they have left the cluster";

impl Removal {
    /// The plays. `is_plane`: whether one of the hosts is a control plane, whose address others may know.
    pub fn plays(&self, is_plane: bool) -> Vec<Play> {
        let but = |group: &str| {
            let not: String = self.hosts.iter().map(|host| format!(":!{host}")).collect();
            format!("{group}{not}")
        };
        let play = |name: &str, hosts: String, roles: &[&str]| Play {
            name: name.into(),
            hosts,
            roles: roles.iter().map(ToString::to_string).collect(),
            ..Play::default()
        };
        let mut plays = vec![Play {
            any_errors_fatal: true,
            // One that answers is enough.
            max_failures: Some(Share::Percent(99)),
            ..play("See whether they can leave", but("kube_control_plane"), &["check-removal"])
        }];
        if self.come_back {
            // Whoever cannot be set up again keeps its place.
            plays.push(Play {
                wait_for_all: true,
                any_errors_fatal: true,
                max_failures: Some(Share::Hosts(0)),
                ..play("See whether they can be set up", self.hosts.join(":"), &["preflight"])
            });
        }
        if !self.come_back {
            plays.push(Play {
                any_errors_fatal: true,
                may_be_off: true,
                max_failures: Some(Share::Hosts(0)),
                ..play("See whether they can be reset", self.hosts.join(":"), &["check-leaving"])
            });
        }
        if is_plane && !self.come_back {
            plays.push(Play {
                // A worker that is off is told by the next set-up, when it is on again.
                may_be_off: true,
                ..play("Find the API at another address", but("k8s_cluster"), &["api-address"])
            });
        }
        plays.push(Play {
            wait_for_all: self.come_back,
            always: vec!["keep-node".into()],
            ..play("Take them out of the cluster", but("kube_control_plane"), &["remove-node"])
        });
        if !self.come_back {
            plays.push(Play {
                wait_for_all: true,
                may_be_off: true,
                ..play("Leave nothing on them", self.hosts.join(":"), &["leave"])
            });
        }
        plays
    }

    /// The roles of these plays.
    pub fn roles(&self) -> Vec<Role> {
        let this = Arc::new(self.clone());
        let check = this.clone();
        let remove = this.clone();
        let keep = this.clone();
        let roles = [
            Role::given("check-removal", move |host| {
                let this = check.clone();
                async move { this.check(host).await }.boxed()
            }),
            Role::given("remove-node", move |host| {
                let this = remove.clone();
                async move { this.remove(host).await }.boxed()
            }),
            Role::given("keep-node", move |host| {
                let this = keep.clone();
                async move { this.keep(host).await }.boxed()
            }),
            Role::given("api-address", move |host| {
                let this = this.clone();
                async move { api_address::run(host, &this.hosts).await }.boxed()
            }),
            Role { looks_only: true, ..Role::given("check-leaving", |host| check_leaving(host).boxed()) },
            Role::given("leave", |host| leave(host).boxed()),
        ];
        roles.map(|role| role.reading(READS)).into()
    }

    /// The hosts of a group that do not leave.
    fn staying(&self, host: &Host, group: &str) -> Vec<String> {
        host.cluster().group(group).into_iter().filter(|name| !self.hosts.contains(name)).collect()
    }

    /// The hosts that are to be taken out: not those that come back, and are back already.
    fn leaving(&self, known: &Standing) -> Vec<String> {
        let is_back = |name: &String| self.come_back && known.is_ours(name) == Some(true);
        self.hosts.iter().filter(|name| !is_back(name)).cloned().collect()
    }

    /// Nothing is changed before it is known that they can leave.
    async fn check(&self, host: &Host) -> Result<()> {
        let known = cluster::belongs(host).await?;
        let look = || async {
            let standing = known.standing();
            if !standing.iter().any(|plane| !self.hosts.iter().any(|host| host == plane)) {
                return Err(problem(
                    format!("{} would be the last control plane to leave", some_names(&self.hosts)),
                    "a control plane that stays",
                    "let another one join first: add it to [kube_control_plane], then setup-cluster; to remove the whole cluster: \
                     muster reset-cluster",
                ));
            }
            for name in &self.hosts {
                self.check_machine(host, &known, name)?;
            }
            let all = self.leaving(&known);
            let drained: &[String] = if self.come_back { &[] } else { &all };
            let leaving = among(&all, &known.members);
            if !leaving.is_empty() {
                let seen = etcd::leave::seen_by(host, &self.staying(host, "etcd")).await?;
                let others = seen.client_urls_of_others(host, &leaving)?;
                planes_know_others(&known, &self.hosts, &others)?;
                let order = seen.order(host, &leaving)?;
                let left = seen.voters().saturating_sub(order.len());
                if !self.come_back && left.is_multiple_of(2) && left > 0 && !order.is_empty() {
                    host.warn(format!(
                        "etcd will have {left} members, which is no safer than {}: it stands still when {} fail",
                        left - 1,
                        left / 2
                    ));
                }
            }
            Kubectl::ask_no_more(host, &all).await?;
            // A control plane that stays has to carry the cluster alone.
            if Kubectl::find(host).await?.is_none() {
                return Err(problem(
                    format!("no API server answers but that of {}", some_names(&self.hosts)),
                    "a control plane that stays, and whose API server is ready",
                    "start what was stopped: setup-cluster; if it fails itself, look at a control plane that stays: journalctl -u \
                     kubelet, /var/log/pods/kube-system_kube-apiserver-*",
                ));
            }
            drain::warn(host, drained).await
        };
        host.cluster().once("whether they can leave", look).await.map(drop)
    }

    /// Whose machine it is.
    fn check_machine(&self, host: &Host, known: &Standing, name: &str) -> Result<()> {
        if self.come_back {
            return match known.is_ours(name) {
                None if known.answered(name) => Ok(()),
                None => Err(problem(
                    format!("{name} does not answer, so whether it was installed anew is not known"),
                    "a machine that was installed anew and is on",
                    format!("switch it on; if it does not come back: muster remove-node {name}"),
                )),
                Some(true) => {
                    host.warn(format!(
                        "{name} is in the cluster already: it is not removed from it, only set up"
                    ));
                    Ok(())
                }
                Some(false) => Err(problem(
                    format!("{name} belongs to another cluster"),
                    "a machine that is in no cluster",
                    format!("see whether the address of {name} in the inventory is right"),
                )),
            };
        }
        let wanted = cluster_vars(&*host.cluster().host(name)?)?.kube_override_hostname;
        let other = known.node(name).filter(|node| *node != wanted && known.is_ours(name) == Some(true));
        if let Some(node) = other {
            return Err(problem(
                format!("the machine at the address of {name} is the node {node} of this cluster"),
                "the machine by the name that it has in the cluster",
                format!(
                    "call it {node} in the inventory, and remove it by that name; or correct the address of {name}"
                ),
            ));
        }
        match known.is_ours(name) {
            Some(false) => host.warn(format!(
                "the machine at the address of {name} belongs to another cluster: it is left alone, and only what this cluster knows \
                 of {name} is removed"
            )),
            _ if !known.answered(name) => host.warn(format!(
                "{name} does not answer: it is taken out of the cluster, and what is on the machine stays there; switched on again in \
                 this network, it joins the cluster by itself. So install it anew; or, once it is on again, write it into the \
                 inventory again and run: muster remove-node {name}"
            )),
            _ => {}
        }
        Ok(())
    }

    /// Drains the nodes, then takes the members and the nodes out: once a run, by the control plane that leads of those that stay.
    async fn remove(&self, host: &Host) -> Result<()> {
        let first = self.staying(host, "kube_control_plane").into_iter().next();
        if let Some(first) = first.filter(|first| first != host.name()) {
            host.needs(&first, LEFT).await.ok();
        }
        let mut by_this_one = false;
        let go = || {
            by_this_one = true;
            self.go(host)
        };
        match host.cluster().once(LEFT, go).await {
            Ok(_) => {
                host.reached(LEFT);
                Ok(())
            }
            Err(failure) if by_this_one => Err(failure),
            // It is told of the one that tried.
            Err(_) => Err(Failure::Stopped(format!("{} did not leave", some_names(&self.hosts)))),
        }
    }

    async fn go(&self, host: &Host) -> Result<()> {
        let known = cluster::known(host).await?;
        let leaving = self.leaving(&known);
        let kubectl = Kubectl::find(host).await?;
        let mut nodes = Vec::new();
        for name in &leaving {
            let target = host.cluster().host(name)?;
            let node = NodeGone {
                node: cluster_vars(&target)?.kube_override_hostname,
                address: ip_of(host, name).ok(),
            };
            if let Some(kubectl) = &kubectl {
                node.check(kubectl).await?;
            }
            nodes.push(node);
        }
        // What ran on a machine that was installed anew ran on it before: nobody would end it.
        for name in leaving.iter().filter(|_| !self.come_back) {
            let target = host.cluster().host(name)?;
            let Vars { allow_ungraceful_removal } = target.vars()?;
            match drain::drain(host, &target).await {
                Err(failure @ Failure::Other { .. }) if allow_ungraceful_removal => {
                    host.warn(format!("{failure}; it is removed all the same (allow_ungraceful_removal)"))
                }
                drained => drained?,
            }
        }
        let members = among(&leaving, &known.members);
        if !members.is_empty() {
            let seen = etcd::leave::seen_by(host, &self.staying(host, "etcd")).await?;
            for name in seen.order(host, &members)? {
                seen.remove(host, &name).await?;
            }
        }
        let Some(kubectl) = kubectl else {
            host.not_yet("Remove the nodes");
            return Ok(());
        };
        kubectl.step("Remove the nodes").ensure_all(nodes).await.map(drop)
    }

    /// Nodes that were to leave, and stay because something failed or the user interrupted it, get pods again.
    async fn keep(&self, host: &Host) -> Result<()> {
        if host.check_mode() || host.cluster().done::<()>(LEFT).is_some() {
            return Ok(());
        }
        let keep = || async {
            host.warn(format!(
                "{} did not leave the cluster, or not all of it; the same command goes on",
                some_names(&self.hosts)
            ));
            for name in &self.hosts {
                drain::uncordon(host, &*host.cluster().host(name)?).await?;
            }
            Ok(())
        };
        host.cluster().once("those that stay get pods", keep).await.map(drop)
    }
}

/// Control planes that stay go on without members that leave: each asks one that stays, too, of these URLs. One that was not told yet of
/// those that have joined does not (a set-up with --limit, or one that was cut off), however well etcd is.
fn planes_know_others(known: &Standing, hosts: &[String], others: &[String]) -> Result<()> {
    let lost = known.asking_none_of(others);
    let lost: Vec<&str> = lost.into_iter().filter(|plane| !hosts.iter().any(|host| host == plane)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(problem(
        format!(
            "of the members of etcd that stay, {} {} none",
            some_names(&lost),
            if lost.len() == 1 { "asks" } else { "ask" }
        ),
        "control planes that know a member which stays",
        "tell them of all members first: setup-cluster without --limit, or with one that has all control planes in it",
    ))
}

/// What would keep the machine itself from being reset is found before anything is changed.
async fn check_leaving(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    match known.is_ours(host.name()) {
        Some(true) => {}
        // It is not reset.
        Some(false) => {
            host.passed("Look for what is not the cluster's");
            return Ok(());
        }
        None => return reset::has_no_other_cluster(host).await,
    }
    reset::is_the_clusters_alone(host, Reset::default()).await
}

/// The machine itself, which is reset if it was this cluster's.
async fn leave(host: &Host) -> Result<()> {
    if !host.check_mode() && host.cluster().done::<()>(LEFT).is_none() {
        return Err(Failure::Stopped(format!("{} has not left the cluster", host.name())));
    }
    let known = cluster::known(host).await?;
    if known.is_ours(host.name()) == Some(false) {
        host.passed("it is no machine of this cluster");
        return Ok(());
    }
    let name = cluster_vars(host)?.kube_override_hostname;
    if let Some(node) = known.node(host.name()).filter(|node| *node != name) {
        host.warn(format!(
            "the machine at the address of {} is the node {node}: it is left alone",
            host.name()
        ));
        return Ok(());
    }
    reset::run(host, Reset::default()).await
}

/// Those of some hosts that are in a group.
fn among(hosts: &[String], group: &[String]) -> Vec<String> {
    hosts.iter().filter(|name| group.contains(name)).cloned().collect()
}

fn problem(found: impl Into<String>, needed: impl Into<String>, remedy: impl Into<String>) -> Failure {
    let problem = Problem {
        check: "cluster".into(),
        found: found.into(),
        needed: needed.into(),
        remedy: remedy.into(),
    };
    Failure::Problems(vec![problem])
}
