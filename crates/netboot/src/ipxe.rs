//! Scripts of iPXE.

use crate::config::System;
use crate::machine::kernel_arguments;

/// The line below `#!ipxe` of every script that is made for a project. Only what has it is ever changed or removed.
pub(crate) fn mark(project: &str) -> String {
    format!("# Made by muster netboot render for the project {project}; changes are lost when it runs again.")
}

/// A whole script: its first two lines and the rest.
pub(crate) fn script(mark: &str, lines: &str) -> String {
    format!("#!ipxe\n{mark}\n{lines}")
}

/// How a machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The URL of the kernel.
    pub kernel: String,
    /// The URL of the initial file system.
    pub initrd: String,
    /// The URL of the system's root, which Fedora CoreOS fetches by itself.
    pub rootfs: Option<String>,
    /// What the kernel is told in addition.
    pub arguments: Vec<String>,
}

/// The script of one machine. It goes on trying: whoever comes to the classroom finds the machines booting when the server
/// answers again.
pub(crate) fn machine(name: &str, system: System, boot: &Boot, ignition: &str) -> String {
    let mut arguments: Vec<String> = vec!["initrd=main".to_owned()];
    arguments.extend(kernel_arguments(system).iter().map(|&argument| argument.to_owned()));
    arguments.push(format!("ignition.config.url={ignition}"));
    arguments.extend(boot.rootfs.iter().map(|url| format!("coreos.live.rootfs_url={url}")));
    arguments.extend(boot.arguments.iter().cloned());
    format!(
        ":begin\n\
         echo {name} boots {} from the network\n\
         kernel {} {} || goto failed\n\
         initrd --name main {} || goto failed\n\
         boot || goto failed\n\
         :failed\n\
         imgfree\n\
         prompt --key l --timeout 10000 {name} cannot boot from the network; next attempt in 10 s, or press l for the own disk || \
         goto begin\n\
         {LOCAL_DISK}",
        system.name(),
        boot.kernel,
        arguments.join(" "),
        boot.initrd,
    )
}

/// The script that a machine begins with: its own by the card it booted from, else by the name that DHCP gave it. Names are
/// relative to this script, so the folder may be served from anywhere.
pub(crate) fn first() -> String {
    "chain --replace mac/${netX/mac:hexhyp}.ipxe ||\n\
     chain --replace name/${hostname}.ipxe ||\n\
     chain --replace unknown.ipxe\n"
        .to_owned()
}

/// The script of a card: that of its machine.
pub(crate) fn card(name: &str) -> String {
    format!("chain --replace ../name/{name}.ipxe\n")
}

/// What a machine says that is not in the inventory.
pub(crate) fn unknown() -> String {
    format!(
        "echo\n\
         echo This machine is not in the inventory of muster, so it boots from its own disk.\n\
         echo To have it boot from the network, give one of the inventory's hosts this line:\n\
         echo     mac_address=${{netX/mac}}\n\
         echo (serial number ${{serial}}, UUID ${{uuid}}), and run: muster netboot render\n\
         sleep 10\n\
         {LOCAL_DISK}"
    )
}

/// UEFI's firmware tries the next entry when iPXE ends with a status; a BIOS starts the first disk.
const LOCAL_DISK: &str = "iseq ${platform} efi && exit 1 ||\nsanboot --no-describe --drive 0x80 || exit 1\n";
