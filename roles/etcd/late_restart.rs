//! Members that restart later than their turn: while others join, the one that was there before is the only one that every API
//! server knows of. It restarts when all API servers know of all members, and so have another one to ask. And members that are to be
//! static pods, but have begun before there was a kubelet.

use muster_engine::prelude::*;

use super::leave::may_restart;
use super::pod;
use super::{ROLE, client_urls, is_healthy, take_back};
use crate::cluster::{self, Standing};
use crate::kubeadm;

/// The role that makes up for it.
const RESTARTS: &str = "etcd-restart";

/// What a member tells the others when it has restarted, or does not have to.
const RESTARTED: &str = "etcd with its configuration";

/// Whether a member that stands waits with a restart: because others join in this run, or an API server does not know of all.
pub(super) fn is_due(host: &Host, known: &Standing) -> Result<bool> {
    if known.peer_url(host.name()).is_none() || !host.cluster().has_role(host.name(), RESTARTS) {
        return Ok(false);
    }
    let joins = |member: &String| known.joins_etcd(member) && host.cluster().has_role(member, ROLE);
    Ok(known.members.iter().any(joins) || known.may_miss_members(&client_urls(host)?))
}

fn key(name: &str) -> String {
    format!("the restart of etcd on {name}")
}

fn key_of_pod(name: &str) -> String {
    format!("etcd as a static pod on {name}")
}

/// Keeps what it is to be started with, and whether it may be a pod that is to be none.
pub(super) async fn put_off(host: &Host, etcd: Service, was_pod: bool) -> Result<()> {
    host.cluster().once(&key(host.name()), || async { Ok((etcd, was_pod)) }).await.map(drop)
}

/// A member may be a process that is to be a static pod.
pub(super) async fn put_off_pod(host: &Host) -> Result<()> {
    host.cluster().once(&key_of_pod(host.name()), || async { Ok(()) }).await.map(drop)
}

/// Restarts the members for which that was put off, one after the other.
pub(crate) async fn run(host: &Host) -> Result<()> {
    let waits = host.cluster().done::<(Service, bool)>(&key(host.name()));
    let pod = host.cluster().done::<()>(&key_of_pod(host.name()));
    if waits.is_some() || pod.is_some() {
        let known = cluster::may_set_up(host).await?;
        for plane in &known.planes {
            host.needs_of_role(plane, kubeadm::CONTROL_PLANE, kubeadm::API_IS_UP).await?;
        }
        for member in known.members_in_order().iter().take_while(|member| *member != host.name()) {
            host.needs_of_role(member, RESTARTS, RESTARTED).await?;
        }
    }
    if let Some(waits) = waits {
        let (etcd, was_pod) = &*waits;
        may_restart(host, etcd).await?;
        if *was_pod {
            take_back::run(host).await?;
        }
        let done = host.step("Restart etcd").ensure(etcd.clone()).await?;
        if done.changed {
            is_healthy(host).await?;
        }
    }
    if pod.is_some() {
        pod::hand_over(host).await?;
    }
    host.reached(RESTARTED);
    Ok(())
}
