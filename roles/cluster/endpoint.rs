//! `HOST:PORT` at which the machines of a cluster find its API: at a control plane, at 127.0.0.1 where each has a way of its own, or
//! at a load balancer that somebody else runs.
//!
//! A cluster goes over to somebody else's load balancer late in a run, in a role of its own ([`crate::kubeadm::API_ENDPOINT`]): when
//! the certificate of every API server has its name. Until then its machines find the API where they did, and those of a new
//! cluster at the control plane that begins it.

use muster_engine::prelude::*;

use super::Standing;
use crate::addresses::access_ip_of;
use crate::balancer::{self, External};
use crate::common::cluster_vars;
use crate::kubeadm;

/// Where the API is found as long as machines are set up.
pub(crate) fn endpoint(host: &Host, known: &Standing) -> Result<String> {
    match External::wanted(host, known)? {
        Some(external) if known.is_told(&external.endpoint()) => Ok(external.endpoint()),
        Some(_) => as_it_is(host, known),
        None => without_external(host, known),
    }
}

/// Where it is found when the run is through.
pub(crate) fn in_the_end(host: &Host, known: &Standing) -> Result<String> {
    match goes_over(host, known)? {
        Some(external) => Ok(external.endpoint()),
        None => endpoint(host, known),
    }
}

/// The load balancer to which this run brings the cluster.
pub(crate) fn goes_over(host: &Host, known: &Standing) -> Result<Option<External>> {
    let does = |role| known.leader().is_some_and(|leader| host.cluster().has_role(leader, role));
    let is_brought = does(kubeadm::CONTROL_PLANE) && does(kubeadm::API_ENDPOINT);
    let external = External::wanted(host, known)?.filter(|_| is_brought);
    Ok(external.filter(|external| !known.is_told(&external.endpoint())))
}

/// 127.0.0.1 where each machine has a way of its own, else what the cluster was begun with.
fn without_external(host: &Host, known: &Standing) -> Result<String> {
    if balancer::is_used(host, known)? {
        return balancer::address(host);
    }
    let Some(endpoint) = known.endpoint() else { return as_it_is(host, known) };
    // It stays at a former load balancer where some machines have no way of their own yet.
    let is_left = known.was_brought_to(endpoint) && !balancer::is_wanted(host, known)?;
    let plane = known.leader().or(known.standing().first().copied());
    match plane.filter(|_| balancer::is_local(endpoint) || is_left) {
        Some(plane) => api_of(host, plane),
        None => as_it_is(host, known),
    }
}

/// What the cluster's machines know, else the control plane that begins it.
fn as_it_is(host: &Host, known: &Standing) -> Result<String> {
    if let Some(endpoint) = known.endpoint() {
        return Ok(endpoint.to_owned());
    }
    match known.birthplace().map_err(|problem| Failure::Problems(vec![problem]))? {
        Some(plane) => api_of(host, plane),
        None => Err(Failure::new(
            "no control plane says where the API is reached",
            "see server in /etc/kubernetes/admin.conf of the control planes",
        )),
    }
}

/// `HOST:PORT` of a control plane's own API server.
pub(crate) fn api_of(host: &Host, plane: &str) -> Result<String> {
    Ok(format!("{}:{}", access_ip_of(host, plane)?, cluster_vars(host)?.kube_apiserver_port))
}
