//! QEMU's command line, and its processes. All that is known of a machine that is on is its process: it carries the
//! machine's mark in its arguments, so that it is found even if all files are gone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disk_image::Files;
use crate::error::{Error, file_error};
use crate::maker::MachineState;
use crate::program::{self, command};
use crate::waiting::Wait;

/// The program, for machines of the architecture that images are made for.
pub(super) const PROGRAM: &str = "qemu-system-x86_64";
/// QEMU is in the background when its devices are there: a second, or several on a busy host.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a process that was killed may be seen.
const END_LIMIT: Duration = Duration::from_secs(30);
const END_PAUSE: Duration = Duration::from_millis(50);
/// The kernel's arguments that all machines have. The device names are those of container machines.
const KERNEL_ARGUMENTS: &str = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off";

/// What a machine is made as: what its firmware and its network card would hold. Kept in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hardware {
    pub(super) memory_mib: u64,
    pub(super) mac: String,
    pub(super) uuid: String,
    /// The arguments of its kernel by which it knows who it is: `lab.hostname=node1`.
    pub(super) identity: Vec<String>,
}

/// What executes the machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Processor {
    /// The host's processor, by KVM.
    Host,
    /// QEMU itself, 15 to 50 times slower.
    Emulated,
}

impl Processor {
    /// What this host can do. `/dev/kvm` alone proves nothing: in a virtual machine without nested virtualisation it
    /// may be there, and QEMU then ends with an assertion.
    pub(super) fn of_host() -> Self {
        let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        if Path::new("/dev/kvm").exists() { Self::from_flags(&flags) } else { Self::Emulated }
    }

    fn from_flags(cpuinfo: &str) -> Self {
        if cpuinfo.split_whitespace().any(|flag| ["vmx", "svm"].contains(&flag)) {
            Self::Host
        } else {
            Self::Emulated
        }
    }
}

/// The files beside a machine's disk.
#[derive(Debug)]
pub(super) struct Folder<'a>(pub(super) &'a Path);

impl Folder<'_> {
    pub(super) fn console(&self) -> PathBuf {
        self.0.join("console.log")
    }

    /// Run by QEMU to connect the network device.
    pub(super) fn attach_tap(&self) -> PathBuf {
        self.0.join("attach_tap.sh")
    }

    /// The socket of QEMU's monitor.
    fn monitor(&self) -> PathBuf {
        self.0.join("monitor")
    }
}

/// Tells a machine's process from all others: no name of a lab or machine has a slash.
pub(super) fn mark(lab: &str, machine: &str) -> String {
    format!("muster-lab/{lab}/{machine}")
}

/// QEMU's arguments for a machine.
pub(super) fn arguments(
    mark: &str,
    folder: &Folder<'_>,
    hardware: &Hardware,
    processor: Processor,
) -> Vec<String> {
    // QEMU reads a comma in a value as the beginning of the next option, and two as one.
    let path = |path: PathBuf| path.display().to_string().replace(',', ",,");
    let files = Files::of(folder.0);
    let (accelerator, model) = match processor {
        Processor::Host => ("kvm", "host"),
        Processor::Emulated => ("tcg,thread=multi", "max"),
    };
    let kernel_arguments = format!("{KERNEL_ARGUMENTS} {}", hardware.identity.join(" "));
    [
        // First, because machines are found by these two words.
        &["-name", mark][..],
        &["-machine", "q35", "-accel", accelerator, "-cpu", model],
        &["-smp", "2", "-m", &format!("{}M", hardware.memory_mib), "-uuid", &hardware.uuid],
        // No devices but these, so that nothing of the host is seen.
        &["-nodefaults", "-no-user-config", "-display", "none", "-device", "virtio-rng-pci"],
        &["-chardev", &format!("file,id=console,append=on,path={}", path(folder.console()))],
        &["-serial", "chardev:console"],
        &["-qmp", &format!("unix:{},server=on,wait=off", path(folder.monitor()))],
        // A disk need not survive the host's own power cut, only the machine's: QEMU may leave writing to the host.
        &["-drive", &format!("file={},format=raw,if=none,id=disk,cache=unsafe", path(files.disk))],
        &["-device", "virtio-blk-pci,drive=disk"],
        &["-netdev", &format!("tap,id=network,downscript=no,script={}", path(folder.attach_tap()))],
        &["-device", &format!("virtio-net-pci,netdev=network,romfile=,mac={}", hardware.mac)],
        &["-kernel", &files.kernel.display().to_string(), "-initrd", &files.initrd.display().to_string()],
        &["-append", &kernel_arguments, "-daemonize"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

/// Switches a machine on, with a command that runs QEMU in the lab's network.
pub(super) fn start(mut qemu: Command, arguments: &[String], mark: &str) -> Result<(), Error> {
    qemu.args(arguments);
    program::output(&format!("starting {mark} with {PROGRAM}"), qemu, START_LIMIT).map(drop)
}

/// A machine that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: u32,
    is_frozen: bool,
}

/// The machines of a lab that are on, by name.
pub(super) fn running(lab: &str) -> Result<BTreeMap<String, Process>, Error> {
    let prefix = mark(lab, "");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").map_err(file_error("cannot read", "/proc"))?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has ended meanwhile is no machine.
        let read = |file| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        if let Some(machine) = machine_of(&read("cmdline"), &prefix) {
            found.insert(machine.to_owned(), Process { pid, is_frozen: is_frozen(&read("stat")) });
        }
    }
    Ok(found)
}

/// The machine that a process is, by its arguments, each ended by NUL (proc(5)).
fn machine_of<'a>(cmdline: &'a str, prefix: &str) -> Option<&'a str> {
    let mut words = cmdline.split('\0');
    let program = Path::new(words.next()?).file_name()?;
    let is_mark = program == PROGRAM && words.next()? == "-name";
    words.next().filter(|_| is_mark)?.strip_prefix(prefix)
}

/// Whether a process is stopped, from the field after its name in parentheses (proc(5), `stat`).
fn is_frozen(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
}

impl Process {
    pub(super) fn state(self) -> MachineState {
        if self.is_frozen { MachineState::Paused } else { MachineState::Running }
    }

    /// Stops its processors: its devices are QEMU's and fall silent with it.
    pub(super) fn freeze(self) -> Result<(), Error> {
        self.signal("STOP")
    }

    /// Lets them go on.
    pub(super) fn thaw(self) -> Result<(), Error> {
        self.signal("CONT")
    }

    /// Cuts the power.
    pub(super) fn kill(self) -> Result<(), Error> {
        self.signal("KILL")?;
        if self.wait_for_end(END_LIMIT)? {
            return Ok(());
        }
        Err(Error::TimedOut { what: "ending QEMU".to_owned(), limit: END_LIMIT, tail: String::new() })
    }

    /// Waits until it is off; false when it still is on after the limit.
    pub(super) fn wait_for_end(self, limit: Duration) -> Result<bool, Error> {
        // Without arguments a process has ended and only waits to be collected.
        let cmdline = format!("/proc/{}/cmdline", self.pid);
        let has_ended = || fs::read(&cmdline).map_or(true, |words| words.is_empty());
        let ended = Wait::new(limit, END_PAUSE).until(|_| Ok(has_ended().then_some(())))?;
        Ok(ended.is_some())
    }

    fn signal(self, signal: &str) -> Result<(), Error> {
        let kill = command("sh", ["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &self.pid.to_string()]);
        program::output(&format!("sending {signal} to QEMU"), kill, Duration::from_secs(30)).map(drop)
    }
}

/// Presses the power button of a machine that is on: its system shuts down in good order, and QEMU then ends.
pub(super) fn press_power_button(folder: &Folder<'_>) -> Result<(), Error> {
    let socket = folder.monitor();
    press(&socket).map_err(file_error("cannot reach QEMU's monitor at", &socket))
}

/// The protocol is QMP: a greeting, then commands, each answered by a line (QEMU's "QMP specification").
fn press(socket: &Path) -> io::Result<()> {
    let mut monitor = UnixStream::connect(socket)?;
    monitor.set_read_timeout(Some(Duration::from_secs(30)))?;
    monitor.write_all(b"{\"execute\": \"qmp_capabilities\"}\n{\"execute\": \"system_powerdown\"}\n")?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !String::from_utf8_lossy(&answer).contains("\"POWERDOWN\"") {
        match monitor.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&piece[..length]),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware() -> Hardware {
        Hardware {
            memory_mib: 3072,
            mac: "52:54:0a:92:e1:04".to_owned(),
            uuid: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6".to_owned(),
            identity: vec!["lab.hostname=node1".to_owned()],
        }
    }

    #[test]
    fn a_machine_is_found_by_the_arguments_it_is_started_with() {
        let folder = Folder("/s/a,b".as_ref());
        let words = arguments(&mark("course", "node1"), &folder, &hardware(), Processor::Emulated);
        assert!(words.contains(&"file=/s/a,,b/disk.raw,format=raw,if=none,id=disk,cache=unsafe".to_owned()));
        assert!(words.contains(&"/s/a,b/vmlinuz".to_owned()), "{words:?}");
        assert!(words.iter().any(|word| word.ends_with("mitigations=off lab.hostname=node1")), "{words:?}");
        let cmdline = format!("/usr/bin/{PROGRAM}\0{}\0", words.join("\0"));
        assert_eq!(machine_of(&cmdline, &mark("course", "")), Some("node1"));
        assert_eq!(machine_of(&cmdline, &mark("cours", "")), None);
        let other = cmdline.replace(PROGRAM, "grep");
        assert_eq!(machine_of(&other, &mark("course", "")), None);
        assert_eq!(machine_of("", &mark("course", "")), None);
    }

    #[test]
    fn kvm_is_used_only_where_the_processor_has_it() {
        assert_eq!(Processor::from_flags("flags\t: fpu vmx sse2\n"), Processor::Host);
        assert_eq!(Processor::from_flags("flags\t: fpu svm_lock sse2\n"), Processor::Emulated);
        let words = arguments("x", &Folder("/s".as_ref()), &hardware(), Processor::Host);
        assert!(words.windows(2).any(|pair| pair == ["-cpu", "host"]), "{words:?}");
    }

    #[test]
    fn frozen_processes_are_told_by_their_state() {
        assert!(is_frozen("12 (qemu) x) T 1 12 12"));
        assert!(!is_frozen("12 (qemu T) S 1 12 12") && !is_frozen(""));
    }

    #[test]
    fn the_button_is_pressed_when_qemu_says_so() {
        use std::io::{BufRead, BufReader};
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder(folder.path());
        assert!(press_power_button(&folder).unwrap_err().to_string().contains("monitor"));
        let listener = UnixListener::bind(folder.monitor()).unwrap();
        let qemu = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"{\"QMP\": {}}\n").unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let asked: Vec<_> = lines.take(2).map(Result::unwrap).collect();
            stream.write_all(b"{\"return\": {}}\n{\"event\": \"POWER").unwrap();
            stream.write_all(b"DOWN\"}\n").unwrap();
            asked
        });
        press_power_button(&folder).unwrap();
        assert!(qemu.join().unwrap()[1].contains("system_powerdown"));
    }
}
