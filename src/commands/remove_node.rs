//! `muster remove-node`: machines leave the cluster.

use clap::Args;
use muster_app::{BundleUse, Flow, Project};
use muster_inventory::{Inventory, LoadOptions, names};
use muster_roles::{Removal, group_rules};
use serde::{Deserialize, Serialize};

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs};
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
    manner: MannerArgs,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Take machines out of the cluster
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// Hosts of the inventory: names, or patterns such as node[3:5]
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
}

impl Parameters {
    /// Machines leave the cluster.
    pub(crate) fn flow(&self, project: &Project) -> Result<Flow, CommandError> {
        let leaving = Leaving::new(project, &self.hosts)?;
        let removal = Removal { hosts: leaving.hosts.clone(), come_back: false };
        let typed: Vec<&str> = leaving.hosts.iter().map(String::as_str).collect();
        Ok(Flow {
            roles: removal.roles(),
            bundle: BundleUse::None,
            remarks: false,
            whole_cluster: true,
            ..Flow::new(format!("muster remove-node {}", typed.join(" ")), removal.plays(leaving.is_plane))
        })
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
        let options = LoadOptions { rules: group_rules(), ..LoadOptions::default() };
        let inventory = Inventory::load(&project.sources, &options)?;
        let mut hosts: Vec<String> = Vec::new();
        for pattern in patterns {
            hosts.extend(inventory.select(pattern)?.into_iter().map(str::to_owned));
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
}

/// Runs `muster remove-node`.
pub(crate) fn run(args: RemoveNodeArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.inventory.inventory, environment)?;
    let leaving = Leaving::new(&project, &args.parameters.hosts)?;
    let flow = args.parameters.flow(&project)?;
    let check = args.manner.check;
    let question = format!(
        "{} {} the cluster of {}: pods are moved to other nodes, and what only these machines hold (emptyDir and local volumes, \
         pods without a controller) is lost. Go on?",
        names(&leaving.hosts),
        if leaving.hosts.len() == 1 { "leaves" } else { "leave" },
        project.describe()
    );
    if !check
        && !args.yes
        && !confirmed(&question, &format!("{} may leave the cluster", names(&leaving.hosts)), "remove them")?
    {
        return Ok(Exit::No);
    }
    let typed = |flow, project| TypedFlow {
        manner: args.manner.clone(),
        ..TypedFlow::new(flow, project, args.inventory.clone(), args.connection.clone(), args.output.clone())
    };
    let exit = typed(flow, project.clone()).run(environment)?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let follow = project.command(&["muster", "setup-cluster"], 2);
    let others_follow = leaving.is_plane || leaving.is_member;
    match Edit::without(&project.sources, &leaving.hosts) {
        Ok(edit) => {
            let lines: Vec<String> = edit.lines.iter().map(ToString::to_string).collect();
            let file = project.shown(&edit.path);
            let lines = format!("{} {}", if lines.len() == 1 { "line" } else { "lines" }, lines.join(", "));
            if check {
                print::note(&format!("would take {} out of {file}: {lines}", names(&leaving.hosts)));
                return Ok(exit);
            }
            edit.write()?;
            print::note(&format!("took {} out of {file}: {lines}", names(&leaving.hosts)));
        }
        Err(why) => {
            let then = if others_follow { format!(", then: {follow}") } else { String::new() };
            print::note(&format!(
                "next: take {} out of {} by hand ({why}){then}",
                names(&leaving.hosts),
                project.describe()
            ));
            return Ok(exit);
        }
    }
    if !others_follow {
        return Ok(exit);
    }
    if leaving.is_plane {
        // It may lead to the machine that left; muster kubectl fetches it again.
        std::fs::remove_file(project.inventory_dir.join("artifacts/admin.conf")).ok();
    }
    print::note("the others follow:");
    typed(setup_cluster::Parameters {}.flow(&project)?, project).run(environment)
}
