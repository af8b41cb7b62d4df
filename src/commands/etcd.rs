//! `muster etcd`: the care of etcd, the cluster's database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::PoisonError;

use clap::{Args, Subcommand};
use muster_app::{BundleUse, Flow, Project};
use muster_engine::play::Play;
use muster_engine::script::quote;
use muster_roles::etcd::{self, Answers, MemberStatus, SnapshotFile};
use serde::{Deserialize, Serialize};

use crate::args::{ConnectionArgs, FlowArgs, InventoryArgs};
use crate::confirmation::confirmed;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::{Screen, exit_of, print, text};
use crate::quiet_flow;
use crate::typed_flow::TypedFlow;

/// See how etcd is, take snapshots of it, restore one, and let it give back what it does not need
#[derive(Debug, Args)]
pub(crate) struct EtcdArgs {
    #[command(subcommand)]
    command: EtcdCommand,
}

#[derive(Debug, Subcommand)]
enum EtcdCommand {
    /// Show the members of etcd; exit code 2 if one is not well, for monitoring
    #[command(after_help = EXIT_CODES)]
    Status(StatusArgs),
    /// Bring a snapshot of etcd to this computer: everything that the cluster knows
    #[command(after_help = EXIT_CODES)]
    Snapshot(SnapshotArgs),
    /// Bring back the cluster of a snapshot, on the machines of the inventory
    ///
    /// What was made after the snapshot is gone then, and what was removed after it is back. The API is away for about a
    /// minute; what runs in pods goes on. A restore that was cut off is finished by the same command; once something has
    /// stopped for it, everything else that would change these machines is refused until then. A snapshot of what is
    /// replaced is taken first, where etcd is well.
    #[command(after_help = EXIT_CODES)]
    Restore(RestoreArgs),
    /// Give back to the disks what the databases do not need any more, one member after the other
    #[command(after_help = EXIT_CODES)]
    Defrag(DefragArgs),
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What a snapshot is asked for.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct SnapshotParameters {
    /// The file to write [default: etcd-TIME.db in the folder that etcd_snapshots_dir names, where old ones are removed as
    /// etcd_backup_retention_count says]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct SnapshotArgs {
    #[command(flatten)]
    parameters: SnapshotParameters,
    #[command(flatten)]
    flow: FlowArgs,
}

/// What a restore is asked for.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct RestoreParameters {
    /// The snapshot
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The snapshot may be of a cluster with another certificate authority than the one that runs: the machines were installed anew
    /// since, for one
    #[arg(long)]
    #[serde(default)]
    another_cluster: bool,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    #[command(flatten)]
    parameters: RestoreParameters,
    /// Restore without asking
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    flow: FlowArgs,
}

#[derive(Debug, Args)]
struct DefragArgs {
    #[command(flatten)]
    flow: FlowArgs,
}

/// Runs `muster etcd`.
pub(crate) fn run(args: EtcdArgs, environment: &Environment) -> Result<Exit, CommandError> {
    match args.command {
        EtcdCommand::Status(args) => status(&args, environment),
        EtcdCommand::Snapshot(args) => {
            let project = Project::find(&args.flow.inventory.inventory, environment)?;
            let flow = args.parameters.flow(environment)?;
            TypedFlow::typed(flow, project, args.flow).run(environment)
        }
        EtcdCommand::Restore(args) => restore(args, environment),
        EtcdCommand::Defrag(args) => {
            let project = Project::find(&args.flow.inventory.inventory, environment)?;
            let play = members("Give back what etcd does not need", "etcd-defragment");
            let flow = of_etcd("muster etcd defrag", vec![play], vec![etcd::defragment()]);
            TypedFlow::typed(flow, project, args.flow).run(environment)
        }
    }
}

/// A play of a role on the members.
fn members(name: &str, role: &str) -> Play {
    Play { name: name.into(), hosts: "etcd".into(), roles: vec![role.into()], ..Play::default() }
}

/// A flow that is about the members.
fn of_etcd(command: impl Into<String>, plays: Vec<Play>, roles: Vec<muster_engine::run::Role>) -> Flow {
    Flow { roles, bundle: BundleUse::None, remarks: false, whole_cluster: true, ..Flow::new(command, plays) }
}

impl SnapshotParameters {
    /// A snapshot comes to this computer.
    pub(crate) fn flow(&self, environment: &Environment) -> Result<Flow, CommandError> {
        let here = environment.here()?;
        let file = self.file.as_ref().map(|file| here.join(file));
        if let Some(file) = file.as_ref().filter(|file| file.exists()) {
            let error = CommandError::usage(format!("{} is there already", file.display()));
            return Err(error.hint("name another file, or move that one away"));
        }
        let play = members("Take a snapshot of etcd", "etcd-snapshot");
        let typed = self.file.as_ref().map(|file| format!(" {}", quote(&file.display().to_string())));
        let command = format!("muster etcd snapshot{}", typed.unwrap_or_default());
        Ok(of_etcd(command, vec![play], vec![etcd::snapshot(file)]))
    }
}

impl RestoreParameters {
    /// The cluster of the snapshot comes back.
    pub(crate) fn flow(&self, project: &Project, environment: &Environment) -> Result<Flow, CommandError> {
        let file = environment.here()?.join(&self.file);
        let unreadable = |error| CommandError::failed(format!("{}: {error}", file.display()));
        let snapshot = SnapshotFile::read(&file).map_err(unreadable)?.map_err(|why| {
            CommandError::usage(format!("{} cannot be restored: {why}", file.display()))
                .hint("a snapshot is what muster etcd snapshot or etcdctl snapshot save writes")
        })?;
        let restore = etcd::restore::Restore {
            path: file,
            snapshot: Some(snapshot),
            without: BTreeSet::new(),
            of_another: self.another_cluster,
        };
        let plays = etcd::restore::plays(&restore.without);
        Ok(Flow {
            next: Some(project.command(&["muster", "verify"], 2)),
            all_at_once: true,
            half_done: Some(
                "If nothing was stopped yet, the restore has not begun: the cluster goes on as before, and setup-cluster takes away what was \
                 prepared. If it has begun, the API is away, and nobody else changes these machines, until it is finished."
                    .to_owned(),
            ),
            ..of_etcd(
                format!(
                    "muster etcd restore {}{}",
                    if self.another_cluster { "--another-cluster " } else { "" },
                    quote(&self.file.display().to_string())
                ),
                plays,
                etcd::restore::roles(restore),
            )
        })
    }
}

fn restore(args: RestoreArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.flow.inventory.inventory, environment)?;
    let flow = args.parameters.flow(&project, environment)?;
    let flow = Flow { next: flow.next.filter(|_| !args.flow.manner.check), ..flow };
    let question = format!(
        "{} takes the place of everything that the cluster of {} knows: what was made after it was taken is gone then, what was removed \
         after it is back, and the API is away for about a minute. Restore it?",
        args.parameters.file.display(),
        project.describe()
    );
    if !args.yes
        && !args.flow.manner.check
        && !confirmed(&question, "the snapshot is to be restored", "restore it")?
    {
        return Ok(Exit::No);
    }
    TypedFlow::typed(flow, project, args.flow).run(environment)
}

fn status(args: &StatusArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let answers = Answers::default();
    let play = members("Look at etcd", "etcd-status");
    let flow = of_etcd("muster etcd status", vec![play], vec![etcd::look(answers.clone())]);
    let project = Project::find(&args.inventory.inventory, environment)?;
    let ended = quiet_flow::look(flow, project, &args.inventory, &args.connection, environment)?;
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let failed = ended.outcome.iter().filter(|(_, end)| end.failure.is_some());
    let off: BTreeSet<String> =
        failed.map(|(host, _)| host.clone()).filter(|host| !answers.contains_key(host)).collect();
    let style = Style::of_stdout(environment);
    let (_, columns) = Screen::new(environment, false).size();
    let lines = table(&answers, &off).render(style, columns);
    print::data(&(lines.join("\n") + "\n"))?;
    let wrong = faults(&answers, &off);
    for fault in &wrong {
        print::note(&text::harmless(fault));
    }
    Ok(match exit_of(&ended.outcome, ended.interrupted) {
        Exit::Done if !wrong.is_empty() => Exit::HostFailed,
        exit => exit,
    })
}

/// `off`: the hosts whose machines could not be asked.
fn table(answers: &BTreeMap<String, Option<MemberStatus>>, off: &BTreeSet<String>) -> Table {
    let mut table = Table::new(&[
        "HOST", "MEMBER", "ID", "HEALTH", "ROLE", "SIZE", "IN USE", "VERSION", "REVISION", "ALARMS",
    ]);
    let silent = |host: &String, why: &str| {
        let mut row = vec![host.clone(), "-".into(), "-".into(), why.into()];
        row.resize(10, "-".into());
        row
    };
    for (host, status) in answers {
        let Some(status) = status else {
            table.row(silent(host, "does not answer"));
            continue;
        };
        let own = status.members.iter().find(|member| member.id == status.id);
        let role = match own {
            Some(own) if own.learner => "learner",
            _ if status.leader == status.id => "leader",
            _ => "follower",
        };
        let alarms: Vec<&str> =
            status.alarms.iter().filter(|(id, _)| *id == status.id).map(|(_, alarm)| *alarm).collect();
        table.row(vec![
            host.clone(),
            own.map(|own| own.name.clone()).unwrap_or_default(),
            format!("{:x}", status.id),
            if status.healthy { "healthy" } else { "no majority" }.into(),
            role.into(),
            text::size(status.size),
            text::size(status.in_use),
            status.version.clone(),
            status.revision.to_string(),
            if alarms.is_empty() { "none".into() } else { alarms.join(", ") },
        ]);
    }
    for host in off {
        table.row(silent(host, "not reached"));
    }
    table
}

/// What is wrong with etcd, in sentences. `off`: the hosts whose machines could not be asked.
fn faults(answers: &BTreeMap<String, Option<MemberStatus>>, off: &BTreeSet<String>) -> Vec<String> {
    let known: Vec<(&String, &MemberStatus)> =
        answers.iter().filter_map(|(host, status)| Some((host, status.as_ref()?))).collect();
    let mut faults: Vec<String> = Vec::new();
    for (host, status) in answers {
        match status {
            None => faults
                .push(format!("the member on {host} does not answer: journalctl -u etcd says there why")),
            Some(status) if !status.healthy => {
                faults.push(format!("the member on {host} sees no majority of the members"));
            }
            Some(_) => {}
        }
    }
    faults.extend(off.iter().map(|host| {
        format!("the member on {host} does not answer: its machine is off, or could not be asked")
    }));
    if let Some((first, status)) = known.first()
        && let Some((other, _)) = known.iter().find(|(_, other)| other.cluster != status.cluster)
    {
        faults.push(format!("{first} and {other} are members of two clusters"));
    }
    for (member, alarm) in known.first().map(|(_, status)| status.alarms.as_slice()).unwrap_or_default() {
        let what = match *alarm {
            "NOSPACE" => {
                "is full, so that nothing can be written: muster etcd defrag, or raise etcd_quota_backend_bytes"
            }
            _ => "has other data than the others: take it out, and let it join anew",
        };
        faults.push(format!("the database of the member {member:x} {what}"));
    }
    // Members that no machine of the inventory is. One that says nothing is told from them by its address; where that is not known, any
    // of them may be the one.
    let members = known.iter().flat_map(|(_, status)| &status.members);
    let mut others: Vec<_> = members.filter(|m| !known.iter().any(|(_, own)| own.id == m.id)).collect();
    others.sort_by_key(|member| member.id);
    others.dedup_by_key(|member| member.id);
    let mute = answers.iter().filter(|(_, status)| status.is_none()).map(|(host, _)| host);
    let silent: Vec<&String> = mute.chain(off).collect();
    let (ours, strangers): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|member| member.host.as_ref().is_some_and(|host| silent.contains(&host)));
    let away = ours.iter().filter(|member| !member.learner).count();
    faults.extend(strength(&known, away, answers.len() + off.len()));
    if ours.len() == silent.len() {
        faults.extend(strangers.iter().map(|member| {
            let name = if member.name.is_empty() { "a member without a name" } else { &member.name };
            format!(
                "{name} ({}) is not in [etcd] of the inventory, and counts for the majority",
                member.peer_urls.join(", ")
            )
        }));
    }
    faults
}

/// That etcd has stopped because too few members are left, or that it stops with the next one. `away`: how many members with a vote say
/// nothing on machines of the inventory. `hosts`: how many are to be members, which counts where nobody lists them: that takes a majority.
fn strength(known: &[(&String, &MemberStatus)], away: usize, hosts: usize) -> Option<String> {
    let voters = |status: &MemberStatus| status.members.iter().filter(|member| !member.learner).count();
    let listed = known.iter().map(|(_, status)| voters(status)).max().filter(|voters| *voters > 0);
    if known.iter().any(|(_, status)| status.healthy) {
        let voters = listed?;
        return etcd::stops_with_one_more(voters.saturating_sub(away), voters);
    }
    let (left, voters) = (known.len(), listed.unwrap_or(hosts));
    (left > 0 && 2 * left <= voters).then(|| {
        format!(
            "etcd has {left} of {voters} members: nothing can be written; bring the others back, or, where they are lost for good, go on \
             with what is left: muster recover"
        )
    })
}

#[cfg(test)]
mod tests {
    use muster_roles::etcd::Member;

    use super::*;

    fn member(id: u64, cluster: u64) -> MemberStatus {
        let member = |id| Member { id, name: format!("etcd{id}"), ..Member::default() };
        MemberStatus {
            id,
            cluster,
            leader: 1,
            healthy: true,
            members: vec![member(1), member(2)],
            ..MemberStatus::default()
        }
    }

    #[test]
    fn what_is_wrong_with_etcd_is_told() {
        let of = |members: [Option<MemberStatus>; 2]| -> Vec<String> {
            let answers: BTreeMap<_, _> =
                ["node1", "node2"].map(str::to_owned).into_iter().zip(members).collect();
            faults(&answers, &BTreeSet::new())
        };
        assert!(of([Some(member(1, 7)), Some(member(2, 7))]).is_empty());
        let starts = |found: Vec<String>, begin: &str| {
            assert!(found.len() == 1 && found[0].starts_with(begin), "{found:?}");
        };
        starts(of([Some(member(1, 7)), None]), "the member on node2 does not answer");
        starts(of([Some(member(1, 7)), Some(member(2, 8))]), "node1 and node2 are members of two clusters");
        let lonely = MemberStatus { healthy: false, ..member(1, 7) };
        starts(of([Some(lonely), Some(member(2, 7))]), "the member on node1 sees no majority");
        let full = MemberStatus { alarms: vec![(2, "NOSPACE")], ..member(1, 7) };
        starts(of([Some(full), Some(member(2, 7))]), "the database of the member 2 is full");
        let mut more = member(1, 7);
        more.members.push(Member { id: 3, name: "old".into(), ..Member::default() });
        starts(of([Some(more), Some(member(2, 7))]), "old () is not in [etcd]");
    }

    #[test]
    fn a_member_whose_machine_is_off_is_no_stranger() {
        let of = |mut answer: MemberStatus, at: Option<&str>| -> Vec<String> {
            answer.members[1].host = at.map(str::to_owned);
            let answers: BTreeMap<String, Option<MemberStatus>> = [("node1".to_owned(), Some(answer))].into();
            let off: BTreeSet<String> = ["node2".to_owned()].into();
            assert!(table(&answers, &off).render(Style::PLAIN, 200).concat().contains("not reached"));
            faults(&answers, &off)
        };
        let off = "the member on node2 does not answer: its machine is off, or could not be asked";
        assert_eq!(of(member(1, 7), Some("node2")), [off]);
        // Its address is not known: it may be anyone.
        assert_eq!(of(member(1, 7), None), [off]);
        let mut more = member(1, 7);
        more.members.push(Member { id: 3, name: "old".into(), ..Member::default() });
        let stranger = "old () is not in [etcd] of the inventory, and counts for the majority";
        let one_more = "etcd has 2 of 3 members: it stops when one more is lost";
        assert_eq!(of(more.clone(), Some("node2")), [off, one_more, stranger]);
        assert_eq!(of(more, None), [off]);
    }

    #[test]
    fn a_majority_that_is_lost_leads_to_what_goes_on_without_it() {
        let of = |answers: Vec<(&str, Option<MemberStatus>)>, off: &[&str]| {
            let answers = answers.into_iter().map(|(host, status)| (host.to_owned(), status));
            let answers: BTreeMap<String, _> = answers.collect();
            let off: BTreeSet<String> = off.iter().map(|host| (*host).to_owned()).collect();
            faults(&answers, &off).pop().unwrap_or_default()
        };
        // Without a majority no member lists the others.
        let alone = MemberStatus { healthy: false, members: Vec::new(), ..member(1, 7) };
        let told = "etcd has 1 of 3 members: nothing can be written; ";
        let both_off = of(vec![("node1", Some(alone.clone()))], &["node2", "node3"]);
        assert!(both_off.starts_with(told) && both_off.ends_with(": muster recover"), "{both_off}");
        let one_mute = of(vec![("node1", Some(alone.clone())), ("node2", None)], &["node3"]);
        assert!(one_mute.starts_with(told), "{one_mute}");
        // They elect a leader.
        let two = of(vec![("node1", Some(alone.clone())), ("node2", Some(alone))], &["node3"]);
        assert!(!two.contains("recover"), "{two}");
        // Nothing is known of etcd.
        assert!(!of(vec![], &["node1", "node2", "node3"]).contains("recover"));
    }
}
