//! How a cluster is: every machine is asked once, in one exchange for which it is not locked, and by the control planes the API as well.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_app::World;
use muster_engine::transport::{Exit, TransportError};
use muster_inventory::VarsError;
use muster_roles::health::{Api, Health, Part};

use crate::args::ConnectionArgs;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::machines::{Machines, run_program};
use crate::output::text::{harmless, names};
use crate::reconcile::decide::{Machine, Power, Seen, Trouble};
use crate::reconcile::memory::now;
use crate::reconcile::provider::{Place, Provider};

/// How long a machine may take for its answer.
const LIMIT: Duration = Duration::from_secs(45);

/// The machines of a cluster.
const MACHINES: &str = "k8s_cluster:etcd";

/// What a look has brought.
pub(crate) struct Looked {
    pub(crate) seen: Seen,
    /// Where the machines are reached, by their names.
    pub(crate) places: BTreeMap<String, Place>,
}

/// Looks at the machines of an inventory. `who`: who heals the cluster; nobody else is to for so many seconds, `claim`.
///
/// # Errors
/// The inventory or the connections make no sense. What is wrong with a machine is what was looked for.
pub(crate) fn look(
    world: World,
    connection: &ConnectionArgs,
    (who, claim): (&str, u64),
    provider: Option<&dyn Provider>,
    environment: &Environment,
) -> Result<Looked, CommandError> {
    let machines = Machines::of(world, MACHINES, connection, environment)?.patiently();
    let mut parts: BTreeMap<String, Asked> = BTreeMap::new();
    for name in &machines.hosts {
        parts.insert(name.clone(), Asked::new(&machines.world, name)?);
    }
    let answers = machines.each_by_name(environment, |name, ssh| {
        let program = parts.get(name).map(|asked| asked.part.look(who, claim)).unwrap_or_default();
        let place = Place { name: name.to_owned(), address: ssh.target().host.clone(), image: None };
        let place = (place, ssh.target().local);
        async move { (place, run_program(ssh, &program, LIMIT).await) }
    })?;
    let here = answers.iter().filter(|(_, ((_, is_here), _))| *is_here).map(|(name, _)| name.clone());
    let here: Vec<String> = here.collect();
    let places = answers.iter().map(|(name, ((place, _), _))| (name.clone(), place.clone())).collect();
    let answered: Vec<_> = answers.into_iter().map(|(name, (_, answer))| (name, answer)).collect();
    let mut looked = Looked { seen: judge(now(), &parts, &answered), places };
    for machine in &mut looked.seen.machines {
        machine.is_here = here.contains(&machine.name);
        if let (Some(Trouble::Silent(_)), Some(provider), Some(place)) =
            (&machine.trouble, provider, looked.places.get(&machine.name))
        {
            machine.power = provider.power(place)?;
        }
    }
    Ok(looked)
}

/// A machine that is asked.
struct Asked {
    part: Part,
    /// Its node's name.
    node: String,
}

impl Asked {
    fn new(world: &World, name: &str) -> Result<Self, VarsError> {
        let is_in = |group: &str| world.inventory.group(group).contains(&name);
        let plane = is_in("kube_control_plane");
        let part = Part { node: plane || is_in("kube_node"), plane, member: is_in("etcd") };
        let node = world.vars.host(name)?.get("kube_override_hostname")?;
        let node = node.and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_else(|| name.to_owned());
        Ok(Self { part, node })
    }
}

/// What the answers say of the machines.
fn judge(
    at: u64,
    asked: &BTreeMap<String, Asked>,
    answers: &[(String, Result<Exit, TransportError>)],
) -> Seen {
    let mut seen = Seen { at, ..Seen::default() };
    let health: Vec<(&String, Result<Health, Trouble>)> =
        answers.iter().map(|(name, answer)| (name, health(answer))).collect();
    // Of several API servers each knows the same; one that is cut off from etcd knows nothing.
    let nodes = health.iter().find_map(|(_, health)| match &health.as_ref().ok()?.api {
        Some(Api::Nodes(nodes)) => Some(nodes),
        _ => None,
    });
    let (mut at_work, mut run) = (Vec::new(), None);
    for (name, health) in &health {
        let Some(asked) = asked.get(*name) else { continue };
        let trouble = match health {
            Err(trouble) => Some(trouble.clone()),
            Ok(health) => {
                seen.healer = seen.healer.take().or_else(|| health.claimed_by.clone());
                if let Some(who) = &health.locked_by {
                    at_work.push(name.as_str());
                    run.get_or_insert(who);
                }
                trouble(asked, health, nodes)
            }
        };
        seen.machines.push(Machine {
            name: (*name).clone(),
            is_plane: asked.part.plane,
            is_member: asked.part.member,
            trouble,
            power: Power::Unknown,
            is_here: false,
        });
    }
    seen.at_work = run.map(|run| format!("{run} on {}", names(&at_work)));
    seen
}

/// What a machine has answered; or why nothing is known of what is on it.
fn health(answer: &Result<Exit, TransportError>) -> Result<Health, Trouble> {
    let said = |text: String| harmless(&text);
    match answer {
        Ok(exit) if exit.status == 0 => Ok(Health::parse(&String::from_utf8_lossy(&exit.stdout))),
        Ok(exit) => {
            let why = String::from_utf8_lossy(&exit.stderr);
            Err(Trouble::Closed(said(format!(
                "it cannot be looked at: status {}: {}",
                exit.status,
                why.trim()
            ))))
        }
        Err(error @ TransportError::HostKey { .. }) => Err(Trouble::Untrusted(said(error.to_string()))),
        Err(error) if error.is_transient() => Err(Trouble::Silent(said(error.to_string()))),
        Err(error) => Err(Trouble::Closed(said(error.to_string()))),
    }
}

/// What is wrong with a machine that has answered. `nodes`: what the API says, where it answers at all.
fn trouble(asked: &Asked, health: &Health, nodes: Option<&BTreeMap<String, String>>) -> Option<Trouble> {
    if !health.belongs {
        return Some(Trouble::Bare);
    }
    let mut wrong = health.stopped.clone();
    if let Some(Api::Fails(why)) = &health.api {
        wrong.push(format!("its API server does not answer: {}", harmless(why)));
    }
    if let Some(nodes) = nodes.filter(|_| asked.part.node) {
        match nodes.get(&asked.node).map(String::as_str) {
            Some("True") => {}
            Some(ready) => wrong.push(format!("the node is not Ready ({ready})")),
            None => wrong.push("it is no node of the cluster".to_owned()),
        }
    }
    (!wrong.is_empty()).then(|| Trouble::Unwell(wrong.join("; ")))
}

#[cfg(test)]
mod tests {
    use muster_engine::advice::Advice;

    use super::*;

    const WELL: &str = "lock free  with \nbelongs\nunit containerd active\nunit kubelet active\n";

    fn seen(answers: &[(&str, Result<String, TransportError>)]) -> Seen {
        let part = |name: &str| match name {
            "etcd" => Part { member: true, ..Part::default() },
            name => Part { node: true, plane: name.starts_with("plane"), member: false },
        };
        let asked = |name: &str| (name.to_owned(), Asked { part: part(name), node: format!("n-{name}") });
        let asked = answers.iter().map(|(name, _)| asked(name)).collect();
        let exit = |said: &String| Exit { stdout: said.clone().into_bytes(), ..Exit::default() };
        let answers: Vec<_> = answers
            .iter()
            .map(|(name, answer)| ((*name).to_owned(), answer.as_ref().map(exit).map_err(Clone::clone)))
            .collect();
        judge(7, &asked, &answers)
    }

    fn troubles(seen: &Seen) -> Vec<(&str, Option<Trouble>)> {
        seen.machines.iter().map(|machine| (machine.name.as_str(), machine.trouble.clone())).collect()
    }

    #[test]
    fn a_machine_is_ill_by_its_units_by_its_node_or_because_it_is_new() {
        let api = "api answers\nnode n-plane1 True\nnode n-b Unknown\nnode n-c True\nnode n-d True\n";
        let seen = seen(&[
            ("plane1", Ok(format!("{WELL}{api}"))),
            ("plane2", Ok(format!("{WELL}api refused\n"))),
            ("b", Ok(WELL.to_owned())),
            ("c", Ok(WELL.replace("kubelet active", "kubelet failed"))),
            ("d", Ok(WELL.replace("belongs\n", ""))),
            ("etcd", Ok("belongs\nunit etcd active\n".to_owned())),
        ]);
        let unwell = |why: &str| Some(Trouble::Unwell(why.to_owned()));
        let expected = vec![
            ("plane1", None),
            ("plane2", unwell("its API server does not answer: refused; it is no node of the cluster")),
            ("b", unwell("the node is not Ready (Unknown)")),
            ("c", unwell("kubelet is failed")),
            ("d", Some(Trouble::Bare)),
            ("etcd", None),
        ];
        assert_eq!(troubles(&seen), expected);
        assert!(seen.machines[0].is_plane && !seen.machines[2].is_plane && seen.machines[5].is_member);
    }

    #[test]
    fn without_an_api_machines_are_judged_by_themselves() {
        let seen = seen(&[("plane1", Ok(format!("{WELL}api refused\n"))), ("b", Ok(WELL.to_owned()))]);
        assert_eq!(troubles(&seen)[1], ("b", None));
    }

    #[test]
    fn a_changed_host_key_is_no_silence_and_neither_is_a_login_that_is_refused() {
        let (address, reason, remedy) = ("a:22".to_owned(), "why".to_owned(), Advice::from(""));
        let errors = [
            TransportError::HostKey {
                address: address.clone(),
                reason: reason.clone(),
                changed: true,
                remedy: remedy.clone(),
            },
            TransportError::Refused {
                address: address.clone(),
                user: "u".into(),
                tried: "k".into(),
                remedy: remedy.clone(),
            },
            TransportError::Unreachable { address: address.clone(), reason: reason.clone(), remedy },
            TransportError::Lost { address, reason },
        ];
        let found: Vec<Trouble> = errors.into_iter().map(|error| health(&Err(error)).unwrap_err()).collect();
        assert!(
            matches!(found[0], Trouble::Untrusted(_)) && matches!(found[1], Trouble::Closed(_)),
            "{found:?}"
        );
        assert!(found[2..].iter().all(|trouble| matches!(trouble, Trouble::Silent(_))), "{found:?}");
    }

    #[test]
    fn who_else_is_at_work_is_told() {
        let seen = seen(&[
            ("plane1", Ok(format!("{WELL}claimed bob@desk in /x\n"))),
            ("b", Ok(WELL.replace("lock free  with ", "lock held ada (pid 7) with upgrade-cluster"))),
        ]);
        assert_eq!(seen.healer.as_deref(), Some("bob@desk in /x"));
        assert_eq!(seen.at_work.as_deref(), Some("ada (pid 7) with upgrade-cluster on b"));
    }
}
