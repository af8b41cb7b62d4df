//! What the user wrote, read: the inventory and all variables, with the defaults of every role below them.

use std::sync::Arc;

use muster_engine::failure::Problem;
use muster_inventory::{Inventory, LoadOptions, Vars, VarsBuilder, closest_within};
use muster_roles::kubespray::{Remark, Verdict};
use muster_roles::{COMMON_DEFAULTS, NETBOOT_DEFAULTS, ROLES, kubespray};

use crate::environment::Environment;
use crate::error::Error;
use crate::frontend::{Frontend, News};
use crate::options::VariableOptions;
use crate::project::Project;
use crate::record::Records;
use crate::vault_password::vault_secrets;

/// The option that sets variables, as places of such variables name it.
const OPTION: &str = "-e";

/// In a pattern: the hosts that failed in the last run.
const FAILED: &str = "@failed";

/// An inventory with its variables.
pub struct World {
    /// Where it was read from.
    pub project: Project,
    /// The hosts and groups.
    pub inventory: Arc<Inventory>,
    /// The variables of the hosts.
    pub vars: Arc<Vars>,
    warnings: Vec<String>,
}

impl World {
    /// Reads everything. Nothing is left that could turn out unreadable later.
    ///
    /// # Errors
    /// Something cannot be read; the message shows the place.
    pub fn load(
        project: Project,
        options: &VariableOptions,
        environment: &Environment,
        frontend: &dyn Frontend,
    ) -> Result<Self, Error> {
        let settings = environment.ansible()?;
        let secrets = vault_secrets(options, environment, frontend)?;
        let load_options = LoadOptions { secrets: secrets.clone(), ..project.reading.clone() };
        let inventory = Arc::new(Inventory::load(&project.sources, &load_options)?);
        let mut builder = VarsBuilder::new(Arc::clone(&inventory))
            .secrets(secrets)
            .renames(kubespray::renames())
            .merge_hashes(settings.merge_hashes)
            .playbook_dir(project.root.join("playbooks"))
            .project_dir(project.root.clone())
            .environment(environment.variables())
            .fallbacks("roles/kubespray/derived.yml", kubespray::DERIVED)?
            .defaults("roles/common/defaults.yml", COMMON_DEFAULTS)?
            .defaults("roles/netboot/defaults.yml", NETBOOT_DEFAULTS)?;
        let mut given: Vec<&str> = Vec::new();
        for role in ROLES {
            // Roles that share a folder share their defaults.
            if !given.contains(&role.defaults) {
                builder = builder.defaults(&format!("roles/{}/defaults.yml", role.name), role.defaults)?;
                given.push(role.defaults);
            }
        }
        // What a lab says of its machines wins over roles' defaults, and over nothing that the user wrote.
        if let Some(path) = environment.path("MUSTER_DEFAULTS") {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Error::failed(format!("cannot read MUSTER_DEFAULTS, {}: {error}", path.display()))
            })?;
            builder = builder.defaults(&path.display().to_string(), &text)?;
        }
        for argument in &options.extra_vars {
            builder = builder.extra_vars(argument)?;
        }
        let vars = builder.build()?;
        let mut warnings: Vec<String> = Vec::new();
        for warning in settings.warnings.iter().chain(inventory.warnings()).chain(vars.warnings()) {
            let text = warning.to_string();
            if !warnings.contains(&text) {
                warnings.push(text);
            }
        }
        Ok(Self { project, inventory, vars, warnings })
    }

    /// Tells what is odd about what the user wrote, each once.
    pub fn tell_warnings(&self, frontend: &dyn Frontend) {
        self.warnings.iter().for_each(|warning| frontend.tell(News::Warning(warning)));
    }

    /// Tells which variables are set and come to nothing, or to something else than in kubespray: those of which `of` holds.
    ///
    /// # Errors
    /// A host of the inventory has no variables.
    pub fn tell_remarks(&self, of: impl Fn(&Remark) -> bool, frontend: &dyn Frontend) -> Result<(), Error> {
        let mut found = kubespray::remarks(&self.vars)?;
        found.retain(of);
        frontend.tell(News::Remarks(&self.project, &found));
        Ok(())
    }

    /// Variables of the command line whose names are nearly those of others. A file may be shared with other programs; what somebody
    /// has just typed is meant to do something.
    pub(crate) fn mistyped_options(&self) -> Result<Vec<Problem>, Error> {
        let typed = |remark: &Remark| {
            remark.verdict == Verdict::Unknown
                && remark.places.iter().any(|place| place.file() == OPTION)
                // In a short name two other letters make another word.
                && remark.name.len() > 5
                && closest_within(2, &remark.name, [remark.why.as_str()].into_iter()).is_some()
        };
        let found = kubespray::remarks(&self.vars)?.into_iter().filter(typed);
        Ok(found
            .map(|Remark { name, why, .. }| Problem {
                found: format!("{OPTION} {name}=...: no role has this variable"),
                check: name,
                needed: format!("a variable that there is, such as {why}"),
                remedy: format!("type {OPTION} {why}=..."),
            })
            .collect())
    }

    /// The hosts a pattern chooses, in inventory order; all of them without one. `@failed` stands for the hosts that failed
    /// in the last run that was more than a plan or a check.
    ///
    /// # Errors
    /// The pattern cannot be read, or it chooses nobody.
    pub fn select(&self, pattern: Option<&str>) -> Result<Vec<String>, Error> {
        let all = self.inventory.hosts().map(muster_inventory::Host::name);
        let Some(pattern) = pattern else { return Ok(all.map(str::to_owned).collect()) };
        let chosen = self.inventory.select(&self.with_failed(pattern)?)?;
        if chosen.is_empty() {
            let error = Error::usage(format!("the pattern \"{pattern}\" leaves no host"));
            let graph = self.project.command(&["muster", "inventory", "--graph"], 2);
            return Err(error.hint(format!("see the hosts and groups: {graph}")));
        }
        Ok(all.filter(|name| chosen.contains(name)).map(str::to_owned).collect())
    }

    /// A pattern with names in place of `@failed`, and of `!@failed`.
    fn with_failed(&self, pattern: &str) -> Result<String, Error> {
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
            return Err(Error::usage(message));
        }
        let part = |part: &str| match sign(part) {
            Some(sign) => failed.iter().map(|name| format!("{sign}{name}")).collect::<Vec<_>>().join(","),
            None => part.to_owned(),
        };
        Ok(pattern.split(separator).map(part).collect::<Vec<_>>().join(","))
    }
}
