//! `muster netboot`: what machines boot with that have no disk.

mod made;
mod sentence;
mod serve;
mod status;
mod wake;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use muster_app::{ConnectionOptions, Connections, Project, World};
use muster_artifacts::Sha256;
use muster_engine::resource::unified;
use muster_engine::script::quote;
use muster_files::write_whole;
use muster_inventory::HostVars;
use muster_netboot::{
    Authority, Change, Config, FolderError, HostKey, KeyError, KeyStore, LocalFiles, Machine, Made, Mistakes,
    Rendered, Settings, SettingsError, System,
};
use muster_roles::kubespray::{Remark, Verdict};

use crate::args::InventoryArgs;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::output::text::{self, count};
use crate::output::{CommandLine, print};

/// Where Flatcar is released, the stable channel (Flatcar's documentation, "Booting via iPXE").
const FLATCAR_RELEASES: &str = "https://stable.release.flatcar-linux.net/amd64-usr/current";
/// Where Fedora CoreOS is released.
const FEDORA_COREOS_RELEASES: &str = "https://fedoraproject.org/coreos/download?stream=stable";

/// Boot machines from the network: their configurations, boot scripts and host keys, and the servers that they boot from
#[derive(Debug, Args)]
pub(crate) struct NetbootArgs {
    #[command(subcommand)]
    command: NetbootCommand,
}

#[derive(Debug, Subcommand)]
enum NetbootCommand {
    /// Write the Ignition configuration and the iPXE script of each machine into a folder that a web server serves
    ///
    /// CONFIG is a Butane configuration (variant fcos or flatcar), or one in the older format of Container Linux. Everything that
    /// Ignition would refuse on the machine is found here. Each machine gets its name, the user that muster logs in as with its
    /// keys, and its host key, if there are such (muster netboot keys). A script or configuration of a machine that has left the
    /// inventory is removed.
    Render(RenderArgs),
    /// Give each machine a host key of SSH that outlasts its boots, certified by an authority of this project
    ///
    /// The authority and the keys are kept in credentials/ beside the inventory. What is printed is the line for known_hosts by which
    /// ssh and muster trust these machines, whatever keys they had before.
    Keys(KeysArgs),
    /// Answer the machines of a classroom that boot from the network: what to boot, iPXE, and the rendered folder
    ///
    /// The folder is served over HTTP at the address that netboot_url names, and dnsmasq answers DHCP and serves iPXE by TFTP, with a
    /// configuration that is made from the inventory. Beside a DHCP server that is there already only what to boot is said; with
    /// --dhcp it is the network's DHCP server, and refuses to be a second one. Nothing is answered on any other network interface.
    /// Each step of a machine is told in a line, and kept in a file beside the folder (muster netboot status). Needs root, and ends
    /// with Ctrl-C.
    Serve(serve::ServeArgs),
    /// Show the machines that boot from the network: how far each was, when, and whether it answers by SSH
    Status(status::StatusArgs),
    /// Switch machines on by Wake-on-LAN
    ///
    /// A magic packet for each network card of a machine (mac_address) is sent to everybody in the networks of an interface. Machines
    /// do not answer it; muster netboot status shows whether they boot.
    Wake(wake::WakeArgs),
}

#[derive(Debug, Args)]
struct RenderArgs {
    /// The configuration
    config: PathBuf,
    /// The folder to write into
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// The folder of the files that the configuration calls local [default: that of the configuration]
    #[arg(short = 'd', long, value_name = "DIR")]
    files_dir: Option<PathBuf>,
    /// Only these hosts: a pattern such as node1,node3
    #[arg(short, long, value_name = "PATTERN")]
    limit: Option<String>,
    /// Write nothing, show what would be written
    #[arg(short = 'C', long)]
    check: bool,
    /// Show the differences of the files; of configurations, which hold secrets, only that they differ
    #[arg(short = 'D', long)]
    diff: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
}

#[derive(Debug, Args)]
struct KeysArgs {
    /// Write the line into your known_hosts, in place of the one that is there for this authority
    #[arg(long)]
    trust: bool,
    /// Make nothing, show what would be made
    #[arg(short = 'C', long)]
    check: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
}

/// Runs `muster netboot`.
pub(crate) fn run(args: NetbootArgs, environment: &Environment) -> Result<Exit, CommandError> {
    match args.command {
        NetbootCommand::Render(args) => render(&args, environment),
        NetbootCommand::Keys(args) => keys(&args, environment),
        NetbootCommand::Serve(args) => serve::run(&args, environment),
        NetbootCommand::Status(args) => status::run(&args, environment),
        NetbootCommand::Wake(args) => wake::run(&args, environment),
    }
}

/// The inventory, with what is told of variables that were meant for this command; and the hosts of a pattern.
fn read_world(
    inventory: &InventoryArgs,
    limit: Option<&str>,
    environment: &Environment,
) -> Result<(World, Vec<String>), CommandError> {
    let frontend = CommandLine::plain(environment);
    let project = Project::find(&inventory.inventory, environment)?;
    let world = World::load(project, &inventory.into(), environment, &*frontend)?;
    world.tell_warnings(&*frontend);
    world.tell_remarks(is_of_netboot, &*frontend)?;
    let hosts = world.select(limit)?;
    Ok((world, hosts))
}

/// The machines, and how they are reached.
struct Classroom {
    world: World,
    hosts: Vec<String>,
    connections: Connections,
    keys: KeyStore,
}

impl Classroom {
    fn read(
        inventory: &InventoryArgs,
        limit: Option<&str>,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let frontend = CommandLine::plain(environment);
        let (world, hosts) = read_world(inventory, limit, environment)?;
        let options = ConnectionOptions::default();
        let connections = Connections::new(&world, &hosts, &options, environment, &frontend, None)?;
        let keys = KeyStore::new(world.project.inventory_dir.join("credentials"));
        Ok(Self { world, hosts, connections, keys })
    }

    fn vars(&self, host: &str) -> Result<HostVars, CommandError> {
        Ok(self.world.vars.host(host)?)
    }

    /// All names and addresses that a machine is reached by, as known_hosts has them.
    fn names(&self, host: &str) -> Result<Vec<String>, CommandError> {
        let vars = self.vars(host)?;
        let mut names = vec![host.to_owned()];
        if let Some(ssh) = self.connections.get(host) {
            let target = ssh.target();
            names.push(target.host.clone());
            names.extend(target.host_key_alias.clone());
        }
        for variable in ["kube_override_hostname", "ip", "access_ip"] {
            names.extend(vars.get(variable)?.and_then(|value| value.as_str().map(str::to_owned)));
        }
        let mut known: Vec<String> = Vec::new();
        for name in names.into_iter().map(|name| name.to_lowercase()).filter(|name| !name.is_empty()) {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        Ok(known)
    }

    /// The public halves of the keys that muster would log in with.
    fn public_keys(&self, host: &str) -> Vec<String> {
        let files = self.connections.get(host).map(|ssh| ssh.identity_files()).unwrap_or_default();
        let public = files.iter().filter_map(|file| {
            let mut name = file.as_os_str().to_owned();
            name.push(".pub");
            fs::read_to_string(PathBuf::from(name)).ok()
        });
        public
            .map(|text| text.trim().to_owned())
            .filter(|line| !line.is_empty() && !line.contains('\n'))
            .collect()
    }

    /// All machines, or what is wrong with any of them.
    fn machines(
        &self,
        config: &Config,
        authority: Option<&Authority>,
    ) -> Result<Vec<(Machine, Settings)>, CommandError> {
        let settings = settings_of(&self.world, &self.hosts, config.system)?;
        let host_keys = match authority {
            Some(authority) => self.host_keys(authority)?.into_iter().map(Some).collect(),
            None => vec![None; self.hosts.len()],
        };
        let machine = |((host, settings), host_key): ((&String, Settings), _)| {
            let user = self.connections.get(host).map(|ssh| ssh.target().user.clone()).unwrap_or_default();
            let keys = settings.keys.iter().cloned().chain(self.public_keys(host)).collect();
            let hostname = settings.hostname.clone();
            (Machine { name: host.clone(), hostname, user, keys, host_key }, settings)
        };
        Ok(self.hosts.iter().zip(settings).zip(host_keys).map(machine).collect())
    }

    fn host_keys(&self, authority: &Authority) -> Result<Vec<HostKey>, CommandError> {
        let mut keys = Vec::new();
        let mut without: Vec<(String, Vec<&str>)> = Vec::new();
        for host in &self.hosts {
            match self.keys.host_key(authority, host, &self.names(host)?, SystemTime::now())? {
                Ok(key) => keys.push(key),
                Err(why) => match without.iter_mut().find(|(known, _)| *known == why) {
                    Some((_, hosts)) => hosts.push(host),
                    None => without.push((why, vec![host])),
                },
            }
        }
        if without.is_empty() {
            return Ok(keys);
        }
        let told = |(why, hosts): &(String, Vec<&str>)| {
            format!("{} cannot boot with a host key of this project: {why}", text::some_names(hosts))
        };
        let all: Vec<String> = without.iter().map(told).collect();
        let command = self.world.project.command(&["muster", "netboot", "keys"], 3);
        Err(CommandError::failed(all.join("\n")).hint(command))
    }

    /// That the folder that everybody is served is not one that holds the project's private keys.
    fn check_folder(&self, output: &Path) -> Result<(), CommandError> {
        let absolute = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
        let (Ok(folder), Ok(keys)) = (absolute(output), absolute(&self.world.project.inventory_dir)) else {
            return Ok(());
        };
        if !keys.join("credentials").starts_with(&folder) {
            return Ok(());
        }
        let message = format!(
            "{} holds the private keys of this project ({}), and what is in it is served to everybody",
            shown(output),
            shown(&self.world.project.inventory_dir.join("credentials")),
        );
        Err(CommandError::usage(message).hint("name a folder of its own: --output www"))
    }
}

/// What the inventory says of these hosts, or what is wrong with any of them: each once, however many it is about.
fn settings_of(world: &World, hosts: &[String], system: System) -> Result<Vec<Settings>, CommandError> {
    let mut settings = Vec::new();
    let mut missing: Vec<(&'static str, &'static str, Vec<String>)> = Vec::new();
    let mut wrong = Vec::new();
    for host in hosts {
        match Settings::read(&world.vars.host(host)?, system) {
            Ok(read) => settings.push(read),
            Err(SettingsError::Vars(error)) => return Err(error.into()),
            Err(SettingsError::Wrong(mistake)) => wrong.push(mistake),
            Err(SettingsError::Missing { variable, host, why }) => {
                match missing.iter_mut().find(|(known, ..)| *known == variable) {
                    Some((.., hosts)) => hosts.push(host),
                    None => missing.push((variable, why, vec![host])),
                }
            }
        }
    }
    Mistakes::none_of(wrong)?;
    let Some((variable, ..)) = missing.first() else { return Ok(settings) };
    let all: Vec<String> = missing
        .iter()
        .map(|(variable, why, without)| {
            let host = if without.len() == hosts.len() {
                "any machine".to_owned()
            } else {
                text::some_names(without)
            };
            format!("{variable} of {host} is not set: {why}")
        })
        .collect();
    let error = CommandError::written(all.join("\n"));
    Err(error.hint(format!("set it in the inventory, for all machines below [all:vars]: {variable}=...")))
}

/// Whether it is about a variable that was probably meant for this command.
fn is_of_netboot(remark: &Remark) -> bool {
    let is_one = |name: &str| name.starts_with("netboot_") || name == "mac_address";
    remark.verdict == Verdict::Unknown && (is_one(&remark.name) || is_one(&remark.why))
}

fn render(args: &RenderArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let config = read_config(&args.config, args.files_dir.as_deref())?;
    let classroom = Classroom::read(&args.inventory, args.limit.as_deref(), environment)?;
    let authority = classroom.keys.authority()?;
    if authority.is_none() {
        let command = classroom.world.project.command(&["muster", "netboot", "keys"], 3);
        print::note(&format!("machines get new host keys at each boot; to have them keep theirs: {command}"));
    }
    classroom.check_folder(&args.output)?;
    let machines = classroom.machines(&config, authority.as_ref())?;
    let rendered = Rendered::of(&config, &mark_of(&classroom.world.project), &machines)?;
    let folder = shown(&args.output);
    let failed = |error: &dyn std::fmt::Display| CommandError::failed(format!("{folder}: {error}"));
    let changes = rendered.changes(&args.output, args.limit.is_none()).map_err(|error| match error {
        FolderError::Foreign { .. } => failed(&error).hint(
            "name another folder; if all that is there was made for this project before it was moved or copied, empty the folder",
        ),
        FolderError::Read(_) => failed(&error),
    })?;
    for change in &changes {
        tell(change, args);
        if !args.check {
            change.make(&args.output).map_err(|error| failed(&error))?;
        }
    }
    let of = format!("{} for {}", config.system.name(), count(machines.len(), "machine"));
    if !args.check {
        let names = machines.iter().map(|(machine, _)| machine.name.as_str());
        made::note(&classroom.world.project, args, &config, names)?;
    }
    print::note(&match (changes.len(), args.check) {
        (0, _) => format!("{folder} has the configurations and scripts of {of}; nothing was changed"),
        (number, true) => format!("{of}: {} in {folder} would change", count(number, "file")),
        (number, false) => format!("{of}: {} in {folder} changed", count(number, "file")),
    });
    let without: Vec<&String> = machines
        .iter()
        .filter(|(_, settings)| settings.cards.is_empty())
        .map(|(machine, _)| &machine.name)
        .collect();
    if !without.is_empty() {
        print::note(&format!(
            "{} without a mac_address: such a machine is known only by the name that DHCP gives it",
            text::some_names(&without)
        ));
    }
    tell_unreadable(&args.output, &machines);
    tell_missing_images(&args.output, config.system, machines.iter().map(|(_, settings)| settings));
    if let Some((_, settings)) = machines.first() {
        print::note(&format!("machines begin with {}/boot.ipxe", settings.url));
    }
    Ok(Exit::Done)
}

/// Configurations that a web server cannot read that runs as somebody else.
fn tell_unreadable(folder: &Path, machines: &[(Machine, Settings)]) {
    let ignition = folder.join("ignition");
    let only_ours =
        |path: &Path| fs::metadata(path).is_ok_and(|there| there.permissions().mode() & 0o077 == 0);
    let let_in = format!("setfacl -m u:www-data:rx {}", quote(&shown(&ignition)));
    let command = if only_ours(&ignition) {
        let_in
    } else if machines.iter().any(|(machine, _)| only_ours(&ignition.join(format!("{}.ign", machine.name)))) {
        // In a folder that everybody may look into.
        let place = quote(&shown(&ignition));
        format!("chmod 700 {place} && chmod 644 {place}/*.ign && {let_in}")
    } else {
        return;
    };
    print::note(&format!(
        "you alone can read {}, because of the keys in it; to let a web server in that runs as www-data: {command}",
        shown(&ignition),
    ));
}

/// What machines boot and what is not in the folder yet, with the place where it is to be had.
fn tell_missing_images<'a>(folder: &Path, system: System, machines: impl Iterator<Item = &'a Settings>) {
    let mut missing: Vec<&str> = Vec::new();
    for settings in machines {
        let boot = &settings.boot;
        let urls = [Some(&boot.kernel), Some(&boot.initrd), boot.rootfs.as_ref()].into_iter().flatten();
        for path in urls.filter_map(|url| below(settings, url)) {
            if !missing.contains(&path) && !folder.join(path).is_file() {
                missing.push(path);
            }
        }
    }
    for path in missing {
        let file = shown(&folder.join(path));
        let name = path.rsplit('/').next().unwrap_or(path);
        let from = match system {
            System::Flatcar => {
                let url = format!("{FLATCAR_RELEASES}/{name}");
                format!("get it: curl -fL --create-dirs -o {} {}", quote(&file), quote(&url))
            }
            System::FedoraCoreOs => format!("get it from {FEDORA_COREOS_RELEASES} (Bare Metal, PXE)"),
        };
        print::note(&format!("{file} is not there, and machines boot it; {from}"));
    }
}

/// The path in the folder that a URL of a machine leads to. What is elsewhere is not in this folder; iPXE alone knows the values of
/// its variables.
fn below<'a>(settings: &Settings, url: &'a str) -> Option<&'a str> {
    let path = url.strip_prefix(&settings.url)?.strip_prefix('/')?;
    (!path.contains(['$', '?', '#'])).then_some(path)
}

fn read_config(path: &Path, files_dir: Option<&Path>) -> Result<Config, CommandError> {
    let name = shown(path);
    let text = fs::read_to_string(path)
        .map_err(|error| CommandError::failed(format!("cannot read {name}: {error}")))?;
    let files = LocalFiles { dir: files_dir.or(path.parent()).map(Path::to_owned) };
    Ok(Config::read(&name, &text, &files)?)
}

/// Says what becomes of a file.
fn tell(change: &Change, args: &RenderArgs) {
    let path = args.output.join(&change.path);
    let what = match (&change.before, &change.after) {
        (None, _) => "new",
        (_, None) => "removed",
        _ => "changed",
    };
    print::note(&format!("  {}: {what}", shown(&path)));
    if args.diff && !change.secret {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let diff = unified(&shown(&path), &text(&change.before), &text(&change.after));
        diff.lines().for_each(|line| print::note(&format!("    {}", text::harmless(line))));
    }
}

fn keys(args: &KeysArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let classroom = Classroom::read(&args.inventory, None, environment)?;
    let store = &classroom.keys;
    let name = format!("muster-{}", project_name(&classroom.world.project));
    let authority = match store.authority()? {
        Some(authority) => authority,
        None if args.check => {
            let number = count(classroom.hosts.len(), "host key");
            print::note(&format!("{} and {number} would be made", shown(&store.authority_path())));
            return Ok(Exit::Done);
        }
        None => {
            let made = store.make_authority(&name)?;
            print::note(&format!(
                "{} is the project's authority for host keys now; whoever can read it can pose as any of its machines",
                shown(&store.authority_path())
            ));
            made
        }
    };
    let mut all: Vec<String> = Vec::new();
    let mut made = 0;
    for host in &classroom.hosts {
        let names = classroom.names(host)?;
        match store.certify(&authority, host, &names, SystemTime::now(), args.check)? {
            Made::Nothing => {}
            Made::Key => {
                made += 1;
                print::note(&format!("  {host}: a host key, certified for {}", names.join(", ")));
            }
            Made::Certificate(why) => {
                made += 1;
                print::note(&format!("  {host}: a new certificate for {}, because {why}", names.join(", ")));
            }
        }
        all.extend(names);
    }
    let number = count(classroom.hosts.len(), "machine");
    print::note(&match (made, args.check) {
        (0, _) => format!("{number}: all have a host key and a certificate"),
        (_, true) => format!("{number}: {made} would get something new"),
        (_, false) => format!(
            "{number}: {made} got something new; render their configurations again, and start them anew"
        ),
    });
    let line = authority.known_hosts_line(&all, &name)?;
    if args.trust && !args.check {
        trust(&line, &authority.public()?, environment)?;
    } else {
        print::data(&format!("{line}\n"))?;
        let command = classroom.world.project.command(&["muster", "netboot", "keys", "--trust"], 3);
        print::note(&format!("this is the line for known_hosts; to have it written: {command}"));
    }
    Ok(Exit::Done)
}

/// How the project is told from others that are called the same: by where it is, too.
fn mark_of(project: &Project) -> String {
    let root = project.root.canonicalize().unwrap_or_else(|_| project.root.clone());
    let place = Sha256::of(root.as_os_str().as_encoded_bytes()).to_string();
    format!("{} ({})", project_name(project), &place[..8])
}

/// What the project is called where its folder is: by the name of that folder.
fn project_name(project: &Project) -> String {
    let root = project.root.canonicalize().unwrap_or_else(|_| project.root.clone());
    let name = root.file_name().map(|name| name.to_string_lossy().replace(char::is_whitespace, "-"));
    name.unwrap_or_default()
}

/// Puts the line into the user's known_hosts, in place of an older one of the same authority.
fn trust(line: &str, public: &str, environment: &Environment) -> Result<(), CommandError> {
    let own = || environment.home().map(|home| home.join(".ssh/known_hosts"));
    let path = environment.path("MUSTER_KNOWN_HOSTS").or_else(own).ok_or_else(|| {
        CommandError::failed("there is no home folder whose .ssh/known_hosts could get the line")
            .hint("name the file: MUSTER_KNOWN_HOSTS=FILE")
    })?;
    let failed = |error: std::io::Error| CommandError::failed(format!("{}: {error}", shown(&path)));
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(failed)?,
    };
    let is_older = |known: &&str| known.starts_with("@cert-authority ") && known.contains(public);
    let kept: String =
        before.lines().filter(|known| !is_older(known)).map(|known| format!("{known}\n")).collect();
    let after = format!("{kept}{line}\n");
    if before == after {
        print::note(&format!("{} has the line already", shown(&path)));
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // Where it is a link, the file that it leads to is changed.
    let file = path.canonicalize().unwrap_or_else(|_| path.clone());
    write_whole(&file, Some(0o600), &mut after.as_bytes()).map_err(failed)?;
    print::note(&format!("{} trusts the machines by their certificates now", shown(&path)));
    Ok(())
}

impl From<Mistakes> for CommandError {
    fn from(mistakes: Mistakes) -> Self {
        Self::written(mistakes.to_string())
    }
}

impl From<KeyError> for CommandError {
    fn from(error: KeyError) -> Self {
        let told = Self::failed(error.to_string());
        let KeyError::Gone { left, .. } = error else { return told };
        let left: Vec<String> = left.iter().map(|path| quote(&shown(path))).collect();
        told.hint("put it back from a backup, with the mode 0600").hint(format!(
            "for another authority, with new host keys, for which every machine has to be rendered and started anew: rm -r {} && \
             muster netboot keys --trust",
            left.join(" ")
        ))
    }
}
