//! `muster bundle`: the folder with the binaries and images that are installed on machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use muster_app::{Project, World, needed_for, sources};
use muster_artifacts::{
    Arch, Bundle, BundleError, BundleWriter, FetchError, ImageDigests, Progress, Release, Server, Sha256,
    Sources, fetch,
};
use muster_lab::build::{self, BuildError, BuildProgress};
use muster_roles::catalogue::{CATALOGUE, RUNC, has_versions};
use muster_roles::packages;

use crate::args::{Form, InventoryArgs};
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::output::table::Table;
use crate::output::{CommandLine, Downloads, Screen, print, text};

/// Make and inspect the bundle: the folder with the binaries and images that are installed on machines
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BundleArgs {
    /// The bundle's folder [default: bundle in the cache folder, ~/.cache/muster]
    #[arg(
        long,
        global = true,
        visible_alias = "bundle",
        value_name = "DIR",
        env = "MUSTER_BUNDLE",
        hide_env_values = true
    )]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: BundleCommand,
}

const AFTER_HELP: &str = "\
setup-cluster fetches what its bundle lacks by itself. Make one beforehand to work without the internet or on a slow
line, or to carry to another place: a bundle is a plain folder.";

#[derive(Debug, Subcommand)]
enum BundleCommand {
    /// Download what the bundle lacks, from upstream or a mirror
    ///
    /// Every file is compared with its sha256, which is in the catalogue or published beside the file, and every layer of an image with
    /// its digest. What is there already is not downloaded again; a download that was cut off goes on where it was. With --for-inventory
    /// everything comes from the mirrors and through the proxy that the inventory's variables name (files_repo, registry_host,
    /// https_proxy), and images have its image_digests, as for setup-cluster; options say otherwise.
    Fetch(FetchArgs),
    /// Compile what the bundle lacks from source, through the Go module proxy
    ///
    /// For places that reach package registries but not the sites of upstream's releases. Needs Go, a C compiler,
    /// libseccomp-dev and mmdebstrap, and says which of these are missing. The first time takes half an hour on two cores.
    Build(VersionArgs),
    /// Read the whole bundle and compare it with its digests
    Check(CheckArgs),
    /// Show what is in the bundle
    List(ListArgs),
    /// Serve the bundle in a network: as a mirror of files and as a registry
    ///
    /// Other computers get what they lack with --files-repo http://HOST:PORT --registry-host http://HOST:PORT, and containerd pulls
    /// from http://HOST:PORT (containerd_registries_mirrors). http://HOST:PORT/ lists what there is. Nothing can be changed through it;
    /// it has no TLS and no passwords. Ends with Ctrl-C.
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct VersionArgs {
    /// The version of Kubernetes; may be repeated [default: the one that setup-cluster takes by default]
    #[arg(long = "kube-version", value_name = "VERSION")]
    versions: Vec<String>,
    /// An application or a network plugin that the bundle is to have too, such as metrics-server or calico; may be repeated.
    /// Of calico, typha and runc a version may be said: calico=3.31.7
    #[arg(long, value_name = "NAME[=VERSION]")]
    with: Vec<String>,
    /// What an inventory needs, by its variables: its version of Kubernetes, its network, its applications
    #[arg(long, conflicts_with_all = ["versions", "with"])]
    for_inventory: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The address and port to listen at; 0.0.0.0 is every address of this computer
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:5000")]
    listen: String,
}

// Whatever comes after the options of an inventory would stand under their heading: so they are the last ones.

#[derive(Debug, Args)]
struct FetchArgs {
    /// Architecture of the machines, amd64 or arm64; may be repeated [default: this computer's]
    #[arg(long = "arch", value_name = "ARCH")]
    arches: Vec<Arch>,
    /// Mirror of the files: this URL takes the place of https:// in front of each file's own, so that
    /// https://dl.k8s.io/... becomes URL/dl.k8s.io/...
    #[arg(long, visible_alias = "mirror", value_name = "URL")]
    files_repo: Option<String>,
    /// Mirror of the images, in place of every image's registry: HOST[:PORT], or http://HOST:PORT if it has no TLS
    #[arg(long, value_name = "HOST")]
    registry_host: Option<String>,
    /// The digests that images must have, as a YAML file: what muster bundle list --digests prints of a bundle that is known to be good
    #[arg(long, value_name = "FILE")]
    image_digests: Option<PathBuf>,
    /// Proxy, such as http://proxy:3128 [default: https_proxy and no_proxy of the environment]
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    #[command(flatten)]
    versions: VersionArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Remove what is damaged, so that it is fetched or built anew
    #[arg(long)]
    discard: bool,
    #[command(flatten)]
    versions: VersionArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Show the versions of Kubernetes that there are, and which of them the bundle has
    #[arg(long = "versions")]
    catalogue: bool,
    /// Show what a version of Kubernetes, or an inventory, needs: the sha256 of each file, the digest of each image that the bundle has,
    /// where upstream has it, and whether the bundle has it. So do --kube-version, --with, --for-inventory and --arch
    #[arg(long, conflicts_with = "catalogue")]
    needed: bool,
    /// Architecture of the machines, amd64 or arm64; may be repeated [default: those that the bundle has, else this computer's]
    #[arg(long = "arch", value_name = "ARCH")]
    arches: Vec<Arch>,
    /// Print the digests of the images, for the variable image_digests and for muster bundle fetch --image-digests
    #[arg(long, conflicts_with_all = ["catalogue", "needed"])]
    digests: bool,
    #[command(flatten)]
    of: VersionArgs,
}

/// Runs `muster bundle`.
pub(crate) fn run(args: BundleArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let dir = match args.dir {
        Some(dir) => dir,
        None => environment.cache_dir()?.join("bundle"),
    };
    match args.command {
        BundleCommand::Fetch(args) => run_fetch(args, &dir, environment),
        BundleCommand::Build(args) => run_build(&args, &dir, environment),
        BundleCommand::Check(args) => run_check(&args, &dir, environment),
        BundleCommand::List(args) => run_list(&args, &dir, environment),
        BundleCommand::Serve(args) => serve(&args, &dir, environment),
    }
}

fn run_fetch(args: FetchArgs, dir: &Path, environment: &Environment) -> Result<Exit, CommandError> {
    let arches = match args.arches.as_slice() {
        [] => vec![host_arch()?],
        given => given.to_vec(),
    };
    let world = args.versions.world(environment)?;
    let releases = args.versions.releases(world.as_ref(), &arches)?;
    let usual = sources(world.as_ref(), environment)?;
    let sources = Sources {
        // What is typed is meant for everything.
        files_of: if args.files_repo.is_some() { BTreeMap::new() } else { usual.files_of },
        images_of: if args.registry_host.is_some() { BTreeMap::new() } else { usual.images_of },
        files_repo: args.files_repo.or(usual.files_repo),
        registry_host: args.registry_host.or(usual.registry_host),
        image_digests: args
            .image_digests
            .as_deref()
            .map(image_digests)
            .transpose()?
            .unwrap_or(usual.image_digests),
        proxy: args.proxy.or(usual.proxy),
        ..usual
    };
    if let Some(warning) = sources.unproven() {
        print::warning(&warning, environment);
    }
    let mut bundle = BundleWriter::open(dir)?;
    let started = Instant::now();
    let screen = Screen::new(environment, true);
    let mut downloads = Downloads::new(screen.clone(), Form::Auto);
    let mut fetched = 0;
    let result = releases.iter().try_for_each(|release| {
        downloads.begin(&format!(
            "Kubernetes {} for {} into {}",
            release.version,
            release.arch,
            dir.display()
        ));
        let now = fetch(release, &mut bundle, &sources, &mut |news| downloads.show(&news))?;
        fetched += now.downloaded;
        for skipped in now.skipped {
            downloads.begin(&format!("  goes without: {}", text::harmless(&skipped)));
        }
        Ok(())
    });
    downloads.end();
    result.map_err(|error: FetchError| {
        CommandError::failed(text::harmless_lines(&error.to_string()))
            .hint("what is complete is kept: the same command goes on where this one ended")
            .hint("other sources: --files-repo and --registry-host for mirrors, or muster bundle build")
    })?;
    screen.line(&format!(
        "{} fetched in {}; the bundle is complete",
        text::count(fetched, "artifact"),
        text::duration(started.elapsed())
    ));
    Ok(Exit::Done)
}

/// The digests in a file.
fn image_digests(path: &Path) -> Result<ImageDigests, CommandError> {
    let text = fs::read_to_string(path)
        .map_err(|error| CommandError::usage(format!("cannot read {}: {error}", shown(path))))?;
    ImageDigests::from_yaml(&text)
        .map_err(|why| CommandError::usage(format!("{}: {}", shown(path), text::harmless_lines(&why))))
}

fn run_build(args: &VersionArgs, dir: &Path, environment: &Environment) -> Result<Exit, CommandError> {
    let releases = args.releases(args.world(environment)?.as_ref(), &[host_arch()?])?;
    let work = environment.cache_dir()?.join("build");
    let mut bundle = BundleWriter::open(dir)?;
    let started = Instant::now();
    let screen = Screen::new(environment, true);
    let mut activity = Activity::new(&screen);
    let result = releases.iter().try_for_each(|release| {
        screen.line(&format!("Kubernetes {} for {} into {}", release.version, release.arch, dir.display()));
        build::build(release, &mut bundle, &work, &mut |news| activity.show_build(&news))
    });
    screen.end_live();
    result.map_err(|error: BuildError| {
        CommandError::failed(text::harmless_lines(&error.to_string()))
            .hint("what was built is kept: the same command goes on where this one ended")
    })?;
    screen.line(&format!("the bundle is complete, after {}", text::duration(started.elapsed())));
    Ok(Exit::Done)
}

fn run_check(args: &CheckArgs, dir: &Path, environment: &Environment) -> Result<Exit, CommandError> {
    let bundle = Bundle::open(dir)?;
    let screen = Screen::new(environment, true);
    let mut activity = Activity::new(&screen);
    let damage = bundle.check(&mut |news| activity.show_check(&news));
    screen.end_live();
    for damage in &damage {
        screen.line(&format!("{} {damage}", screen.style.failed()));
    }
    // Without a version asked for, an incomplete bundle is as good as a complete one.
    let releases = if args.versions.asks() {
        args.versions.releases(args.versions.world(environment)?.as_ref(), &arches(&bundle))?
    } else {
        Vec::new()
    };
    let missing: Vec<String> = releases
        .iter()
        .flat_map(|release| bundle.missing_of(release))
        .map(|missing| format!("{} is not there", missing.what))
        .collect();
    for missing in &missing {
        screen.line(&format!("{} {missing}", screen.style.failed()));
    }
    if damage.is_empty() && missing.is_empty() {
        let files = text::count(bundle.files().len(), "file");
        let images = text::count(bundle.images().len(), "image");
        screen.line(&format!(
            "{} {files} and {images}, {}: sound",
            screen.style.done(),
            text::size(size(&bundle)?)
        ));
        return Ok(Exit::Done);
    }
    if args.discard && !damage.is_empty() {
        drop(bundle);
        BundleWriter::open(dir)?.discard(&damage)?;
        screen.line("what was damaged is removed");
    } else if !damage.is_empty() {
        print::note("hint: muster bundle check --discard removes what is damaged");
    }
    print::note("hint: muster bundle fetch, or muster bundle build, gets what is missing");
    Ok(Exit::No)
}

fn run_list(args: &ListArgs, dir: &Path, environment: &Environment) -> Result<Exit, CommandError> {
    let screen = Screen::new(environment, false);
    let width = screen.size().1;
    let needed = args.needed || args.of.asks() || !args.arches.is_empty();
    if needed && (args.catalogue || args.digests) {
        return Err(CommandError::usage(
            "--kube-version, --with, --for-inventory and --arch say what is needed, and neither --versions nor --digests shows that",
        )
        .hint("leave these out, or write --needed"));
    }
    if args.catalogue {
        let bundle = match Bundle::open(dir) {
            Err(BundleError::NotABundle { .. }) => Bundle::empty(dir),
            bundle => bundle?,
        };
        let mut table = Table::new(&["Kubernetes", "in the bundle"]);
        for version in CATALOGUE.releases() {
            let default = if version == CATALOGUE.default_release() { " (default)" } else { "" };
            table.row(vec![format!("{version}{default}"), complete_for(&bundle, version).join(", ")]);
        }
        print::data(&lines(&table.render(screen.style, width)))?;
        return Ok(Exit::Done);
    }
    if needed {
        return list_needed(args, dir, environment);
    }
    let bundle = Bundle::open(dir)?;
    if args.digests {
        print::data(&ImageDigests::of(&bundle).to_yaml())?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["name", "version", "arch", "size", "origin", "source"]);
    for entry in bundle.files() {
        table.row(vec![
            entry.name.clone(),
            entry.version.clone(),
            entry.arch.to_string(),
            text::size(entry.stored.size),
            entry.origin.to_string(),
            text::harmless(&entry.source),
        ]);
    }
    for entry in bundle.images() {
        table.row(vec![
            format!("{}/{}", entry.reference.registry, entry.reference.repository),
            entry.reference.tag.clone(),
            entry.arch.to_string(),
            text::size(entry.size),
            entry.origin.to_string(),
            text::harmless(&entry.source),
        ]);
    }
    let sum = format!("\n{}: {}\n", bundle.dir().display(), text::size(size(&bundle)?));
    print::data(&(lines(&table.render(screen.style, width)) + &sum))?;
    Ok(Exit::Done)
}

/// What is needed, a line each.
fn list_needed(args: &ListArgs, dir: &Path, environment: &Environment) -> Result<Exit, CommandError> {
    let screen = Screen::new(environment, false);
    let bundle = match Bundle::open(dir) {
        Err(BundleError::NotABundle { .. }) => Bundle::empty(dir),
        bundle => bundle?,
    };
    let arches = match (args.arches.as_slice(), arches(&bundle).as_slice()) {
        ([], []) => vec![host_arch()?],
        ([], found) => found.to_vec(),
        (given, _) => given.to_vec(),
    };
    let mut table = Table::new(&["name", "version", "arch", "sha256", "upstream", "in the bundle"]);
    let is_there = |there: bool| if there { "yes" } else { "no" }.to_owned();
    let known = |sha256: Option<Sha256>| sha256.map_or_else(|| "-".to_owned(), |sha256| sha256.to_string());
    let world = args.of.world(environment)?;
    for release in args.of.releases(world.as_ref(), &arches)? {
        for file in &release.files {
            let entry = bundle.file(&file.name, &file.version, file.arch).ok();
            table.row(vec![
                file.name.clone(),
                file.version.clone(),
                file.arch.to_string(),
                known(file.sha256.or(entry.map(|entry| entry.sha256))),
                file.url.clone(),
                is_there(entry.is_some()),
            ]);
        }
        for image in &release.images {
            let entry = bundle.image(&image.reference.to_string(), release.arch).ok();
            table.row(vec![
                image.name.clone(),
                image.reference.tag.clone(),
                release.arch.to_string(),
                known(entry.map(|entry| entry.manifest_digest)),
                image.reference.to_string(),
                is_there(entry.is_some()),
            ]);
        }
    }
    for name in packages_of(world.as_ref())? {
        let row = [name.as_str(), "-", "-", "-", "a package of the machine's distribution", "no"];
        table.row(row.map(str::to_owned).into());
    }
    // Nothing is broken into lines: a sha256 is to be copied.
    print::data(&lines(&table.render(screen.style, 1000)))?;
    Ok(Exit::Done)
}

/// The packages of their distributions that machines may need, each once.
fn packages_of(world: Option<&World>) -> Result<BTreeSet<String>, CommandError> {
    let Some(world) = world else { return Ok(packages(None)?.into_iter().collect()) };
    let mut all = BTreeSet::new();
    for host in world.inventory.hosts() {
        all.extend(packages(Some(&world.vars.host(host.name())?))?);
    }
    Ok(all)
}

fn serve(args: &ServeArgs, dir: &Path, environment: &Environment) -> Result<Exit, CommandError> {
    let bundle = Bundle::open(dir)?;
    let what = format!(
        "{} and {}",
        text::count(bundle.files().len(), "file"),
        text::count(bundle.images().len(), "image")
    );
    let cannot = |error: std::io::Error| {
        CommandError::failed(format!("cannot listen at {}: {error}", args.listen))
            .hint("say another address or port: --listen ADDRESS:PORT")
    };
    let server = Server::bind(bundle, &CATALOGUE, args.listen.as_str()).map_err(cannot)?;
    let screen = Screen::new(environment, true);
    let address = server.address().map_err(cannot)?;
    screen.line(&format!("serving {what} of {} at http://{address}; Ctrl-C ends it", shown(dir)));
    server
        .run(move |served| {
            let asked = text::harmless(&served.asked);
            let end = if served.is_whole() { "" } else { "  was cut off" };
            screen.line(&format!("{}  {asked}  {}{end}", served.peer.ip(), served.status));
        })
        .map_err(|error| CommandError::failed(format!("nobody can be answered any more: {error}")))?;
    Ok(Exit::Done)
}

impl VersionArgs {
    /// Whether anything is asked for.
    fn asks(&self) -> bool {
        self.for_inventory || !self.versions.is_empty() || !self.with.is_empty()
    }

    /// The inventory, where it is asked for.
    fn world(&self, environment: &Environment) -> Result<Option<World>, CommandError> {
        if !self.for_inventory {
            return Ok(None);
        }
        let frontend = CommandLine::plain(environment);
        let project = Project::find(&self.inventory.inventory, environment)?;
        let world = World::load(project, &(&self.inventory).into(), environment, &*frontend)?;
        world.tell_warnings(&*frontend);
        Ok(Some(world))
    }

    /// What the versions, or an inventory, consist of, for each of the architectures.
    fn releases(&self, world: Option<&World>, arches: &[Arch]) -> Result<Vec<Release>, CommandError> {
        if let Some(world) = world {
            return Ok(needed_for(world, arches)?);
        }
        let known: Vec<&str> = CATALOGUE.apps().chain(CATALOGUE.options()).chain([RUNC]).collect();
        let asked: Vec<(&str, Option<&str>)> = self
            .with
            .iter()
            .map(|asked| {
                asked.split_once('=').map_or((asked.as_str(), None), |(name, version)| (name, Some(version)))
            })
            .collect();
        if let Some((unknown, _)) = asked.iter().find(|(name, _)| !known.contains(name)) {
            return Err(CommandError::usage(format!("a bundle can have no {unknown:?}"))
                .hint(format!("what can be asked for: {}", known.join(", "))));
        }
        let names: Vec<String> = asked.iter().map(|(name, _)| (*name).to_owned()).collect();
        let default = [CATALOGUE.default_release().to_owned()];
        let versions = if self.versions.is_empty() { &default[..] } else { &self.versions };
        let mut releases = Vec::new();
        for version in versions {
            for arch in arches {
                let release = CATALOGUE.release(version.trim_start_matches('v'), *arch).map_err(|error| {
                    CommandError::usage(error.to_string())
                        .hint("see all there are: muster bundle list --versions")
                })?;
                let mut release = CATALOGUE.with_options(release, &names);
                for (name, version) in &asked {
                    let Some(version) = version else { continue };
                    if CATALOGUE.apps().any(|app| app == *name) && !has_versions(name) {
                        return Err(CommandError::usage(format!(
                            "{name} has one version, which goes with Kubernetes"
                        )));
                    }
                    release = CATALOGUE
                        .in_version(release, &[name], version)
                        .map_err(|error| CommandError::usage(error.to_string()))?;
                }
                releases.push(release);
            }
        }
        Ok(releases)
    }
}

fn host_arch() -> Result<Arch, CommandError> {
    Arch::host().ok_or_else(|| {
        CommandError::usage(format!("there are no programs for {} machines", std::env::consts::ARCH))
            .hint("say what the machines are: --arch amd64 or --arch arm64")
    })
}

/// The architectures that anything in the bundle is for.
fn arches(bundle: &Bundle) -> Vec<Arch> {
    let files = bundle.files().iter().map(|entry| entry.arch);
    let found: Vec<Arch> = files.chain(bundle.images().iter().map(|entry| entry.arch)).collect();
    Arch::ALL.into_iter().filter(|arch| found.contains(arch)).collect()
}

/// The architectures for which the bundle has everything of a version.
fn complete_for(bundle: &Bundle, version: &str) -> Vec<String> {
    let complete = |arch: &Arch| {
        let release = CATALOGUE.release(version, *arch);
        release.is_ok_and(|release| bundle.missing_of(&CATALOGUE.with_options(release, &[])).is_empty())
    };
    Arch::ALL.into_iter().filter(complete).map(|arch| arch.to_string()).collect()
}

/// Bytes on disk. Layers that images share count once.
fn size(bundle: &Bundle) -> Result<u64, CommandError> {
    let mut size = bundle.files().iter().map(|entry| entry.stored.size).sum();
    for arch in arches(bundle) {
        let images = bundle.images().iter().filter(|entry| entry.arch == arch);
        let names: Vec<String> = images.map(|entry| entry.reference.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        size += bundle.image_archive(&names, arch)?.size();
    }
    Ok(size)
}

fn lines(table: &[String]) -> String {
    table.iter().map(|line| format!("{line}\n")).collect()
}

/// Shows what is being done: live on a terminal, else in lines now and then.
struct Activity<'a> {
    screen: &'a Screen,
    item: String,
    last: Instant,
}

/// After how long without a line one says what is being done.
const SILENCE: Duration = Duration::from_secs(8);

impl<'a> Activity<'a> {
    fn new(screen: &'a Screen) -> Self {
        Self { screen, item: String::new(), last: Instant::now() }
    }

    fn show_build(&mut self, news: &BuildProgress<'_>) {
        match news {
            BuildProgress::Start { item, index, of, .. } => {
                self.item = format!("[{index}/{of}] {item}");
                self.line(&format!("{} {}", self.screen.style.running(), self.item));
            }
            BuildProgress::Working { what, elapsed } => {
                self.doing(&format!("{}  {}", text::duration(*elapsed), text::harmless(what)));
            }
            BuildProgress::Done { elapsed } => {
                let done = self.screen.style.done();
                self.line(&format!("{done} {}  {}", self.item, text::duration(*elapsed)));
            }
        }
    }

    fn show_check(&mut self, news: &Progress<'_>) {
        match news {
            Progress::Start { item, index, of } => {
                self.item = format!("[{index}/{of}] {item}");
                self.doing("");
            }
            Progress::Bytes { done, of: Some(of) } => {
                self.doing(&format!("{} of {}", text::size(*done), text::size(*of)));
            }
            _ => {}
        }
    }

    fn doing(&mut self, what: &str) {
        let line = format!("  {}  {what}", self.item);
        let line: String = line.chars().take(self.screen.size().1.saturating_sub(1)).collect();
        if self.screen.is_live() {
            self.screen.set_live(&[line]);
        } else if self.last.elapsed() >= SILENCE {
            self.line(&line);
        }
    }

    fn line(&mut self, line: &str) {
        self.screen.set_live(&[]);
        self.screen.line(line);
        self.last = Instant::now();
    }
}
