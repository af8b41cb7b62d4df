//! Which API server is asked: the one that a kubeconfig names, or that of another control plane, where it does not answer.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use ipnet::IpNet;
use muster_app::{Project, World};
use muster_files::write_whole;

use crate::args::InventoryArgs;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::output::{CommandLine, print};
use crate::runtime::runtime;

/// How long an API server has to take a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// A kubeconfig by which an API server is reached: this one, or a copy that leads to another control plane. Where none answers it
/// is this one, too: kubectl says what is wrong.
///
/// # Errors
/// The inventory is wrong, or the copy cannot be written.
pub(crate) fn reached(
    config: &Path,
    project: &Project,
    inventory: &InventoryArgs,
    environment: &Environment,
) -> Result<PathBuf, CommandError> {
    // What is reached by way of a proxy cannot be tried from here.
    let way = Way::of(environment);
    let Some((text, server)) = fs::read_to_string(config)
        .ok()
        .and_then(|text| Some((text.clone(), Server::of(&text)?)))
        .filter(|(_, server)| way.is_direct(server))
    else {
        return Ok(config.to_owned());
    };
    let runtime = runtime()?;
    if runtime.block_on(server.answers()) {
        return Ok(config.to_owned());
    }
    let mut others = others(&server, project, inventory, environment)?;
    others.retain(|(_, other)| way.is_direct(other));
    let tried = runtime.block_on(join_all(others.iter().map(|(_, server)| server.answers())));
    let Some(((plane, other), _)) = others.iter().zip(tried).find(|(_, answers)| *answers) else {
        return Ok(config.to_owned());
    };
    print::note(&format!("no answer from {}, so the API server of {plane} is asked", server.url()));
    let copy = project.inventory_dir.join(".muster/admin.conf");
    let failed =
        |error: std::io::Error| CommandError::failed(format!("cannot write {}: {error}", copy.display()));
    if let Some(folder) = copy.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let text = text.replacen(&server.url(), &other.url(), 1);
    write_whole(&copy, Some(0o600), &mut text.as_bytes()).map_err(failed)?;
    Ok(copy)
}

/// Where the control planes of the inventory may be reached, in the order in which they are preferred: by addresses that stand in
/// the certificates of API servers.
fn others(
    server: &Server,
    project: &Project,
    inventory: &InventoryArgs,
    environment: &Environment,
) -> Result<Vec<(String, Server)>, CommandError> {
    let frontend = CommandLine::plain(environment);
    let world = World::load(project.clone(), &inventory.into(), environment, &*frontend)?;
    let mut others: Vec<(String, Server)> = Vec::new();
    for plane in world.inventory.group("kube_control_plane") {
        let vars = world.vars.host(plane)?;
        for name in ["access_ip", "ip", "ansible_host"] {
            let Some(host) = vars.get(name)?.and_then(|value| Some(value.as_str()?.to_owned())) else {
                continue;
            };
            let other = Server { host, port: server.port };
            if other != *server && !others.iter().any(|(_, known)| *known == other) {
                others.push((plane.to_owned(), other));
            }
        }
    }
    Ok(others)
}

/// The address of an API server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    /// A name, or an address without brackets.
    host: String,
    port: u16,
}

impl Server {
    /// The one that a kubeconfig names first.
    fn of(kubeconfig: &str) -> Option<Self> {
        let url = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("server: https://"))?;
        let (host, port) = url.trim_end_matches('/').rsplit_once(':')?;
        Some(Self { host: host.trim_matches(['[', ']']).to_owned(), port: port.parse().ok()? })
    }

    fn url(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") }
    }

    /// Whether it takes a connection.
    async fn answers(&self) -> bool {
        let connect = tokio::net::TcpStream::connect((self.host.as_str(), self.port));
        matches!(tokio::time::timeout(PATIENCE, connect).await, Ok(Ok(_)))
    }
}

/// Which servers kubectl asks by way of a proxy: Go's rules (golang.org/x/net/http/httpproxy).
struct Way {
    has_proxy: bool,
    /// What is asked directly all the same.
    direct: Vec<String>,
}

impl Way {
    fn of(environment: &Environment) -> Self {
        let value =
            |names: [&str; 2]| names.iter().find_map(|name| environment.get(name)).unwrap_or_default();
        let has_proxy = !value(["HTTPS_PROXY", "https_proxy"]).is_empty();
        let direct = value(["NO_PROXY", "no_proxy"]);
        let direct = direct.split(',').map(|entry| entry.trim().to_lowercase());
        Self { has_proxy, direct: direct.filter(|entry| !entry.is_empty()).collect() }
    }

    fn is_direct(&self, server: &Server) -> bool {
        let host = server.host.to_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        let is_here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        !self.has_proxy
            || is_here
            || self.direct.iter().any(|entry| covers(entry, &host, address, server.port))
    }
}

/// Whether an entry of `no_proxy` means a server: `*`, a network, or an address or a domain with or without a port. A domain
/// stands for itself and what is below it, with a dot in front for the latter alone.
fn covers(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let (Ok(network), Some(address)) = (entry.parse::<IpNet>(), address) {
        return network.contains(&address);
    }
    let is_address =
        |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|it| Some(it) == address);
    if is_address(entry) {
        return true;
    }
    let (name, of_port) = match entry.rsplit_once(':') {
        Some((name, of_port)) if !of_port.is_empty() && of_port.bytes().all(|b| b.is_ascii_digit()) => {
            (name, of_port.parse() == Ok(port))
        }
        _ => (entry, true),
    };
    let name = name.strip_prefix('*').unwrap_or(name);
    let is_named = match name.strip_prefix('.') {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    };
    of_port && (is_address(name) || address.is_none() && is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_for_what_no_proxy_does_not_name() {
        let is_direct = |direct: &str, host: &str| {
            let direct = direct.split(',').map(str::to_owned).collect();
            Way { has_proxy: true, direct }.is_direct(&Server { host: host.to_owned(), port: 6443 })
        };
        for (direct, host) in [
            ("192.0.2.4", "192.0.2.4"),
            ("a.example,192.0.2.0/24", "192.0.2.4"),
            ("192.0.2.4:6443", "192.0.2.4"),
            ("[2001:db8::4]:6443", "2001:db8::4"),
            ("2001:db8::/32", "2001:db8::4"),
            ("example.org", "api.example.org"),
            (".example.org:6443", "api.example.org"),
            ("*.example.org", "api.example.org"),
            ("*", "192.0.2.4"),
            ("x.example", "127.0.0.1"),
        ] {
            assert!(is_direct(direct, host), "{direct} {host}");
        }
        for (direct, host) in [
            ("", "192.0.2.4"),
            ("192.0.2.5,192.0.3.0/24", "192.0.2.4"),
            ("192.0.2.4:443", "192.0.2.4"),
            (".example.org", "example.org"),
            ("example.org", "badexample.org"),
        ] {
            assert!(!is_direct(direct, host), "{direct} {host}");
        }
        assert!(
            Way { has_proxy: false, direct: Vec::new() }.is_direct(&Server { host: "a".into(), port: 1 })
        );
    }

    #[test]
    fn the_server_of_a_kubeconfig_is_found_and_written_as_it_was() {
        for (url, host) in
            [("https://192.0.2.4:6443", "192.0.2.4"), ("https://[2001:db8::4]:6443", "2001:db8::4")]
        {
            let server = Server::of(&format!("clusters:\n- cluster:\n    server: {url}\n")).unwrap();
            assert_eq!((server.host.as_str(), server.port, server.url().as_str()), (host, 6443, url));
        }
        assert_eq!(Server::of("clusters: []\n"), None);
        assert_eq!(Server::of("    server: https://a\n"), None);
    }
}
