//! Members that restart later than their turn: while others join, the one that was there before is the only one that every API
//! server knows of. It restarts when all API servers know of all members, and so have another one to ask.

use muster_engine::prelude::*;

use super::leave::may_restart;
use super::{ROLE, client_urls, is_healthy};
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

/// Keeps what it is to be started with.
pub(super) async fn put_off(host: &Host, etcd: Service) -> Result<()> {
    host.cluster().once(&key(host.name()), || async { Ok(etcd) }).await.map(drop)
}

/// Restarts the members for which that was put off, one after the other.
pub(crate) async fn run(host: &Host) -> Result<()> {
    if let Some(etcd) = host.cluster().done::<Service>(&key(host.name())) {
        let known = cluster::may_set_up(host).await?;
        for plane in &known.planes {
            host.needs_of_role(plane, kubeadm::CONTROL_PLANE, kubeadm::API_IS_UP).await?;
        }
        for member in known.members_in_order().iter().take_while(|member| *member != host.name()) {
            host.needs_of_role(member, RESTARTS, RESTARTED).await?;
        }
        may_restart(host, &etcd).await?;
        let done = host.step("Restart etcd").ensure((*etcd).clone()).await?;
        if done.changed {
            is_healthy(host).await?;
        }
    }
    host.reached(RESTARTED);
    Ok(())
}
