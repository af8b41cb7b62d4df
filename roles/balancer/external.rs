//! An address of its own for the API: of a load balancer that somebody else runs in front of the API servers
//! (`loadbalancer_apiserver` and `apiserver_loadbalancer_domain_name`, with kubespray's names and meanings), or one that the control
//! planes share ([`crate::vip`]).
//!
//! Nothing leads to it before the certificate of every API server has its name and address, and before API servers of this cluster,
//! and of no other one, have answered there.

use std::net::IpAddr;

use futures::future::join_all;
use muster_engine::prelude::*;
use muster_inventory::{HostVars, some_names};

use super::{nobody_is_left_out, outside, workers_are_prepared};
use crate::cluster::{self, Standing};
use crate::common::is_dns_name;
use crate::vip;

/// The variables.
pub(crate) const VARIABLE: &str = "loadbalancer_apiserver";
pub(crate) const NAME: &str = "apiserver_loadbalancer_domain_name";

/// What the variable has to be.
const NEEDED: &str =
    "a mapping with address (an IPv4 address that is not this machine's own 127.0.0.1), port, or both";

/// The end of the lines in /etc/hosts by which machines know its address.
pub(super) const MARK: &str = "# muster: loadbalancer_apiserver";

/// Where it is; it has an address, a name, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    address: Option<IpAddr>,
    name: Option<String>,
    port: u16,
    /// Whether the control planes share the address.
    shared: bool,
}

impl External {
    /// What a machine's variables say; `None` where there is none.
    ///
    /// # Errors
    /// What is wrong with them: what was found, and what is needed.
    pub(crate) fn of(vars: &HostVars) -> Result<Option<Self>, (String, &'static str)> {
        let wrong = |found: String| (found, NEEDED);
        let shared = vip::address(vars);
        let value = vars.get(VARIABLE).map_err(|error| wrong(error.summary()))?;
        let written = value.map_or(serde_json::Value::Null, |value| value.to_json());
        let none = serde_json::Map::new();
        let fields = match &written {
            serde_json::Value::Null => &none,
            serde_json::Value::Object(fields) => fields,
            other => return Err(wrong(other.to_string())),
        };
        if fields.is_empty() && shared.is_none() {
            return Ok(None);
        }
        if let Some(other) = fields.keys().find(|key| !["address", "port"].contains(&key.as_str())) {
            return Err(wrong(format!("{other} in {written}")));
        }
        let text = |key: &str| match fields.get(key) {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(text)) => Some(text.trim().to_owned()),
            Some(other) => Some(other.to_string()),
        };
        let address = match text("address").map(|text| text.parse::<IpAddr>()) {
            None => shared,
            Some(Ok(address)) if address.is_ipv4() && !address.is_loopback() && !address.is_unspecified() => {
                Some(address)
            }
            Some(_) => return Err(wrong(written.to_string())),
        };
        let api = vars.get("kube_apiserver_port").ok().flatten().map(|port| port.to_json());
        let api = api.map(|port| port.as_str().map_or_else(|| port.to_string(), str::to_owned));
        let of_api = api.and_then(|port| port.parse().ok());
        let port = text("port").map_or(of_api, |port| port.parse().ok()).filter(|port| *port > 0);
        let Some(port) = port else { return Err(wrong(written.to_string())) };
        let name = name(vars);
        if address.is_none() && name.is_none() {
            return Err((
                written.to_string(),
                "an address, or a name in apiserver_loadbalancer_domain_name that name servers know",
            ));
        }
        if shared.is_some() && (address != shared || Some(port) != of_api) {
            return Err((
                written.to_string(),
                "kube_vip_address and kube_apiserver_port, or nothing: the API servers themselves are at an address that the control planes share",
            ));
        }
        Ok(Some(Self { address, name, port, shared: shared.is_some() }))
    }

    /// What the variables that hold for the cluster say. What is wrong with them is told by preflight.
    ///
    /// # Errors
    /// The inventory cannot be read.
    pub(crate) fn wanted(host: &Host, known: &Standing) -> Result<Option<Self>> {
        let of_all = known.speaker().unwrap_or(host.name());
        Ok(Self::of(&host.cluster().vars_of(of_all)?).ok().flatten())
    }

    /// `HOST:PORT` by which the cluster's machines know it: by its name, where it has one.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}:{}", self.host(), self.port)
    }

    /// Its name, else its address.
    pub(crate) fn host(&self) -> String {
        let address = || self.address.map(|address| address.to_string());
        self.name.clone().or_else(address).unwrap_or_default()
    }

    /// Its address, where it is written down.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether the control planes share its address.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// `HOST:PORT` at which it is found before any machine has its name in /etc/hosts.
    fn found_at(&self) -> String {
        self.address.map_or_else(|| self.endpoint(), |address| format!("{address}:{}", self.port))
    }

    /// A kubeconfig as it is of use where nobody knows the name: it leads to the address.
    pub(crate) fn by_address(&self, config: &str) -> String {
        config.replace(
            &format!("server: https://{}\n", self.endpoint()),
            &format!("server: https://{}\n", self.found_at()),
        )
    }

    /// The line of /etc/hosts by which machines know its name.
    pub(crate) fn line(&self) -> Option<String> {
        Some(format!("{} {} {MARK}", self.address?, self.name.as_ref()?))
    }

    /// Which lines of /etc/hosts are passed over by whoever asks whether it is found, by their end: where name servers say its address,
    /// all of muster's, which are about to go.
    fn passed_over(&self) -> &'static str {
        if self.address.is_none() { MARK } else { "" }
    }

    /// The workers that do not get its name into their /etc/hosts in this run. A cluster goes over as a whole: kube-proxy has one
    /// configuration for all machines. That of a cluster which begins is on none of them yet.
    pub(crate) fn passes_over(&self, host: &Host, known: &Standing) -> Vec<String> {
        let is_needed =
            known.endpoint().is_some() && (self.line().is_some() || known.has_line_of(&self.host()));
        if is_needed { outside(host) } else { Vec::new() }
    }
}

/// A name under which the API is reached, whatever is there. It goes into certificates also where there is no load balancer.
pub(crate) fn name(vars: &HostVars) -> Option<String> {
    let name = vars.get(NAME).ok()??;
    name.as_str().map(str::to_owned).filter(|name| !name.is_empty())
}

/// What the certificate of every API server is good for because of these variables.
pub(crate) fn names(vars: &HostVars) -> Vec<String> {
    let address = External::of(vars).ok().flatten().and_then(|external| external.address);
    address.map(|address| address.to_string()).into_iter().chain(name(vars)).collect()
}

/// What of a name is no name.
pub(crate) fn wrong_name(vars: &HostVars) -> Option<String> {
    name(vars).filter(|name| !is_dns_name(name))
}

/// Whether API servers answer by a name ($1) at URLs. More often than there are of them, because each connection may lead to
/// another one.
fn answer(
    known: &Standing,
    external: &External,
    name: &str,
    urls: impl IntoIterator<Item = String>,
) -> Script {
    let times = (3 * known.planes.len()).max(4).to_string();
    let arguments = [external.passed_over().to_owned(), name.to_owned(), times];
    sh(
        concat!(include_str!("past_hosts_file.sh"), include_str!("answer_as.sh")),
        arguments.into_iter().chain(urls),
    )
}

/// What has to be there, in words.
fn needed(host: &Host, known: &Standing) -> String {
    let planes = known.planes.iter();
    let planes: Vec<String> = planes.filter_map(|plane| cluster::api_of(host, plane).ok()).collect();
    format!(
        "a load balancer there that passes connections on as they are (TCP, with their TLS) to the API servers of this cluster: {}",
        planes.join(", ")
    )
}

/// Makes sure, before anything is changed, that a cluster that stands may go over to another load balancer, or to another address
/// of the one that it has: API servers of this cluster answer there, and none is left out of the run without its name in its
/// certificate. Asked by the control plane that leads, and once a run. Of an address that the control planes are to share each of them
/// sees that nobody else has it, also where a cluster begins.
///
/// # Errors
/// [`Failure::Problems`]: what is against it.
pub(crate) async fn may_go_over(host: &Host, known: &Standing) -> Result<()> {
    vip::may_be_taken(host, known).await?;
    if known.leader() != Some(host.name()) || known.standing().is_empty() {
        return Ok(());
    }
    let Some(external) = External::wanted(host, known)? else { return Ok(()) };
    let is_elsewhere = external.line().is_some_and(|line| known.lacks_hosts_line(&line));
    if cluster::goes_over(host, known)?.is_none() && !is_elsewhere {
        return Ok(());
    }
    let look = || async {
        let mut problems = without_its_name(known, &external);
        if !external.shared {
            problems.extend(leads_elsewhere(host, known, &external).await?);
        }
        if problems.is_empty() { Ok(()) } else { Err(Failure::Problems(problems)) }
    };
    host.cluster().once("whether the load balancer leads to this cluster", look).await.map(drop)
}

/// Control planes outside of the run, whose certificates this run cannot renew.
fn without_its_name(known: &Standing, external: &External) -> Vec<Problem> {
    let outside = known.planes.iter().filter(|plane| !known.in_run.contains(plane));
    let without: Vec<&String> = outside.filter(|plane| !known.serves_as(plane, &external.host())).collect();
    if without.is_empty() {
        return Vec::new();
    }
    vec![problem(
        external,
        format!(
            "{}, and the certificate of the API server of {} is not known to be good for {}",
            external.endpoint(),
            some_names(&without),
            external.host()
        ),
        "control planes that all have that name in their certificates, before anybody is led to it".to_owned(),
        "run without --limit; take a control plane that is gone for good out of the cluster first: muster remove-node NAME".to_owned(),
    )]
}

/// Every machine of the cluster knows its name, before kube-proxy is told to look there: where its address is written down, by
/// /etc/hosts. Those that are off are told of: they get it in a later run.
///
/// # Errors
/// The cluster has nodes that are not in the inventory; or a worker failed before.
pub(crate) async fn all_know_it(host: &Host, known: &Standing, external: &External) -> Result<()> {
    let mut off = workers_are_prepared(host, known).await?;
    let Some(line) = external.line().filter(|_| known.endpoint().is_some()) else { return Ok(()) };
    let outside = known.planes.iter().filter(|plane| !known.in_run.contains(plane));
    off.extend(outside.filter(|plane| !known.hosts_lines(plane).contains(&line)).cloned());
    let there = format!("at {}, which is in /etc/hosts of machines that muster sets up", external.host());
    nobody_is_left_out(host, &there, &format!("remove {NAME}: then all find it at its address")).await?;
    for name in off {
        host.warn(format!(
            "{name} has no part in this run: until setup-cluster has given it a line of /etc/hosts for {}, it does not find the API there",
            external.host()
        ));
    }
    Ok(())
}

async fn leads_elsewhere(host: &Host, known: &Standing, external: &External) -> Result<Option<Problem>> {
    let url = format!("https://{}", external.found_at());
    // Every API server has this name, whatever the variables were.
    let ask = answer(known, external, "kubernetes", [url.clone()]);
    let mut said = String::new();
    // It may be away for a moment.
    for _ in 0..3 {
        let answer = host.query(ask.clone()).await?;
        if answer.status == 0 {
            return Ok(None);
        }
        said = answer.output.trim_end().to_owned();
        if is_anothers(&said) {
            break;
        }
    }
    let found = if is_anothers(&said) {
        format!("at {url} answers what is no API server of this cluster, at least now and then: {said}")
    } else {
        format!("at {url} the API does not answer each time: {said}")
    };
    Ok(Some(problem(
        external,
        found,
        needed(host, known),
        "correct the load balancer or its address, see that the API servers answer, and run again; nothing leads there yet".to_owned(),
    )))
}

/// Whether somebody has answered who has no certificate of this cluster.
fn is_anothers(said: &str) -> bool {
    ["x509: ", "gave HTTP response to HTTPS", "Unauthorized", "tls: "].iter().any(|word| said.contains(word))
}

fn problem(external: &External, found: String, needed: String, remedy: String) -> Problem {
    let check = match external.address {
        Some(_) if external.shared => vip::ADDRESS,
        Some(_) => VARIABLE,
        None => NAME,
    };
    Problem { check: check.to_owned(), found, needed, remedy }
}

/// Waits until the API servers of the run answer by the load balancer's name, each at its own address and all behind it.
pub(crate) async fn answers(host: &Host, known: &Standing, external: &External) -> Result<()> {
    // By its address, also where machines know it by a name, which may be at another address still.
    let url = format!("https://{}", external.found_at());
    let mut urls = vec![url.clone()];
    for plane in known.planes.iter().filter(|plane| known.in_run.contains(plane)) {
        urls.push(format!("https://{}", cluster::api_of(host, plane)?));
    }
    let wait = Wait::new(
        format!("the API answers at its load balancer, {url}"),
        answer(known, external, &external.host(), urls),
        Duration::from_secs(2),
        Duration::from_secs(120),
    );
    host.wait(wait).await.map(drop).map_err(|failure| match failure {
        Failure::Waited { tail, .. } if external.shared => vip::is_held_by_nobody(&url, tail),
        Failure::Waited { tail, .. } => Failure::Other {
            message: format!("the API does not answer each time at {url}, where loadbalancer_apiserver says that it is"),
            remedy: format!(
                "what has to be there: {}; until then the cluster's machines find the API where they did; then run again",
                needed(host, known)
            )
            .into(),
            tail,
        },
        other => other,
    })
}

/// Every machine of the run that is in the cluster finds the API there, before any of them is led there. Asked by each itself: the control
/// plane that leads may hold the address, and sees nothing of what is between it and others.
///
/// # Errors
/// [`Failure::Problems`]: those that do not, and what they said.
pub(crate) async fn all_find_it(host: &Host, known: &Standing, external: &External) -> Result<()> {
    let what = "Every machine finds the API there";
    if host.check_mode() {
        host.not_yet(what);
        return Ok(());
    }
    let url = format!("https://{}", external.found_at());
    let mut others = host.cluster().group("k8s_cluster");
    others.retain(|name| name != host.name() && known.answered(name));
    let ask = |name: String| {
        let finds = concat!(include_str!("past_hosts_file.sh"), include_str!("finds_it.sh"));
        let finds = sh(finds, [external.passed_over(), url.as_str()]);
        async move {
            // One that is off, or takes no part, cannot be asked.
            let answer = host.cluster().host(&name).ok()?.query(finds).await.ok()?;
            (answer.status != 0).then_some((name, answer.output))
        }
    };
    let lost = join_all(others.into_iter().map(ask)).await.into_iter().flatten();
    let problems: Vec<Problem> = lost.map(|(name, said)| is_not_found(external, &name, &said)).collect();
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    host.passed(what);
    Ok(())
}

/// A machine does not find the API at a load balancer that the control plane that leads finds.
fn is_not_found(external: &External, name: &str, said: &str) -> Problem {
    let url = format!("https://{}", external.found_at());
    let between = match external.shared {
        true => {
            "a firewall, or a switch or cloud that lets an address be at one machine only (allowed address pairs)"
        }
        false => "a firewall, a route, or the load balancer itself",
    };
    problem(
        external,
        format!("{name} does not find the API at {url}: {}", said.trim_end()),
        "an address at which every machine of the cluster finds the API".to_owned(),
        format!(
            "see what is between {name} and the address ({between}), and run again; nothing leads there yet"
        ),
    )
}
