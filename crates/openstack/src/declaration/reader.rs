//! Reading a declaration: all mistakes at once, each with its place.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use muster_inventory::{SourceText, closest};
use serde_saphyr::{Location, Spanned};

use super::written::{MachinesFrom, Written, WrittenAllow, WrittenNetwork, WrittenPool};
use super::{
    Allow, CloudSide, Declaration, Machinery, Made, NAME_FORM, Named, Network, Pool, ReadFile, Settings,
    Source, is_name, variable_of,
};
use crate::mistake::{Mistake, Mistakes};

/// The version of the form that this program reads.
const VERSION: u32 = 1;
/// nova takes so many bytes of user data, encoded in base64 (Compute API, "Create Server": user_data, 65535).
const USER_DATA_LIMIT: usize = 65_535 / 4 * 3;
/// More machines than anybody means in one pool.
const MOST_MACHINES: u32 = 1000;
/// A machine that exists is called after its address: `worker-203-0-113-251` is what is added to the names of cluster and pool.
const LONGEST_POOL_OF_ADDRESSES: usize = 18;

/// Variables that keys of the declaration set: the variable, and the key.
const SET_BY_KEYS: [(&str, &str); 8] = [
    ("kube_network_plugin", "network_plugin"),
    ("kube_version", "kubernetes_version"),
    ("ansible_user", "login.user"),
    ("ansible_ssh_private_key_file", "login.private_key"),
    ("ansible_host", "pools"),
    ("ip", "pools"),
    ("node_labels", "pools.labels"),
    ("node_taints", "pools.taints"),
];

impl Declaration {
    /// Reads a declaration. `shown` is what messages call the file; `file` finds and reads a file that it names.
    ///
    /// # Errors
    /// All mistakes that can be found without asking the cloud.
    pub(crate) fn read(shown: &str, text: &str, file: ReadFile<'_>) -> Result<Self, Mistakes> {
        let source = SourceText::with_open(shown, text, &["public_key", "private_key"]);
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
        if written.login.user.value.is_empty() || written.login.user.value.contains(char::is_whitespace) {
            reader.wrong(
                &written.login.user.referenced,
                "this is no name of a user; it is the one that the machines let in, such as debian",
            );
        }
        let from = written.machines.as_ref().map(|from| from.value).unwrap_or_default();
        let machines = match from {
            MachinesFrom::Openstack => reader.cloud(&written),
            MachinesFrom::Existing => reader.existing(&written),
        };
        let pools = reader.pools(&written.pools, &machines);
        let private_key = reader.private_key(&written);
        let settings = reader.settings(&written);
        Mistakes::none_of(reader.mistakes)?;
        Ok(Self { machines, user: written.login.user.value, private_key, settings, pools, source })
    }
}

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

    /// Keys that mean nothing for machines of this origin.
    fn only_for(&mut self, whom: &str, places: &[Option<Location>]) {
        for place in places.iter().flatten() {
            self.wrong(place, format!("this is for machines {whom}; leave it out"));
        }
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

    fn cloud(&mut self, written: &Written) -> Source {
        self.only_for("that exist", &[place(&written.provider)]);
        let beginning = written.machines.as_ref().map_or(written.version.referenced, |from| from.referenced);
        let public_key = match &written.login.public_key {
            Some(named) => self.public_key(named),
            None => {
                self.wrong(
                    &written.login.user.referenced,
                    "machines of a cloud get a public key; name its file: public_key: ~/.ssh/id_ed25519.pub",
                );
                String::new()
            }
        };
        let mut missing = |what: &str, example: &str| {
            let message = format!("machines are made in a cloud, and {what} is missing: {example}");
            self.wrong(&beginning, message);
        };
        if written.network.is_none() {
            missing(
                "network",
                "{range: 10.8.0.0/24, external: NAME}; for machines that exist: machines: existing",
            );
        }
        if written.allow.is_none() {
            missing("allow", "{ssh: [203.0.113.0/24], api: [203.0.113.0/24]}");
        }
        let nowhere = || Network::Existing(Named { name: String::new(), at: Location::UNKNOWN });
        let network = written.network.as_ref().map(|network| self.network(network));
        let allow = written.allow.as_ref().map(|allow| self.allow(&allow.value));
        Source::Cloud(Box::new(CloudSide {
            name: written.cloud.as_ref().map(|cloud| cloud.value.clone()),
            public_key,
            network: network.unwrap_or_else(nowhere),
            external: written
                .network
                .as_ref()
                .and_then(|network| network.value.external.clone())
                .map(Named::from),
            allow: allow.unwrap_or_default(),
        }))
    }

    fn existing(&mut self, written: &Written) -> Source {
        let places = [
            place(&written.cloud),
            place(&written.login.public_key),
            place(&written.network),
            place(&written.allow),
        ];
        self.only_for("of a cloud", &places);
        Source::Existing { provider: written.provider.as_ref().map(|provider| provider.value.clone()) }
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

    /// The private key that is named; or else that beside the public one, if it is there and its name means the same everywhere.
    fn private_key(&mut self, written: &Written) -> Option<String> {
        if let Some(named) = &written.login.private_key {
            let (path, _) = self.content(named)?;
            return Some(if named.value.starts_with("~/") {
                named.value.clone()
            } else {
                path.display().to_string()
            });
        }
        let public = &written.login.public_key.as_ref()?.value;
        let private =
            public.strip_suffix(".pub").filter(|path| path.starts_with("~/") || path.starts_with('/'))?;
        (self.file)(private).1.is_ok().then(|| private.to_owned())
    }

    fn settings(&mut self, written: &Written) -> Settings {
        for (name, value) in &written.variables {
            let key =
                SET_BY_KEYS.iter().find(|(variable, _)| variable == name).map(|(_, key)| (*key).to_owned());
            let app = written.apps.iter().find(|app| variable_of(&app.value) == *name);
            if let Some(key) = key.or_else(|| app.map(|app| format!("apps: [{}]", app.value))) {
                self.wrong(&value.referenced, format!("{name} is set by {key} of this file; say it there"));
            }
        }
        let version = written.kubernetes_version.as_ref().map(|written| {
            let version = written.value.trim_start_matches('v').to_owned();
            let numbers: Vec<&str> = version.split('.').collect();
            let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if numbers.len() != 3 || !numbers.iter().all(is_number) {
                let message = format!("{:?} is no version of Kubernetes, such as 1.37.2", written.value);
                self.wrong(&written.referenced, message);
            }
            version
        });
        Settings {
            network_plugin: written.network_plugin,
            kubernetes_version: version,
            variables: written
                .variables
                .iter()
                .map(|(name, value)| (name.clone(), value.value.clone()))
                .collect(),
            apps: written.apps.iter().cloned().map(Named::from).collect(),
            students: written.students.as_ref().and_then(|named| Some(self.content(named)?.0)),
        }
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

    fn pools(&mut self, written: &Spanned<Vec<WrittenPool>>, machines: &Source) -> Vec<Pool> {
        let mut pools: Vec<Pool> = Vec::new();
        let before = self.mistakes.len();
        for pool in &written.value {
            let name = &pool.name;
            if !is_name(&name.value) {
                self.wrong(&name.referenced, format!("{:?} is no name of a pool; {NAME_FORM}", name.value));
            }
            if pools.iter().any(|other| other.name == name.value) {
                self.wrong(&name.referenced, format!("there are two pools called {:?}", name.value));
            }
            if let Some(count) = pool.count.as_ref().filter(|count| count.value > MOST_MACHINES) {
                self.wrong(&count.referenced, format!("a pool has {MOST_MACHINES} machines at most"));
            }
            if pool.roles.value.is_empty() {
                self.wrong(
                    &pool.roles.referenced,
                    "a pool has one of the roles control_plane and worker, or both",
                );
            }
            let (count, machinery) = match machines {
                Source::Cloud(cloud) => self.made(pool, cloud.external.is_some()),
                Source::Existing { provider } => self.at_addresses(pool, provider.is_some(), &pools),
            };
            pools.push(Pool {
                name: name.value.clone(),
                roles: pool.roles.value.clone(),
                count,
                machinery,
                labels: pool.labels.clone(),
                taints: pool.taints.clone(),
            });
        }
        // It may follow from another mistake: a count that is missing, say.
        let is_whole = self.mistakes.len() == before;
        if is_whole && !pools.iter().any(|pool| pool.is_control_plane() && pool.count > 0) {
            self.wrong(
                &written.referenced,
                "no pool has a control plane: one has roles: [control_plane] and a count of 1 or more",
            );
        }
        pools
    }

    /// What machines of a cloud need, and how many there are.
    fn made(&mut self, pool: &WrittenPool, has_external: bool) -> (u32, Machinery) {
        self.only_for(
            "that exist",
            &pool.addresses.iter().map(|address| Some(address.referenced)).collect::<Vec<_>>(),
        );
        let name = &pool.name;
        let mut missing = |key: &str| {
            let message = format!("the pool {:?} of a cloud needs {key}", name.value);
            self.wrong(&name.referenced, message);
        };
        if pool.count.is_none() {
            missing("count");
        }
        let mut named = |written: &Option<Spanned<String>>, key: &str| match written {
            Some(written) => written.clone().into(),
            None => {
                missing(key);
                Named { name: String::new(), at: name.referenced }
            }
        };
        let (flavor, image) = (named(&pool.flavor, "flavor"), named(&pool.image, "image"));
        let floating_ip = pool.floating_ip.as_ref().is_some_and(|wanted| wanted.value);
        if let Some(wanted) = pool.floating_ip.as_ref().filter(|_| floating_ip && !has_external) {
            self.wrong(
                &wanted.referenced,
                "floating IPs are of an external network; name it: network: {external: NAME}",
            );
        }
        let user_data = pool.user_data.as_ref().and_then(|named| self.user_data(named));
        let zone = pool.zone.as_ref().map(|zone| zone.value.clone());
        let count = pool.count.as_ref().map_or(0, |count| count.value);
        (count, Machinery::Made(Made { flavor, image, floating_ip, zone, user_data }))
    }

    /// Where machines are that exist, and how many of them are taken.
    fn at_addresses(&mut self, pool: &WrittenPool, has_provider: bool, others: &[Pool]) -> (u32, Machinery) {
        let places =
            [place(&pool.flavor), place(&pool.floating_ip), place(&pool.zone), place(&pool.user_data)];
        self.only_for("of a cloud", &places);
        if pool.name.value.len() > LONGEST_POOL_OF_ADDRESSES {
            let message = format!(
                "machines that exist are called after their pool and address: its name has {LONGEST_POOL_OF_ADDRESSES} characters at most"
            );
            self.wrong(&pool.name.referenced, message);
        }
        if let Some(image) = pool.image.as_ref().filter(|_| !has_provider) {
            let message = "nobody puts an image on machines that exist, unless there is a provider: name it, or leave image out";
            self.wrong(&image.referenced, message);
        }
        let mut addresses: Vec<Ipv4Addr> = Vec::new();
        let taken = |address: &Ipv4Addr| {
            others.iter().any(|pool| {
                matches!(&pool.machinery, Machinery::Existing { addresses, .. } if addresses.contains(address))
            })
        };
        for written in &pool.addresses {
            match written.value.parse::<Ipv4Addr>() {
                Ok(address) if addresses.contains(&address) || taken(&address) => {
                    self.wrong(
                        &written.referenced,
                        format!("{address} is written twice; a machine is in one pool, once"),
                    );
                }
                Ok(address) => addresses.push(address),
                Err(_) => {
                    let message = format!("{:?} is no IPv4 address of a machine", written.value);
                    self.wrong(&written.referenced, message);
                }
            }
        }
        let most = u32::try_from(pool.addresses.len()).unwrap_or(u32::MAX);
        if let Some(count) = pool.count.as_ref().filter(|count| count.value > most) {
            let message = format!("{} machines are wanted, and the pool has {most} addresses", count.value);
            self.wrong(&count.referenced, message);
        }
        if pool.addresses.is_empty() {
            let message = format!("the pool {:?} has no addresses of machines", pool.name.value);
            self.wrong(&pool.name.referenced, message);
        }
        let image = pool.image.as_ref().map(|image| image.value.clone());
        let count = pool.count.as_ref().map_or(most, |count| count.value);
        (count, Machinery::Existing { addresses, image })
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

/// Where something was written, if it was.
fn place<T>(written: &Option<Spanned<T>>) -> Option<Location> {
    written.as_ref().map(|written| written.referenced)
}
