//! `muster cluster`: clusters as declarations.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use muster_openstack::schema;

use crate::args::{ConnectionArgs, MannerArgs, OutputArgs};
use crate::clusters::{Cluster, Consent, How, all_clusters, apply, delete, list, overview, plan, status};
use crate::commands::reconcile::parse_duration;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::output::print;

/// Make clusters what clusters/NAME/cluster.yml says: their machines, and Kubernetes on them
///
/// Machines are made in an OpenStack cloud, or exist. A smaller number lets machines leave the cluster and removes them; another
/// flavor, image or zone replaces them one by one. More: docs/clusters.md.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Show the declared clusters, a line each; nobody is asked
    List,
    /// Show what apply would do, and do nothing; exit code 1 if machines would be made, replaced or removed
    Plan(NameArgs),
    /// Make the cluster what its declaration says, from no machines to a verified cluster
    ///
    /// New machines are waited for until they answer, and join; machines that are to be replaced leave after that, drained, one at a
    /// time; those that are not wanted any more leave last, the highest number first. A run that was cut off is finished by the same
    /// command, and a second run changes nothing.
    Apply(ApplyArgs),
    /// Remove the cluster and everything that was made for it
    ///
    /// Machines of a cloud go with all that carries the cluster's mark, and with the volumes and load balancers that Kubernetes made
    /// for it, where these are the cluster's for sure; others are named. Machines that exist are reset, and stay.
    Delete(DeleteArgs),
    /// Show the cluster's machines, its nodes, and what muster reconcile remembers; without a name, a line for each cluster
    Status(StatusArgs),
    /// Print the form of cluster.yml as a JSON schema, for editors
    Schema,
}

#[derive(Debug, Args)]
struct NameArgs {
    /// The cluster: the name of its folder in clusters/
    name: String,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// The cluster: the name of its folder in clusters/ [default: all of them, and nobody is asked]
    name: Option<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Args)]
struct ApplyArgs {
    #[command(flatten)]
    cluster: NameArgs,
    /// Do not ask before machines leave or get a new system
    #[arg(short, long)]
    yes: bool,
    /// How long a new machine may take until it can be worked on
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    boot_time: Duration,
    #[command(flatten)]
    means: MeansArgs,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    #[command(flatten)]
    cluster: NameArgs,
    /// Remove nothing, show what would be removed
    #[arg(long)]
    what_if: bool,
    /// Remove it without asking
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    means: MeansArgs,
}

#[derive(Debug, Args)]
struct MeansArgs {
    /// Folder with the binaries and images [default: bundle in the cache folder]
    #[arg(long, value_name = "DIR", env = "MUSTER_BUNDLE", hide_env_values = true)]
    bundle: Option<PathBuf>,
    /// Do not fetch what the bundle lacks
    #[arg(long)]
    offline: bool,
    /// Seconds to wait for machines that another run has locked
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    lock_timeout: u64,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl MeansArgs {
    fn how(self, yes: bool, boot_time: Duration) -> How {
        let Self { bundle, offline, lock_timeout, connection, output } = self;
        let manner = MannerArgs { bundle, offline, lock_timeout, ..MannerArgs::default() };
        let consent = if yes { Consent::Given } else { Consent::Ask };
        How { consent, boot_time, manner, connection, output }
    }
}

/// Runs `muster cluster`.
pub(crate) fn run(args: ClusterArgs, environment: &Environment) -> Result<Exit, CommandError> {
    match args.command {
        ClusterCommand::List => list(environment),
        ClusterCommand::Plan(args) => plan(&Cluster::open(&args.name, environment)?, environment),
        ClusterCommand::Apply(args) => {
            let cluster = Cluster::open(&args.cluster.name, environment)?;
            apply(&cluster, &args.means.how(args.yes, args.boot_time), environment)
        }
        ClusterCommand::Delete(args) => {
            let cluster = Cluster::open(&args.cluster.name, environment)?;
            delete(&cluster, &args.means.how(args.yes, Duration::ZERO), args.what_if, environment)
        }
        ClusterCommand::Status(args) => {
            let Some(name) = &args.name else {
                return overview(&all_clusters(environment)?, false, environment);
            };
            status(&Cluster::open(name, environment)?, &args.connection, environment)
        }
        ClusterCommand::Schema => print::data(&format!("{:#}\n", schema())).map(|()| Exit::Done),
    }
}
