//! Machines as virtual machines of QEMU, each with a kernel, a disk and a network card of its own: what is only about
//! virtual machines, and all that knows of them.
//!
//! A machine is a folder below the lab's own, and a process of QEMU while it is on. The folder appears whole, by a
//! rename; what a run that was cut off has left of one has the ending [`UNFINISHED`].

mod disk_image;
mod qemu;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::config::LabConfig;
use crate::debian;
use crate::error::{Error, file_error};
use crate::maker::{Control, Image, MachineState, Maker, Order};
use crate::program::command;
use crate::progress::Step;
use crate::required_programs::{self, MMDEBSTRAP, NETWORK, Program};
use crate::router::Router;
use crate::spec::{LabSpec, MachineSpec, Release};
use disk_image::{Files, RECIPE};
use qemu::{Folder, Hardware, Process, Processor};

const QEMU: Program = Program { name: qemu::PROGRAM, why: "to run machines", package: "qemu-system-x86" };
const MKE2FS: Program = Program { name: "mke2fs", why: "to make the machines' disks", package: "e2fsprogs" };
/// The memory of a machine if none is said: a control plane fits.
const MEMORY_MIB: u64 = 3072;
/// Connects a machine's network device to the router's bridge.
const ATTACH_TAP: &str = include_str!("../../assets/attach_tap.sh");
/// The ending of a machine's folder until all is in it. No machine's name has a dot.
const UNFINISHED: &str = ".new";
const HARDWARE: &str = "hardware.json";
/// How long a machine may take to shut down, times its slowness; then its power is cut.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The maker of virtual machines.
#[derive(Debug)]
pub(crate) struct VirtualMachines {
    lab: String,
    cache: PathBuf,
    /// Holds a folder for each machine.
    folder: PathBuf,
    router: Router,
    processor: Processor,
}

impl VirtualMachines {
    pub(crate) fn new(lab: &LabConfig) -> Self {
        Self {
            lab: lab.name.clone(),
            cache: lab.cache_dir.clone(),
            folder: lab.folder().join("machines"),
            router: Router::new(&lab.name),
            processor: Processor::of_host(),
        }
    }

    fn folder(&self, machine: &str) -> PathBuf {
        self.folder.join(machine)
    }

    fn unfinished(&self, machine: &str) -> PathBuf {
        self.folder.join(format!("{machine}{UNFINISHED}"))
    }

    fn process(&self, machine: &str) -> Result<Option<Process>, Error> {
        Ok(qemu::running(&self.lab)?.remove(machine))
    }

    fn switch_on(&self, machine: &str) -> Result<(), Error> {
        let folder = self.folder(machine);
        let path = folder.join(HARDWARE);
        let hardware: Hardware = fs::read_to_string(&path)
            .and_then(|text| serde_json::from_str(&text).map_err(io::Error::other))
            .map_err(file_error("cannot read", &path))?;
        let mark = qemu::mark(&self.lab, machine);
        let arguments = qemu::arguments(&mark, &Folder(&folder), &hardware, self.processor);
        qemu::start(self.router.reach(qemu::PROGRAM.as_ref())?, &arguments, &mark)
    }

    fn shut_down(&self, machine: &str, process: Process) -> Result<(), Error> {
        process.thaw()?;
        qemu::press_power_button(&Folder(&self.folder(machine)))?;
        if process.wait_for_end(STOP_LIMIT * self.slowness())? { Ok(()) } else { process.kill() }
    }
}

impl Maker for VirtualMachines {
    fn prepare(&self, spec: &LabSpec, install: bool, step: Step<'_>) -> Result<(), Error> {
        if std::env::consts::ARCH != "x86_64" {
            return Err(Error::BadSpec { reason: "virtual machines need an x86_64 computer".to_owned() });
        }
        let mut programs = vec![QEMU];
        if !RECIPE.is_made(&self.cache, spec.release) {
            programs.extend([MMDEBSTRAP, MKE2FS]);
        }
        programs.extend(NETWORK);
        required_programs::ensure(&programs, install, step)?;
        if self.processor == Processor::Emulated {
            step.say(
                "this computer's processor has no KVM to offer: QEMU emulates one, 15 to 50 times slower",
            );
        }
        Ok(())
    }

    /// Each lab has a bridge in a namespace of its own: no other lab and no network of the host is in its way.
    fn refuse_conflicts(&self, _: &LabSpec) -> Result<(), Error> {
        Ok(())
    }

    fn ensure_image(&self, release: Release, step: Step<'_>) -> Result<Image, Error> {
        let lock = debian::lock(&self.cache, step)?;
        let path = RECIPE.ensure(&self.cache, release, step)?;
        Ok(Image { name: path.display().to_string(), _lock: lock })
    }

    fn ensure_network(&self, spec: &LabSpec) -> Result<(), Error> {
        let device = ["-netns", self.router.namespace(), "link", "add", Router::DEVICE, "type", "bridge"];
        self.router.ensure(spec, &device)
    }

    fn machines(&self) -> Result<Vec<(String, MachineState)>, Error> {
        let mut machines: Vec<_> =
            qemu::running(&self.lab)?.into_iter().map(|(name, process)| (name, process.state())).collect();
        for folder in folders(&self.folder)? {
            let (name, state) = match folder.strip_suffix(UNFINISHED) {
                Some(name) => (name, MachineState::Unfinished),
                None => (folder.as_str(), MachineState::Stopped),
            };
            if !machines.iter().any(|(known, _)| known == name) {
                machines.push((name.to_owned(), state));
            }
        }
        Ok(machines)
    }

    fn create(&self, order: &Order<'_>) -> Result<(), Error> {
        let name = &order.machine.name;
        let (folder, unfinished) = (self.folder(name), self.unfinished(name));
        fs::create_dir_all(&unfinished).map_err(file_error("cannot make", &unfinished))?;
        Files::of(Path::new(&order.image.name)).copy_to(&unfinished)?;
        let script = Folder(&unfinished).attach_tap();
        fs::write(&script, ATTACH_TAP)
            .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
            .map_err(file_error("cannot write", &script))?;
        let path = unfinished.join(HARDWARE);
        serde_json::to_string_pretty(&hardware(order)?)
            .map_err(io::Error::other)
            .and_then(|text| fs::write(&path, text))
            .map_err(file_error("cannot write", &path))?;
        fs::rename(&unfinished, &folder).map_err(file_error("cannot make", &folder))?;
        self.switch_on(name)
    }

    fn control(&self, machine: &str, control: Control) -> Result<(), Error> {
        match (control, self.process(machine)?) {
            (Control::Start, Some(_)) => Ok(()),
            (Control::Start, None) => self.switch_on(machine),
            (_, None) => Err(Error::MachineOff { machine: machine.to_owned() }),
            (Control::Stop, Some(process)) => self.shut_down(machine, process),
            (Control::Kill, Some(process)) => process.kill(),
            (Control::Restart, Some(process)) => {
                self.shut_down(machine, process)?;
                self.switch_on(machine)
            }
            (Control::Pause, Some(process)) => process.freeze(),
            (Control::Unpause, Some(process)) => process.thaw(),
        }
    }

    fn remove(&self, machines: &[&str]) -> Result<(), Error> {
        let mut running = qemu::running(&self.lab)?;
        for machine in machines {
            if let Some(process) = running.remove(*machine) {
                process.kill()?;
            }
            // A folder that is only half removed must not pass for a whole one.
            let (folder, unfinished) = (self.folder(machine), self.unfinished(machine));
            fs::remove_dir_all(&unfinished)
                .or_else(missing_is_fine)
                .and_then(|()| fs::rename(&folder, &unfinished))
                .and_then(|()| fs::remove_dir_all(&unfinished))
                .or_else(missing_is_fine)
                .map_err(file_error("cannot remove", &folder))?;
        }
        Ok(())
    }

    fn remove_network(&self) -> Result<bool, Error> {
        self.router.remove()
    }

    /// They take minutes to make, and stay in the cache folder.
    fn remove_unused_images(&self, _: Step<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn reach(&self, program: &OsStr) -> Result<Command, Error> {
        self.router.reach(program)
    }

    fn inside(&self, _: &str, _: &str) -> Result<Option<Command>, Error> {
        Ok(None)
    }

    fn console(&self, machine: &str) -> Command {
        let mut cat = command("cat", ["--"]);
        cat.arg(Folder(&self.folder(machine)).console());
        cat
    }

    /// Each has a disk of its own.
    fn cluster_defaults(&self) -> Option<&'static str> {
        None
    }

    fn slowness(&self) -> u32 {
        match self.processor {
            Processor::Host => 1,
            Processor::Emulated => 10,
        }
    }
}

/// The names of the folders in a folder, which need not exist.
fn folders(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(file_error("cannot read", folder))?,
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<_, _>>().map_err(file_error("cannot read", folder))
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn hardware(order: &Order<'_>) -> Result<Hardware, Error> {
    let MachineSpec { name, address, memory_mib } = order.machine;
    let random = "/proc/sys/kernel/random/uuid";
    let uuid = fs::read_to_string(random).map_err(file_error("cannot read", random))?;
    let nameservers: Vec<_> = order.lab.effective_nameservers().iter().map(ToString::to_string).collect();
    // Arguments of the kernel have no spaces: assets/virtual_machine_boot.sh reads commas as such.
    let identity = vec![
        format!("lab.hostname={name}"),
        format!("lab.address={address}/{}", order.lab.subnet.prefix_len()),
        format!("lab.router={}", order.lab.router()),
        format!("lab.nameservers={}", nameservers.join(",")),
        format!("lab.authorized_key={}", order.authorized_key.replace(' ', ",")),
    ];
    // 52:54 is a locally administered address, as QEMU's own are; the rest makes it unique in the lab.
    let [a, b, c, d] = address.octets();
    let mac = format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    let memory_mib = memory_mib.unwrap_or(MEMORY_MIB);
    Ok(Hardware { memory_mib, mac, uuid: uuid.trim().to_owned(), identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_that_was_cut_off_left_is_found_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let config = LabConfig {
            name: "test-folders".to_owned(),
            cache_dir: folder.path().join("cache"),
            state_dir: folder.path().join("labs"),
        };
        let maker = VirtualMachines::new(&config);
        assert_eq!(maker.machines().unwrap(), []);
        for machine in ["node1", "node2.new"] {
            fs::create_dir_all(maker.folder(machine)).unwrap();
        }
        let mut found = maker.machines().unwrap();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [("node1", MachineState::Stopped), ("node2", MachineState::Unfinished)]
            .map(|(n, s)| (n.to_owned(), s));
        assert_eq!(found, expected);
        assert!(matches!(maker.control("node1", Control::Pause), Err(Error::MachineOff { .. })));
        maker.remove(&["node1", "node2", "node3"]).unwrap();
        assert_eq!(maker.machines().unwrap(), []);
    }

    #[test]
    fn a_machine_knows_who_it_is_from_its_kernels_arguments() {
        let lab = LabSpec::default();
        let image = Image { name: String::new(), _lock: fs::File::open("/dev/null").unwrap() };
        let order = Order {
            machine: &lab.machines[1],
            lab: &lab,
            image: &image,
            authorized_key: "ssh-ed25519 AAAA x",
        };
        let (one, other) = (hardware(&order).unwrap(), hardware(&order).unwrap());
        assert_eq!(
            one.identity.join(" "),
            "lab.hostname=node2 lab.address=10.146.225.5/24 lab.router=10.146.225.1 lab.nameservers=10.146.225.1 \
             lab.authorized_key=ssh-ed25519,AAAA,x"
        );
        assert_eq!(one.mac, "52:54:0a:92:e1:05");
        assert_ne!(one.uuid, other.uuid, "a machine that is made anew is another one");
    }
}
