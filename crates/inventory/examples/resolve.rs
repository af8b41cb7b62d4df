//! Resolves all variables of all hosts of an inventory and prints them as JSON: what `bench/inventory.sh` measures.
//!
//! `resolve INVENTORY`; `group_vars` and `host_vars` beside it count.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use muster_inventory::{Inventory, LoadOptions, Source, VarsBuilder};
use serde_json::{Map, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: resolve INVENTORY")?;
    let inventory = Arc::new(Inventory::load(&[Source::Path(path.into())], &LoadOptions::default())?);
    let vars = VarsBuilder::new(Arc::clone(&inventory)).build()?;
    let mut hosts = Map::new();
    for host in inventory.hosts() {
        let mut values = Map::new();
        for (name, value) in vars.host(host.name())?.resolve_all() {
            values.insert(name, value?.to_json());
        }
        hosts.insert(host.name().to_owned(), Value::Object(values));
    }
    Ok(writeln!(std::io::stdout(), "{}", Value::Object(hosts))?)
}
