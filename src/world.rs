//! What the user wrote, read: the inventory and all variables, with the defaults of every role below them.

use std::sync::Arc;

use muster_inventory::{Inventory, LoadOptions, Vars, VarsBuilder};
use muster_roles::kubespray::Remark;
use muster_roles::{COMMON_DEFAULTS, ROLES, group_rules, kubespray};

use crate::args::InventoryArgs;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::output::{print, remarks};
use crate::project::Project;
use crate::record::Records;
use crate::vault_password::vault_secrets;

/// In a pattern: the hosts that failed in the last run.
const FAILED: &str = "@failed";

/// An inventory with its variables.
pub(crate) struct World {
    pub(crate) project: Project,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) vars: Arc<Vars>,
}

impl World {
    /// Reads everything. Nothing is left that could turn out unreadable later.
    ///
    /// # Errors
    /// Something cannot be read; the message shows the place.
    pub(crate) fn load(
        project: Project,
        args: &InventoryArgs,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let settings = environment.ansible()?;
        let secrets = vault_secrets(args, environment)?;
        let defaults = LoadOptions::default();
        // What runs bring back lies beside inventories (kubespray's ansible.cfg).
        let beside = ["artifacts", "credentials"].map(str::to_owned);
        let options = LoadOptions {
            rules: group_rules(),
            secrets: secrets.clone(),
            ignored_endings: settings.inventory_ignore_extensions.clone().unwrap_or(defaults.ignored_endings),
            ignored_patterns: settings.inventory_ignore_patterns.clone().unwrap_or_else(|| beside.into()),
        };
        let inventory = Arc::new(Inventory::load(&project.sources, &options)?);
        let mut builder = VarsBuilder::new(Arc::clone(&inventory))
            .secrets(secrets)
            .renames(kubespray::renames())
            .merge_hashes(settings.merge_hashes)
            .playbook_dir(project.root.join("playbooks"))
            .environment(environment.variables())
            .fallbacks("roles/kubespray/derived.yml", kubespray::DERIVED)?
            .defaults("roles/common/defaults.yml", COMMON_DEFAULTS)?;
        let mut given: Vec<&str> = Vec::new();
        for role in ROLES {
            // Roles that share a folder share their defaults.
            if !given.contains(&role.defaults) {
                builder = builder.defaults(&format!("roles/{}/defaults.yml", role.name), role.defaults)?;
                given.push(role.defaults);
            }
        }
        for argument in &args.extra_vars {
            builder = builder.extra_vars(argument)?;
        }
        let vars = builder.build()?;
        Ok(Self { project, inventory, vars })
    }

    /// Tells what is odd about what the user wrote, each once.
    pub(crate) fn tell_warnings(&self, environment: &Environment) {
        let mut told: Vec<String> = Vec::new();
        let settings = environment.ansible().map(|settings| settings.warnings.as_slice()).unwrap_or_default();
        for warning in settings.iter().chain(self.inventory.warnings()).chain(self.vars.warnings()) {
            let text = warning.to_string();
            if !told.contains(&text) {
                print::warning(&text, environment);
                told.push(text);
            }
        }
    }

    /// Tells which variables are set and come to nothing, or to something else than in kubespray: those of which `of` holds.
    ///
    /// # Errors
    /// A host of the inventory has no variables.
    pub(crate) fn tell_remarks(
        &self,
        of: impl Fn(&Remark) -> bool,
        environment: &Environment,
    ) -> Result<(), CommandError> {
        let mut found = kubespray::remarks(&self.vars)?;
        found.retain(of);
        let (lines, shortened) = remarks::lines(&found);
        lines.iter().for_each(|line| print::warning(line, environment));
        if shortened {
            let command = self.project.command(&["muster", "vars", "--unused"], 2);
            print::note(&format!("all of these variables, each with its place: {command}"));
        }
        Ok(())
    }

    /// The hosts a pattern chooses, in inventory order; all of them without one. `@failed` stands for the hosts that failed
    /// in the last run.
    ///
    /// # Errors
    /// The pattern cannot be read, or it chooses nobody.
    pub(crate) fn select(&self, pattern: Option<&str>) -> Result<Vec<String>, CommandError> {
        let all = self.inventory.hosts().map(muster_inventory::Host::name);
        let Some(pattern) = pattern else { return Ok(all.map(str::to_owned).collect()) };
        let chosen = self.inventory.select(&self.with_failed(pattern)?)?;
        if chosen.is_empty() {
            let error = CommandError::usage(format!("the pattern \"{pattern}\" leaves no host"));
            return Err(error.hint("see the hosts and groups: muster inventory --graph"));
        }
        Ok(all.filter(|name| chosen.contains(name)).map(str::to_owned).collect())
    }

    /// A pattern with names in place of `@failed`, and of `!@failed`.
    fn with_failed(&self, pattern: &str) -> Result<String, CommandError> {
        // As in other patterns, a colon separates only where there is no comma.
        let separator = if pattern.contains(',') { ',' } else { ':' };
        let sign = |part: &str| {
            part.trim().strip_suffix(FAILED).filter(|sign| matches!(*sign, "" | "!")).map(str::to_owned)
        };
        if !pattern.split(separator).any(|part| sign(part).is_some()) {
            return Ok(pattern.to_owned());
        }
        let mut failed = Records::of(&self.project).failed_hosts()?;
        failed.retain(|name| self.inventory.host(name).is_some());
        if failed.is_empty() {
            let message = "the hosts that failed in the last run are not in the inventory any more";
            return Err(CommandError::usage(message));
        }
        let part = |part: &str| match sign(part) {
            Some(sign) => failed.iter().map(|name| format!("{sign}{name}")).collect::<Vec<_>>().join(","),
            None => part.to_owned(),
        };
        Ok(pattern.split(separator).map(part).collect::<Vec<_>>().join(","))
    }
}
