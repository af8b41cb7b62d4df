//! The image of virtual machines: a folder with a disk, a kernel and its initial RAM disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::debian::{Recipe, Script};
use crate::error::{Error, file_error};
use crate::program::{self, command};
use crate::progress::Step;

/// The size of a machine's disk. It is sparse: what is free takes no room on the host.
const DISK_GIB: u64 = 20;
const DISK_LIMIT: Duration = Duration::from_secs(600);
const COPY_LIMIT: Duration = Duration::from_secs(600);
/// What an image, and a machine, consists of.
const DISK: &str = "disk.raw";
const KERNEL: &str = "vmlinuz";
const INITRD: &str = "initrd";

pub(super) const RECIPE: Recipe = Recipe {
    prefix: "vm-",
    packages: ",udev,apparmor,initramfs-tools,linux-image-cloud-amd64",
    before: &[Script {
        name: "virtual_machine_kernel.sh",
        text: include_str!("../../assets/virtual_machine_kernel.sh"),
    }],
    after: &[Script { name: "virtual_machine.sh", text: include_str!("../../assets/virtual_machine.sh") }],
    files: &[
        Script { name: "first_boot.sh", text: crate::debian::FIRST_BOOT },
        Script {
            name: "virtual_machine_boot.sh",
            text: include_str!("../../assets/virtual_machine_boot.sh"),
        },
    ],
    output: "root",
    finish: make_disk,
    needs_mib: 2048,
};

/// The files of an image, or of a machine, in its folder.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) disk: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
}

impl Files {
    pub(super) fn of(folder: &Path) -> Self {
        Self { disk: folder.join(DISK), kernel: folder.join(KERNEL), initrd: folder.join(INITRD) }
    }

    /// Copies them into a machine's folder: a machine stands on its own, whatever becomes of the image.
    pub(super) fn copy_to(&self, folder: &Path) -> Result<(), Error> {
        let mut copy = command("cp", ["--sparse=always", "--reflink=auto", "--"]);
        copy.args([&self.disk, &self.kernel, &self.initrd]).arg(folder);
        program::output("copying the machine image", copy, COPY_LIMIT).map(drop)
    }
}

/// Makes the image of a root file system in the folder `work/root`.
fn make_disk(work: &Path, step: Step<'_>) -> Result<&'static str, Error> {
    step.say("making a disk of it");
    let (root, image) = (work.join("root"), work.join("image"));
    fs::create_dir_all(&image).map_err(file_error("cannot make", &image))?;
    let files = Files::of(&image);
    let boot = root.join("boot");
    for entry in fs::read_dir(&boot).map_err(file_error("cannot read", &boot))? {
        let path = entry.map_err(file_error("cannot read", &boot))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let copy = match name.split_once('-') {
            Some(("vmlinuz", _)) => &files.kernel,
            Some(("initrd.img", _)) => &files.initrd,
            _ => continue,
        };
        fs::copy(&path, copy).map_err(file_error("cannot copy", &path))?;
    }
    let mut format = command("mke2fs", ["-q", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1"]);
    format.arg("-d").arg(&root).arg(&files.disk).arg(format!("{DISK_GIB}G"));
    program::output("mke2fs", format, DISK_LIMIT)?;
    Ok("image")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_gets_its_own_copy_of_everything() {
        let folder = tempfile::tempdir().unwrap();
        let (image, machine) = (folder.path().join("image"), folder.path().join("machine"));
        for folder in [&image, &machine] {
            fs::create_dir(folder).unwrap();
        }
        let files = Files::of(&image);
        for path in [&files.disk, &files.kernel, &files.initrd] {
            fs::write(path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
        }
        files.copy_to(&machine).unwrap();
        assert_eq!(fs::read_to_string(Files::of(&machine).disk).unwrap(), "disk.raw");
        fs::remove_file(&files.kernel).unwrap();
        assert!(files.copy_to(&machine).is_err());
    }
}
