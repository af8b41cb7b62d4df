//! What the tests share.

use std::sync::Arc;

use muster_inventory::{GroupRules, Inventory, VarsBuilder};
use muster_netboot::{Config, LocalFiles, Machine, Rendered, Settings};

/// A public key; its private half was thrown away.
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDTVUBXJWyglDyfxdSX8Fz+C1LdPp8NTz9eleiUP9hp6";
/// Another one.
pub(crate) const OTHER_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5gujlBm11svUK+XctE+09yV1447K1FM3vvJ1Aq9di/";

/// Reads a configuration that has no mistakes.
#[track_caller]
pub(crate) fn read(text: &str) -> Config {
    match Config::read("pc.yml", text, &LocalFiles::default()) {
        Ok(config) => config,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// A machine of the classroom.
pub(crate) fn machine(name: &str) -> Machine {
    Machine {
        name: name.to_owned(),
        hostname: name.to_owned(),
        user: "admin".to_owned(),
        keys: vec![format!("{KEY} teacher@desk")],
        host_key: None,
    }
}

/// The machines of an inventory with their settings.
#[track_caller]
pub(crate) fn machines(config: &Config, ini: &str) -> Vec<(Machine, Settings)> {
    let inventory = Arc::new(Inventory::from_ini("hosts.ini", ini, GroupRules::new()).unwrap());
    let names: Vec<String> = inventory.hosts().map(|host| host.name().to_owned()).collect();
    let vars = VarsBuilder::new(inventory).build().unwrap();
    let settings = |name: &String| Settings::read(&vars.host(name).unwrap(), config.system).unwrap();
    names.iter().map(|name| (machine(name), settings(name))).collect()
}

/// What is served for them.
#[track_caller]
pub(crate) fn rendered(config: &Config, ini: &str) -> Rendered {
    Rendered::of(config, "classroom", &machines(config, ini)).unwrap()
}
