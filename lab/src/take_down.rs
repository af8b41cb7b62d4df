//! Taking a lab down: whatever there is of it, also after runs that were cut off.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use crate::error::{Error, file_error};
use crate::folder_lock;
use crate::lab::Lab;
use crate::maker::{MachineState, Maker, settled};
use crate::progress::{ProgressFn, Step};
use crate::required_programs::require_root;
use crate::spec::MakerKind;
use crate::waiting::Wait;

/// How long we look for machines that their maker goes on making after the run that wanted them was killed. The
/// container engine takes 1 to 2 s for one.
const LATECOMER_LIMIT: Duration = Duration::from_secs(5);
const LATECOMER_PAUSE: Duration = Duration::from_millis(500);

impl Lab {
    /// Removes the lab: machines with their disks, network, key and record, and what its maker keeps only as long as a
    /// lab uses it. Says whether there was anything.
    ///
    /// # Errors
    /// What could not be removed; the same call may be tried again.
    pub fn down(&self, report: &ProgressFn<'_>) -> Result<bool, Error> {
        require_root()?;
        let step = |what, number| Step { what, number: (number, 3), report };
        let folder = self.config().folder();
        // Without a record there may still be machines, if somebody removed it by hand.
        let lock =
            if folder.exists() { Some(folder_lock::wait(&folder, step("machines", 1))?) } else { None };
        let makers = self.possible_makers();
        let mut found = false;
        for maker in &makers {
            found |= self.remove_machines(&**maker, step("machines", 1))?;
        }
        step("network", 2).say("removing");
        for maker in &makers {
            found |= settled(|| maker.remove_network())?;
        }
        step("files", 3).say("removing key, record and unused image");
        if folder.exists() {
            found = true;
            fs::remove_dir_all(&folder).map_err(file_error("cannot remove", &folder))?;
        }
        // The folder of all labs goes with the last one.
        let labs = &self.config().state_dir;
        match fs::remove_dir(labs) {
            Err(error) if !matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
                return Err(file_error("cannot remove", labs)(error));
            }
            _ => {}
        }
        // A run that brings this lab up holds the image's lock while it waits for this one.
        drop(lock);
        if found {
            makers.iter().try_for_each(|maker| maker.remove_unused_images(step("files", 3)))?;
        }
        Ok(found)
    }

    /// The makers that may have machines of this lab: the record's, or all of them where there is no record or a
    /// broken one, which is no reason to keep the lab.
    fn possible_makers(&self) -> Vec<Box<dyn Maker>> {
        let kinds = match self.record() {
            Ok(Some(spec)) => vec![spec.maker],
            _ => MakerKind::ALL.to_vec(),
        };
        kinds.into_iter().map(|kind| kind.open(self.config())).collect()
    }

    /// Removes the machines of a maker; says whether there were any.
    fn remove_machines(&self, maker: &dyn Maker, step: Step<'_>) -> Result<bool, Error> {
        let recorded = self.record().ok().flatten().map_or(0, |spec| spec.machines.len());
        let (mut removed, mut unfinished) = (0, false);
        Wait::new(LATECOMER_LIMIT, LATECOMER_PAUSE).until(|_| {
            let present = maker.machines()?;
            if !present.is_empty() {
                step.say(&format!("removing {}", present.len()));
                let names: Vec<&str> = present.iter().map(|(name, _)| name.as_str()).collect();
                settled(|| maker.remove(&names))?;
                removed += names.len();
                unfinished |= present.iter().any(|(_, state)| *state == MachineState::Unfinished);
            }
            // Where a run was killed, the maker may still be making a machine, and that one would stay: it comes
            // into the list late, and even again after its removal.
            if !unfinished && removed >= recorded {
                return Ok(Some(()));
            }
            step.say("a run was cut off: waiting for machines that may still be being made");
            Ok::<_, Error>(None)
        })?;
        Ok(removed > 0)
    }
}
