//! `muster remove-node`: machines leave the cluster.

use clap::Args;
use muster_app::{BundleUse, Flow, Project};
use muster_inventory::{Inventory, PatternError, names};
use muster_roles::Removal;
use serde::{Deserialize, Serialize};

use crate::args::FlowArgs;
use crate::commands::setup_cluster;
use crate::confirmation::confirmed;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::inventory_edit::Edit;
use crate::output::print;
use crate::typed_flow::TypedFlow;

/// Take machines out of the cluster: workers, members of etcd and control planes, be they well, dead or gone
///
/// Their pods are moved first, then their nodes and members of etcd are removed, and their lines in the inventory. The others
/// follow: where the API was at one of the machines, they find it at another control plane. Nothing is changed where etcd would
/// lose its majority.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct RemoveNodeArgs {
    #[command(flatten)]
    parameters: Parameters,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    flow: FlowArgs,
}

impl RemoveNodeArgs {
    /// One machine leaves, and nobody is asked.
    pub(crate) fn agreed(host: &str, flow: FlowArgs) -> Self {
        Self { parameters: Parameters { hosts: vec![host.to_owned()] }, yes: true, flow }
    }
}

/// Take machines out of the cluster
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// Hosts of the inventory: names, or patterns such as node[3:5]
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
}

impl Parameters {
    /// The machines that leave.
    pub(super) fn leaving(&self, project: &Project) -> Result<Leaving, CommandError> {
        Leaving::new(project, &self.hosts)
    }

    /// Machines leave the cluster.
    pub(crate) fn flow(&self, project: &Project) -> Result<Flow, CommandError> {
        let leaving = self.leaving(project)?;
        let removal = Removal { hosts: leaving.hosts.clone(), come_back: false };
        let typed: Vec<&str> = leaving.hosts.iter().map(String::as_str).collect();
        Ok(Flow {
            roles: removal.roles(),
            bundle: BundleUse::None,
            remarks: false,
            whole_cluster: true,
            half_done: Some(half_left(&leaving.hosts)),
            ..Flow::new(format!("muster remove-node {}", typed.join(" ")), removal.plays(leaving.is_plane))
        })
    }
}

/// What is the case after a removal was interrupted.
fn half_left(hosts: &[String]) -> String {
    format!(
        "{} may have left the cluster in part: pods may have been moved, and members of etcd or nodes may be gone already. What is \
         still a node gets pods, as before.",
        names(hosts)
    )
}

/// The hosts that a pattern means; or else those that have it as an address, which is what messages about a machine may show.
fn meant(inventory: &Inventory, pattern: &str) -> Result<Vec<String>, PatternError> {
    let selected = inventory.select(pattern);
    let is_at = |host: &&muster_inventory::Host| {
        let names = ["ansible_host", "ansible_ssh_host", "ip", "access_ip"].into_iter();
        names.filter_map(|name| host.vars().get(name)?.as_str()).any(|address| address == pattern)
    };
    match selected {
        Ok(hosts) => Ok(hosts.into_iter().map(str::to_owned).collect()),
        Err(error) => {
            let there: Vec<String> =
                inventory.hosts().filter(is_at).map(|host| host.name().to_owned()).collect();
            match error {
                _ if !there.is_empty() => Ok(there),
                // Of node2, which was taken away already, the most similar one is a machine that is to stay: a slip is in letters.
                PatternError::NoMatch { part, suggestion } => {
                    let letters = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "");
                    let suggestion = suggestion.filter(|meant| letters(meant) != letters(&part));
                    Err(PatternError::NoMatch { part, suggestion })
                }
                error => Err(error),
            }
        }
    }
}

/// Why nobody is meant: a machine that has left is in the inventory no more.
fn unknown(error: PatternError, project: &Project) -> CommandError {
    match error {
        PatternError::NoMatch { part, suggestion: None } => {
            CommandError::usage(format!("{part} is not in {}, or not any more", project.describe()))
                .hint("see the hosts and groups that are: muster inventory --graph")
        }
        error => error.into(),
    }
}

/// The hosts that are meant, and what they are by the inventory.
pub(super) struct Leaving {
    pub(super) hosts: Vec<String>,
    pub(super) is_plane: bool,
    /// Whether one is a member of etcd.
    is_member: bool,
}

impl Leaving {
    /// Finds them in the inventory.
    ///
    /// # Errors
    /// There is no such host; or no control plane, or no member of etcd, stays.
    pub(super) fn new(project: &Project, patterns: &[String]) -> Result<Self, CommandError> {
        let inventory = project.inventory()?;
        let mut hosts: Vec<String> = Vec::new();
        for pattern in patterns {
            hosts.extend(meant(&inventory, pattern).map_err(|error| unknown(error, project))?);
        }
        hosts.sort();
        hosts.dedup();
        let leaves = |name: &&str| hosts.iter().any(|host| host == name);
        for (group, what) in [("kube_control_plane", "control plane"), ("etcd", "member of etcd")] {
            if inventory.group(group).iter().all(leaves) {
                return Err(CommandError::usage(format!(
                    "no {what} would be left: all hosts of [{group}] are among {}",
                    names(&hosts)
                ))
                .hint(format!(
                    "let another one join first: add it to [{group}] of the inventory, then setup-cluster"
                )));
            }
        }
        let is_in = |group: &str| inventory.group(group).iter().any(leaves);
        let (is_plane, is_member) = (is_in("kube_control_plane"), is_in("etcd"));
        Ok(Self { hosts, is_plane, is_member })
    }

    /// Whether the user agrees.
    ///
    /// # Errors
    /// There is nobody to ask.
    pub(super) fn agreed(&self, project: &Project) -> Result<bool, CommandError> {
        let question = format!(
            "{} {} the cluster of {}: pods are moved to other nodes, and what only these machines hold (emptyDir and local volumes, \
             pods without a controller) is lost. Go on?",
            names(&self.hosts),
            if self.hosts.len() == 1 { "leaves" } else { "leave" },
            project.describe()
        );
        confirmed(&question, &format!("{} may leave the cluster", names(&self.hosts)), "remove them")
    }

    /// When they have left: their lines go from the inventory, and the others follow where they have to.
    ///
    /// # Errors
    /// The inventory cannot be written, or the others cannot be set up.
    pub(super) fn left(
        &self,
        project: Project,
        args: FlowArgs,
        environment: &Environment,
    ) -> Result<Exit, CommandError> {
        let follow = project.command(&["muster", "setup-cluster"], 2);
        let others_follow = self.is_plane || self.is_member;
        match Edit::without(&project.sources, &self.hosts) {
            Ok(edit) => {
                let lines: Vec<String> = edit.lines.iter().map(ToString::to_string).collect();
                let file = project.shown(&edit.path);
                let lines =
                    format!("{} {}", if lines.len() == 1 { "line" } else { "lines" }, lines.join(", "));
                if args.manner.check {
                    print::note(&format!("would take {} out of {file}: {lines}", names(&self.hosts)));
                    return Ok(Exit::Done);
                }
                edit.write()?;
                print::note(&format!("took {} out of {file}: {lines}", names(&self.hosts)));
            }
            Err(why) => {
                let then = if others_follow { format!(", then: {follow}") } else { String::new() };
                print::note(&format!(
                    "next: take {} out of {} by hand ({why}){then}",
                    names(&self.hosts),
                    project.describe()
                ));
                return Ok(Exit::Done);
            }
        }
        if !others_follow {
            return Ok(Exit::Done);
        }
        if self.is_plane {
            // It may lead to the machine that left; muster kubectl fetches it again.
            std::fs::remove_file(project.inventory_dir.join("artifacts/admin.conf")).ok();
        }
        print::note("the others follow:");
        TypedFlow::typed(setup_cluster::Parameters {}.flow(&project)?, project, args).run(environment)
    }
}

/// Runs `muster remove-node`.
pub(crate) fn run(args: RemoveNodeArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.flow.inventory.inventory, environment)?;
    let leaving = args.parameters.leaving(&project)?;
    let flow = args.parameters.flow(&project)?;
    if !args.flow.manner.check && !args.yes && !leaving.agreed(&project)? {
        return Ok(Exit::No);
    }
    match TypedFlow::typed(flow, project.clone(), args.flow.clone()).run(environment)? {
        Exit::Done => leaving.left(project, args.flow, environment),
        exit => {
            if exit == Exit::Unreachable {
                print::note(&format!(
                    "{} not taken out of {}. A machine that stays did not answer, either: when it does, give the same command again; if it \
                     is gone for good, remove it with the same command, too",
                    if let [one] = leaving.hosts.as_slice() {
                        format!("{one} was")
                    } else {
                        format!("{} were", names(&leaving.hosts))
                    },
                    project.describe()
                ));
            }
            Ok(exit)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use muster_roles::group_rules;

    use super::*;
    use crate::inventory_file::unwritten;

    #[test]
    fn a_machine_that_has_left_is_told_as_one_that_is_not_in_the_inventory() {
        let text = "node1\nnode2\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode2\n";
        let project = unwritten(Path::new("/nowhere"), &[], text.to_owned());
        let why = Leaving::new(&project, &["node4".to_owned()]).err().unwrap().message;
        assert!(why.starts_with("node4 is not in ") && why.ends_with(", or not any more"), "{why}");
    }

    #[test]
    fn a_machine_is_meant_by_its_name_or_its_address() {
        let hosts =
            "node1 ansible_host=192.0.2.4\nnode2 ansible_host=gate.example.org ip=192.0.2.5\n192.0.2.6\n";
        let inventory = Inventory::from_ini("hosts.ini", hosts, group_rules()).unwrap();
        for (typed, host) in [
            ("node1", "node1"),
            ("192.0.2.4", "node1"),
            ("gate.example.org", "node2"),
            ("192.0.2.5", "node2"),
            ("192.0.2.6", "192.0.2.6"),
        ] {
            assert_eq!(meant(&inventory, typed).unwrap(), [host], "{typed}");
        }
        assert!(meant(&inventory, "192.0.2.7").is_err());
    }
}
