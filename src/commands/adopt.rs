//! `muster adopt`: a living cluster that somebody has made with kubeadm or kubespray becomes one of muster's.

use std::collections::BTreeMap;

use clap::Args;
use muster_app::{ADOPT, BundleUse, Flow, Project, Question};
use muster_engine::play::{Play, Share};
use muster_inventory::some_names;
use muster_roles::adopting;
use muster_roles::adoption::{Found, Row, Told};
use secrecy::ExposeSecret;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs};
use crate::confirmation::is_what_was_asked;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::text::count;
use crate::output::{CommandLine, Screen, print};
use crate::typed_flow::TypedFlow;

/// Take over a living cluster that kubeadm or kubespray has made, while its applications run
///
/// Only looks: shows who has made each machine a part of the cluster and with what versions, what would be changed on it, and
/// what that disrupts. What cannot be taken over, and what the inventory says differently than the cluster, is refused with the
/// line to write. With --apply it is done, machine by machine, after you agreed. No node is renamed, no authority replaced, no
/// member of etcd or object lost; a snapshot of etcd is brought to this computer before. Running the command again is always safe:
/// it goes on where it stopped. Until it has come to its end, no other command sets anything up on these machines.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = examples())]
pub(crate) struct AdoptArgs {
    /// Do it
    #[arg(long)]
    apply: bool,
    /// Do not ask
    #[arg(short = 'y', long, requires = "apply")]
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

fn examples() -> String {
    format!(
        "Examples:\n  \
         muster adopt -i inventory/hosts.ini           what would be changed, and what is in the way\n  \
         muster adopt -i inventory/hosts.ini --apply   do it\n\n{EXIT_CODES}"
    )
}

/// Runs `muster adopt`.
pub(crate) fn run(args: AdoptArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.inventory.inventory, environment)?;
    let told = Told::default();
    let flow = flow(&project, args.apply, told.clone());
    flow.check_serial(&(&args.manner).into())?;
    let does = args.apply && !args.manner.check;
    if does && !args.yes && !agreed(&project, environment)? {
        return Ok(Exit::No);
    }
    let next = match does {
        true => flow.next.clone(),
        false => None,
    };
    let apply = project.command(&["muster", "adopt"], 2);
    let typed = TypedFlow {
        manner: args.manner,
        ..TypedFlow::new(Flow { next, ..flow }, project, args.inventory, args.connection, args.output)
    };
    if args.apply {
        return typed.run(environment);
    }
    let exit = typed.plan(None, environment)?;
    let Found { rows, lines, .. } = told.take();
    let lines: Vec<&str> = lines.values().map(String::as_str).filter(|line| !line.is_empty()).collect();
    if !lines.is_empty() {
        print::note(
            "these lines, in group_vars/all.yml beside the inventory or where your group_vars have the variables already, say what the \
             cluster is:",
        );
        print::data(&(lines.join("\n") + "\n"))?;
    }
    if exit == Exit::Done {
        let style = Style::of_stdout(environment);
        let (_, columns) = Screen::new(environment, false).size();
        print::data(&(table(&rows).render(style, columns).join("\n") + "\n"))?;
        for line in effects(&rows) {
            print::note(&line);
        }
        if rows.values().any(|row| !row.is_ours) {
            print::next(&format!("{apply} --apply"));
        }
    }
    Ok(exit)
}

fn flow(project: &Project, apply: bool, told: Told) -> Flow {
    let command = if apply { "muster adopt --apply" } else { "muster adopt" };
    Flow {
        bundle: BundleUse::Installs,
        roles: adopting(told),
        whole_cluster: true,
        all_at_once: true,
        looks_first: vec![Play {
            name: "See whether the cluster can be taken over".into(),
            hosts: "k8s_cluster:etcd".into(),
            roles: vec!["adopt-check".into()],
            any_errors_fatal: true,
            max_failures: Some(Share::Hosts(0)),
            ..Play::default()
        }],
        next: Some(project.command(&["muster", "setup-cluster"], 2)),
        half_done: Some(
            "The cluster may be muster's in part: it goes on like that, and nothing else sets anything up on it until this is finished or \
             taken back (docs/adopt.md)."
                .into(),
        ),
        ..Flow::new(command, ADOPT)
    }
}

fn table(rows: &BTreeMap<String, Row>) -> Table {
    let mut table = Table::new(&["HOST", "MADE BY", "KUBELET", "ENGINE", "API SERVER", "ETCD"]);
    for (host, row) in rows {
        table.row(vec![
            host.clone(),
            row.made_by.clone(),
            row.kubelet.clone(),
            row.engine.clone(),
            if row.is_plane { "yes" } else { "no" }.into(),
            row.member.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    table
}

/// What taking these machines over disrupts, as sentences.
fn effects(rows: &BTreeMap<String, Row>) -> Vec<String> {
    if rows.values().all(|row| row.is_ours) {
        return vec!["muster has all of these machines already: there is nothing to adopt".into()];
    }
    let planes = rows.values().filter(|row| row.is_plane).count();
    let is_kubesprays = rows.values().any(|row| row.is_kubesprays);
    let former = if is_kubesprays { "its former unit" } else { "kubeadm's static pod" };
    let api = match planes {
        1 => format!(
            "the API is away twice: some 5 seconds while etcd goes over from {former} to muster's, and up to a minute while the API \
             server starts with its new manifest"
        ),
        _ => "one API server after the other is away twice: some 5 seconds while its member of etcd goes over, and up to a minute while \
              it restarts; the others answer meanwhile, to whoever reaches them"
            .to_owned(),
    };
    let mut effects = vec![
        api,
        "containerd, the kubelets, kube-proxy, flannel and CoreDNS restart or are replaced one by one; no node is drained, and pods of \
         applications go on"
            .into(),
        "new connections of pods to the world outside may fail for a few seconds on each node while flannel's daemon is replaced".into(),
    ];
    if is_kubesprays {
        effects.extend([
            "the kubelet and kube-proxy of a worker do not reach the API for up to half a minute where muster's load balancer takes the \
             place of nginx-proxy; pods go on"
                .into(),
            "names of the cluster may not be found for some seconds while kubespray's DNS caches and its service of CoreDNS are replaced; \
             they have the same addresses afterwards"
                .into(),
        ]);
    }
    // All machines are of one cluster.
    if let Some(row) = rows.values().find(|row| !row.goes.is_empty()) {
        effects.push(format!("these objects go, and muster's take their place: {}", row.goes.join(", ")));
    }
    effects.extend(older_engines(rows));
    effects.extend(beside(rows));
    effects
}

/// Where containerd goes back to an older patch of its minor version: told once for all that go back to the same.
fn older_engines(rows: &BTreeMap<String, Row>) -> Vec<String> {
    let mut alike: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (host, row) in rows.iter().filter(|(_, row)| !row.is_ours) {
        if let Some(older) = &row.older_engine {
            alike.entry((&row.engine, older)).or_default().push(host);
        }
    }
    let one = |((engine, older), hosts): ((&str, &str), Vec<&str>)| {
        format!(
            "{engine} becomes {older} on {}: muster has one containerd for each version of Kubernetes",
            some_names(&hosts)
        )
    };
    alike.into_iter().map(one).collect()
}

/// What is on machines beside their nodes, and what becomes of it: told once for all that have the same.
fn beside(rows: &BTreeMap<String, Row>) -> Vec<String> {
    let mut alike: BTreeMap<(&[String], bool), Vec<&str>> = BTreeMap::new();
    for (host, row) in rows.iter().filter(|(_, row)| !row.is_ours && !row.docker.is_empty()) {
        alike.entry((&row.docker, row.docker_restarts)).or_default().push(host);
    }
    let one = |((docker, restarts), hosts): ((&[String], bool), Vec<&str>)| {
        let restarts = if restarts {
            "; but docker.service is bound to containerd.service and restarts with it, and its containers end unless it lets them \
             live on (live-restore)"
        } else {
            ""
        };
        let hosts = some_names(&hosts);
        format!(
            "Docker is on {hosts} ({}): no node uses it, and nothing of it is changed or removed{restarts}",
            docker.join("; ")
        )
    };
    alike.into_iter().map(one).collect()
}

/// Whether the user agrees to what is disrupted.
fn agreed(project: &Project, environment: &Environment) -> Result<bool, CommandError> {
    let inventory = project.inventory()?;
    let typed = count(inventory.group("k8s_cluster").len(), "host");
    let told = format!(
        "The cluster of {} becomes muster's ({typed}). Its API is away for up to a minute, and applications go on; `muster adopt` shows what \
         is changed, and docs/adopt.md how to go back.",
        project.describe()
    );
    let question = Question::Loss { lost: &told, typed: &typed };
    let answer = CommandLine::plain(environment).ask(question).map_err(|why| {
        CommandError::usage(format!("{told} Whether that is meant cannot be asked: {why}"))
            .hint("if it is meant, add --yes; to see what would be changed, leave --apply out")
    })?;
    Ok(is_what_was_asked(answer.expose_secret(), &typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(is_plane: bool, is_ours: bool) -> Row {
        let made_by = if is_ours { "muster" } else { "kubeadm" }.to_owned();
        Row { made_by, is_plane, is_ours, ..Row::default() }
    }

    #[test]
    fn what_is_disrupted_depends_on_how_many_api_servers_there_are() {
        let of = |rows: &[Row]| {
            let rows = rows.iter().cloned().enumerate().map(|(number, row)| (format!("node{number}"), row));
            effects(&rows.collect())
        };
        assert!(of(&[row(true, false), row(false, false)])[0].starts_with("the API is away twice"));
        assert!(of(&[row(true, false), row(true, true)])[0].starts_with("one API server after the other"));
        assert_eq!(of(&[row(true, true), row(false, true)]).len(), 1);
        let by_kubespray = Row { is_kubesprays: true, ..row(false, false) };
        assert_eq!(of(&[row(true, false), by_kubespray]).len(), of(&[row(true, false)]).len() + 2);
    }

    #[test]
    fn an_engine_that_goes_back_is_told_once_for_all_machines() {
        let older = |is_ours: bool| Row {
            engine: "containerd 2.2.3".into(),
            older_engine: Some("2.2.1".into()),
            ..row(false, is_ours)
        };
        let rows = [older(false), older(false), older(true), row(false, false)];
        let rows = rows.into_iter().enumerate().map(|(number, row)| (format!("node{number}"), row)).collect();
        let told = older_engines(&rows);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("containerd 2.2.3 becomes 2.2.1 on node0-1: "), "{told:?}");
    }

    #[test]
    fn what_docker_has_is_told_once_for_all_machines_that_have_the_same() {
        let has = |what: &[&str], docker_restarts: bool| Row {
            docker: what.iter().map(|what| (*what).to_owned()).collect(),
            docker_restarts,
            ..row(false, false)
        };
        let rows = [
            has(&["docker.service, which runs", "containers: 2"], true),
            has(&["/var/lib/docker"], false),
            has(&["/var/lib/docker"], false),
            has(&[], false),
            Row { is_ours: true, ..has(&["/var/lib/docker"], false) },
        ];
        let rows = rows.into_iter().enumerate().map(|(number, row)| (format!("node{number}"), row)).collect();
        let told = beside(&rows);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("Docker is on node1-2 (/var/lib/docker): no node uses it"), "{told:?}");
        assert!(!told[0].contains("restarts with it"), "{told:?}");
        assert!(told[1].contains("on node0 (docker.service, which runs; containers: 2)"), "{told:?}");
        assert!(
            told[1].contains("docker.service is bound to containerd.service and restarts with it"),
            "{told:?}"
        );
    }
}
