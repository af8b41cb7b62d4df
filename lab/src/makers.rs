//! The makers there are.

use crate::config::LabConfig;
use crate::containers::Containers;
use crate::maker::Maker;
use crate::spec::MakerKind;
use crate::virtual_machines::VirtualMachines;

impl MakerKind {
    /// The maker of a lab's machines. Nothing is made or looked at yet.
    pub(crate) fn open(self, lab: &LabConfig) -> Box<dyn Maker> {
        match self {
            Self::Container => Box::new(Containers::new(lab)),
            Self::VirtualMachine => Box::new(VirtualMachines::new(lab)),
        }
    }
}
