//! Bringing a lab up, the whole of it or what is missing.

use std::fs;
use std::thread;

use crate::error::{Error, file_error};
use crate::folder_lock;
use crate::lab::{Lab, UpOptions, state_of};
use crate::maker::{Control, MachineState, Maker, Order, settled};
use crate::progress::{ProgressFn, Step};
use crate::required_programs::require_root;
use crate::spec::{LabSpec, MachineSpec};

impl Lab {
    /// Brings the lab up and waits until all machines can be used. A lab that is up as wished stays as it is;
    /// machines of it that are off, frozen or missing are mended.
    ///
    /// # Errors
    /// Whatever keeps a lab from coming up; the same call may be tried again.
    pub fn up(&self, options: &UpOptions, report: &ProgressFn<'_>) -> Result<(), Error> {
        let all: Vec<&MachineSpec> = options.spec.machines.iter().collect();
        self.bring_up(options, &all, report)
    }

    /// Replaces a machine by a new one of the same name and address, as a re-imaged PC: empty disk, new host keys.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn reimage(&self, machine: &str, report: &ProgressFn<'_>) -> Result<(), Error> {
        let machine = self.machine(machine)?;
        let spec = self.require_record()?;
        spec.maker.open(self.config()).remove(&[machine.name.as_str()])?;
        self.bring_up(&UpOptions { spec, install: false }, &[&machine], report)
    }

    /// Brings up some machines of a lab, with all that they need.
    fn bring_up(
        &self,
        options: &UpOptions,
        machines: &[&MachineSpec],
        report: &ProgressFn<'_>,
    ) -> Result<(), Error> {
        let spec = &options.spec;
        spec.validate()?;
        require_root()?;
        let of = 3 + machines.len();
        let step = |what, number| Step { what, number: (number, of), report };
        let maker = spec.maker.open(self.config());

        let begin = step("preparation", 1);
        maker.prepare(spec, options.install, begin)?;
        self.refuse_other_machines(&*maker, spec)?;
        maker.refuse_conflicts(spec)?;

        let image = maker.ensure_image(spec.release, step("machine image", 2))?;

        let folder = self.config().folder();
        fs::create_dir_all(&folder).map_err(file_error("cannot make", &folder))?;
        let _lock = folder_lock::wait(&folder, begin)?;
        // Another run may have been faster.
        self.refuse_other_machines(&*maker, spec)?;
        // Before anything is made that `down` would have to find.
        self.write_record(spec)?;
        let authorized_key = self.access().ensure_key(self.name())?;
        if let Some(defaults) = maker.cluster_defaults() {
            self.access().write_cluster_defaults(defaults)?;
        }
        let networking = step("network", 3);
        networking.say(&format!("{} with the controller at {}", spec.subnet, spec.router()));
        maker.ensure_network(spec)?;

        let steps: Vec<_> =
            (4..).zip(machines).map(|(number, machine)| (*machine, step(&machine.name, number))).collect();
        let order = |machine| Order { machine, lab: spec, image: &image, authorized_key: &authorized_key };
        on_each(&steps, |machine, step| settled(|| switch_on(&*maker, &order(machine), step)))?;
        drop(image);
        on_each(&steps, |machine, step| self.wait_for(&*maker, machine, step))
    }

    fn refuse_other_machines(&self, maker: &dyn Maker, want: &LabSpec) -> Result<(), Error> {
        let of_another_maker = match self.record().ok().flatten() {
            Some(have) if have.maker != want.maker => have.maker.open(self.config()).machines()?,
            _ => Vec::new(),
        };
        if of_another_maker.is_empty() && maker.machines()?.is_empty() {
            return Ok(());
        }
        match self.record()? {
            Some(have) if have == *want => Ok(()),
            have => Err(Error::UpWithOtherMachines {
                name: self.name().to_owned(),
                have: have
                    .map_or("machines that its record does not know".to_owned(), |have| have.to_string()),
                want: want.to_string(),
            }),
        }
    }
}

fn switch_on(maker: &dyn Maker, order: &Order<'_>, step: Step<'_>) -> Result<(), Error> {
    let machine = order.machine;
    match state_of(&maker.machines()?, &machine.name) {
        MachineState::Missing => {
            step.say(&format!("starting at {}", machine.address));
            maker.create(order)
        }
        MachineState::Unfinished => {
            step.say("was left unfinished: making it again");
            maker.remove(&[&machine.name])?;
            maker.create(order)
        }
        MachineState::Stopped => {
            step.say("was off: starting again");
            maker.control(&machine.name, Control::Start)
        }
        MachineState::Paused => {
            step.say("was paused: going on");
            maker.control(&machine.name, Control::Unpause)
        }
        MachineState::Running | MachineState::Restarting => Ok(()),
    }
}

/// Does something to all machines at the same time; the error is that of the first machine that has one.
fn on_each<'a>(
    machines: &[(&'a MachineSpec, Step<'a>)],
    deed: impl Fn(&'a MachineSpec, Step<'a>) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let deed = &deed;
    thread::scope(|scope| {
        let running: Vec<_> =
            machines.iter().map(|(machine, step)| scope.spawn(move || deed(machine, *step))).collect();
        let results: Vec<_> = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        results.into_iter().collect()
    })
}
