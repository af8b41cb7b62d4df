//! `muster machines`: the machines of a cluster that is declared, made in a cloud and removed from it.

use clap::{Args, Subcommand};
use muster_engine::script::quote;
use muster_openstack::{CloudConfigError, CloudError, FolderError, Listed, MachinesError};

use crate::clusters::{Cloud, Cluster, delete_cloud, machine_table};
use crate::confirmation::confirmed;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::print;
use crate::output::text::{self, count};

/// Make the machines of a cluster in an OpenStack cloud from clusters/NAME/cluster.yml, and remove them
///
/// The cloud is found as the openstack client finds it: clouds.yaml, secure.yaml, OS_CLOUD and OS_*.
#[derive(Debug, Args)]
pub(crate) struct MachinesArgs {
    #[command(subcommand)]
    command: MachinesCommand,
}

#[derive(Debug, Subcommand)]
enum MachinesCommand {
    /// Make what the declaration asks for and is not there, and write the inventory
    ///
    /// Key pair, network, security groups, ports, floating IPs and servers: all of them carry the cluster's mark from the request on
    /// that makes them. What is there is left as it is; so a run that was cut off is finished by the same command. Machines that
    /// the declaration does not want any more are named, and stay.
    Create(OneCluster),
    /// Show the cluster's machines as the cloud has them, and those that are missing
    List(OneCluster),
    /// Remove everything that was made for the cluster, and nothing else
    ///
    /// It is found by the cluster's mark, whatever it is called and whoever made it, until nothing is left. Where others use
    /// something of it, such as a server in the cluster's network, nothing is removed and those are named.
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct OneCluster {
    /// The cluster: the name of its folder in clusters/
    name: String,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    #[command(flatten)]
    cluster: OneCluster,
    /// Remove nothing, show what would be removed
    #[arg(long)]
    what_if: bool,
    /// Remove it without asking
    #[arg(short, long)]
    yes: bool,
}

/// Runs `muster machines`.
pub(crate) fn run(args: MachinesArgs, environment: &Environment) -> Result<Exit, CommandError> {
    match args.command {
        MachinesCommand::Create(cluster) => create(&cluster.name, environment),
        MachinesCommand::List(cluster) => list(&cluster.name, environment),
        MachinesCommand::Delete(args) => delete(&args, environment),
    }
}

fn create(name: &str, environment: &Environment) -> Result<Exit, CommandError> {
    let cluster = Cluster::open(name, environment)?;
    let cloud = Cloud::open(&cluster, environment)?;
    let _lock = cluster.folder.lock()?;
    let made = cloud.create(None)?;
    let members = cluster.members(environment)?;
    // Whoever is part of the cluster stays in the inventory until it has left.
    let is_part = |machine: &&Listed| members.iter().any(|member| member.part == machine.part);
    let listed: Vec<Listed> =
        made.iter().filter(|machine| machine.is_wanted || is_part(machine)).cloned().collect();
    let is_new = cluster.folder.write_inventory(&cluster.inventory_of(&listed, environment)?)?;
    print::data(&machine_table(&made, environment))?;
    let surplus: Vec<&str> =
        made.iter().filter(|machine| !machine.is_wanted).map(|machine| machine.name.as_str()).collect();
    if !surplus.is_empty() {
        print::warning(
            &format!(
                "the declaration does not want {} any more; nothing was removed. To let them leave the cluster, and remove them: muster \
                 cluster apply {name}",
                text::names(&surplus)
            ),
            environment,
        );
    }
    let wanted = made.iter().filter(|machine| machine.is_wanted).count();
    let written =
        if is_new { format!("; {} is written", cluster.folder.inventory_file()) } else { String::new() };
    print::note(&format!("{} of {name} run{written}", count(wanted, "machine")));
    print::next(&format!("setup-cluster -i {}", quote(&cluster.folder.inventory_shown())));
    Ok(Exit::Done)
}

fn list(name: &str, environment: &Environment) -> Result<Exit, CommandError> {
    let cluster = Cluster::open(name, environment)?;
    let cloud = Cloud::open(&cluster, environment)?;
    if !cloud.is_begun() {
        print::note(&format!(
            "nothing was made for {name} yet; to make its machines: muster machines create {name}"
        ));
        return Ok(Exit::No);
    }
    let machines = cloud.machines().list(&cluster.declaration)?;
    print::data(&machine_table(&machines, environment))?;
    let is_well = |machine: &Listed| machine.is_wanted && machine.state == "ACTIVE";
    Ok(if machines.iter().all(is_well) { Exit::Done } else { Exit::No })
}

fn delete(args: &DeleteArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let cluster = Cluster::open(&args.cluster.name, environment)?;
    let _lock = cluster.folder.lock()?;
    let agree = |question: &str| confirmed(question, "they are to be removed", "remove them");
    delete_cloud(&cluster, args.yes, args.what_if, &agree, environment)
}

impl From<FolderError> for CommandError {
    fn from(error: FolderError) -> Self {
        let message = error.to_string();
        match error {
            FolderError::NoCluster(_) => Self::usage(message),
            FolderError::Mistakes(_) => Self::written(message),
            FolderError::Identity { remedy, .. } => Self::failed(message).hint(remedy),
            FolderError::Locked(_) => Self::failed(message).hint("wait until it has ended"),
            FolderError::File { .. } => Self::failed(message),
        }
    }
}

impl From<CloudConfigError> for CommandError {
    fn from(error: CloudConfigError) -> Self {
        Self::written(error.to_string())
    }
}

impl From<CloudError> for CommandError {
    fn from(error: CloudError) -> Self {
        let failed = Self::failed(text::harmless(&error.to_string()));
        match &error {
            CloudError::Refused(refusal) if refusal.is_quota() => {
                failed.hint("have the project's quota raised, or ask for fewer or smaller machines; then run the same command again")
            }
            CloudError::Login { .. } => {
                failed.hint("look at the cloud's entry in clouds.yaml and secure.yaml, and at OS_* in the environment")
            }
            CloudError::Unclear { .. } => failed.hint("run the same command again: it finds what was made"),
            _ => failed,
        }
    }
}

impl From<MachinesError> for CommandError {
    fn from(error: MachinesError) -> Self {
        let message = text::harmless_lines(&error.to_string());
        match error {
            MachinesError::Mistakes(_) => Self::written(message),
            MachinesError::Cloud(source) | MachinesError::Making { source, .. } => {
                Self { message, ..Self::from(source) }
            }
            MachinesError::NotRunning(_) => Self::failed(message).hint(
                "when the reason is gone, run the same command again: it makes anew those that never ran",
            ),
            MachinesError::Unexpected(_) => Self::failed(message),
            MachinesError::Used(_) => {
                Self::failed(message).hint("remove those first, or move them elsewhere")
            }
            MachinesError::Left(_) => {
                Self::failed(message).hint("run the same command again: it goes on with what is left")
            }
        }
    }
}
