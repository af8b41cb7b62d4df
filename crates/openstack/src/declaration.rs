//! `clusters/NAME/cluster.yml`: which machines a cluster has.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use muster_inventory::{SourceText, closest};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::mistake::{Mistake, Mistakes};

/// The version of the form that this program reads.
const VERSION: u32 = 1;
/// nova takes so many bytes of user data, encoded in base64 (Compute API, "Create Server": user_data, 65535).
const USER_DATA_LIMIT: usize = 65_535 / 4 * 3;
/// More machines than anybody means in one pool.
const MOST_MACHINES: u32 = 1000;
/// A hostname (RFC 1123).
const LONGEST_NAME: usize = 63;
/// What is left of it for the cluster's name and for that of a pool, with a number of four digits and two hyphens.
const LONGEST_PART: usize = 28;

/// What the user wrote.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: Spanned<u32>,
    cloud: Option<String>,
    login: WrittenLogin,
    network: Spanned<WrittenNetwork>,
    allow: WrittenAllow,
    #[serde(default)]
    network_plugin: NetworkPlugin,
    pools: Spanned<Vec<WrittenPool>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLogin {
    user: Spanned<String>,
    public_key: Spanned<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNetwork {
    existing: Option<Spanned<String>>,
    range: Option<Spanned<String>>,
    #[serde(default)]
    dns: Vec<Spanned<String>>,
    router: Option<Spanned<String>>,
    external: Option<Spanned<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAllow {
    ssh: Spanned<Vec<Spanned<String>>>,
    api: Vec<Spanned<String>>,
    #[serde(default)]
    http: Vec<Spanned<String>>,
    #[serde(default)]
    node_ports: Vec<Spanned<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPool {
    name: Spanned<String>,
    roles: Spanned<Vec<Role>>,
    count: Spanned<u32>,
    flavor: Spanned<String>,
    image: Spanned<String>,
    #[serde(default)]
    floating_ip: Option<Spanned<bool>>,
    zone: Option<String>,
    user_data: Option<Spanned<String>>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    taints: Vec<String>,
}

/// What a machine is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It runs the control plane, and etcd.
    ControlPlane,
    /// It runs pods.
    Worker,
}

/// How packets between pods of several machines travel: it decides which ports are open between machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
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

/// Machines that are alike.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Its name in the cluster.
    pub name: String,
    /// What its machines are.
    pub roles: Vec<Role>,
    /// How many there are.
    pub count: u32,
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
}

/// Finds a file that a declaration names, and reads it.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&str) -> (PathBuf, std::io::Result<Vec<u8>>);

/// A declaration without mistakes.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// The cloud's name in clouds.yaml.
    pub cloud: Option<String>,
    /// The user that the image lets in with the key.
    pub user: String,
    /// The public key, one line.
    pub public_key: String,
    /// The private key beside it, where that has a name that means the same wherever the program is run.
    pub private_key: Option<String>,
    /// Where machines are.
    pub network: Network,
    /// The network that floating IPs are of, and that a router which is made leads to.
    pub external: Option<Named>,
    /// Who reaches machines.
    pub allow: Allow,
    /// How pods find each other.
    pub network_plugin: NetworkPlugin,
    /// The machines.
    pub pools: Vec<Pool>,
    pub(crate) source: Arc<SourceText>,
}

impl Declaration {
    /// Reads a declaration. `shown` is what messages call the file; `file` finds and reads a file that it names.
    ///
    /// # Errors
    /// All mistakes that can be found without asking the cloud.
    pub(crate) fn read(shown: &str, text: &str, file: ReadFile<'_>) -> Result<Self, Mistakes> {
        let source = SourceText::with_open(shown, text, &["public_key"]);
        let written: Written =
            serde_saphyr::from_str(text).map_err(|error| Mistakes::from(not_in_form(&source, &error)))?;
        let mut reader = Reader { source: &source, file, mistakes: Vec::new() };
        if written.version.value != VERSION {
            let message = format!(
                "version {} is not known; this muster reads version {VERSION}",
                written.version.value
            );
            reader.wrong(&written.version.referenced, message);
        }
        let public_key = reader.public_key(&written.login.public_key);
        if written.login.user.value.is_empty() || written.login.user.value.contains(char::is_whitespace) {
            reader.wrong(
                &written.login.user.referenced,
                "this is no name of a user; it is the one that the image lets in, such as debian",
            );
        }
        let allow = reader.allow(&written.allow);
        let network = reader.network(&written.network);
        let external = written.network.value.external.clone().map(Named::from);
        let pools = reader.pools(&written.pools, external.is_some());
        let private_key = reader.private_key(&written.login.public_key.value);
        Mistakes::none_of(reader.mistakes)?;
        Ok(Self {
            cloud: written.cloud,
            user: written.login.user.value,
            public_key,
            private_key,
            network,
            external,
            allow,
            network_plugin: written.network_plugin,
            pools,
            source,
        })
    }

    /// A mistake that only the cloud could tell.
    pub(crate) fn mistake(&self, named: &Named, message: impl Into<String>) -> Mistake {
        Mistake::new(&self.source, &named.at, message)
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

/// A text that is not in the form of a declaration.
fn not_in_form(source: &Arc<SourceText>, error: &serde_saphyr::Error) -> Mistake {
    let bare = error.without_snippet();
    let text = bare.to_string();
    let line = text.lines().next().unwrap_or_default();
    let mut message = line.rsplit_once(" at line ").map_or(line, |(message, _)| message).to_owned();
    if let serde_saphyr::Error::SerdeUnknownField { field, expected, .. }
    | serde_saphyr::Error::SerdeUnknownVariant { variant: field, expected, .. } = bare
    {
        message = format!("{field:?} is not known here");
        match closest(field, expected.iter().copied()) {
            Some(known) => message.push_str(&format!("; did you mean {known:?}?")),
            None => message.push_str(&format!("; known are {}", expected.join(", "))),
        }
    }
    match error.location() {
        Some(at) => Mistake::new(source, &at, message),
        None => Mistake::of_whole(source, message),
    }
}

struct Reader<'a> {
    source: &'a Arc<SourceText>,
    file: ReadFile<'a>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn wrong(&mut self, at: &Location, message: impl Into<String>) {
        self.mistakes.push(Mistake::new(self.source, at, message));
    }

    /// The content of a file that is named; nothing, where it cannot be read.
    fn content(&mut self, named: &Spanned<String>) -> Option<(PathBuf, Vec<u8>)> {
        let (path, content) = (self.file)(&named.value);
        match content {
            Ok(content) => Some((path, content)),
            Err(error) => {
                self.wrong(&named.referenced, format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }

    fn public_key(&mut self, named: &Spanned<String>) -> String {
        let Some((path, content)) = self.content(named) else { return String::new() };
        let text = String::from_utf8_lossy(&content).trim().to_owned();
        let is_key = ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind))
            && text.split(' ').count() >= 2
            && !text.contains('\n');
        if !is_key {
            let shown = path.display();
            let message = if text.contains("PRIVATE KEY") {
                format!("{shown} is a private key; the cloud gets the public one: {}.pub", named.value)
            } else {
                format!("{shown} is no public key of SSH: one line such as ssh-ed25519 AAAA... name")
            };
            self.wrong(&named.referenced, message);
        }
        text
    }

    /// What the private key to a public one is called, if it is there.
    fn private_key(&self, public: &str) -> Option<String> {
        let private =
            public.strip_suffix(".pub").filter(|path| path.starts_with("~/") || path.starts_with('/'))?;
        (self.file)(private).1.is_ok().then(|| private.to_owned())
    }

    fn range(&mut self, written: &Spanned<String>) -> Option<Ipv4Net> {
        let text = &written.value;
        let single = text.parse::<Ipv4Addr>().ok().map(Ipv4Net::from);
        match text.parse::<Ipv4Net>().ok().or(single) {
            Some(range) if range.addr() == range.network() => Some(range),
            Some(range) => {
                let message = format!("{text} is an address in a network; the network is {}", range.trunc());
                self.wrong(&written.referenced, message);
                None
            }
            None => {
                self.wrong(
                    &written.referenced,
                    format!("{text:?} is no IPv4 network; one is written 203.0.113.0/24"),
                );
                None
            }
        }
    }

    fn ranges(&mut self, written: &[Spanned<String>]) -> Vec<Ipv4Net> {
        let mut ranges: Vec<Ipv4Net> = written.iter().filter_map(|range| self.range(range)).collect();
        ranges.sort();
        ranges.dedup();
        ranges
    }

    fn allow(&mut self, written: &WrittenAllow) -> Allow {
        if written.ssh.value.is_empty() {
            let message = "nobody may reach the machines with SSH; name the network of this computer";
            self.wrong(&written.ssh.referenced, message);
        }
        Allow {
            ssh: self.ranges(&written.ssh.value),
            api: self.ranges(&written.api),
            http: self.ranges(&written.http),
            node_ports: self.ranges(&written.node_ports),
        }
    }

    fn network(&mut self, network: &Spanned<WrittenNetwork>) -> Network {
        let written = &network.value;
        if let Some(existing) = &written.existing {
            let own = [&written.range, &written.router].into_iter().flatten().chain(&written.dns);
            for other in own.collect::<Vec<_>>() {
                self.wrong(
                    &other.referenced,
                    "this is for a network that is made; with existing, leave it out",
                );
            }
            return Network::Existing(existing.clone().into());
        }
        let Some(range) = &written.range else {
            let message =
                "network needs range (a network is made) or existing (the name or id of one that is there)";
            self.wrong(&network.referenced, message);
            return Network::Existing(Named { name: String::new(), at: Location::UNKNOWN });
        };
        if written.external.is_none() && written.router.is_none() {
            let message = "nobody would reach machines in this network; name external (the network outside, to which a router is \
                           made) or router (one that is there)";
            self.wrong(&range.referenced, message);
        }
        for server in &written.dns {
            if server.value.parse::<Ipv4Addr>().is_err() {
                self.wrong(
                    &server.referenced,
                    format!("{:?} is no IPv4 address of a DNS server", server.value),
                );
            }
        }
        let parsed = self.range(range);
        if parsed.is_some_and(|parsed| parsed.prefix_len() > 29) {
            self.wrong(
                &range.referenced,
                "this network is too small: /29 is the smallest one that has room for machines",
            );
        }
        Network::Own {
            range: parsed.unwrap_or_default(),
            dns: written.dns.iter().map(|server| server.value.clone()).collect(),
            router: written.router.clone().map(Named::from),
        }
    }

    fn pools(&mut self, written: &Spanned<Vec<WrittenPool>>, has_external: bool) -> Vec<Pool> {
        let mut pools: Vec<Pool> = Vec::new();
        for pool in &written.value {
            let name = &pool.name;
            if !is_name(&name.value) {
                self.wrong(&name.referenced, format!("{:?} is no name of a pool; {NAME_FORM}", name.value));
            }
            if pools.iter().any(|other| other.name == name.value) {
                self.wrong(&name.referenced, format!("there are two pools called {:?}", name.value));
            }
            if pool.count.value > MOST_MACHINES {
                self.wrong(&pool.count.referenced, format!("a pool has {MOST_MACHINES} machines at most"));
            }
            if pool.roles.value.is_empty() {
                self.wrong(
                    &pool.roles.referenced,
                    "a pool has one of the roles control_plane and worker, or both",
                );
            }
            let floating_ip = pool.floating_ip.as_ref().is_some_and(|wanted| wanted.value);
            if let Some(wanted) = pool.floating_ip.as_ref().filter(|_| floating_ip && !has_external) {
                self.wrong(
                    &wanted.referenced,
                    "floating IPs are of an external network; name it: network: {external: NAME}",
                );
            }
            pools.push(Pool {
                name: name.value.clone(),
                roles: pool.roles.value.clone(),
                count: pool.count.value,
                flavor: pool.flavor.clone().into(),
                image: pool.image.clone().into(),
                floating_ip,
                zone: pool.zone.clone(),
                user_data: pool.user_data.as_ref().and_then(|named| self.user_data(named)),
                labels: pool.labels.clone(),
                taints: pool.taints.clone(),
            });
        }
        if !pools.iter().any(|pool| pool.is_control_plane() && pool.count > 0) {
            self.wrong(
                &written.referenced,
                "no pool has a control plane: one has roles: [control_plane] and a count of 1 or more",
            );
        }
        pools
    }

    fn user_data(&mut self, named: &Spanned<String>) -> Option<Vec<u8>> {
        let (path, content) = self.content(named)?;
        if content.len() > USER_DATA_LIMIT {
            let message = format!(
                "{} has {} bytes; a server takes {USER_DATA_LIMIT} at most",
                path.display(),
                content.len()
            );
            self.wrong(&named.referenced, message);
        }
        Some(content)
    }
}

const _: () = assert!(2 * LONGEST_PART + 6 <= LONGEST_NAME);

#[cfg(test)]
#[path = "declaration_tests.rs"]
pub(crate) mod tests;
