//! Machines as containers of Docker: what is only about containers, and all that knows of them.

mod docker;
mod docker_daemon;
mod host_limits;
mod wire;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use ipnet::Ipv4Net;

use crate::Error;
use crate::config::LabConfig;
use crate::debian::{self, FIRST_BOOT, Recipe, Script};
use crate::maker::{Control, Image, MachineState, Maker, Order};
use crate::progress::Step;
use crate::required_programs::{self, MMDEBSTRAP, NETWORK, Program};
use crate::router::Router;
use crate::spec::{LabSpec, Release};
pub use docker::Engine;
use docker::{Container, EngineNetwork};
use wire::Wire;

/// What runs before systemd, on each boot, after [`FIRST_BOOT`].
const BOOT: &str = include_str!("../../assets/container_boot.sh");
/// The images' name in the engine; the tag is release and key.
const REPOSITORY: &str = "muster-lab-machine";
const CLUSTER_DEFAULTS: &str = include_str!("../../assets/container_cluster.yml");
const DOCKER: Program = Program { name: "docker", why: "to run machines", package: "docker.io" };
/// The archive has 180 MB, the folder it is made from 350 MB and the packages 80 MB.
const RECIPE: Recipe = Recipe {
    prefix: "",
    packages: "",
    before: &[],
    after: &[Script { name: "container.sh", text: include_str!("../../assets/container.sh") }],
    files: &[],
    output: "root.tar",
    finish: |_, _| Ok("root.tar"),
    needs_mib: 1024,
};

/// The maker of container machines. In the engine their image lives only as long as a lab uses it: importing it again
/// takes two seconds, while a forgotten image would stay for ever.
#[derive(Debug)]
pub(crate) struct Containers {
    lab: String,
    cache: PathBuf,
    wire: Wire,
    router: Router,
    engine: OnceLock<Engine>,
}

impl Containers {
    pub(crate) fn new(lab: &LabConfig) -> Self {
        Self {
            lab: lab.name.clone(),
            cache: lab.cache_dir.clone(),
            wire: Wire::new(&lab.name),
            router: Router::new(&lab.name),
            engine: OnceLock::new(),
        }
    }

    /// The engine, asked once whether it answers.
    fn engine(&self) -> Result<&Engine, Error> {
        match self.engine.get() {
            Some(engine) => Ok(engine),
            None => Engine::connect().map(|engine| self.engine.get_or_init(|| engine)),
        }
    }

    /// Where the engine was never installed it holds nothing. If it is only down, we cannot know.
    fn engine_if_installed(&self) -> Result<Option<&Engine>, Error> {
        match self.engine() {
            Ok(engine) => Ok(Some(engine)),
            Err(Error::MissingProgram { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn network(&self, engine: &Engine) -> Result<Option<EngineNetwork>, Error> {
        let is_ours = |network: &EngineNetwork| network.lab.as_deref() == Some(self.lab.as_str());
        Ok(engine.networks()?.into_iter().find(is_ours))
    }
}

impl Maker for Containers {
    fn prepare(&self, spec: &LabSpec, install: bool, step: Step<'_>) -> Result<(), Error> {
        let mut programs = vec![DOCKER];
        // Where the machine image has been made, the program that makes it may be missing.
        if !RECIPE.is_made(&self.cache, spec.release) {
            programs.push(MMDEBSTRAP);
        }
        programs.extend(NETWORK);
        required_programs::ensure(&programs, install, step)?;
        // From Debian 13 on the command is in a package of its own, which docker.io only recommends.
        if !required_programs::is_there(DOCKER.name)? {
            required_programs::install_packages(&["docker-cli"], step)?;
        }
        let engine = docker_daemon::ensure(&self.cache, step)?;
        self.engine.get_or_init(|| engine);
        host_limits::raise_inotify_limits(step)
    }

    fn refuse_conflicts(&self, spec: &LabSpec) -> Result<(), Error> {
        let mut others = self.engine()?.networks()?;
        others.retain(|network| network.lab.as_deref() != Some(self.lab.as_str()));
        refuse_overlap(spec.subnet, &others)
    }

    fn ensure_image(&self, release: Release, step: Step<'_>) -> Result<Image, Error> {
        let engine = self.engine()?;
        let lock = debian::lock(&self.cache, step)?;
        let name = format!("{REPOSITORY}:debian{}-{}", release.number(), RECIPE.key(release));
        if !engine.has_image(&name)? {
            let archive = RECIPE.ensure(&self.cache, release, step)?;
            engine.import_image(&archive, &name, step)?;
        }
        Ok(Image { name, _lock: lock })
    }

    fn ensure_network(&self, spec: &LabSpec) -> Result<(), Error> {
        let engine = self.engine()?;
        let ours = self.network(engine)?;
        let ready = ours.as_ref().is_some_and(|network| network.subnets == [spec.subnet]);
        if !ready {
            // What a run left that was cut off. No machine is on it, or the record would have been the same.
            if ours.is_some() {
                engine.remove_network(&self.lab)?;
            }
            self.router.remove()?;
            self.wire.remove()?;
        }
        self.wire.ensure()?;
        let link = self.wire.link();
        if !ready {
            engine.create_network(&self.lab, link, spec.subnet, spec.router())?;
        }
        let device = [
            &["link", "add", "link", link, "name", Router::DEVICE, "netns", self.router.namespace()][..],
            &["type", "macvlan", "mode", "bridge"],
        ];
        self.router.ensure(spec, &device.concat())
    }

    fn machines(&self) -> Result<Vec<(String, MachineState)>, Error> {
        self.engine_if_installed()?.map_or(Ok(Vec::new()), |engine| engine.machines(&self.lab))
    }

    fn create(&self, order: &Order<'_>) -> Result<(), Error> {
        let Order { machine, lab, image, authorized_key } = order;
        let nameservers: Vec<_> = lab.effective_nameservers().iter().map(ToString::to_string).collect();
        let mut environment = vec![
            ("LAB_HOSTNAME", machine.name.clone()),
            ("LAB_NAMESERVERS", nameservers.join(" ")),
            ("LAB_AUTHORIZED_KEY", (*authorized_key).to_owned()),
        ];
        if let (Some(address), Some(router)) = (lab.beside(machine.address), lab.beside(lab.router())) {
            environment.push(("LAB_IPV6", format!("{address} {}", router.addr())));
        }
        if let Some(memory) = machine.memory_mib {
            environment.push(("LAB_MEMORY_KIB", memory.saturating_mul(1024).to_string()));
        }
        self.engine()?.create(&Container {
            lab: &self.lab,
            name: &machine.name,
            address: machine.address,
            image: &image.name,
            resolver: lab.router(),
            memory_mib: machine.memory_mib,
            without_capabilities: &host_limits::withheld_capabilities()?,
            environment: &environment,
            boot_script: &format!("{FIRST_BOOT}\n{BOOT}"),
        })
    }

    fn control(&self, machine: &str, control: Control) -> Result<(), Error> {
        self.engine()?.control(control, &self.lab, machine)
    }

    fn remove(&self, machines: &[&str]) -> Result<(), Error> {
        self.engine()?.remove(&self.lab, machines)
    }

    fn remove_network(&self) -> Result<bool, Error> {
        let mut found = false;
        if let Some(engine) = self.engine_if_installed()?
            && self.network(engine)?.is_some()
        {
            engine.remove_network(&self.lab)?;
            found = true;
        }
        found |= self.router.remove()?;
        found |= self.wire.remove()?;
        Ok(found)
    }

    fn remove_unused_images(&self, step: Step<'_>) -> Result<(), Error> {
        let Some(engine) = self.engine_if_installed()? else { return Ok(()) };
        let _lock = debian::lock(&self.cache, step)?;
        for image in engine.images(REPOSITORY)? {
            engine.remove_unused_image(&image)?;
        }
        Ok(())
    }

    fn reach(&self, program: &OsStr) -> Result<Command, Error> {
        self.router.reach(program)
    }

    fn inside(&self, machine: &str, program: &str) -> Result<Option<Command>, Error> {
        self.engine()?.inside(&self.lab, machine, program).map(Some)
    }

    fn console(&self, machine: &str) -> Command {
        docker::console(&self.lab, machine)
    }

    fn cluster_defaults(&self) -> Option<&'static str> {
        Some(CLUSTER_DEFAULTS)
    }

    fn slowness(&self) -> u32 {
        1
    }
}

fn refuse_overlap(subnet: Ipv4Net, others: &[EngineNetwork]) -> Result<(), Error> {
    let overlaps = |other: &Ipv4Net| other.contains(&subnet) || subnet.contains(other);
    for network in others {
        if let Some(other) = network.subnets.iter().find(|other| overlaps(other)) {
            return Err(Error::SubnetInUse {
                subnet: subnet.to_string(),
                other_subnet: other.to_string(),
                network: network.name.clone(),
                lab: network.lab.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn clusters_do_not_look_at_the_shared_disk() {
        let defaults: BTreeMap<String, serde_json::Value> = serde_saphyr::from_str(CLUSTER_DEFAULTS).unwrap();
        assert_eq!(defaults["eviction_hard"]["imagefs.available"], "0%");
        assert_eq!(defaults["kubelet_image_gc_high_threshold"], 100);
    }

    #[test]
    fn overlapping_subnets_are_named_with_their_lab() {
        let other = EngineNetwork {
            name: "muster-lab-course".to_owned(),
            lab: Some("course".to_owned()),
            subnets: vec!["10.146.0.0/16".parse().unwrap()],
        };
        let error = refuse_overlap(LabSpec::default().subnet, &[other]).unwrap_err();
        assert!(error.to_string().contains("10.146.225.0/24 overlaps with 10.146.0.0/16"), "{error}");
        assert!(error.remedy().unwrap().contains("`muster lab --name course down`"), "{:?}", error.remedy());
        let apart = EngineNetwork {
            name: "bridge".to_owned(),
            lab: None,
            subnets: vec!["172.17.0.0/16".parse().unwrap()],
        };
        refuse_overlap(LabSpec::default().subnet, &[apart]).unwrap();
    }
}
