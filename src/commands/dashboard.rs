//! `muster dashboard`: where the dashboard is, and a token to log in with.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use muster_inventory::HostVars;
use muster_roles::apps::dashboard::{Account, Login, Reached, look};
use muster_roles::catalogue::wants_app;

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::commands::students::{term, term_in_words};
use crate::commands::words_of;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::machines::{Machines, run_program};
use crate::output::{print, text};
use crate::program_here::become_program;

/// Print where the dashboard is, and a token to log in with
///
/// The dashboard shows nothing to who has not logged in. With the token of this command one may see everything in the cluster but
/// Secrets; with --admin, do everything. A student logs in with the own token, which student-tokens prints, and sees the own
/// namespace. Standard output has two lines: the address and the token.
#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    /// A token with which everything may be done
    #[arg(long)]
    admin: bool,
    /// For how long the token is good, at least 10m; with --admin 24h at most
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = term)]
    term: Duration,
    /// Make a port of this computer lead to the dashboard, until it is interrupted: the way to it where no node can be reached
    #[arg(long)]
    open: bool,
    /// The port of this computer
    #[arg(long, value_name = "PORT", default_value_t = 8443, requires = "open")]
    port: u16,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// A token that nobody can take back, and with which everything may be done, is good for a day at most.
const ADMIN_AT_MOST: Duration = Duration::from_secs(86_400);

/// Runs `muster dashboard`.
pub(crate) fn run(args: DashboardArgs, environment: &Environment) -> Result<Exit, CommandError> {
    if args.admin && args.term > ADMIN_AT_MOST {
        return Err(CommandError::usage(format!(
            "a token with which everything may be done is good for 24h at most, and not for {}: nobody can take it back",
            term_in_words(args.term)
        ))
        .hint("ask for another one when it has ended; or leave --admin out"));
    }
    let machines = Machines::choose("kube_control_plane", &args.inventory, &args.connection, environment)?;
    let first = machines.hosts.first().map_or("", String::as_str);
    let vars = machines.world.vars.host(first)?;
    let command = |words: &[&str]| machines.world.project.command(words, words.len());
    if !wants_app(&vars, "dashboard").map_err(|failure| CommandError::failed(failure.to_string()))? {
        return Err(CommandError::failed("the inventory asks for no dashboard").hint(format!(
            "set dashboard_enabled: true, then: {}",
            command(&["setup-cluster", "--tags", "dashboard"])
        )));
    }
    let namespace = word(&vars, "dashboard_namespace")?.unwrap_or_default();
    let account = if args.admin { Account::Admin } else { Account::Viewer };
    let (host, login) = log_in(&machines, &look(&namespace, account, args.term.as_secs()), environment)?;
    let address = if args.open {
        format!("https://localhost:{}", args.port)
    } else {
        let vars = machines.world.vars.host(&host)?;
        address_of(&host, &vars, &login.reached)?
    };
    print::data(&format!("{address}\n{}\n", login.token))?;
    let may = if args.admin { "do everything" } else { "see everything but Secrets" };
    print::note(&format!("with this token one may {may}, for {}", term_in_words(args.term)));
    print::note(&format!(
        "students log in with their own ({} NAME) at {address}/c/main/pods?namespace=NAME",
        words_of("student-tokens")
    ));
    if !login.fingerprint.is_empty() {
        print::note(&format!(
            "the browser asks whether to trust a certificate with the SHA-256 {}",
            login.fingerprint
        ));
    }
    if !args.open {
        return Ok(Exit::Done);
    }
    let forward =
        ["port-forward", "--namespace", &namespace, "service/dashboard", &format!("{}:443", args.port)];
    let forward = forward.map(OsString::from);
    become_program("kubectl", args.inventory.inventory, &forward, environment, |_| {
        "set kubectl_localhost: true, or install kubectl".to_owned()
    })
}

/// What the first control plane that answers says, and which it is.
fn log_in(
    machines: &Machines,
    program: &str,
    environment: &Environment,
) -> Result<(String, Login), CommandError> {
    // Of each that is asked there is a token more, also where another one's is taken.
    let answers = machines.until(
        environment,
        |ssh| async move { run_program(ssh, program, Duration::from_secs(60)).await },
        |answer| answer.as_ref().is_ok_and(|exit| exit.status == 0),
    )?;
    let mut reasons = Vec::new();
    for (host, answer) in answers {
        let why = match answer {
            Ok(exit) if exit.status == 0 => match Login::of(&String::from_utf8_lossy(&exit.stdout)) {
                Some(login) => return Ok((host, login)),
                // It may hold a token.
                None => "its answer cannot be read".to_owned(),
            },
            Ok(exit) => String::from_utf8_lossy(&exit.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        reasons.push(format!("\n  {host}: {}", text::harmless_lines(&why)));
    }
    Err(CommandError::failed(format!("no control plane can give a token: {}", reasons.concat()))
        .hint(format!("is the dashboard there? {}", machines.world.project.command(&["muster", "apps"], 2))))
}

/// The address for a browser.
fn address_of(host: &str, vars: &HostVars, reached: &Reached) -> Result<String, CommandError> {
    match reached {
        Reached::NodePort(port) => {
            let names = ["ansible_host", "access_ip", "ip"];
            let mut found = names.into_iter().filter_map(|name| word(vars, name).transpose());
            let node = found.next().transpose()?.unwrap_or_else(|| host.to_owned());
            Ok(format!("https://{}:{port}", bracketed(&node)))
        }
        Reached::Address(Some(address)) => Ok(format!("https://{}", bracketed(address))),
        Reached::Address(None) => Err(CommandError::failed("the dashboard has no address yet")
            .hint("a load balancer such as MetalLB would give it one; without: muster dashboard --open")),
        Reached::Inside => Err(CommandError::failed("the dashboard is reached from within the cluster only")
            .hint("muster dashboard --open")),
    }
}

/// An address as it stands in a URL (RFC 3986, section 3.2.2).
fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn word(vars: &HostVars, name: &str) -> Result<Option<String>, CommandError> {
    Ok(vars.get(name)?.and_then(|value| value.as_str().map(str::to_owned)).filter(|word| !word.is_empty()))
}
