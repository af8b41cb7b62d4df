//! `muster netboot wake`: machines switched on.

use clap::Args;
use muster_bootserver::{Interface, wake};
use muster_netboot::{Mac, Settings, SettingsError};

use super::read_world;
use super::serve::look_at;
use crate::args::InventoryArgs;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::print;
use crate::output::text::{self, count};

#[derive(Debug, Args)]
pub(super) struct WakeArgs {
    /// Which hosts: names, or patterns such as s4,s5 or kube_node:!s6
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
    /// The network interface of this computer at which the machines are
    #[arg(long, value_name = "NAME")]
    interface: String,
    #[command(flatten)]
    inventory: InventoryArgs,
}

/// Runs `muster netboot wake`.
pub(super) fn run(args: &WakeArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let (world, hosts) = read_world(&args.inventory, Some(&args.hosts.join(",")), environment)?;
    let mut machines: Vec<(&String, Vec<Mac>)> = Vec::new();
    for host in &hosts {
        let cards = Settings::cards_of(&world.vars.host(host)?)?;
        machines.push((host, cards.into_iter().map(|(card, _)| card).collect()));
    }
    let without: Vec<&String> =
        machines.iter().filter(|(_, cards)| cards.is_empty()).map(|(host, _)| *host).collect();
    if !without.is_empty() {
        return Err(CommandError::written(format!(
            "mac_address of {} is not set: a machine is woken by the address of its network card",
            text::some_names(&without)
        ))
        .hint("set it in the inventory, behind the host: mac_address=52:54:00:12:34:56"));
    }
    let Interface { name, networks, .. } = look_at(&args.interface)?;
    for (host, cards) in &machines {
        for network in &networks {
            wake(&name, *network, cards).map_err(|error| {
                CommandError::failed(format!("cannot send to {} on {name}: {error}", network.broadcast()))
            })?;
        }
        let cards: Vec<String> = cards.iter().map(Mac::to_string).collect();
        print::note(&format!("  {host}: {}", cards.join(", ")));
    }
    print::note(&format!(
        "{} told on {name} to switch on; whether they boot: {}",
        match machines.len() {
            1 => "1 machine was".to_owned(),
            number => format!("{} were", count(number, "machine")),
        },
        world.project.command(&["muster", "netboot", "status"], 3)
    ));
    Ok(Exit::Done)
}

impl From<SettingsError> for CommandError {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Vars(error) => error.into(),
            error => Self::written(error.to_string()),
        }
    }
}
