//! What is known of clusters: of all of them from their folders, and of one from its machines.

use std::time::Duration;

use muster_app::Project;
use muster_openstack::{Source, clusters};
use serde_json::{Value, json};

use crate::args::ConnectionArgs;
use crate::clusters::apply::planned;
use crate::clusters::cluster::Cluster;
use crate::clusters::keep::folder_of;
use crate::clusters::pull::Pulled;
use crate::clusters::show::{machine_table, rendered, summary};
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::machines::{Machines, run_program};
use crate::output::print;
use crate::output::table::Table;
use crate::output::text::{self, count};
use crate::reconcile::{self, Known};

/// How long a control plane may take for its answer.
const LIMIT: Duration = Duration::from_secs(30);

/// What the API says of its nodes.
const NODES: &str = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=15s get nodes -o wide";

/// A line for each folder with a declaration. Nobody is asked.
///
/// # Errors
/// It cannot be printed.
pub(crate) fn list(environment: &Environment) -> Result<Exit, CommandError> {
    let names = clusters(environment.here()?);
    if names.is_empty() {
        print::note("there is no clusters/NAME/cluster.yml in this folder or above it");
        return Ok(Exit::No);
    }
    let mut table = Table::new(&["cluster", "machines", "declared", "in the inventory"]);
    let mut exit = Exit::Done;
    for name in &names {
        let row = match Cluster::open(name, environment) {
            Ok(cluster) => row(&cluster, environment)?,
            Err(error) => {
                exit = Exit::No;
                let first = error.message.lines().next().unwrap_or_default().to_owned();
                ["-".to_owned(), first, "-".to_owned()]
            }
        };
        table.row(std::iter::once(name.clone()).chain(row).map(|cell| text::harmless(&cell)).collect());
    }
    print::data(&rendered(&table, environment))?;
    Ok(exit)
}

fn row(cluster: &Cluster, environment: &Environment) -> Result<[String; 3], CommandError> {
    let from = match &cluster.declaration.machines {
        Source::Cloud(side) => {
            format!("of the cloud {}", side.name.as_deref().unwrap_or("of the environment"))
        }
        Source::Existing { .. } => "that exist".to_owned(),
    };
    let pools = cluster.declaration.pools.iter().map(|pool| format!("{} {}", pool.count, pool.name));
    let members = cluster.members(environment)?.len();
    let members = if members == 0 { "none yet".to_owned() } else { count(members, "machine") };
    Ok([from, pools.collect::<Vec<_>>().join(", "), members])
}

/// What loops remember of clusters, a line for each. Nobody is asked. The exit code is 1 unless all of them are well.
///
/// # Errors
/// There is no such cluster, or what is kept of it cannot be read.
pub(crate) fn overview(
    names: &[String],
    as_json: bool,
    environment: &Environment,
) -> Result<Exit, CommandError> {
    let known = |name: &String| -> Result<(String, Known), CommandError> {
        let (folder, _) = folder_of(name, environment)?;
        let project = Project::find(&[folder.inventory_file()], environment)?;
        Ok((name.clone(), Known::of(&project)?))
    };
    let all: Vec<(String, Known)> = names.iter().map(known).collect::<Result<_, _>>()?;
    let pulled = Pulled::known(environment)?;
    if as_json {
        let clusters: serde_json::Map<String, Value> =
            all.iter().map(|(name, known)| (name.clone(), known.report())).collect();
        let git = pulled.as_ref().map(Pulled::report);
        print::data(&format!("{:#}\n", json!({ "git": git, "clusters": clusters })))?;
    } else {
        let mut table = Table::new(&[&["cluster"][..], &Known::HEADINGS].concat());
        for (name, known) in &all {
            let cells = std::iter::once(name.clone()).chain(known.cells());
            table.row(cells.map(|cell| text::harmless(&cell)).collect());
        }
        if table.is_empty() {
            print::note("there is no clusters/NAME/cluster.yml in this folder or above it");
        } else {
            print::data(&rendered(&table, environment))?;
        }
        for line in pulled.iter().flat_map(Pulled::lines) {
            print::note(&text::harmless_lines(&line));
        }
    }
    let is_well =
        all.iter().all(|(_, known)| known.is_well()) && !pulled.is_some_and(|pulled| pulled.fails());
    Ok(if is_well && !all.is_empty() { Exit::Done } else { Exit::No })
}

/// The machines as whoever makes them has them, the nodes as the cluster has them, and what a loop that heals it remembers. The exit code
/// is 1 unless everything is as declared, and well.
///
/// # Errors
/// The machines cannot be looked at.
pub(crate) fn status(
    cluster: &Cluster,
    connection: &ConnectionArgs,
    environment: &Environment,
) -> Result<Exit, CommandError> {
    let maker = cluster.maker(environment)?;
    let (plan, machines) = planned(cluster, &*maker, environment)?;
    let mut listed: Vec<_> = machines.into_iter().map(|machine| machine.listed).collect();
    for machine in &mut listed {
        machine.is_wanted = !plan.remove.contains(&machine.part);
    }
    print::data(&machine_table(&listed, environment))?;
    print::note(&summary(&plan));
    let mut exit = if plan.is_empty() { Exit::Done } else { Exit::No };
    let given = cluster.inventory();
    if cluster.members(environment)?.is_empty() {
        print::next(&format!("muster cluster apply {}", cluster.folder.name()));
        return Ok(exit);
    }
    let planes = Machines::choose("kube_control_plane", &given, connection, environment)?.patiently();
    let answers = planes.until(
        environment,
        |ssh| run_program(ssh, NODES, LIMIT),
        |answer| answer.as_ref().is_ok_and(|exit| exit.status == 0),
    )?;
    match answers.last() {
        Some((_, Ok(answer))) if answer.status == 0 => {
            let nodes = String::from_utf8_lossy(&answer.stdout);
            print::data(&format!("\n{}\n\n", text::harmless_lines(nodes.trim_end())))?;
            let is_ready = |line: &str| line.split_whitespace().nth(1) == Some("Ready");
            if !nodes.lines().skip(1).all(is_ready) {
                exit = Exit::No;
            }
        }
        _ => {
            exit = Exit::No;
            print::note("no control plane says which nodes there are:");
            for (name, answer) in &answers {
                let why = match answer {
                    Ok(exit) => String::from_utf8_lossy(&exit.stderr).trim().to_owned(),
                    Err(error) => error.to_string(),
                };
                print::note(&format!("  {name}: {}", text::harmless_lines(&why)));
            }
        }
    }
    let project = Project::find(&given.inventory, environment)?;
    match reconcile::status(&project, false, environment)? {
        Exit::Done => Ok(exit),
        ill => Ok(ill),
    }
}
