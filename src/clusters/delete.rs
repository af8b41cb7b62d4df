//! A cluster goes, with its machines where they were made for it.

use muster_app::Project;
use muster_openstack::{Deletion, Kind, Source};

use crate::clusters::apply::{Consent, How};
use crate::clusters::cloud::Cloud;
use crate::clusters::cluster::Cluster;
use crate::commands::reset_cluster;
use crate::confirmation::typed;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::print;
use crate::output::text::{self, count};
use crate::typed_flow::TypedFlow;

/// Removes a cluster. Machines of a cloud are removed with all that was made for them and all that Kubernetes has made for the cluster;
/// machines that exist are reset.
///
/// # Errors
/// Others use something of it; or something could not be removed.
pub(crate) fn delete(
    cluster: &Cluster,
    how: &How,
    what_if: bool,
    environment: &Environment,
) -> Result<Exit, CommandError> {
    let _lock = cluster.folder.lock()?;
    match cluster.declaration.machines {
        Source::Cloud(_) => {
            let agree = |question: &str| confirmed_by_name(cluster, question);
            delete_cloud(cluster, how.consent == Consent::Given, what_if, &agree, environment)
        }
        Source::Existing { .. } => reset(cluster, how, what_if, environment),
    }
}

/// Whether the user has typed the name of the cluster.
///
/// # Errors
/// There is nobody to ask.
pub(crate) fn confirmed_by_name(cluster: &Cluster, question: &str) -> Result<bool, CommandError> {
    typed(question, cluster.folder.name(), "they are to be removed", "remove them")
}

/// Removes what is in the cloud. `agree` asks the user, who may have said `yes` already.
///
/// # Errors
/// As of [`delete`].
pub(crate) fn delete_cloud(
    cluster: &Cluster,
    yes: bool,
    what_if: bool,
    agree: &dyn Fn(&str) -> Result<bool, CommandError>,
    environment: &Environment,
) -> Result<Exit, CommandError> {
    let name = cluster.folder.name();
    let cloud = Cloud::open(cluster, environment)?;
    if !cloud.is_begun() {
        print::note(&format!("nothing was made for {name}"));
        return Ok(Exit::Done);
    }
    let machines = cloud.machines();
    let deletion = Deletion::look(&machines)?;
    for line in deletion.doubtful() {
        let line = text::harmless(line);
        print::warning(
            &format!("{line}; whether it is of {name} cannot be told for sure, so it stays"),
            environment,
        );
    }
    let objects = deletion.objects();
    if objects.is_empty() {
        print::note(&format!("nothing is left of {name}"));
        cluster.was_deleted()?;
        return Ok(Exit::Done);
    }
    if what_if {
        let lines = objects.iter().map(|object| format!("{}\n", text::harmless(&object.shown())));
        print::data(&lines.collect::<String>())?;
        print::note(&format!("{} of {name} would be removed", count(objects.len(), "object")));
        for line in deletion.uses() {
            print::warning(&text::harmless(&line), environment);
        }
        return Ok(Exit::Done);
    }
    let named = |kind: Kind| -> Vec<&str> {
        objects.iter().filter(|object| object.kind == kind).map(|object| object.name.as_str()).collect()
    };
    let mut what = format!("{} of {name}", count(objects.len(), "object"));
    for (kind, words) in
        [(Kind::Server, "servers"), (Kind::Volume, "volumes"), (Kind::LoadBalancer, "load balancers")]
    {
        let names = named(kind);
        if !names.is_empty() {
            what.push_str(&format!(", the {words} {} among them", text::names(&names)));
        }
    }
    if !yes && !agree(&text::harmless(&format!("Remove {what}, with all their data?")))? {
        return Ok(Exit::No);
    }
    let number = count(objects.len(), "object");
    deletion.perform()?;
    cluster.was_deleted()?;
    print::note(&format!("{number} removed; nothing is left of {name}"));
    Ok(Exit::Done)
}

/// Machines that exist stay, and have nothing of the cluster any more.
fn reset(
    cluster: &Cluster,
    how: &How,
    what_if: bool,
    environment: &Environment,
) -> Result<Exit, CommandError> {
    let name = cluster.folder.name();
    let members = cluster.members(environment)?;
    if members.is_empty() {
        print::note(&format!("no machine is part of {name}"));
        cluster.folder.remove_inventory()?;
        return Ok(Exit::Done);
    }
    let hosts: Vec<String> = members.iter().map(|member| cluster.host(&member.part)).collect();
    if what_if {
        print::data(&hosts.iter().map(|host| format!("{host}\n")).collect::<String>())?;
        print::note(&format!("{} of {name} would be reset", count(hosts.len(), "machine")));
        return Ok(Exit::Done);
    }
    let question = format!(
        "Reset {} of {name} ({})? All objects of the cluster, etcd's data and the volumes that pods have on the machines are lost.",
        count(hosts.len(), "machine"),
        text::names(&hosts)
    );
    if how.consent != Consent::Given && !confirmed_by_name(cluster, &question)? {
        return Ok(Exit::No);
    }
    let project = Project::find(&cluster.inventory().inventory, environment)?;
    let flow = reset_cluster::Parameters::default().flow(&project)?;
    let typed = TypedFlow {
        manner: how.manner.clone(),
        yes: true,
        ..TypedFlow::new(flow, project, cluster.inventory(), how.connection.clone(), how.output.clone())
    };
    let exit = typed.run(environment)?;
    if exit == Exit::Done {
        cluster.was_deleted()?;
        print::note(&format!("nothing is left of {name} on its machines; they stay"));
    } else {
        print::note(&format!(
            "{} stays: when the machines that were left out are on, run the same command again",
            cluster.folder.inventory_file()
        ));
    }
    Ok(exit)
}
