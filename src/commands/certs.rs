//! `muster certs`: when certificates end, and their renewal.

use std::sync::PoisonError;

use clap::{Args, Subcommand};
use muster_app::{BundleUse, Flow, Project};
use muster_engine::play::Play;
use muster_roles::certificates::{self, Certificate, Found};
use muster_roles::{STUDENT_FILES, rotation};
use time::OffsetDateTime;

use crate::args::{ConnectionArgs, FlowArgs, InventoryArgs};
use crate::confirmation::confirmed;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::output::advice::proposed;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::{Screen, exit_of, print, text};
use crate::quiet_flow;
use crate::typed_flow::TypedFlow;

/// See when the certificates of the cluster end, and renew them or the authorities
#[derive(Debug, Args)]
pub(crate) struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Show all certificates and how many days are left; exit code 2 if one has few left, for monitoring
    ///
    /// The machines are asked, not the API: it works when certificates have ended and nothing else does.
    #[command(after_help = EXIT_CODES)]
    Check(CheckArgs),
    /// Renew certificates that end soon or have ended, one control plane after the other
    ///
    /// What reads a certificate only when it starts is started anew. Where there are several control planes, the API goes on
    /// meanwhile; with one alone it is away for some seconds. Pods are not touched. The certificates of the authorities are
    /// renewed with --ca alone: then all others are signed anew, and pods get new ones in their places.
    #[command(after_help = EXIT_CODES)]
    Renew(RenewArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// How many days are few
    #[arg(long, value_name = "DAYS", default_value_t = certificates::RENEWED_BELOW)]
    below: i64,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Args)]
struct RenewArgs {
    /// Renew what has fewer days left
    #[arg(long, value_name = "DAYS", default_value_t = RENEWED_BY_HAND)]
    below: i64,
    /// Give the cluster new certificate authorities (the cluster's, the front proxy's and etcd's), and sign everything anew
    ///
    /// Machine by machine, in three rounds: both authorities are trusted; the new ones sign; the old ones are dropped. All
    /// machines of the cluster have to be on. A run that was cut off is finished by the same command, and by nothing else.
    #[arg(long, conflicts_with = "below")]
    ca: bool,
    /// Do not ask before the authorities are rotated
    #[arg(short, long, requires = "ca")]
    yes: bool,
    #[command(flatten)]
    flow: FlowArgs,
}

/// Below how many days a certificate is renewed by who says nothing else.
const RENEWED_BY_HAND: i64 = 90;

/// Runs `muster certs`.
pub(crate) fn run(args: CertsArgs, environment: &Environment) -> Result<Exit, CommandError> {
    match args.command {
        CertsCommand::Check(args) => check(&args, environment),
        CertsCommand::Renew(args) => renew(args, environment),
    }
}

fn renew(args: RenewArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.flow.inventory.inventory, environment)?;
    let below = args.below.to_string();
    // With more days than is usual, as it was typed.
    let typed_below = (args.below != RENEWED_BY_HAND && !args.ca).then_some(["--below", below.as_str()]);
    // As it is usual: where it was more days than a new certificate lasts, a look with as many would propose the same again.
    let next = project.command(&["muster", "certs", "check"], 3);
    let command: Vec<&str> =
        ["muster", "certs", "renew"].into_iter().chain(typed_below.into_iter().flatten()).collect();
    let flow = if args.ca {
        // One after the other is what it is about: nobody may ask for several at once.
        let flow = Flow::new("muster certs renew --ca", rotation::plays());
        let half_done = "The cluster may have its new authorities in part: it goes on like that, and nobody is set up until this is finished.";
        Flow { roles: rotation::roles(), all_at_once: true, half_done: Some(half_done.to_owned()), ..flow }
    } else {
        Flow { roles: certificates::roles(args.below), ..Flow::new(command.join(" "), certificates::plays()) }
    };
    let flow = Flow { remarks: false, whole_cluster: true, next: Some(next), ..flow };
    let rotates = args.ca && !args.flow.manner.check;
    if rotates && !args.yes && !agreed(&project)? {
        return Ok(Exit::No);
    }
    let inventory_dir = project.inventory_dir.clone();
    let merge = project.command(&["muster", "kubeconfig", "--merge"], 2);
    let students = project.command(&["muster", "students", "create", "NAMES"], 3);
    let exit = TypedFlow::typed(flow, project, args.flow).run(environment)?;
    if rotates && exit == Exit::Done {
        print::note(&format!(
            "the authorities are new: a kubeconfig that was copied elsewhere is useless now; for your own: {merge}"
        ));
        if inventory_dir.join("artifacts").join(STUDENT_FILES).is_dir() {
            print::note(&format!(
                "so are those of students; new ones, with the same names or list as before: {students}"
            ));
        }
    }
    Ok(exit)
}

/// Whether the user agrees to what a rotation of the authorities brings with it.
///
/// # Errors
/// There is nobody to ask.
fn agreed(project: &Project) -> Result<bool, CommandError> {
    let question = format!(
        "The cluster of {} gets new certificate authorities. Control planes and members of etcd start anew twice, one machine \
         after the other; the API is away meanwhile where there is only one control plane. The kubelets start anew, and the pods of \
         all Deployments, DaemonSets and StatefulSets get new ones in their places, in the way that each of them rolls out. Copies of \
         admin.conf and the kubeconfigs of students will be useless. Go on?",
        project.describe()
    );
    confirmed(&question, "the authorities are to be rotated", "rotate them")
}

fn check(args: &CheckArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let found = Found::default();
    let play = Play {
        name: "Look at the certificates".into(),
        hosts: "k8s_cluster:etcd".into(),
        roles: vec!["certificates".into()],
        ..Play::default()
    };
    let flow = Flow {
        roles: vec![certificates::look(found.clone())],
        bundle: BundleUse::None,
        remarks: false,
        whole_cluster: true,
        ..Flow::new("muster certs check", vec![play])
    };
    let project = Project::find(&args.inventory.inventory, environment)?;
    let ended = quiet_flow::look(flow, project, &args.inventory, &args.connection, environment)?;
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
    found.sort_by(|(host, one), (other_host, other)| {
        (one.ends, host, &one.path).cmp(&(other.ends, other_host, &other.path))
    });
    found.dedup();
    let now = OffsetDateTime::now_utc();
    let mut table = Table::new(&["HOST", "CERTIFICATE", "NAME", "DAYS LEFT", "ENDS"]);
    for (host, certificate) in &found {
        table.row(row(host, certificate, now));
    }
    let (_, columns) = Screen::new(environment, false).size();
    let lines = table.render(Style::of_stdout(environment), columns);
    print::data(&(lines.join("\n") + "\n"))?;
    let few = |(_, certificate): &&(String, Certificate)| {
        certificate.days_left(now).is_none_or(|left| left < args.below)
    };
    let few = found.iter().filter(few).count();
    if few > 0 {
        let number = text::count(few, "certificate");
        let verb = if few == 1 { "has" } else { "have" };
        let renew = renewal(args.below);
        print::note(&proposed(&format!("{number} {verb} fewer than {} days left: {renew}", args.below)));
    }
    Ok(match exit_of(&ended.outcome, ended.interrupted) {
        Exit::Done if few > 0 => Exit::HostFailed,
        exit => exit,
    })
}

/// The command that renews what has fewer days left than this.
fn renewal(below: i64) -> String {
    if below > RENEWED_BY_HAND {
        format!("muster certs renew --below {below}")
    } else {
        "muster certs renew".to_owned()
    }
}

fn row(host: &str, certificate: &Certificate, now: OffsetDateTime) -> Vec<String> {
    let end = certificate.ends.and_then(|ends| OffsetDateTime::from_unix_timestamp(ends).ok());
    let left = match certificate.days_left(now) {
        None => "cannot be read".to_owned(),
        Some(left) if left < 0 => "ended".to_owned(),
        Some(left) => left.to_string(),
    };
    let name = &certificate.name;
    vec![
        host.to_owned(),
        text::harmless(&certificate.path),
        text::harmless(&if certificate.is_authority { format!("{name} (authority)") } else { name.clone() }),
        left,
        end.map_or_else(|| "-".into(), |end| end.date().to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_renewal_that_is_proposed_renews_what_was_found() {
        assert_eq!(renewal(30), "muster certs renew");
        assert_eq!(renewal(120), "muster certs renew --below 120");
    }

    #[test]
    fn a_certificate_is_a_row() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let certificate = |ends, is_authority| Certificate {
            path: "/etc/kubernetes/admin.conf".into(),
            name: "kubernetes-admin".into(),
            is_authority,
            ends,
        };
        let cells = |certificate: &Certificate| row("node1", certificate, now)[2..].join(" | ");
        let day = 24 * 3600;
        assert_eq!(
            cells(&certificate(Some(1_800_000_000 + 3 * day), false)),
            "kubernetes-admin | 3 | 2027-01-18"
        );
        assert_eq!(
            cells(&certificate(Some(1_800_000_000 - 1), true)),
            "kubernetes-admin (authority) | ended | 2027-01-15"
        );
        assert_eq!(cells(&certificate(None, false)), "kubernetes-admin | cannot be read | -");
    }
}
