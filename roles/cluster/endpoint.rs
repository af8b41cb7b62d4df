//! `HOST:PORT` at which the machines of a cluster find its API: at a control plane, at 127.0.0.1 where each has a way of its own, at
//! a load balancer that somebody else runs, or at an address that the control planes share.
//!
//! A cluster goes over to somebody else's load balancer late in a run, in a role of its own ([`crate::kubeadm::API_ENDPOINT`]): when
//! the certificate of every API server has its name. Until then its machines find the API where they did, and those of a new
//! cluster at the control plane that begins it.

use std::net::IpAddr;

use muster_engine::prelude::*;

use super::Standing;
use super::identity::Identity;
use crate::addresses::{access_ip_of, ip_of};
use crate::balancer::{self, External};
use crate::common::cluster_vars;
use crate::kubeadm;

/// Where the API is found as long as machines are set up.
pub(crate) fn endpoint(host: &Host, known: &Standing) -> Result<String> {
    match External::wanted(host, known)? {
        Some(external) if known.is_told(&external) => Ok(external.endpoint()),
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

/// The load balancer to which this run brings the cluster, or another address of the one that it has.
pub(crate) fn goes_over(host: &Host, known: &Standing) -> Result<Option<External>> {
    let external = goes_over_with_all(host, known)?;
    Ok(external.filter(|external| external.passes_over(host, known).is_empty()))
}

/// The same, whether or not the run reaches all machines that have to know its name.
pub(crate) fn goes_over_with_all(host: &Host, known: &Standing) -> Result<Option<External>> {
    let does = |role| known.leader().is_some_and(|leader| host.cluster().has_role(leader, role));
    let is_brought = does(kubeadm::CONTROL_PLANE) && does(kubeadm::API_ENDPOINT);
    let external = External::wanted(host, known)?.filter(|_| is_brought);
    Ok(external.filter(|external| !known.is_told(external)))
}

/// The address at which machines of a cluster that stands find the API as long as they are set up; `None` where name servers say it.
pub(crate) fn found_at(host: &Host, known: &Standing) -> Result<Option<IpAddr>> {
    if known.endpoint().is_none() {
        return Ok(None);
    }
    let endpoint = endpoint(host, known)?;
    let name = host_in(&endpoint);
    let external = External::wanted(host, known)?;
    let own = address_in(known.hosts_lines(host.name()), name);
    Ok(own.or_else(|| known.address_at(name, external.as_ref())))
}

/// The address that these lines of /etc/hosts have for a name.
fn address_in(lines: &[String], name: &str) -> Option<IpAddr> {
    let line = lines.iter().find(|line| leads(line, name))?;
    line.split(' ').next()?.parse().ok()
}

/// Whether a line of /etc/hosts is that of a name.
fn leads(line: &str, name: &str) -> bool {
    line.split(' ').nth(1) == Some(name)
}

/// The host in `HOST:PORT`.
pub(crate) fn host_in(endpoint: &str) -> &str {
    endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host)
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

/// The URLs at which a control plane's own API server may be known: at either of its addresses, as far as they are known.
pub(crate) fn api_urls_of(host: &Host, plane: &str) -> Vec<String> {
    let Ok(port) = cluster_vars(host).map(|cluster| cluster.kube_apiserver_port) else { return Vec::new() };
    let addresses = [ip_of(host, plane), access_ip_of(host, plane)].into_iter().filter_map(Result::ok);
    addresses.map(|address| format!("https://{address}:{port}")).collect()
}

impl Standing {
    /// Whether the cluster has been told to look for its API there: control planes are, after everything else in it. Another address
    /// of the same name is told by their line of /etc/hosts, and by none where name servers say it.
    pub(crate) fn is_told(&self, external: &External) -> bool {
        let (url, line) = (format!("https://{}", external.endpoint()), external.line());
        let has_line = |seen: &Identity| match &line {
            Some(line) => seen.hosts_lines.contains(line),
            None => !seen.hosts_lines.iter().any(|line| leads(line, &external.host())),
        };
        let is_led = |seen: &Identity| seen.admin.as_ref().is_some_and(|admin| admin.server == url);
        let planes = || self.known_of(&self.planes).filter(|(_, seen)| seen.stands());
        planes().any(|(_, seen)| is_led(seen) && has_line(seen))
            // One that took no part when the address was changed may have a former one, to which nobody goes back unseen.
            && planes().all(|(name, seen)| has_line(seen) || !self.in_run.iter().any(|host| host == name))
    }

    /// The line of /etc/hosts by which control planes know a name of the API; where they differ, the wanted one, and none where name
    /// servers are to say the address and do so for one of them. Who took no part when the address was changed may have a former line.
    pub(crate) fn line_of<'s>(&'s self, name: &str, wanted: Option<&External>) -> Option<&'s str> {
        let planes = || self.known_of(&self.planes).map(|(_, seen)| seen).filter(|seen| seen.stands());
        let line =
            |seen: &'s Identity| seen.hosts_lines.iter().map(String::as_str).find(|line| leads(line, name));
        let is_led = |seen: &Identity| {
            let server = seen.admin.as_ref().and_then(|admin| admin.server.strip_prefix("https://"));
            server.is_some_and(|server| host_in(server) == name)
        };
        let wanted = wanted.filter(|external| external.host() == name).map(External::line);
        if wanted == Some(None) && planes().any(|seen| is_led(seen) && line(seen).is_none()) {
            return None;
        }
        let wanted = wanted.flatten();
        let lines: Vec<&str> = planes().filter_map(line).collect();
        lines.iter().find(|line| Some(**line) == wanted.as_deref()).or(lines.first()).copied()
    }

    /// Whether a machine of the cluster has a line of /etc/hosts for a name.
    pub(crate) fn has_line_of(&self, name: &str) -> bool {
        let machines = self.machines.values().filter_map(|seen| seen.as_ref().ok());
        machines.flat_map(|seen| &seen.hosts_lines).any(|line| leads(line, name))
    }

    /// The address that a host of `HOST:PORT` is, or that control planes have in /etc/hosts for its name (see [`Self::line_of`]).
    pub(crate) fn address_at(&self, host: &str, wanted: Option<&External>) -> Option<IpAddr> {
        host.parse().ok().or_else(|| self.line_of(host, wanted)?.split(' ').next()?.parse().ok())
    }

    /// Whether variables have once brought the cluster to a load balancer of somebody else's that is at `HOST:PORT`.
    pub(crate) fn was_brought_to(&self, endpoint: &str) -> bool {
        self.known_of(&self.planes).any(|(_, seen)| seen.external.iter().any(|known| known == endpoint))
    }

    /// Whether the certificate of a control plane's API server is known to be good for a name or an address.
    pub(crate) fn serves_as(&self, plane: &str, name: &str) -> bool {
        self.known(plane).is_some_and(|seen| seen.serves_as.iter().any(|known| known == name))
    }

    /// The addresses of the API that a machine shares with other control planes.
    pub(crate) fn shares(&self, name: &str) -> &[IpAddr] {
        self.known(name).map_or(&[], |seen| &seen.shares)
    }

    /// The lines of /etc/hosts by which a machine knows names of load balancers.
    pub(crate) fn hosts_lines(&self, name: &str) -> &[String] {
        self.known(name).map_or(&[], |seen| &seen.hosts_lines)
    }

    /// Whether a machine of the cluster does not have this line.
    pub(crate) fn lacks_hosts_line(&self, line: &str) -> bool {
        let mut nodes =
            self.machines.values().filter_map(|seen| seen.as_ref().ok()).filter(|seen| seen.joined());
        nodes.any(|seen| !seen.hosts_lines.iter().any(|known| known == line))
    }
}
