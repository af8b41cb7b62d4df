//! `muster machines`: the machines of a cluster that is declared, made in a cloud and removed from it.

use clap::{Args, Subcommand};
use muster_engine::script::quote;
use muster_openstack::{
    CloudConfigError, CloudError, Clouds, ClusterFolder, Creation, Declaration, Deletion, FolderError,
    Identity, Kind, Listed, Machines, MachinesError, Place, Session, Surroundings, inventory_text,
};

use crate::confirmation::confirmed;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::table::Table;
use crate::output::text::{self, count};
use crate::output::{Screen, print};

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

/// A declared cluster, and a login to the cloud of its machines.
struct Cluster {
    folder: ClusterFolder,
    declaration: Declaration,
    session: Session,
    place: Place,
}

impl Cluster {
    fn open(name: &str, environment: &Environment) -> Result<Self, CommandError> {
        let surroundings = Surroundings {
            variables: environment.variables(),
            home: environment.home().map(ToOwned::to_owned),
            here: environment.here()?.to_owned(),
        };
        let folder = ClusterFolder::find(name, &surroundings.here)?;
        let declaration = folder.declaration(&surroundings)?;
        let cloud = Clouds::read(surroundings)?.choose(declaration.cloud.as_deref())?;
        let (auth_url, region) = (cloud.auth_url.clone(), cloud.region.clone());
        let session = Session::open(cloud)?;
        let place = Place { auth_url, region, project: session.project() };
        Ok(Self { folder, declaration, session, place })
    }

    fn identity(&self) -> Result<Option<Identity>, CommandError> {
        Ok(self.folder.identity(&self.place)?)
    }

    fn machines(&self, identity: &Identity) -> Machines<'_> {
        Machines::new(&self.session, identity.mark(), self.folder.name(), &tell)
    }
}

fn tell(line: &str) {
    print::note(&format!("  {}", text::harmless(line)));
}

fn create(name: &str, environment: &Environment) -> Result<Exit, CommandError> {
    let cluster = Cluster::open(name, environment)?;
    let _lock = cluster.folder.lock()?;
    let kept = cluster.identity()?;
    let is_kept = kept.is_some();
    let identity = kept.unwrap_or_else(|| Identity::new(name, cluster.place.clone()));
    let machines = cluster.machines(&identity);
    let creation = Creation::prepare(&machines, &cluster.declaration)?;
    // Before the first request that makes anything.
    if !is_kept {
        cluster.folder.keep(&identity)?;
    }
    let made = creation.perform()?;
    let is_new = cluster.folder.write_inventory(&inventory_text(&cluster.declaration, &made))?;
    print::data(&table(&made, environment))?;
    let surplus: Vec<&str> =
        made.iter().filter(|machine| !machine.is_wanted).map(|machine| machine.name.as_str()).collect();
    if !surplus.is_empty() {
        print::warning(
            &format!("the declaration does not want {} any more; nothing was removed", text::names(&surplus)),
            environment,
        );
    }
    let inventory = cluster.folder.inventory_shown();
    let wanted = made.iter().filter(|machine| machine.is_wanted).count();
    let written = if is_new { format!("; {inventory}/hosts.yml is written") } else { String::new() };
    print::note(&format!("{} of {name} run{written}", count(wanted, "machine")));
    print::next(&format!("setup-cluster -i {}", quote(&inventory)));
    Ok(Exit::Done)
}

fn list(name: &str, environment: &Environment) -> Result<Exit, CommandError> {
    let cluster = Cluster::open(name, environment)?;
    let Some(identity) = cluster.identity()? else {
        print::note(&format!(
            "nothing was made for {name} yet; to make its machines: muster machines create {name}"
        ));
        return Ok(Exit::No);
    };
    let machines = cluster.machines(&identity).list(&cluster.declaration)?;
    print::data(&table(&machines, environment))?;
    let is_well = |machine: &Listed| machine.is_wanted && machine.state == "ACTIVE";
    Ok(if machines.iter().all(is_well) { Exit::Done } else { Exit::No })
}

fn delete(args: &DeleteArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let name = &args.cluster.name;
    let cluster = Cluster::open(name, environment)?;
    let _lock = cluster.folder.lock()?;
    let Some(identity) = cluster.identity()? else {
        print::note(&format!("nothing was made for {name}"));
        return Ok(Exit::Done);
    };
    let machines = cluster.machines(&identity);
    let deletion = Deletion::look(&machines)?;
    let objects = deletion.objects();
    if objects.is_empty() {
        print::note(&format!("nothing is left of {name}"));
        cluster.folder.remove_inventory()?;
        return Ok(Exit::Done);
    }
    let lines = objects.iter().map(|object| format!("{}\n", text::harmless(&object.shown())));
    if args.what_if {
        print::data(&lines.collect::<String>())?;
        print::note(&format!("{} of {name} would be removed", count(objects.len(), "object")));
        for line in deletion.uses() {
            print::warning(&text::harmless(&line), environment);
        }
        return Ok(Exit::Done);
    }
    let servers: Vec<&str> = objects
        .iter()
        .filter(|object| object.kind == Kind::Server)
        .map(|object| object.name.as_str())
        .collect();
    let all = format!("{} of {name}", count(objects.len(), "object"));
    let what = if servers.is_empty() {
        all
    } else {
        format!("{all}, the servers {} among them", text::names(&servers))
    };
    if !args.yes
        && !confirmed(
            &format!("Remove {what}, with all their data?"),
            "they are to be removed",
            "remove them",
        )?
    {
        return Ok(Exit::No);
    }
    deletion.perform()?;
    cluster.folder.remove_inventory()?;
    print::note(&format!("{} removed; nothing is left of {name}", count(objects.len(), "object")));
    Ok(Exit::Done)
}

fn table(machines: &[Listed], environment: &Environment) -> String {
    let screen = Screen::new(environment, false);
    let mut table = Table::new(&["machine", "state", "address", "floating IP", "server"]);
    for machine in machines {
        let state = match machine.state.as_str() {
            "" => "missing",
            _ if !machine.is_wanted => "not wanted any more",
            state => state,
        };
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        let cells = [
            machine.name.clone(),
            state.to_owned(),
            or_dash(&machine.address),
            or_dash(&machine.floating_ip),
            if machine.id.is_empty() { "-".into() } else { machine.id.clone() },
        ];
        table.row(cells.map(|cell| text::harmless(&cell)).to_vec());
    }
    let lines = table.render(screen.style, screen.size().1);
    lines.iter().map(|line| format!("{line}\n")).collect()
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
