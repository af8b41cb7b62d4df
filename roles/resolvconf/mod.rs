//! resolvconf: the machines themselves find names of the cluster, where `resolvconf_mode` is `host_resolvconf`.
//!
//! The cluster's DNS is asked first, and the machine's own servers after it, so that names are found while the cluster's DNS is away.
//! Who says which servers a machine asks is told in its own way (`machine.sh`), when the cluster's DNS answers there, and what was there
//! before is kept aside; where names are not found any more it is put back at once (`apply.sh`). CoreDNS must not ask itself: the
//! kubelet hands the machine's own servers on to pods, in a file of muster's that the cluster's DNS is never in.

use std::net::IpAddr;

use muster_engine::prelude::*;
use serde::Deserialize;

use crate::cluster;
use crate::common::cluster_vars;
use crate::coredns;

/// Explained in `defaults.yml`, and in that of coredns and nodelocaldns.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Vars {
    resolvconf_mode: String,
    dns_mode: String,
    skydns_server: String,
    skydns_server_secondary: String,
    enable_nodelocaldns: bool,
    nodelocaldns_ip: String,
    upstream_dns_servers: Vec<String>,
    nameservers: Vec<String>,
    disable_host_nameservers: bool,
    searchdomains: Vec<String>,
    remove_default_searchdomains: bool,
    ndots: u32,
    dns_timeout: u32,
    dns_attempts: u32,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>(), Read::own::<OutsideVars>()];

/// Names of the outside that are known from variables.
#[derive(Deserialize)]
struct OutsideVars {
    http_proxy: String,
    https_proxy: String,
    apiserver_loadbalancer_domain_name: Option<String>,
}

/// The machine's own name servers, for pods; it is there where the mode is or was on, until a reset.
pub(crate) const OWN: &str = "/var/lib/muster/resolv.conf";

/// A program in front of which stand the functions that look at a machine.
macro_rules! on_machine {
    ($($text:expr),*) => {
        concat!(include_str!("machine.sh"), $($text),*)
    };
}

const IS_DONE: &str = on_machine!("how=$(mechanism)\nis_in_place\n");
const APPLY: &str = on_machine!(include_str!("change.sh"), include_str!("apply.sh"));
const UNDO: &str = on_machine!(include_str!("change.sh"), "undo\n");
const OWN_IS_THERE: &str = on_machine!(
    r#"how=$(mechanism) extra_search=$8
[ -e "$9" ] && [ "$(cat "$9")" = "$(for_pods)" ]"#
);
const WRITE_OWN: &str = on_machine!(
    r#"how=$(mechanism) extra_search=$8
mkdir -p "${9%/*}"
for_pods >"$9.new"
sync "$9.new"
mv -f "$9.new" "$9""#
);

impl Vars {
    /// Whether machines of the cluster ask its DNS.
    pub(crate) fn is_wanted(&self) -> bool {
        self.resolvconf_mode == "host_resolvconf" && coredns::is_installed(&self.dns_mode)
    }

    /// All addresses of the cluster's DNS.
    fn of_cluster(&self) -> [&str; 3] {
        [&self.skydns_server, &self.skydns_server_secondary, &self.nodelocaldns_ip]
    }

    /// Those that machines ask: the cache on the machine, where there is one; else CoreDNS, and the second one where there are two.
    fn asked(&self) -> Vec<&str> {
        match (self.enable_nodelocaldns, self.dns_mode.as_str()) {
            (true, _) => vec![self.nodelocaldns_ip.as_str()],
            (false, "coredns_dual") => {
                vec![self.skydns_server.as_str(), self.skydns_server_secondary.as_str()]
            }
            (false, _) => vec![self.skydns_server.as_str()],
        }
    }

    /// The server of the cluster's that a resolv.conf names, and that is there no more with these variables.
    pub(crate) fn gone<'l>(&self, lines: impl IntoIterator<Item = &'l String>) -> Option<&'l str> {
        let is_there = |name: &str| match name {
            name if name == self.nodelocaldns_ip => self.enable_nodelocaldns && self.dns_mode != "none",
            name if name == self.skydns_server => coredns::is_installed(&self.dns_mode),
            _ => self.dns_mode == "coredns_dual",
        };
        let servers = lines.into_iter().filter_map(|line| server(line));
        servers.filter(|name| self.of_cluster().contains(name)).find(|name| !is_there(name))
    }

    /// Servers that variables name, by their addresses: those of CoreDNS may have a port or a protocol, which resolv.conf has not.
    fn further(&self) -> Vec<&str> {
        let all = self.upstream_dns_servers.iter().chain(&self.nameservers);
        all.map(String::as_str).filter(|server| server.parse::<IpAddr>().is_ok()).collect()
    }

    /// The domains in which names are looked for first, in kubespray's order.
    fn search(&self, domain: &str) -> Vec<String> {
        let defaults = match self.remove_default_searchdomains && !self.searchdomains.is_empty() {
            true => Vec::new(),
            false => vec![format!("default.svc.{domain}"), format!("svc.{domain}")],
        };
        defaults.into_iter().chain(self.searchdomains.iter().cloned()).collect()
    }

    /// The first seven parameters of `machine.sh`.
    fn arguments(&self, domain: &str) -> Vec<String> {
        let options =
            format!("ndots:{} timeout:{} attempts:{}", self.ndots, self.dns_timeout, self.dns_attempts);
        vec![
            self.asked().join(" "),
            self.further().join(" "),
            self.search(domain).join(" "),
            options,
            if self.disable_host_nameservers { "yes" } else { "no" }.to_owned(),
            domain.to_owned(),
            self.of_cluster().join(" "),
        ]
    }

    /// The lines of a resolv.conf without servers that are the cluster's.
    pub(crate) fn without_the_clusters(&self, lines: &[String]) -> Vec<String> {
        let own = |line: &&String| !server(line).is_some_and(|server| self.of_cluster().contains(&server));
        lines.iter().filter(own).cloned().collect()
    }

    /// Whether a resolv.conf names a server of the cluster's.
    pub(crate) fn has_the_clusters(&self, lines: &[String]) -> bool {
        self.without_the_clusters(lines).len() < lines.len()
    }

    /// The file that the kubelet hands on to pods; `lines`: the resolv.conf with the servers that the machine asks. With an empty name
    /// pods that want the machine's servers get none.
    pub(crate) fn handed_on(&self, lines: &[String]) -> &'static str {
        let own = self.without_the_clusters(lines);
        let reached = |server: &str| server.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback());
        let has_own =
            !self.disable_host_nameservers && own.iter().filter_map(|line| server(line)).any(reached);
        if has_own || !self.further().is_empty() { OWN } else { "" }
    }

    /// Whether a file is one of those that a machine which asks the cluster's DNS reads itself: pods get [`OWN`] in its place, also where
    /// `kube_resolv_conf` names it.
    pub(crate) fn leads_back(&self, path: &str) -> bool {
        self.is_wanted() && (path == "/etc/resolv.conf" || path.starts_with("/run/systemd/resolve/"))
    }

    /// Whether the machine is left with nobody to ask while the cluster's DNS is away, whatever it has itself.
    pub(crate) fn asks_the_cluster_alone(&self) -> bool {
        self.is_wanted() && self.disable_host_nameservers && self.further().is_empty()
    }

    /// The servers that programs do not ask, because they ask three at most; `own`: the lines of the machine's resolv.conf before.
    fn left_out(&self, own: &[String]) -> Vec<String> {
        let own = self.without_the_clusters(own);
        let own = own.iter().filter_map(|line| server(line)).filter(|_| !self.disable_host_nameservers);
        let mut all: Vec<&str> = Vec::new();
        for one in self.asked().into_iter().chain(self.further()).chain(own) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
        all.into_iter().skip(3).map(str::to_owned).collect()
    }
}

/// The server that a line of resolv.conf(5) names.
fn server(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.next().filter(|word| *word == "nameserver").and(words.next())
}

/// Whether the machine is to ask the cluster's DNS: it takes part in the network of pods and services.
fn is_wanted_on(host: &Host, vars: &Vars) -> bool {
    vars.is_wanted() && host.in_group("k8s_cluster")
}

/// The machine asks the cluster's DNS first.
pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    if !is_wanted_on(host, &vars) {
        return Ok(());
    }
    cluster::may_set_up(host).await?;
    let mut arguments = vars.arguments(&cluster_vars(host)?.dns_domain);
    let look = sh(IS_DONE, arguments.clone());
    arguments.extend(outside(host)?);
    let done = host
        .step("Names of the cluster on the machine")
        .limit(Duration::from_secs(300))
        .ensure(command(
            format!("the machine asks {} for names first", vars.asked().join(" and ")),
            sh(APPLY, arguments),
            look,
        ))
        .await?;
    let resolved = host.facts().resolv.iter().any(|line| server(line) == Some("127.0.0.53"));
    let left_out = vars.left_out(&host.facts().resolv);
    if done.changed && !resolved && !left_out.is_empty() {
        host.warn(format!(
            "programs ask three name servers at most (resolv.conf(5)): on {} they do not ask {} any more",
            host.name(),
            left_out.join(", ")
        ));
    }
    Ok(())
}

/// Names of the outside that a machine may need; it knows itself where its packages come from.
fn outside(host: &Host) -> Result<Vec<String>> {
    let vars: OutsideVars = host.vars()?;
    let urls = [Some(vars.http_proxy), Some(vars.https_proxy), vars.apiserver_loadbalancer_domain_name];
    let named = urls.iter().flatten().filter_map(|url| host_of(url).map(str::to_owned));
    Ok(named.chain(["registry.k8s.io".to_owned()]).collect())
}

/// The host of a URL; a name alone is one.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    (!host.is_empty()).then_some(host)
}

/// The file of the machine's own servers, where the kubelet is to hand it on.
pub(crate) fn own(host: &Host) -> Result<Option<Command>> {
    let vars: Vars = host.vars()?;
    if !vars.is_wanted() {
        return Ok(None);
    }
    let mut arguments = vars.arguments(&cluster_vars(host)?.dns_domain);
    arguments.extend([vars.searchdomains.join(" "), OWN.to_owned()]);
    Ok(Some(command(
        format!("the machine's own name servers in {OWN}"),
        sh(WRITE_OWN, arguments.clone()),
        sh(OWN_IS_THERE, arguments),
    )))
}

/// The machine finds names as it did, where it is not to ask the cluster's DNS.
pub(crate) fn left_alone(host: &Host) -> Result<Option<Command>> {
    Ok((!is_wanted_on(host, &host.vars()?)).then(as_before))
}

/// The machine finds names as before [`run`] changed that.
pub(crate) fn as_before() -> Command {
    command("the name servers of before", sh0(UNDO), sh0("[ ! -e /var/lib/muster/stamps/resolv ]"))
}

/// What stays after that, for pods that run.
pub(crate) fn owned() -> File {
    file(OWN)
}

#[cfg(test)]
mod tests;
