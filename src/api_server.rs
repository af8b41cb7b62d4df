//! Which API server is asked: the one that a kubeconfig names, or that of another control plane, where it does not answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
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
    let by_proxy = ["https_proxy", "HTTPS_PROXY"].iter().any(|name| environment.get(name).is_some());
    let Some((text, server)) = fs::read_to_string(config)
        .ok()
        .and_then(|text| Some((text.clone(), Server::of(&text)?)))
        .filter(|_| !by_proxy)
    else {
        return Ok(config.to_owned());
    };
    let runtime = runtime()?;
    if runtime.block_on(server.answers()) {
        return Ok(config.to_owned());
    }
    let others = others(&server, project, inventory, environment)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
