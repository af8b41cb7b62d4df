//! A declared cluster, and what is known of its members.

use std::collections::BTreeMap;

use muster_app::Project;
use muster_artifacts::Sha256;
use muster_openstack::{
    ClusterFolder, Declaration, Listed, Mistakes, Role, Source, Surroundings, inventory_text,
};
use muster_roles::catalogue::CATALOGUE;

use crate::args::InventoryArgs;
use crate::clusters::cloud::Cloud;
use crate::clusters::existing::Existing;
use crate::clusters::maker::Maker;
use crate::clusters::plan::Machine;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::reconcile::provider;

/// A cluster's folder and declaration.
pub(crate) struct Cluster {
    pub(crate) folder: ClusterFolder,
    pub(crate) declaration: Declaration,
    /// What tells this declaration from others, with the class list that it names.
    pub(crate) mark: String,
}

/// A machine that the inventory has: it is part of the cluster, or was to become so.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its name within the cluster.
    pub(crate) part: String,
    pub(crate) roles: Vec<Role>,
    pub(crate) address: Option<String>,
}

/// What there is around the program, for whoever reads clouds and declarations.
pub(crate) fn surroundings(environment: &Environment) -> Result<Surroundings, CommandError> {
    Ok(Surroundings {
        variables: environment.variables(),
        home: environment.home().map(ToOwned::to_owned),
        here: environment.here()?.to_owned(),
    })
}

impl Cluster {
    /// Reads the declaration of a cluster.
    ///
    /// # Errors
    /// There is none, or it has mistakes: each with its place.
    pub(crate) fn open(name: &str, environment: &Environment) -> Result<Self, CommandError> {
        let surroundings = surroundings(environment)?;
        let folder = ClusterFolder::find(name, &surroundings.here)?;
        // Whoever writes it between the two reads has written another one than the mark's: that is seen by the next look.
        let mut text = folder.declaration_text()?.into_bytes();
        let declaration = folder.declaration(&surroundings)?;
        if let Some(list) = &declaration.settings.students {
            let read = std::fs::read(list);
            text.extend(read.map_err(|error| CommandError::failed(format!("{}: {error}", list.display())))?);
        }
        let mark = Sha256::of(&text).to_string();
        let known = || CATALOGUE.apps();
        let unknown = declaration.settings.apps.iter().filter(|app| known().all(|known| known != app.name));
        let mistakes = unknown.map(|app| {
            let message = match muster_inventory::closest(&app.name, known()) {
                Some(meant) => format!("there is no app {:?}; did you mean {meant:?}?", app.name),
                None => format!(
                    "there is no app {:?}; there are {}",
                    app.name,
                    known().collect::<Vec<_>>().join(", ")
                ),
            };
            declaration.mistake(app, message)
        });
        let mistakes: Vec<_> = mistakes.collect();
        if !mistakes.is_empty() {
            return Err(CommandError::written(Mistakes(mistakes).to_string()));
        }
        Ok(Self { folder, declaration, mark })
    }

    /// Whoever makes its machines.
    ///
    /// # Errors
    /// The login to the cloud fails; or there can be no such provider.
    pub(crate) fn maker<'c>(
        &'c self,
        environment: &'c Environment,
    ) -> Result<Box<dyn Maker + 'c>, CommandError> {
        Ok(match &self.declaration.machines {
            Source::Cloud(_) => Box::new(Cloud::open(self, environment)?),
            Source::Existing { provider: name } => {
                let provider = name.as_deref().map(|name| provider(name, environment)).transpose()?;
                Box::new(Existing { cluster: self, provider, environment })
            }
        })
    }

    /// Its inventory, as options name it. It is the file: only of one file machines that have left are taken out.
    pub(crate) fn inventory(&self) -> InventoryArgs {
        InventoryArgs { inventory: vec![self.folder.inventory_file()], ..InventoryArgs::default() }
    }

    /// Forgets its machines, which are gone. Its declaration stays, and is not applied again by a loop until it is another one.
    ///
    /// # Errors
    /// A file cannot be written or removed.
    pub(crate) fn was_deleted(&self) -> Result<(), CommandError> {
        self.folder.keep_applied(&self.mark)?;
        Ok(self.folder.remove_inventory()?)
    }

    /// The name of a machine in the inventory.
    pub(crate) fn host(&self, part: &str) -> String {
        format!("{}-{part}", self.folder.name())
    }

    /// The machines that the inventory has, in its order; none before there is one.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn members(&self, environment: &Environment) -> Result<Vec<Member>, CommandError> {
        if self.folder.inventory()?.is_none() {
            return Ok(Vec::new());
        }
        let inventory = Project::find(&self.inventory().inventory, environment)?.inventory()?;
        let prefix = format!("{}-", self.folder.name());
        let is_in = |group: &str, host: &str| inventory.group(group).contains(&host);
        let member = |host: &muster_inventory::Host| {
            let text = |name: &str| Some(host.vars().get(name)?.as_str()?.to_owned());
            let mut roles = Vec::new();
            roles.extend(is_in("kube_control_plane", host.name()).then_some(Role::ControlPlane));
            roles.extend(is_in("kube_node", host.name()).then_some(Role::Worker));
            let part = host.name().strip_prefix(&prefix)?.to_owned();
            Some(Member { part, roles, address: text("ip") })
        };
        Ok(inventory.hosts().filter_map(member).collect())
    }

    /// The machines that are there, and the members that are not there any more.
    ///
    /// # Errors
    /// As [`Maker::look`].
    pub(crate) fn machines(
        &self,
        maker: &dyn Maker,
        environment: &Environment,
    ) -> Result<Vec<Machine>, CommandError> {
        let members = self.members(environment)?;
        let is_left = |machine: &Listed| {
            !machine.state.is_empty() || machine.address.is_some() || machine.floating_ip.is_some()
        };
        let there = maker.look()?.into_iter().filter(is_left);
        let mut machines: Vec<Machine> = there
            .map(|listed| {
                let member = members.iter().find(|member| member.part == listed.part);
                Machine { listed, member: member.map(|member| member.roles.clone()) }
            })
            .collect();
        for member in members {
            if machines.iter().all(|machine| machine.listed.part != member.part) {
                let listed = self.gone(&member);
                machines.push(Machine { listed, member: Some(member.roles) });
            }
        }
        Ok(machines)
    }

    /// A member of which there is no machine.
    pub(crate) fn gone(&self, member: &Member) -> Listed {
        Listed {
            name: self.host(&member.part),
            part: member.part.clone(),
            roles: member.roles.clone(),
            state: String::new(),
            id: String::new(),
            address: member.address.clone(),
            floating_ip: None,
            image: None,
            differs: None,
            is_wanted: self.declaration.pool_of(&member.part).is_some(),
        }
    }

    /// The text of the inventory of these machines: members first, in the order that they have there, so that nobody who is new comes
    /// before those who carry the cluster.
    ///
    /// # Errors
    /// The inventory that is there cannot be read.
    pub(crate) fn inventory_of(
        &self,
        machines: &[Listed],
        environment: &Environment,
    ) -> Result<String, CommandError> {
        let members = self.members(environment)?;
        let roles: BTreeMap<&str, &Vec<Role>> =
            members.iter().map(|member| (member.part.as_str(), &member.roles)).collect();
        let place = |machine: &Listed| {
            let at = members.iter().position(|member| member.part == machine.part);
            let pool = self.declaration.pools.iter().position(|pool| pool.place(&machine.part).is_some());
            let number = self.declaration.pool_of(&machine.part).and_then(|pool| pool.place(&machine.part));
            (at.unwrap_or(usize::MAX), pool.unwrap_or(usize::MAX), number)
        };
        let mut all: Vec<Listed> = machines.to_vec();
        // The roles of a pool that is gone from the declaration are those that its machines have.
        for machine in all.iter_mut().filter(|machine| machine.roles.is_empty()) {
            machine.roles =
                roles.get(machine.part.as_str()).map(|roles| (*roles).clone()).unwrap_or_default();
        }
        all.sort_by_key(place);
        Ok(inventory_text(&self.declaration, &all.iter().collect::<Vec<_>>()))
    }
}
