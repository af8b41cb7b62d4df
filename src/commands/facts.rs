//! `muster facts`: what a machine is.

use std::time::Duration;

use clap::Args;
use muster_engine::facts::Facts;
use serde_json::Value;

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::machines::{Machines, exit_of, run_program};
use crate::output::print;
use crate::output::text;

/// Show what machines are: system, processors, memory, addresses, name servers, ...
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct FactsArgs {
    /// Which hosts: a name, or a pattern such as kube_node:!node2
    #[arg(value_name = "HOST")]
    pattern: String,
    /// As JSON: an object with the facts of each host
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `muster facts`.
pub(crate) fn run(args: FactsArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let machines = Machines::choose(&args.pattern, &args.inventory, &args.connection, environment)?;
    let answers = machines.each(environment, |ssh| async move {
        run_program(ssh, Facts::PROGRAM, Duration::from_secs(60)).await
    })?;
    let mut objects = serde_json::Map::new();
    for (host, answer) in &answers {
        match answer {
            Ok(answer) => {
                let facts = Facts::parse(&String::from_utf8_lossy(&answer.stdout));
                let json = serde_json::to_value(&facts).map_err(|error| {
                    CommandError::failed(format!("the facts of {host} cannot be shown: {error}"))
                })?;
                objects.insert(host.clone(), json);
            }
            Err(error) => print::note(&format!("{host}: {}", text::harmless(&error.to_string()))),
        }
    }
    if args.json {
        print::data(&format!("{:#}\n", Value::Object(objects)))?;
    } else {
        for (host, facts) in &objects {
            print::data(&render(host, facts))?;
        }
    }
    Ok(exit_of(answers.iter().map(|(_, answer)| answer)))
}

/// A line for each fact; of lists a line for each element.
fn render(host: &str, facts: &Value) -> String {
    let mut told = format!("{host}\n");
    for (name, value) in facts.as_object().into_iter().flatten() {
        let lines: Vec<String> = match value {
            Value::Array(items) => items.iter().map(short).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| format!("{key} {}", short(value))).collect(),
            other => vec![short(other)],
        };
        for (at, line) in lines.iter().filter(|line| !line.is_empty()).enumerate() {
            let name = if at == 0 { name.as_str() } else { "" };
            told.push_str(&format!("  {name:<16} {}\n", text::harmless(line)));
        }
    }
    told
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(" "),
        Value::Object(map) => map.values().map(short).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_lines_and_lists_several() {
        let facts = serde_json::json!({"cpus": 2, "swap": "", "routes": ["a", "b"], "os": {"ID": "debian"}});
        let expected = "node1\n  cpus             2\n  routes           a\n                   b\n  os               ID debian\n";
        assert_eq!(render("node1", &facts), expected);
    }
}
