//! Machines and plans, as users see them.

use muster_openstack::Listed;

use crate::clusters::cluster::Cluster;
use crate::clusters::plan::Plan;
use crate::environment::Environment;
use crate::output::Screen;
use crate::output::table::Table;
use crate::output::text::{self, count};

/// Machines as whoever makes them has them.
pub(crate) fn machine_table(machines: &[Listed], environment: &Environment) -> String {
    let mut table = Table::new(&["machine", "state", "address", "floating IP", "server"]);
    for machine in machines {
        let state = match machine.state.as_str() {
            _ if !machine.is_wanted => "not wanted any more",
            "" => "missing",
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
    rendered(&table, environment)
}

/// What a plan would do, machine by machine.
pub(crate) fn show_plan(cluster: &Cluster, plan: &Plan, environment: &Environment) -> String {
    let mut table = Table::new(&["machine", "what is done", "why"]);
    let mut row = |part: &str, what: &str, why: &str| {
        table.row([&cluster.host(part), what, why].map(text::harmless).to_vec());
    };
    let image = |part: &str| match cluster.declaration.image_of(part) {
        Some(image) => format!("gets a new system ({image}), loses its disks, joins"),
        None => "made, and joins".to_owned(),
    };
    plan.keep.iter().for_each(|part| row(part, "stays", ""));
    plan.make.iter().for_each(|part| row(part, &image(part), "it is declared and not there"));
    plan.again.iter().for_each(|part| row(part, "made again, and takes its place", "its machine is gone"));
    for replacement in &plan.replace {
        let what = format!("leaves when {} has joined", cluster.host(&replacement.new));
        row(&replacement.old, &what, &replacement.why);
        row(&replacement.new, &image(&replacement.new), "it takes a place");
    }
    plan.remove.iter().for_each(|part| row(part, "leaves, and is removed", "it is not declared any more"));
    rendered(&table, environment)
}

/// A plan in one line.
pub(crate) fn summary(plan: &Plan) -> String {
    let parts = [
        (plan.make.len() + plan.again.len(), "to be made"),
        (plan.replace.len(), "to be replaced"),
        (plan.remove.len(), "to be removed"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{} {what}", count(*number, "machine")))
        .collect();
    if parts.is_empty() {
        format!("{} as declared", count(plan.keep.len(), "machine"))
    } else {
        parts.join(", ")
    }
}

pub(crate) fn rendered(table: &Table, environment: &Environment) -> String {
    let screen = Screen::new(environment, false);
    let lines = table.render(screen.style, screen.size().1);
    lines.iter().map(|line| format!("{line}\n")).collect()
}
