//! `muster lab`: machines to try things on.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use muster_engine::script::quote;
use muster_inventory::expand_hosts;
use muster_lab::{Control, Error, Ipv4Net, Lab, LabConfig, LabSpec, MakerKind, Progress, Release, UpOptions};

use crate::environment::{Environment, THROUGH};
use crate::error::{CommandError, Exit};
use crate::output::print;
use crate::output::text;

/// Machines to try things on, with systemd and sshd, on a network that has no way out
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    /// Which lab; several can be up side by side, each with its own subnet
    #[arg(long, global = true, default_value = muster_lab::DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Start machines, by default node1, node2, node3 at 10.146.225.4, .5, .6
    Up(UpArgs),
    /// Remove the lab: its machines with their disks, its network and its key
    Down,
    /// Show the machines and whether they are on; exit code 1 if the lab is not up
    Status,
    /// Run a command of this computer in the lab's network: muster lab exec -- setup-cluster '10.146.225.<4,5,6>'
    Exec {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Log in to a machine, or run a command on it
    Ssh {
        /// node1, 10.146.225.4 or admin@node1 (root, if no name is given)
        machine: String,
        /// The command; a shell if none
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Show a machine's journal, or the last words on its console if it is off
    Logs {
        /// node1 or 10.146.225.4
        machine: String,
        /// Arguments of journalctl, such as -f or -u kubelet
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Start machines that are off
    Start(MachineArgs),
    /// Shut machines down
    Stop(MachineArgs),
    /// Cut the power of machines
    Kill(MachineArgs),
    /// Reboot machines
    Restart(MachineArgs),
    /// Freeze machines: connections to them hang
    Pause(MachineArgs),
    /// Resume frozen machines
    Unpause(MachineArgs),
    /// Replace machines by new ones of the same name and address: empty disks, new host keys
    Reimage(MachineArgs),
}

#[derive(Debug, Args)]
struct MachineArgs {
    /// node1 or 10.146.225.4
    #[arg(required = true, value_name = "MACHINE")]
    machines: Vec<String>,
}

#[derive(Debug, Args)]
struct UpArgs {
    /// Addresses of the machines: 10.146.226.11 .12 .13, or '10.146.226.[11:13]'
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// How many machines, if no addresses are given
    #[arg(short = 'n', long, value_name = "N", default_value_t = 3, conflicts_with = "addresses")]
    machines: usize,
    /// Their network; its first address is this computer's [default: the /24 network of the first address]
    #[arg(long, value_name = "CIDR")]
    subnet: Option<Ipv4Net>,
    /// What makes the machines: container (Docker), or vm (QEMU; slow without KVM, but each has a kernel of its own)
    #[arg(long, default_value = "container", value_name = "MAKER")]
    maker: MakerKind,
    /// The release of Debian: 12 or 13
    #[arg(long, default_value = "12", value_name = "RELEASE")]
    debian: Release,
    /// The memory of each machine (2G), or of one (node3=512M); may be repeated [default: no limit for containers, 3G
    /// for virtual machines]
    #[arg(long, value_name = "[NODE=]SIZE")]
    memory: Vec<String>,
    /// Name server in the machines' /etc/resolv.conf; may be repeated. None answers [default: the lab's router]
    #[arg(long = "nameserver", value_name = "ADDRESS")]
    nameservers: Vec<Ipv4Addr>,
    /// Give machines and router addresses of IPv6, too: fd00:10:146:225::4 beside 10.146.225.4; containers only
    #[arg(long)]
    ipv6: bool,
    /// Install missing programs (Docker or QEMU, mmdebstrap, ...) with apt
    #[arg(long)]
    install: bool,
}

/// Runs `muster lab`.
pub(crate) fn run(args: LabArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let lab = open(&args.name, environment)?;
    let printer = Printer::new();
    let report = |progress: Progress<'_>| printer.print(progress);
    match args.command {
        LabCommand::Up(up) => {
            let options = UpOptions { spec: up.spec()?, install: up.install };
            lab.up(&options, &report)?;
            print::data(&format!(
                "lab {} is up after {}: {}\n",
                lab.name(),
                printer.elapsed(),
                options.spec
            ))?;
        }
        LabCommand::Down => {
            let end = if lab.down(&report)? { "is gone" } else { "was not up" };
            print::data(&format!("lab {} {end}, {}\n", lab.name(), printer.elapsed()))?;
        }
        LabCommand::Status => return status(&lab),
        LabCommand::Exec { command } => {
            let (program, arguments) =
                command.split_first().ok_or_else(|| CommandError::usage("there is no command to run"))?;
            let mut inside = lab.command(program)?;
            inside.args(arguments);
            let name = match lab.name() {
                muster_lab::DEFAULT_NAME => String::new(),
                name => format!("--name {} ", quote(name)),
            };
            inside.env(THROUGH, format!("muster lab {name}exec --"));
            find_own_programs(&mut inside, environment)?;
            return Err(become_command(inside));
        }
        LabCommand::Ssh { machine, command } => {
            let mut ssh = lab.ssh(&machine)?;
            ssh.args(command);
            return Err(become_command(ssh));
        }
        LabCommand::Logs { machine, arguments } => {
            let mut logs = lab.logs(&machine)?;
            logs.args(arguments);
            return Err(become_command(logs));
        }
        LabCommand::Start(args) => control(&lab, &args, Control::Start, &report)?,
        LabCommand::Stop(args) => control(&lab, &args, Control::Stop, &report)?,
        LabCommand::Kill(args) => control(&lab, &args, Control::Kill, &report)?,
        LabCommand::Restart(args) => control(&lab, &args, Control::Restart, &report)?,
        LabCommand::Pause(args) => control(&lab, &args, Control::Pause, &report)?,
        LabCommand::Unpause(args) => control(&lab, &args, Control::Unpause, &report)?,
        LabCommand::Reimage(args) => {
            for machine in &args.machines {
                lab.reimage(machine, &report)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// The lab of a name, up or not.
///
/// # Errors
/// No lab can be called so, or there is no place for what is kept of labs.
pub(crate) fn open(name: &str, environment: &Environment) -> Result<Lab, CommandError> {
    let (cache_dir, state_dir) = (environment.cache_dir()?, state_dir(environment)?);
    Ok(Lab::open(LabConfig { name: name.to_owned(), cache_dir, state_dir })?)
}

/// All at once, as in a power cut; machines that boot are waited for.
fn control(
    lab: &Lab,
    args: &MachineArgs,
    control: Control,
    report: &muster_lab::ProgressFn<'_>,
) -> Result<(), CommandError> {
    for machine in &args.machines {
        lab.control(machine, control)?;
    }
    if matches!(control, Control::Start | Control::Restart) {
        for machine in &args.machines {
            lab.wait_until_ready(machine, report)?;
        }
    }
    Ok(())
}

fn status(lab: &Lab) -> Result<Exit, CommandError> {
    let machines = lab.status()?;
    if machines.is_empty() {
        print::data(&format!("lab {} is not up\n", lab.name()))?;
        return Ok(Exit::No);
    }
    let mut lines = String::new();
    for machine in &machines {
        let muster_lab::MachineSpec { name, address, memory_mib } = &machine.spec;
        let memory = memory_mib.map_or(String::new(), |memory| format!("{memory} MiB"));
        let line = format!("{name:<12} {:<15} {:<10} {memory}", address.to_string(), machine.state);
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines.push_str(&format!("private key  {}\n", lab.private_key().display()));
    print::data(&lines)?;
    Ok(Exit::Done)
}

impl UpArgs {
    fn spec(&self) -> Result<LabSpec, CommandError> {
        let mut spec = if self.addresses.is_empty() {
            LabSpec::with_count(self.machines, self.subnet)?
        } else {
            LabSpec::with_addresses(addresses(&self.addresses)?)
        };
        if let Some(subnet) = self.subnet {
            spec.subnet = subnet.trunc();
        }
        spec.maker = self.maker;
        spec.release = self.debian;
        spec.nameservers.clone_from(&self.nameservers);
        spec.ipv6 = self.ipv6;
        for limit in &self.memory {
            limit_memory(&mut spec, limit)?;
        }
        Ok(spec)
    }
}

fn addresses(words: &[String]) -> Result<Vec<Ipv4Addr>, CommandError> {
    let hosts = expand_hosts(&words.join(" ")).map_err(CommandError::usage)?;
    let address = |host: &String| {
        host.parse().map_err(|_| {
            CommandError::usage(format!("{host:?} is not an IPv4 address, such as 10.146.226.11"))
        })
    };
    hosts.iter().map(address).collect()
}

/// `512M` for all machines, `node3=512M` for one.
fn limit_memory(spec: &mut LabSpec, limit: &str) -> Result<(), CommandError> {
    let (only, size) = limit.split_once('=').map_or((None, limit), |(name, size)| (Some(name), size));
    let number = |unit| size.strip_suffix(unit).and_then(|digits| digits.parse::<u64>().ok());
    let Some(mebibytes) = number('M').or_else(|| number('G')?.checked_mul(1024)) else {
        return Err(CommandError::usage(format!(
            "--memory {limit}: {size:?} is not a size, such as 512M or 2G"
        )));
    };
    let known: Vec<String> = spec.machines.iter().map(|machine| machine.name.clone()).collect();
    let mut limited =
        spec.machines.iter_mut().filter(|machine| only.is_none_or(|name| name == machine.name)).peekable();
    if limited.peek().is_none() {
        let error = CommandError::usage(format!("--memory {limit}: there is no such machine"));
        return Err(error.hint(format!("this lab would have {}", known.join(", "))));
    }
    limited.for_each(|machine| machine.memory_mib = Some(mebibytes));
    Ok(())
}

/// Replaces this process, so that streams, signals and the exit code are the command's own. Returns only where that is
/// impossible.
fn become_command(mut command: Command) -> CommandError {
    let error = command.exec();
    CommandError::failed(format!("cannot run {}: {error}", command.get_program().display()))
}

/// Lets a command find the programs that stand beside this one, muster and setup-cluster, by their names: in the
/// folder where they were called, and in the one where they really are.
fn find_own_programs(command: &mut Command, environment: &Environment) -> Result<(), CommandError> {
    let failed =
        |error: &dyn std::fmt::Display| CommandError::failed(format!("cannot tell where muster is: {error}"));
    let called = std::env::args_os().next().map(PathBuf::from).filter(|path| path.components().count() > 1);
    let called = called.map(std::path::absolute).transpose().map_err(|error| failed(&error))?;
    let real = std::env::current_exe().map_err(|error| failed(&error))?;
    let own =
        [called.as_deref(), Some(&real)].into_iter().flatten().filter_map(Path::parent).map(PathBuf::from);
    let path = environment.get("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(own.chain(std::env::split_paths(path))).map_err(|error| failed(&error))?;
    command.env("PATH", path);
    Ok(())
}

/// Where labs that are up keep their key and record (XDG Base Directory Specification).
fn state_dir(environment: &Environment) -> Result<PathBuf, CommandError> {
    let base = environment.path("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let base = base.or_else(|| environment.home().map(|home| home.join(".local/state")));
    base.map(|base| base.join("muster-labs")).ok_or_else(|| {
        CommandError::failed("there is no home directory to keep the lab's key in")
            .hint("set HOME, or XDG_STATE_HOME")
    })
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        let message = text::harmless_lines(&error.to_string());
        let told = match error {
            Error::BadName { .. } | Error::BadSpec { .. } | Error::NoSuchMachine { .. } => {
                Self::usage(message)
            }
            _ => Self::failed(message),
        };
        match error.remedy() {
            Some(remedy) => told.hint(remedy),
            None => told,
        }
    }
}

/// Progress as plain lines, each with the seconds since the beginning.
struct Printer {
    begin: Instant,
    last: Mutex<(String, Instant)>,
}

/// A line that says the same again is printed only after this long, as a sign of life.
const REPEAT: Duration = Duration::from_secs(5);

impl Printer {
    fn new() -> Self {
        let begin = Instant::now();
        Self { begin, last: Mutex::new((String::new(), begin)) }
    }

    fn elapsed(&self) -> String {
        text::duration(self.begin.elapsed())
    }

    fn print(&self, Progress { what, detail, step: (number, of) }: Progress<'_>) {
        let line = text::harmless(&format!("[{number}/{of}] {what}: {detail}"));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 == line && last.1.elapsed() < REPEAT {
            return;
        }
        print::note(&format!("{:>6}  {line}", self.elapsed()));
        *last = (line, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(words: &[&str]) -> Result<LabSpec, CommandError> {
        let command = UpArgs::augment_args(clap::Command::new("up").no_binary_name(true));
        let matches = command.try_get_matches_from(words).expect("clap understands the words");
        <UpArgs as clap::FromArgMatches>::from_arg_matches(&matches).expect("all options are there").spec()
    }

    #[test]
    fn machines_are_given_by_number_or_by_address() {
        assert_eq!(up(&[]).unwrap(), LabSpec::default());
        let told = |words: &[&str]| up(words).unwrap().to_string();
        assert_eq!(told(&["-n", "1"]), "1 machine with Debian 12: node1 10.146.225.4");
        let two = "2 machines with Debian 13: node1 10.1.2.11, node2 10.1.2.12";
        assert_eq!(told(&["--debian", "13", "10.1.2.11", ".12"]), two);
        assert_eq!(told(&["--debian", "trixie", "10.1.2.<11,12>"]), two);
        assert_eq!(up(&["-n", "1", "--subnet", "10.7.7.9/24"]).unwrap().subnet.to_string(), "10.7.7.0/24");
        assert_eq!(
            told(&["--maker", "vm", "-n", "1"]),
            "1 virtual machine with Debian 12: node1 10.146.225.4"
        );
    }

    #[test]
    fn memory_is_limited_for_all_or_for_one() {
        let memory = |words: &[&str]| -> Vec<Option<u64>> {
            up(words).unwrap().machines.iter().map(|machine| machine.memory_mib).collect()
        };
        assert_eq!(memory(&["-n", "2", "--memory", "2G", "--memory", "node2=512M"]), [Some(2048), Some(512)]);
        let error = up(&["--memory", "node9=1G"]).unwrap_err();
        assert_eq!(error.message, "--memory node9=1G: there is no such machine");
        assert_eq!(
            up(&["--memory", "12Q"]).unwrap_err().message,
            "--memory 12Q: \"12Q\" is not a size, such as 512M or 2G"
        );
    }

    #[test]
    fn what_is_no_address_is_named() {
        assert_eq!(
            up(&["node7"]).unwrap_err().message,
            "\"node7\" is not an IPv4 address, such as 10.146.226.11"
        );
    }
}
