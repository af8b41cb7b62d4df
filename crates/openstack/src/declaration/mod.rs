//! `clusters/NAME/cluster.yml`: which machines a cluster has, and what they become.

mod reader;
mod written;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use muster_inventory::SourceText;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use crate::mistake::Mistake;

pub use written::schema;

/// A hostname (RFC 1123).
const LONGEST_NAME: usize = 63;
/// What is left of it for the cluster's name and for that of a pool, with a number of four digits and two hyphens.
const LONGEST_PART: usize = 28;

/// What a machine is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It runs the control plane, and etcd.
    ControlPlane,
    /// It runs pods.
    Worker,
}

/// How packets between pods of several machines travel: it decides which ports are open between machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkPlugin {
    /// vxlan, UDP port 8472.
    #[default]
    Flannel,
    /// vxlan (UDP 4789), ipip, BGP (179) and typha (5473).
    Calico,
    /// vxlan (UDP 8472), its health (4240) and Hubble (4244).
    Cilium,
}

impl NetworkPlugin {
    /// As `kube_network_plugin` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Flannel => "flannel",
            Self::Calico => "calico",
            Self::Cilium => "cilium",
        }
    }
}

/// A name or id of something in the cloud, and where it was written.
#[derive(Debug, Clone)]
pub struct Named {
    /// As it was written.
    pub name: String,
    pub(crate) at: Location,
}

impl From<Spanned<String>> for Named {
    fn from(written: Spanned<String>) -> Self {
        Self { name: written.value, at: written.referenced }
    }
}

/// The network that machines are in.
#[derive(Debug, Clone)]
pub enum Network {
    /// One that is there.
    Existing(Named),
    /// One that is made, with a subnet, and a router unless one is named.
    Own {
        /// The addresses of the subnet.
        range: Ipv4Net,
        /// Its DNS servers.
        dns: Vec<String>,
        /// A router that is there.
        router: Option<Named>,
    },
}

/// Who reaches machines from outside: networks, for each kind of port.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    /// Port 22 of all machines.
    pub ssh: Vec<Ipv4Net>,
    /// Port 6443 of control planes.
    pub api: Vec<Ipv4Net>,
    /// Ports 80 and 443 of all machines.
    pub http: Vec<Ipv4Net>,
    /// Ports 30000 to 32767 of all machines.
    pub node_ports: Vec<Ipv4Net>,
}

/// What a cloud makes the machines with.
#[derive(Debug, Clone)]
pub struct CloudSide {
    /// The cloud's name in clouds.yaml.
    pub name: Option<String>,
    /// The public key, one line.
    pub public_key: String,
    /// Where machines are.
    pub network: Network,
    /// The network that floating IPs are of, and that a router which is made leads to.
    pub external: Option<Named>,
    /// Who reaches machines.
    pub allow: Allow,
}

/// Where the machines come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// They are made in a cloud.
    Cloud(Box<CloudSide>),
    /// They exist.
    Existing {
        /// Who has power over them, where anybody has: a program, or `lab:NAME`.
        provider: Option<String>,
    },
}

/// The machines of a pool.
#[derive(Debug, Clone)]
pub enum Machinery {
    /// Those of a cloud.
    Made(Made),
    /// Those that exist.
    Existing {
        /// Where they are reached, in the order in which they are taken.
        addresses: Vec<Ipv4Addr>,
        /// What their provider puts on them.
        image: Option<String>,
    },
}

/// What machines of a cloud are made with.
#[derive(Debug, Clone)]
pub struct Made {
    /// Their flavor: a name or an id.
    pub flavor: Named,
    /// Their image: a name or an id.
    pub image: Named,
    /// Whether each has a floating IP.
    pub floating_ip: bool,
    /// Their availability zone; the cloud's choice where none is named.
    pub zone: Option<String>,
    /// What cloud-init gets.
    pub user_data: Option<Vec<u8>>,
}

/// Machines that are alike.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Its name in the cluster.
    pub name: String,
    /// What its machines are.
    pub roles: Vec<Role>,
    /// How many there are.
    pub count: u32,
    /// What they are as machines.
    pub machinery: Machinery,
    /// Labels of their nodes.
    pub labels: BTreeMap<String, String>,
    /// Taints of their nodes, each as `key=value:effect`.
    pub taints: Vec<String>,
}

impl Pool {
    /// Whether its machines are control planes.
    pub fn is_control_plane(&self) -> bool {
        self.roles.contains(&Role::ControlPlane)
    }

    /// What a cloud makes them with.
    pub(crate) fn made(&self) -> Option<&Made> {
        match &self.machinery {
            Machinery::Made(made) => Some(made),
            Machinery::Existing { .. } => None,
        }
    }
}

/// What the machines become.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How pods find each other.
    pub network_plugin: NetworkPlugin,
    /// The version of Kubernetes; muster's choice where none is named.
    pub kubernetes_version: Option<String>,
    /// Variables of all machines.
    pub variables: BTreeMap<String, Value>,
    /// Applications.
    pub apps: Vec<Named>,
    /// The class list.
    pub students: Option<PathBuf>,
}

/// The variable that switches an application on.
pub fn variable_of(app: &str) -> String {
    format!("{}_enabled", app.replace('-', "_"))
}

/// Finds a file that a declaration names, and reads it.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&str) -> (PathBuf, std::io::Result<Vec<u8>>);

/// A declaration without mistakes.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// Where the machines come from.
    pub machines: Source,
    /// The user that logs in.
    pub user: String,
    /// The private key, where one has a name that means the same wherever the program is run.
    pub private_key: Option<String>,
    /// What the machines become.
    pub settings: Settings,
    /// The machines.
    pub pools: Vec<Pool>,
    pub(crate) source: Arc<SourceText>,
}

impl Declaration {
    /// A mistake about what is named, that only somebody else could tell: the cloud, or who knows the applications.
    pub fn mistake(&self, named: &Named, message: impl Into<String>) -> Mistake {
        Mistake::new(&self.source, &named.at, message)
    }

    /// The pool of a machine, by the machine's name in the cluster.
    pub fn pool_of(&self, part: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.place(part).is_some())
    }
}

/// Whether a cluster may be called so: its name begins the names of machines.
pub(crate) fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= LONGEST_PART
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(is_letter)
        && name.chars().all(|c| is_letter(c) || c == '-')
}

/// What a name is, for messages.
pub(crate) const NAME_FORM: &str =
    "a name has lower-case letters, digits and hyphens, begins with a letter, and has 28 characters at most";

const _: () = assert!(2 * LONGEST_PART + 6 <= LONGEST_NAME);

#[cfg(test)]
pub(crate) mod tests;
