//! `muster certs`: when certificates end, and their renewal.

use std::sync::PoisonError;

use clap::{Args, Subcommand};
use muster_app::{BundleUse, Flow, Project};
use muster_engine::play::Play;
use muster_roles::certificates::{self, Certificate, Found};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::args::{ConnectionArgs, FlowArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::{Screen, exit_of, print, text};
use crate::quiet_flow;
use crate::typed_flow::TypedFlow;

/// See when the certificates of the cluster end, and renew them
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
    /// meanwhile; pods are not touched. The certificates of the authorities are not renewed.
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

/// What a renewal is asked for.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct RenewParameters {
    /// Renew what has fewer days left
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    below: i64,
}

#[derive(Debug, Args)]
struct RenewArgs {
    #[command(flatten)]
    parameters: RenewParameters,
    #[command(flatten)]
    flow: FlowArgs,
}

/// Runs `muster certs`.
pub(crate) fn run(args: CertsArgs, environment: &Environment) -> Result<Exit, CommandError> {
    match args.command {
        CertsCommand::Check(args) => check(&args, environment),
        CertsCommand::Renew(args) => {
            let project = Project::find(&args.flow.inventory.inventory, environment)?;
            TypedFlow::typed(args.parameters.flow(&project), project, args.flow).run(environment)
        }
    }
}

impl RenewParameters {
    /// Certificates are renewed.
    pub(crate) fn flow(&self, project: &Project) -> Flow {
        Flow {
            roles: certificates::roles(self.below),
            remarks: false,
            whole_cluster: true,
            next: Some(project.command(&["muster", "certs", "check"], 2)),
            ..Flow::new("muster certs renew", certificates::plays())
        }
    }
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
        print::note(&format!("{number} {verb} fewer than {} days left: muster certs renew", args.below));
    }
    Ok(match exit_of(&ended.outcome, ended.interrupted) {
        Exit::Done if few > 0 => Exit::HostFailed,
        exit => exit,
    })
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
