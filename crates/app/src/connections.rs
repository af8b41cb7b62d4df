//! How the machines of an inventory are reached: Ansible's connection variables, the options, and the
//! user's own keys and known hosts.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use indexmap::IndexMap;
use muster_engine::event::{Event, Events};
use muster_engine::ssh::{Client, Ssh, SshOptions, Target};
use muster_inventory::{Host, HostVars, Inventory, Origin, Vars};
use secrecy::ExposeSecret;

use crate::environment::Environment;
use crate::error::Error;
use crate::frontend::{Frontend, News, Question};
use crate::login::{Found, KNOWN_HOSTS, Login};
use crate::options::ConnectionOptions;
use crate::passwords::Passwords;
use crate::world::World;

/// How long a machine may take to answer unless the user says otherwise, as in Ansible. The `timeout` of an
/// ansible.cfg does not count: kubespray's says 300, and a machine that is off would hold everybody up for that long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The group, or else the name, of a machine that all others are reached through, as in kubespray.
const BASTION: &str = "bastion";

/// The machines of an inventory, to be connected to when something is first to be done on them.
pub struct Connections {
    machines: IndexMap<String, OnceLock<Arc<Ssh>>>,
    client: Arc<Client>,
    login: Login,
    vars: Arc<Vars>,
    reimaged: Vec<String>,
}

impl Connections {
    /// Works out how each machine is reached. Nothing is sent.
    ///
    /// # Errors
    /// A variable of a machine in `hosts` makes no sense, a key that is named is not there, or two of the machines are
    /// the same one.
    pub fn new(
        world: &World,
        hosts: &[String],
        options: &ConnectionOptions,
        environment: &Environment,
        frontend: &Arc<dyn Frontend>,
        events: Option<&Events>,
    ) -> Result<Self, Error> {
        let passwords = Passwords::ask(options, &**frontend)?;
        let bastions = bastions(&world.inventory).into_iter().map(|name| world.vars.host(name));
        let bastions: Vec<HostVars> = bastions.collect::<Result<_, _>>()?;
        let login = Login::new(options, environment, passwords)?.through(&bastions)?;
        let mut targets: IndexMap<String, (Target, Option<Origin>)> = IndexMap::new();
        let mut warnings: Vec<String> = Vec::new();
        for (host, found) in hosts.iter().zip(found(&login, &world.vars, hosts)) {
            let found = found?;
            warnings.extend(found.warnings);
            targets.insert(host.clone(), (found.target, found.origin));
        }
        warnings.extend(login.config.take_warnings());
        warnings.sort();
        warnings.dedup();
        warnings.iter().for_each(|warning| frontend.tell(News::Warning(warning)));
        refuse_same_machine_twice(&targets, hosts)?;
        let client = client(&login, options, environment, frontend, on_retry(&targets, events))?;
        let names = world.inventory.hosts().map(|host| (host.name().to_owned(), OnceLock::new()));
        let reimaged = reimaged(world, options)?;
        let connections =
            Self { machines: names.collect(), client, login, vars: Arc::clone(&world.vars), reimaged };
        for (host, (target, _)) in targets {
            if let Some(machine) = connections.machines.get(&host) {
                machine.get_or_init(|| connections.machine(&host, target));
            }
        }
        Ok(connections)
    }

    /// One machine.
    pub fn get(&self, host: &str) -> Option<&Arc<Ssh>> {
        let machine = self.machines.get(host)?;
        Some(machine.get_or_init(|| {
            // Hosts outside the run are hardly ever contacted; what is odd about them must not stop it.
            let found = self.vars.host(host).ok().and_then(|vars| self.login.of_host(&vars).ok());
            self.machine(host, found.map_or_else(|| self.login.unknown(host), |found| found.target))
        }))
    }

    fn machine(&self, name: &str, mut target: Target) -> Arc<Ssh> {
        target.reimaged = self.reimaged.iter().any(|given| given == name || *given == target.host);
        Arc::new(Ssh::new(target, Arc::clone(&self.client)))
    }

    /// Whether a run only looks from now on, and notes no host keys.
    pub fn only_look(&self, only: bool) {
        self.client.only_looks(only);
    }

    /// What the user should know about keys and known hosts.
    pub fn take_warnings(&self) -> Vec<String> {
        self.client.take_warnings()
    }
}

/// The machines that others are reached through: those of the group, else the one of the name.
fn bastions(inventory: &Inventory) -> Vec<&str> {
    let group = inventory.group(BASTION);
    if group.is_empty() { inventory.host(BASTION).map(Host::name).into_iter().collect() } else { group }
}

/// How each host is reached. By several threads, because ssh may have to be asked about each.
fn found(login: &Login, vars: &Vars, hosts: &[String]) -> Vec<Result<Found, Error>> {
    let find = |host: &String| login.of_host(&vars.host(host)?);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let parts = hosts.chunks(hosts.len().div_ceil(threads).max(1));
        let parts: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().map(find).collect::<Vec<_>>())).collect();
        let joined = parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.flatten().collect()
    })
}

/// The hosts that `--reimaged` names: by a pattern, or by their address, which is what messages about host keys show.
fn reimaged(world: &World, options: &ConnectionOptions) -> Result<Vec<String>, Error> {
    let Some(pattern) = &options.reimaged else { return Ok(Vec::new()) };
    let is_address = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
    if pattern.split(',').all(|part| is_address(part.trim())) {
        return Ok(pattern.split(',').map(|part| part.trim().to_owned()).collect());
    }
    world.select(Some(pattern))
}

/// Two names for one machine would have two runs fight over it.
fn refuse_same_machine_twice(
    targets: &IndexMap<String, (Target, Option<Origin>)>,
    hosts: &[String],
) -> Result<(), Error> {
    let mut known: HashMap<String, &String> = HashMap::new();
    for name in hosts {
        let Some((target, origin)) = targets.get(name) else { continue };
        let jumps: Vec<String> = target.jumps.iter().map(Target::address).collect();
        let Some(other) = known.insert(format!("{} {}", jumps.join(" "), target.address()), name) else {
            continue;
        };
        let place = origin.as_ref().map(|origin| format!("{origin}: ")).unwrap_or_default();
        let excerpt = origin.as_ref().map(Origin::excerpt).unwrap_or_default();
        let (how, hint) = match target.local {
            true => ("they are this computer", "let ssh log in to one of them, or remove it"),
            false => ("both are reached", "give each its own ansible_host, or remove one of them"),
        };
        let at = if target.local { String::new() } else { format!(" at {}", target.address()) };
        let message = format!("{place}{other} and {name} are the same machine: {how}{at}{excerpt}");
        return Err(Error::written(message).hint(hint));
    }
    Ok(())
}

/// Tells of further attempts to connect, under the name of the machine.
fn on_retry(
    targets: &IndexMap<String, (Target, Option<Origin>)>,
    events: Option<&Events>,
) -> Option<muster_engine::ssh::OnRetry> {
    let events = events?.clone();
    let names: HashMap<String, String> =
        targets.iter().map(|(name, (target, _))| (target.address(), name.clone())).collect();
    Some(Arc::new(move |retry| {
        events.send(Event::Retrying {
            host: names.get(&retry.address).unwrap_or(&retry.address).clone(),
            what: "connecting".into(),
            reason: retry.reason.clone(),
            attempt: retry.attempt + 1,
            attempts: retry.attempts,
            delay: retry.delay,
        });
    }))
}

fn client(
    login: &Login,
    options: &ConnectionOptions,
    environment: &Environment,
    frontend: &Arc<dyn Frontend>,
    on_retry: Option<muster_engine::ssh::OnRetry>,
) -> Result<Arc<Client>, Error> {
    let in_ssh = |name: &str| environment.home().map(|home| home.join(".ssh").join(name));
    let own_keys = ["id_ed25519", "id_ecdsa", "id_rsa"].into_iter().filter_map(in_ssh);
    let known_hosts = environment.path(KNOWN_HOSTS).or_else(|| in_ssh("known_hosts"));
    // Several keys may be encrypted, and one question at a time can be answered.
    let (frontend, asking) = (Arc::clone(frontend), Mutex::new(()));
    let options = SshOptions {
        identity_files: login.given_key.iter().cloned().chain(own_keys).collect(),
        agent_socket: environment.path("SSH_AUTH_SOCK"),
        known_hosts: known_hosts.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).collect(),
        connect_timeout: options.timeout.unwrap_or(CONNECT_TIMEOUT),
        ask_passphrase: Some(Arc::new(move |key| {
            let _asking = asking.lock().unwrap_or_else(PoisonError::into_inner);
            // An empty one is that of somebody who does not know it.
            frontend.ask(Question::Passphrase(key)).ok().filter(|typed| !typed.expose_secret().is_empty())
        })),
        on_retry,
        ..SshOptions::default()
    };
    Client::new(options).map_err(|error| Error::failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use muster_inventory::GroupRules;

    use super::*;

    #[test]
    fn a_bastion_is_known_by_its_group_or_its_name() {
        let found = |ini: &str| -> Vec<String> {
            let inventory = Inventory::from_ini("hosts", ini, GroupRules::new()).unwrap();
            bastions(&inventory).into_iter().map(str::to_owned).collect()
        };
        assert_eq!(found("[all]\na\nbastion ansible_host=192.0.2.1\n"), ["bastion"]);
        assert_eq!(found("[all]\na\nbastion\n[bastion]\ngate\n"), ["gate"]);
        assert!(found("[all]\na\n").is_empty());
    }
}
