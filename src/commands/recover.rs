//! `muster recover`: etcd has lost most of its members for good, and the cluster goes on with what is left.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use clap::Args;
use muster_app::{BundleUse, Flow, Project, Question};
use muster_engine::play::Play;
use muster_engine::run::Role;
use muster_inventory::names;
use muster_roles::etcd::recovery::{self, Rescued};
use muster_roles::etcd::restore::{self, Restore};
use muster_roles::etcd::{Recovery, Remains, Seen, SnapshotFile, Wish, judge, remains};
use secrecy::ExposeSecret;
use time::OffsetDateTime;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs};
use crate::confirmation::is_what_was_asked;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::output::advice::through;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::{CommandLine, Screen, print, text};
use crate::quiet_flow;
use crate::typed_flow::TypedFlow;

const COMMAND: &str = "muster recover";

/// Go on with the data that is left, when most members of etcd are lost for good
///
/// Shows first what is left: which machines answer, and what their members of etcd know. Then, if you agree, the data of the
/// member that knows most is kept as a snapshot on this computer, and etcd begins anew with it on all machines of the group etcd
/// that still have theirs. What only the lost machines knew is gone. They must never be switched on again as they are: with their
/// old disks they would be a second cluster of the same name. Machines of the groups broken_etcd and broken_kube_control_plane
/// count as lost, even if they answer.
///
/// Where etcd still has a majority nothing is to be recovered: `muster remove-node` takes lost machines out.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct RecoverArgs {
    /// Take the data of this machine's member, also where a majority of the members might still be started
    #[arg(long, value_name = "HOST")]
    from: Option<String>,
    #[command(flatten)]
    manner: MannerArgs,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `muster recover`.
pub(crate) fn run(args: RecoverArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.inventory.inventory, environment)?;
    let wish = wish(&project, args.from.clone())?;
    let command = match &args.from {
        Some(host) => format!("{COMMAND} --from {host}"),
        None => COMMAND.to_owned(),
    };
    flow(&command, Vec::new(), Vec::new()).check_serial(&(&args.manner).into())?;
    let seen = look(&args, &wish, &project, environment)?;
    let style = Style::of_stdout(environment);
    let (_, columns) = Screen::new(environment, false).size();
    print::data(&(table(&wish, &seen).render(style, columns).join("\n") + "\n"))?;
    let recovery = match judge(&seen, &wish) {
        Ok(recovery) => recovery,
        Err(why) => return Err(CommandError::failed(why.found).hint(why.remedy)),
    };
    let goes_on = is_begun(&wish, &seen);
    if !args.manner.check && !agreed(&project, &recovery, goes_on, environment)? {
        return Ok(Exit::No);
    }
    let typed = |flow| TypedFlow {
        manner: args.manner.clone(),
        ..TypedFlow::new(
            flow,
            project.clone(),
            args.inventory.clone(),
            args.connection.clone(),
            args.output.clone(),
        )
    };
    let rescued = Rescued::default();
    let (plays, roles) = (recovery::plays(&recovery), recovery::roles(recovery.clone(), rescued.clone()));
    let exit = typed(flow(&command, plays, roles)).run(environment)?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let path = rescued.lock().unwrap_or_else(PoisonError::into_inner).take();
    let path = path.ok_or_else(|| CommandError::failed("no snapshot was taken"))?;
    let unreadable = |why: String| CommandError::failed(format!("{}: {why}", path.display()));
    // Where it is only looked at, the file may be there only when the data was taken.
    let snapshot = if args.manner.check && !path.exists() {
        None
    } else {
        let read = SnapshotFile::read(&path).map_err(|error| unreadable(error.to_string()))?;
        Some(read.map_err(|why| unreadable(why.to_owned()))?)
    };
    let restore = Restore {
        path: path.clone(),
        snapshot,
        without: recovery.without.clone(),
        // It is of a member of this one.
        of_another: true,
    };
    let plays = restore::plays(&restore.without);
    let exit = typed(flow(&command, plays, restore::roles(restore))).run(environment)?;
    if exit == Exit::Done && !args.manner.check {
        let gone: Vec<&str> = recovery.without.iter().map(String::as_str).collect();
        let gone = gone.join(" ");
        let remove = project.command(&["muster", "remove-node"], 2);
        if gone.is_empty() {
            print::next(&project.command(&["muster", "setup-cluster"], 2));
        } else {
            let replace = project.command(&["muster", "replace-node"], 2);
            let replace = format!("{}{replace} {gone}", through());
            let inventory = project.inventory()?;
            let moved = moved(&recovery, |group, host| inventory.group(group).contains(&host));
            print::next(&format!("{remove} {gone}; or, {}: {replace}", when_to_replace(&moved)));
        }
    }
    Ok(exit)
}

/// The lost hosts that are in a group of broken ones and not in the group any more of those that work: no set-up makes them again what
/// they were. `is_in`: whether a group has a host.
fn moved(recovery: &Recovery, is_in: impl Fn(&str, &str) -> bool) -> Vec<&str> {
    let groups = [("broken_etcd", "etcd"), ("broken_kube_control_plane", "kube_control_plane")];
    let lost = recovery.without.iter().map(String::as_str);
    let was_moved = |host: &&str| groups.iter().any(|(broken, of)| is_in(broken, host) && !is_in(of, host));
    lost.filter(was_moved).collect()
}

/// When lost machines can be set up again, of which some were moved.
fn when_to_replace(moved: &[&str]) -> String {
    match moved {
        [] => "when they have a new system".to_owned(),
        moved => format!(
            "when they have a new system and {} {} in [etcd] and [kube_control_plane] again as before",
            names(moved),
            if moved.len() == 1 { "is" } else { "are" }
        ),
    }
}

/// A flow that is about etcd and the control planes as they are.
fn flow(command: &str, plays: Vec<Play>, roles: Vec<Role>) -> Flow {
    Flow {
        roles,
        bundle: BundleUse::None,
        remarks: false,
        whole_cluster: true,
        all_at_once: true,
        half_done: Some(
            "The recovery has not come to its end: etcd may be stopped, with its data as it was. The same command goes on with it.".into(),
        ),
        ..Flow::new(command, plays)
    }
}

/// What the inventory says of the groups in question.
fn wish(project: &Project, from: Option<String>) -> Result<Wish, CommandError> {
    let inventory = project.inventory()?;
    let group =
        |name: &str| -> Vec<String> { inventory.group(name).iter().map(ToString::to_string).collect() };
    let wish = Wish::of(group, from);
    let members = group("etcd");
    if let Some(from) = wish.from.as_ref().filter(|from| !members.contains(from)) {
        return Err(CommandError::usage(format!("{from} is not in [etcd] of the inventory"))
            .hint(format!("one of {}", names(&members))));
    }
    Ok(wish)
}

fn look(
    args: &RecoverArgs,
    wish: &Wish,
    project: &Project,
    environment: &Environment,
) -> Result<BTreeMap<String, Remains>, CommandError> {
    let seen = Seen::default();
    let play = Play {
        name: "See what is left".into(),
        hosts: wish
            .broken
            .iter()
            .fold("etcd:kube_control_plane".to_owned(), |all, host| format!("{all}:{host}")),
        roles: vec!["etcd-remains".into()],
        ..Play::default()
    };
    let flow = flow(COMMAND, vec![play], vec![remains(seen.clone())]);
    quiet_flow::look(flow, project.clone(), &args.inventory, &args.connection, environment)?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(seen)
}

fn table(wish: &Wish, seen: &BTreeMap<String, Remains>) -> Table {
    let mut table = Table::new(&["HOST", "ETCD", "REVISION", "LOG", "LAST WRITTEN", "SIZE", "CONTROL PLANE"]);
    let more = wish.planes.iter().filter(|host| !wish.members.contains(host));
    for host in wish.members.iter().chain(more) {
        let none = || "-".to_owned();
        let number = |number: Option<u64>| number.map_or_else(none, |number| number.to_string());
        let Some(remains) = seen.get(host) else {
            let mut row = vec![host.clone(), "does not answer".into()];
            row.resize(7, none());
            table.row(row);
            continue;
        };
        let member = remains.member.as_ref();
        let state = match member {
            None if !wish.members.contains(host) => "no member",
            None => "has no data",
            Some(_) if wish.broken.contains(host) => "said to be broken",
            Some(member) if member.restoring => "is being recovered",
            Some(member) if member.healthy => "has a majority",
            Some(member) if member.runs => "sees no majority",
            Some(member) if member.revision.is_none() => "stopped, and cannot be read",
            Some(_) => "stopped",
        };
        let written = member.and_then(|member| member.written);
        table.row(vec![
            host.clone(),
            state.into(),
            number(member.and_then(|member| member.revision)),
            number(member.and_then(|member| member.raft_index)),
            written.map_or_else(none, ago),
            member.map_or_else(none, |member| text::size(member.size)),
            if remains.plane { "yes" } else { "no" }.into(),
        ]);
    }
    table
}

/// How long ago a time was, which is in seconds since 1970.
fn ago(time: i64) -> String {
    let seconds = OffsetDateTime::now_utc().unix_timestamp() - time;
    format!("{} ago", text::duration(Duration::from_secs(seconds.max(0).unsigned_abs())))
}

/// Whether a recovery was begun before, and did not come to its end on some machine.
fn is_begun(wish: &Wish, seen: &BTreeMap<String, Remains>) -> bool {
    let member_of = |host: &String| seen.get(host)?.member.as_ref();
    wish.members.iter().any(|host| member_of(host).is_some_and(|member| member.restoring))
}

/// What is lost for good, in whole sentences. `cluster`: its name for people; `goes_on`: see [`is_begun`].
fn loss(cluster: &str, recovery: &Recovery, goes_on: bool) -> String {
    let from = &recovery.from;
    let never = match recovery.lost.as_slice() {
        [] => String::new(),
        [host] => format!(
            " {host} must never be switched on again with its old disk: reset it, or install it anew."
        ),
        hosts => format!(
            " {} must never be switched on again with their old disks, where they would be a second cluster of the same name: reset \
             them, or install them anew.",
            names(hosts)
        ),
    };
    let unknown = match recovery.strangers.as_slice() {
        [] => String::new(),
        strangers => format!(
            " etcd also had members that are not in the inventory, {}: what is on their machines cannot be seen nor stopped from here, and \
             must never run again, either.",
            strangers.join(", ")
        ),
    };
    if goes_on {
        return format!(
            "This finishes the recovery of the cluster of {cluster} that was begun before and did not come to its end. What was to be \
             lost by it is lost for good.{never}{unknown}"
        );
    }
    format!(
        "The cluster of {cluster} goes on with what the member of etcd on {from} knows. What was written after that is lost for \
         good.{never}{unknown}"
    )
}

/// Whether the user agrees to what is lost for good. There is no option that answers instead.
fn agreed(
    project: &Project,
    recovery: &Recovery,
    goes_on: bool,
    environment: &Environment,
) -> Result<bool, CommandError> {
    let lost = loss(&project.describe(), recovery, goes_on);
    let typed = if recovery.lost.is_empty() { recovery.from.clone() } else { recovery.lost.join(" ") };
    let question = Question::Loss { lost: &lost, typed: &typed };
    let answer = CommandLine::plain(environment).ask(question).map_err(|why| {
        CommandError::usage(format!("{lost} Whether that is meant cannot be asked: {why}"))
            .hint("run it at a terminal; to see what would be done: --check")
    })?;
    Ok(is_what_was_asked(answer.expose_secret(), &typed))
}

#[cfg(test)]
mod tests {
    use muster_roles::etcd::Found;

    use super::*;

    #[test]
    fn a_recovery_that_was_cut_off_is_finished_and_says_so() {
        let found = |restoring| Found { name: "etcd1".into(), healthy: true, restoring, ..Found::default() };
        let seen = |restoring| -> BTreeMap<String, Remains> {
            [("node1".to_owned(), Remains { plane: true, member: Some(found(restoring)) })].into()
        };
        let wish = Wish { members: vec!["node1".into()], ..Wish::default() };
        assert!(is_begun(&wish, &seen(true)) && !is_begun(&wish, &seen(false)));
        let row = |restoring| table(&wish, &seen(restoring)).render(Style::PLAIN, 120)[2].clone();
        assert!(row(true).contains("is being recovered") && row(false).contains("has a majority"));
        let recovery = Recovery {
            from: "node1".into(),
            without: ["node2".to_owned()].into(),
            lost: vec!["node2".into()],
            fenced: Vec::new(),
            strangers: Vec::new(),
        };
        let (begins, goes_on) = (loss("hosts.ini", &recovery, false), loss("hosts.ini", &recovery, true));
        assert!(
            begins.starts_with("The cluster of hosts.ini goes on with what the member of etcd on node1"),
            "{begins}"
        );
        assert!(goes_on.starts_with("This finishes the recovery of the cluster of hosts.ini"), "{goes_on}");
        for said in [begins, goes_on] {
            assert!(said.contains("node2 must never be switched on again"), "{said}");
        }
    }

    #[test]
    fn a_machine_that_was_moved_goes_back_into_its_groups_before_it_is_replaced() {
        let recovery = Recovery {
            from: "a".into(),
            without: ["b", "c"].map(str::to_owned).into(),
            lost: Vec::new(),
            fenced: Vec::new(),
            strangers: Vec::new(),
        };
        // b has stayed in its group, and c is a node besides.
        let groups = [("etcd", "a b"), ("broken_etcd", "b c"), ("kube_node", "c")];
        let is_in = |group: &str, host: &str| {
            groups.iter().any(|(name, hosts)| *name == group && hosts.split(' ').any(|one| one == host))
        };
        assert_eq!(moved(&recovery, is_in), ["c"]);
        assert_eq!(when_to_replace(&[]), "when they have a new system");
        let again = "when they have a new system and c is in [etcd] and [kube_control_plane] again as before";
        assert_eq!(when_to_replace(&["c"]), again);
    }

    #[test]
    fn the_table_shows_every_machine_that_is_asked() {
        let found = Found { name: "etcd1".into(), runs: true, revision: Some(7), ..Found::default() };
        let seen = [
            ("node1".to_owned(), Remains { plane: true, member: Some(found) }),
            ("plane".to_owned(), Remains { plane: true, member: None }),
        ];
        let wish = Wish {
            members: ["node1", "node2"].map(str::to_owned).into(),
            planes: ["node1", "plane"].map(str::to_owned).into(),
            ..Wish::default()
        };
        let lines = table(&wish, &seen.into()).render(Style::PLAIN, 120);
        assert!(lines[2].contains("sees no majority") && lines[2].contains('7'), "{lines:#?}");
        assert!(lines[3].contains("node2") && lines[3].contains("does not answer"), "{lines:#?}");
        assert!(lines[4].contains("plane") && lines[4].contains("no member"), "{lines:#?}");
    }
}
