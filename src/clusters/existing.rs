//! Machines that exist. They are taken as they are; where there is a provider and an image is declared, they get a new system first.

use std::time::Duration;

use muster_app::{Project, World};
use muster_inventory::Source;
use muster_openstack::{Listed, Machinery, inventory_text};

use crate::args::ConnectionArgs;
use crate::clusters::cluster::{Cluster, Member};
use crate::clusters::maker::Maker;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::machines::{Machines, run_program};
use crate::output::{CommandLine, print};
use crate::reconcile::{Place, Power, Provider};

/// How long a machine may take to say whether it is in use.
const LIMIT: Duration = Duration::from_secs(20);

/// Says whether something of Kubernetes runs on a machine, or did when it was on last.
const IN_USE: &str = "if [ -e /etc/kubernetes/kubelet.conf ] || [ -e /var/lib/etcd/member ] || systemctl is-active -q kubelet; then echo used; fi";

/// The machines at the addresses of a declaration.
pub(crate) struct Existing<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) provider: Option<Box<dyn Provider>>,
    pub(crate) environment: &'c Environment,
}

impl Existing<'_> {
    /// A machine that was not taken yet.
    fn free(&self, part: &str) -> Option<Listed> {
        let pool = self.cluster.declaration.pool_of(part)?;
        Some(Listed {
            name: self.cluster.host(part),
            part: part.to_owned(),
            roles: pool.roles.clone(),
            state: "free".into(),
            id: String::new(),
            address: Some(pool.address(part)?.to_string()),
            floating_ip: None,
            image: self.cluster.declaration.image_of(part).map(str::to_owned),
            differs: None,
            is_wanted: true,
        })
    }

    fn place(machine: &Listed) -> Place {
        Place {
            name: machine.name.clone(),
            address: machine.address.clone().unwrap_or_default(),
            image: machine.image.clone(),
        }
    }

    /// What a machine of the cluster is like.
    fn state(&self, machine: &Listed) -> Result<&'static str, CommandError> {
        let Some(provider) = &self.provider else { return Ok("exists") };
        Ok(match provider.power(&Self::place(machine))? {
            Power::On => "on",
            Power::Off => "off",
            Power::Unknown => "exists",
        })
    }

    fn difference(&self, machine: &Listed) -> Option<String> {
        let pool = self.cluster.declaration.pool_of(&machine.part)?;
        if pool.place(&machine.part) == Some(u32::MAX) {
            return Some("its address is not among those of the pool any more".into());
        }
        let Machinery::Existing { image: Some(declared), .. } = &pool.machinery else { return None };
        // Of a machine that was taken as it was, the image is not known.
        let image = machine.image.as_ref().filter(|image| *image != declared)?;
        Some(format!("its image is {image}, and {declared} is declared"))
    }

    /// Whoever is to get a new system has nothing to lose. A machine that lets nobody in, or is off, cannot tell.
    fn refuse_used(&self, machines: &[Listed]) -> Result<(), CommandError> {
        let text = inventory_text(&self.cluster.declaration, &machines.iter().collect::<Vec<_>>());
        let path = self.environment.here()?.join(self.cluster.folder.inventory_file());
        let given = [self.cluster.folder.inventory_file()];
        let mut project = Project::find(&given, self.environment)?;
        project.sources = vec![Source::Text { path, text }];
        let frontend = CommandLine::plain(self.environment);
        let inventory = self.cluster.inventory();
        let world = World::load(project, &(&inventory).into(), self.environment, &*frontend)?;
        let connection = ConnectionArgs { timeout: Some(5), ..ConnectionArgs::default() };
        let asked = Machines::of(world, "all", &connection, self.environment)?.patiently();
        let answers = asked.each(self.environment, |ssh| run_program(ssh, IN_USE, LIMIT))?;
        let used: Vec<String> = answers
            .into_iter()
            .filter(|(_, answer)| answer.as_ref().is_ok_and(|exit| exit.stdout.starts_with(b"used")))
            .map(|(name, _)| name)
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        let addresses = machines.iter().filter(|machine| used.contains(&machine.name));
        let addresses: Vec<&str> = addresses.filter_map(|machine| machine.address.as_deref()).collect();
        Err(CommandError::failed(format!(
            "{} would get a new system, and there is a Kubernetes already; nothing was changed",
            addresses.join(", ")
        ))
        .hint("if it is of no use any more: reset-cluster on these machines, then the same command again"))
    }
}

impl Maker for Existing<'_> {
    fn look(&self) -> Result<Vec<Listed>, CommandError> {
        let members = self.cluster.members(self.environment)?;
        let images = self.cluster.folder.images()?;
        let machine = |member: &Member| {
            let mut machine = self.cluster.gone(member);
            machine.image = images.get(&member.part).cloned();
            machine.state = self.state(&machine)?.to_owned();
            machine.differs = self.difference(&machine);
            if let Some(pool) = self.cluster.declaration.pool_of(&machine.part) {
                machine.roles.clone_from(&pool.roles);
            }
            Ok(machine)
        };
        members.iter().map(machine).collect()
    }

    fn make(&self, parts: &[String]) -> Result<Vec<Listed>, CommandError> {
        let mut all = self.look()?;
        all.retain(|machine| parts.contains(&machine.part));
        let is_new = |part: &&String| all.iter().all(|machine| machine.part != **part);
        let new: Vec<Listed> = parts.iter().filter(is_new).filter_map(|part| self.free(part)).collect();
        if let Some(provider) = &self.provider {
            let anew: Vec<Listed> = new.iter().filter(|machine| machine.image.is_some()).cloned().collect();
            if !anew.is_empty() {
                self.refuse_used(&anew)?;
            }
            let mut images = self.cluster.folder.images()?;
            for machine in &new {
                let place = Self::place(machine);
                if machine.image.is_some() {
                    print::note(&format!("  {} gets a new system", machine.name));
                    provider.reimage(&place)?;
                    images.extend(machine.image.clone().map(|image| (machine.part.clone(), image)));
                    self.cluster.folder.keep_images(&images)?;
                } else if provider.power(&place)? == Power::Off {
                    print::note(&format!("  {} is switched on", machine.name));
                    provider.cycle(&place)?;
                }
            }
        }
        all.extend(new);
        Ok(all)
    }

    /// The flow with which it left has taken from it what was brought; it stays.
    fn remove(&self, part: &str) -> Result<(), CommandError> {
        let mut images = self.cluster.folder.images()?;
        images.remove(part);
        Ok(self.cluster.folder.keep_images(&images)?)
    }
}
