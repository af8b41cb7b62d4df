//! `muster vars`: the variables of a host, and where they come from.

use clap::Args;
use muster_app::{Project, World};
use muster_inventory::{Definition, HostVars, Kind, Value, closest};
use muster_roles::kubespray::{self, Remark};

use crate::args::InventoryArgs;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::{CommandLine, Screen, print, remarks, text};

/// Show the variables of a host, and where they come from
#[derive(Debug, Args)]
pub(crate) struct VarsArgs {
    /// The host
    #[arg(required_unless_present = "unused")]
    host: Option<String>,
    /// Only this variable
    name: Option<String>,
    /// Show every place that gives a value, the one that wins first, as it was written
    #[arg(long)]
    explain: bool,
    /// Show every variable that is set but used by no role: where it is set, and why it does nothing. What asks for
    /// something that is missing comes first
    #[arg(long, conflicts_with_all = ["host", "explain"])]
    unused: bool,
    /// As JSON
    #[arg(long, conflicts_with = "explain")]
    json: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
}

/// Runs `muster vars`.
pub(crate) fn run(args: VarsArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let frontend = CommandLine::plain(environment);
    let project = Project::find(&args.inventory.inventory, environment)?;
    let world = World::load(project, &(&args.inventory).into(), environment, &*frontend)?;
    world.tell_warnings(&*frontend);
    let Some(host) = &args.host else {
        print::data(&unused(&world, args.json, environment)?)?;
        return Ok(Exit::Done);
    };
    world.tell_remarks(|remark| args.name.as_ref().is_none_or(|name| *name == remark.name), &*frontend)?;
    if world.inventory.host(host).is_none() {
        let error = CommandError::usage(format!("the inventory has no host {host:?}"));
        let names = world.inventory.hosts().map(muster_inventory::Host::name);
        return Err(match closest(host, names) {
            Some(name) => error.hint(format!("did you mean {name:?}?")),
            None => {
                let graph = world.project.command(&["muster", "inventory", "--graph"], 2);
                error.hint(format!("see the hosts there are: {graph}"))
            }
        });
    }
    let vars = world.vars.host(host)?;
    let text = match &args.name {
        Some(name) => one(&vars, name, &args)?,
        None => all(&vars, &args),
    };
    print::data(&text)?;
    Ok(Exit::Done)
}

fn one(vars: &HostVars, name: &str, args: &VarsArgs) -> Result<String, CommandError> {
    if args.explain {
        let definitions = vars.explain(name);
        if !definitions.is_empty() {
            return Ok(explain(name, &definitions));
        }
    } else if let Some(value) = vars.get(name)? {
        return Ok(match value.as_str() {
            Some(text) if !args.json => format!("{text}\n"),
            _ => format!("{:#}\n", value.to_json()),
        });
    }
    let error = CommandError::failed(format!("nobody sets {name:?} for {}", vars.name()));
    let names = vars.names();
    Err(match closest(name, names.iter().map(String::as_str)) {
        Some(known) => error.hint(format!("did you mean {known:?}?")),
        None => error.hint(format!("see all of them: muster vars {}", vars.name())),
    })
}

/// All variables a user or a role set. Encrypted ones stay so: whoever wants to see one asks for it by its name.
fn all(vars: &HostVars, args: &VarsArgs) -> String {
    let written = vars.raw();
    if args.explain {
        return written.keys().map(|name| explain(name, &vars.explain(name))).collect();
    }
    let encrypted = |name: &str| written.get(name).is_some_and(|value| matches!(value.kind, Kind::Vault(_)));
    let values = vars.resolve_all();
    if args.json {
        let object: serde_json::Map<String, serde_json::Value> = values
            .into_iter()
            .map(|(name, value)| {
                let json = match value {
                    _ if encrypted(&name) => written[&name].to_json(),
                    Ok(value) => value.to_json(),
                    Err(error) => serde_json::json!({ "error": error.to_string() }),
                };
                (name, json)
            })
            .collect();
        return format!("{:#}\n", serde_json::Value::Object(object));
    }
    values
        .into_iter()
        .map(|(name, value)| match value {
            _ if encrypted(&name) => format!("{name}: (encrypted)\n"),
            Ok(value) => format!("{name}: {}\n", value.to_json()),
            Err(error) => {
                format!("{name}: (cannot be resolved) {}\n", error.to_string().replace('\n', "\n  "))
            }
        })
        .collect()
}

/// Every variable that no role uses.
fn unused(world: &World, json: bool, environment: &Environment) -> Result<String, CommandError> {
    let found = kubespray::remarks(&world.vars)?;
    if json {
        let object = |remark: &Remark| {
            let places: Vec<String> = remark.places.iter().map(ToString::to_string).collect();
            serde_json::json!({ "name": remark.name, "places": places, "what": remarks::what(remark) })
        };
        return Ok(format!("{:#}\n", found.iter().map(object).collect::<serde_json::Value>()));
    }
    let screen = Screen::new(environment, false);
    let lines = remarks::tables(&found, screen.style, screen.size().1);
    Ok(lines.join("\n") + "\n")
}

/// Each definition with its place: the first one wins, the others are overridden.
fn explain(name: &str, definitions: &[Definition]) -> String {
    let mut told = String::new();
    for (at, definition) in definitions.iter().enumerate() {
        let place = definition.origin().map_or_else(|| definition.place.clone(), ToString::to_string);
        let mark = if at == 0 { "=" } else { "overrides" };
        let lead = if at == 0 { format!("{name} {mark}") } else { format!("  {mark}") };
        told.push_str(&format!("{lead} {}    {place} ({})\n", written(&definition.value), definition.kind));
    }
    told
}

fn written(value: &Value) -> String {
    match &value.kind {
        Kind::Vault(_) => "(encrypted)".to_owned(),
        _ => text::harmless(&value.to_json().to_string()),
    }
}
