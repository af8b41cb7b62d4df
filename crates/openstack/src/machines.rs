//! The machines of a cluster: created, listed, deleted.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{CloudError, Session};
use crate::create::ROUTER_PORT;
use crate::declaration::{Declaration, Role};
use crate::kind::Kind;
use crate::mark::Mark;
use crate::mistake::Mistakes;
use crate::view::{Object, View};
use crate::wanted::{Wanted, wanted};

/// How long servers that are being deleted are waited for, since one of them last went.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often they are looked at.
const POLL: Duration = Duration::from_secs(2);

/// Tells whoever watches what is going on, in one line.
pub type Tell<'a> = &'a (dyn Fn(&str) + Sync);

/// Why machines could not be created, listed or deleted. What was made until then stays, and is found by the next run.
#[derive(Debug, thiserror::Error)]
pub enum MachinesError {
    /// A list could not be had, or the login failed.
    #[error("{0}")]
    Cloud(#[from] CloudError),
    /// The declaration names what is not in the cloud.
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    /// Something could not be made or changed.
    #[error("{what} could not be made: {source}")]
    Making {
        /// What.
        what: String,
        /// Why not.
        source: CloudError,
    },
    /// Machines did not come to run.
    #[error("{}", .0.join("\n"))]
    NotRunning(Vec<String>),
    /// What is there is not as it could have been made.
    #[error("{0}")]
    Unexpected(String),
    /// Something is used by what is not the cluster's; nothing was deleted.
    #[error("nothing was deleted, because others use what the cluster has:\n{}", .0.join("\n"))]
    Used(Vec<String>),
    /// Something could not be removed.
    #[error("{}", .0.join("\n"))]
    Left(Vec<String>),
}

/// The machines of one cluster.
pub struct Machines<'a> {
    pub(crate) session: &'a Session,
    pub(crate) mark: Mark,
    pub(crate) cluster: String,
    pub(crate) tell: Tell<'a>,
}

/// A machine as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its hostname.
    pub name: String,
    /// Its name within the cluster: `cp-1`.
    pub part: String,
    /// What it is, as the declaration has it; nothing, if it is in no pool.
    pub roles: Vec<Role>,
    /// What nova says: `ACTIVE`, `BUILD`, `ERROR`; empty, if there is no server.
    pub state: String,
    /// The server's id; empty, if there is none.
    pub id: String,
    /// Its address in the cluster's network.
    pub address: Option<String>,
    /// Its floating IP.
    pub floating_ip: Option<String>,
    /// What its provider put on it, where it exists.
    pub image: Option<String>,
    /// Why it is another machine than the declaration has it, where that is known.
    pub differs: Option<String>,
    /// Whether the declaration asks for it.
    pub is_wanted: bool,
}

impl<'a> Machines<'a> {
    /// Those of the cluster with this mark and name. `tell` hears what is going on.
    pub fn new(session: &'a Session, mark: Mark, cluster: impl Into<String>, tell: Tell<'a>) -> Self {
        Self { session, mark, cluster: cluster.into(), tell }
    }

    /// The machines as they are, and those that are wanted and not there.
    ///
    /// # Errors
    /// The cloud does not say.
    pub fn list(&self, declaration: &Declaration) -> Result<Vec<Listed>, MachinesError> {
        let view = View::look_at(self.session, &[Kind::Server, Kind::Port, Kind::FloatingIp])?;
        Ok(self.listed(declaration, &view, None))
    }

    /// Waits until servers are gone. Returns those that do not go.
    pub(crate) fn wait_until_gone(&self, servers: &[&Object]) -> Result<Vec<Object>, CloudError> {
        let mut left: Vec<Object> = servers.iter().map(|server| (*server).clone()).collect();
        let mut moved = Instant::now();
        while !left.is_empty() && moved.elapsed() < PATIENCE {
            let view = View::look_at(self.session, &[Kind::Server])?;
            let before = left.len();
            left.retain(|server| view.all(Kind::Server).any(|other| other["id"] == server.id.as_str()));
            if left.len() < before {
                moved = Instant::now();
            }
            if !left.is_empty() {
                thread::sleep(POLL);
            }
        }
        Ok(left)
    }

    /// The machines that are wanted, and others that are there. `wanted`: as the numbers of what is there say, unless it is known.
    pub(crate) fn listed(
        &self,
        declaration: &Declaration,
        view: &View,
        known: Option<&[Wanted<'_>]>,
    ) -> Vec<Listed> {
        let there = self.there(view);
        let counted;
        let wanted = match known {
            Some(known) => known,
            None => {
                counted = wanted(declaration, &there.parts());
                counted.as_slice()
            }
        };
        let listed = |part: &str, name: String, server: Option<&Object>, is_wanted: bool| Listed {
            name,
            part: part.to_owned(),
            roles: declaration.pool_of(part).map(|pool| pool.roles.clone()).unwrap_or_default(),
            state: server.map(|server| server.text("status").to_owned()).unwrap_or_default(),
            id: server.map(|server| server.id.clone()).unwrap_or_default(),
            address: of(&there.ports, part).and_then(|port| port.addresses().next().map(str::to_owned)),
            floating_ip: of(&there.floating_ips, part).map(|address| address.name.clone()),
            image: None,
            differs: None,
            is_wanted,
        };
        let mut all = Vec::new();
        for machine in wanted {
            let mut its = there.servers.iter().filter(|server| server.part == machine.part).peekable();
            let name = machine.name(&self.cluster);
            if its.peek().is_none() {
                all.push(listed(&machine.part, name.clone(), None, true));
            }
            all.extend(its.map(|server| listed(&machine.part, name.clone(), Some(server), true)));
        }
        let is_other = |part: &str| wanted.iter().all(|machine| machine.part != part);
        for part in there.parts().into_iter().filter(|part| is_other(part)) {
            let server = of(&there.servers, part);
            let name =
                server.map_or_else(|| format!("{}-{part}", self.cluster), |server| server.name.clone());
            all.push(listed(part, name, server, false));
        }
        all
    }

    /// What of the cluster's machines is in the cloud.
    pub(crate) fn there(&self, view: &View) -> There {
        There {
            servers: view.ours(Kind::Server, &self.mark),
            ports: view.ours(Kind::Port, &self.mark),
            floating_ips: view.ours(Kind::FloatingIp, &self.mark),
        }
    }
}

/// What there is of machines.
pub(crate) struct There {
    pub(crate) servers: Vec<Object>,
    ports: Vec<Object>,
    floating_ips: Vec<Object>,
}

impl There {
    /// The names of machines of which there is anything: a server that somebody has deleted has its port, and so its number. The port of
    /// the router is no machine's.
    pub(crate) fn parts(&self) -> Vec<&str> {
        let all = self.servers.iter().chain(&self.ports).chain(&self.floating_ips);
        let mut parts: Vec<&str> =
            all.map(|object| object.part.as_str()).filter(|part| *part != ROUTER_PORT).collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    }
}

fn of<'o>(objects: &'o [Object], part: &str) -> Option<&'o Object> {
    objects.iter().find(|object| object.part == part)
}

/// `1 rule`, `2 rules`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
