//! What is served to whom, and that the folder is what the configuration and the inventory say now.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use muster_app::World;
use muster_netboot::{Config, KeyStore, Rendered, Settings, is_of};

use super::ServeArgs;
use crate::commands::netboot::{made, mark_of, read_config, read_world, settings_of, tell_missing_images};
use crate::environment::{Environment, shown};
use crate::error::CommandError;
use crate::output::print;
use crate::output::text::{self, count};

/// A folder that is ready to be served, and its machines.
pub(super) struct ServedFolder {
    world: World,
    pub(super) folder: PathBuf,
    made: made::Made,
    /// The machines that were rendered into the folder.
    pub(super) machines: Vec<(String, Settings)>,
    /// Where they fetch everything.
    pub(super) url: String,
}

impl ServedFolder {
    /// Reads the inventory and the folder.
    ///
    /// # Errors
    /// One of them is wrong, or the folder is not rendered, or is older than the rest.
    pub(super) fn read(args: &ServeArgs, environment: &Environment) -> Result<Self, CommandError> {
        let (world, hosts) = read_world(&args.inventory, None, environment)?;
        let (folder, made) = made::find(&world.project, args.folder.as_deref())?;
        let config = read_config(&made.config, made.files_dir.as_deref())?;
        let is_there = |host: &String| folder.join("name").join(format!("{host}.ipxe")).is_file();
        let (hosts, others): (Vec<String>, Vec<String>) = hosts.into_iter().partition(is_there);
        let settings = settings_of(&world, &hosts, config.system)?;
        let mut served = Self {
            world,
            folder,
            made,
            machines: hosts.into_iter().zip(settings).collect(),
            url: String::new(),
        };
        served.check(&config)?;
        served.url = served.one_url()?;
        let new: Vec<&String> = others.iter().filter(|host| served.boots_from_network(host)).collect();
        if !new.is_empty() {
            print::note(&format!(
                "{} has no script for {}; if it is to boot from here: {}",
                shown(&served.folder),
                text::some_names(&new),
                served.render_command()
            ));
        }
        tell_missing_images(
            &served.folder,
            config.system,
            served.machines.iter().map(|(_, settings)| settings),
        );
        Ok(served)
    }

    fn boots_from_network(&self, host: &str) -> bool {
        let vars = self.world.vars.host(host).ok();
        vars.is_some_and(|vars| Settings::cards_of(&vars).is_ok_and(|cards| !cards.is_empty()))
    }

    /// The command that renders the folder again.
    pub(super) fn render_command(&self) -> String {
        let (config, folder) = (shown(&self.made.config), shown(&self.folder));
        let mut words = vec!["muster", "netboot", "render", &config, "-o", &folder];
        let files = self.made.files_dir.as_deref().map(shown);
        words.extend(files.iter().flat_map(|files| ["-d", files.as_str()]));
        words.extend(self.made.limit.iter().flat_map(|limit| ["--limit", limit.as_str()]));
        self.world.project.command(&words, 3)
    }

    fn check(&self, config: &Config) -> Result<(), CommandError> {
        let folder = shown(&self.folder);
        let outdated = |why: String| CommandError::failed(why).hint(self.render_command());
        if self.machines.is_empty() {
            return Err(outdated(format!("{folder} has no script of any machine of the inventory")));
        }
        let digest = made::digest(config);
        if self.machines.iter().any(|(host, _)| self.made.machines.get(host) != Some(&digest)) {
            return Err(outdated(format!(
                "{} was changed after {folder} was rendered",
                shown(&self.made.config)
            )));
        }
        let scripts = Rendered::scripts(config, &mark_of(&self.world.project), &self.machines)?;
        let changes = scripts
            .changes(&self.folder, false)
            .map_err(|error| CommandError::failed(format!("{folder}: {error}")))?;
        let mut old: Vec<PathBuf> = changes.into_iter().map(|change| change.path).collect();
        let keys = KeyStore::new(self.world.project.inventory_dir.join("credentials"));
        for (host, settings) in &self.machines {
            let path = Path::new("ignition").join(format!("{host}.ign"));
            let certificate = keys.certificate(host)?;
            let text = fs::read_to_string(self.folder.join(&path)).unwrap_or_default();
            if !is_of(&text, &settings.hostname, certificate.as_deref()) {
                old.push(path);
            }
        }
        if let Some(first) = old.first() {
            return Err(outdated(format!(
                "{folder} is not what the inventory and the machines' host keys say now: {} would be written again, such as {}",
                count(old.len(), "file"),
                first.display()
            )));
        }
        Ok(())
    }

    /// The URL of all machines.
    fn one_url(&self) -> Result<String, CommandError> {
        let mut all: Vec<(&String, &String)> =
            self.machines.iter().map(|(host, settings)| (&settings.url, host)).collect();
        all.sort();
        all.dedup_by_key(|(url, _)| *url);
        match all.as_slice() {
            [(url, _)] => Ok((*url).clone()),
            several => {
                let told: Vec<String> =
                    several.iter().map(|(url, host)| format!("{url} for {host}")).collect();
                Err(CommandError::failed(format!("netboot_url differs: {}", told.join(", ")))
                    .hint("this serves at one address: set one URL for all machines of the folder, and render it again"))
            }
        }
    }

    /// The address of a machine in the inventory, where it is one.
    pub(super) fn address_of(&self, host: &str) -> Result<Option<Ipv4Addr>, CommandError> {
        let vars = self.world.vars.host(host)?;
        for name in ["ansible_host", "ip"] {
            let value = vars.get(name)?;
            if let Some(address) = value.as_ref().and_then(|value| value.as_str()?.parse().ok()) {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }
}
