//! The bundle of a run: opened, checked for what the chosen version of Kubernetes needs, completed where it lacks
//! something and that is allowed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_artifacts::{
    Arch, Bundle, BundleError, BundleWriter, FetchError, ImageDigests, MissingArtifact, Release, Sources,
    fetch,
};
use muster_engine::script::quote;
use muster_inventory::HostVars;
use muster_roles::catalogue::{CATALOGUE, RUNC, is_of_another_network, needed_by, options_of};

use crate::environment::Environment;
use crate::error::Error;
use crate::frontend::{Frontend, News};
use crate::mirrors;
use crate::options::RunOptions;
use crate::world::World;

/// The folder of the bundle: the one that is named, else the one in the cache.
///
/// # Errors
/// There is no home directory to have a cache in.
pub fn bundle_dir(named: Option<&Path>, environment: &Environment) -> Result<PathBuf, Error> {
    named.map_or_else(|| Ok(environment.cache_dir()?.join("bundle")), |dir| Ok(dir.to_owned()))
}

/// The versions of Kubernetes that the hosts of a run are to have, each once.
///
/// # Errors
/// One of them is not in the catalogue; the message shows where it was written.
pub(crate) fn versions(world: &World, hosts: &[String]) -> Result<Vec<String>, Error> {
    let mut versions = Vec::new();
    for host in hosts {
        let Some(value) = world.vars.host(host)?.get("kube_version")? else { continue };
        let text = value.as_str().map_or_else(|| value.to_json().to_string(), str::to_owned);
        let version = text.trim_start_matches('v').to_owned();
        if versions.contains(&version) {
            continue;
        }
        if let Err(error) = CATALOGUE.release(&version, Arch::Amd64) {
            let origin = value.origin.as_ref();
            let place = origin.map(|origin| format!("{origin}: ")).unwrap_or_default();
            let excerpt = origin.map(muster_inventory::Origin::excerpt).unwrap_or_default();
            let of = if hosts.len() > 1 { format!(" of {host}") } else { String::new() };
            let message = format!("{place}kube_version{of} is {text}: {error}{excerpt}");
            return Err(Error::written(message)
                .hint(format!("the versions there are: {}", CATALOGUE.releases().join(", "))));
        }
        versions.push(version);
    }
    Ok(versions)
}

/// What the machines of an inventory need, for each of the architectures.
///
/// # Errors
/// A version that is asked for is not in the catalogue.
pub fn needed_for(world: &World, arches: &[Arch]) -> Result<Vec<Release>, Error> {
    let hosts: Vec<String> = world.inventory.hosts().map(|host| host.name().to_owned()).collect();
    let mut releases = Vec::new();
    for version in versions(world, &hosts)? {
        for arch in arches {
            let release =
                CATALOGUE.release(&version, *arch).map_err(|error| Error::written(error.to_string()))?;
            releases.push(needed_by(&world.inventory, &world.vars, release));
        }
    }
    Ok(releases)
}

/// The bundle, with everything in it that these versions of Kubernetes need. What is missing is fetched, unless the user
/// does not want that.
///
/// # Errors
/// It cannot be read; or it lacks something that is not to be, or cannot be, fetched.
pub(crate) fn complete(
    options: &RunOptions,
    environment: &Environment,
    world: &World,
    versions: &[String],
    frontend: &dyn Frontend,
) -> Result<Arc<Bundle>, Error> {
    let bundle = as_it_is(options, environment)?;
    let (releases, missing) = needed(&bundle, world, versions)?;
    let digests = speaker(world)?.as_ref().map(image_digests).transpose()?.unwrap_or_default();
    known(&bundle, &releases, &digests)?;
    if missing.is_empty() {
        sound(&bundle, &releases, frontend)?;
        return Ok(bundle);
    }
    let asked = || asked_for(world, versions);
    if options.offline {
        return Err(lacks(&bundle, &missing, &asked(), options));
    }
    frontend.tell(News::Doing(&format!("fetching what the bundle {} lacks", bundle.dir().display())));
    let sources = sources(Some(world), environment)?;
    if let Some(warning) = sources.unproven() {
        frontend.tell(News::Warning(&warning));
    }
    let mut writer = BundleWriter::open(bundle.dir())?;
    let fetched = releases.iter().try_for_each(|release| {
        fetch(release, &mut writer, &sources, &mut |news| frontend.tell(News::Download(&news))).map(drop)
    });
    frontend.tell(News::DownloadsEnded);
    fetched.map_err(|error: FetchError| {
        let lacks = lacks(&bundle, &missing, &asked(), options);
        Error { message: format!("{}\nand it could not be fetched: {error}", lacks.message), ..lacks }
    })?;
    drop(writer);
    let bundle = as_it_is(options, environment)?;
    sound(&bundle, &releases, frontend)?;
    Ok(bundle)
}

/// What a bundle may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Something.
    Any,
    /// Something that a cluster which stands may not become: what belongs to another network plugin than that of new clusters, and to
    /// nothing else; or to a version of Kubernetes, where nobody has said which, or another one than that of new clusters, or than the
    /// bundle has, if it has any.
    OfAnother,
}

/// Whether the bundle lacks something that these versions of Kubernetes need.
///
/// # Errors
/// It cannot be read, or a version is not in the catalogue.
pub(crate) fn is_incomplete(
    options: &RunOptions,
    environment: &Environment,
    world: &World,
    versions: &[String],
    of: Lack,
) -> Result<bool, Error> {
    let bundle = as_it_is(options, environment)?;
    let (releases, missing) = needed(&bundle, world, versions)?;
    let mut without = releases
        .into_iter()
        .map(|release| CATALOGUE.needed(release, |purpose| !is_of_another_network(purpose)));
    let mut lacks_more = || without.any(|release| !bundle.missing_of(&release).is_empty());
    let is_another = |version: &str| version != CATALOGUE.default_release();
    // A cluster keeps its version where nobody has said one.
    let is_said = speaker(world)?
        .is_some_and(|vars| vars.explain("kube_version").first().is_some_and(|first| first.kind.is_user()));
    let has_another = || {
        let mut kubelets = bundle.files().iter().filter(|file| file.name == "kubelet").peekable();
        kubelets.peek().is_none() || kubelets.any(|kubelet| !versions.contains(&kubelet.version))
    };
    let of_another_version =
        || !is_said || versions.iter().any(|version| is_another(version)) || has_another();
    Ok(!missing.is_empty() && (of == Lack::Any || of_another_version() || !lacks_more()))
}

/// What the machines need, and what the bundle lacks of it.
fn needed(
    bundle: &Bundle,
    world: &World,
    versions: &[String],
) -> Result<(Vec<Release>, Vec<MissingArtifact>), Error> {
    let releases = releases(bundle, versions)?.into_iter();
    let releases: Vec<Release> =
        releases.map(|release| needed_by(&world.inventory, &world.vars, release)).collect();
    let missing = releases.iter().flat_map(|release| bundle.missing_of(release)).collect();
    Ok((releases, missing))
}

/// Nothing that will be installed is damaged. A machine would refuse it too, but only when others are half done.
fn sound(bundle: &Bundle, releases: &[Release], frontend: &dyn Frontend) -> Result<(), Error> {
    for release in releases {
        let damage =
            not_silent(frontend, &format!("checking the bundle {}", bundle.dir().display()), || {
                bundle.damage_of(release)
            })?;
        if let Some(first) = damage.first() {
            let message = damage.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            return Err(Error::failed(format!("the bundle is damaged: {message}")).hint(format!(
                "take {} out and get it again: muster bundle check --discard, then muster bundle fetch or build",
                if damage.len() == 1 { &first.artifact } else { "what is damaged" }
            )));
        }
    }
    Ok(())
}

/// Does something that is over at once most of the time. When it is not, says what it is, and now and then that it goes on.
fn not_silent<T: Send>(frontend: &dyn Frontend, what: &str, action: impl FnOnce() -> T + Send) -> T {
    const SHORT: Duration = Duration::from_millis(500);
    const SILENCE: Duration = Duration::from_secs(8);
    std::thread::scope(|scope| {
        let worker = scope.spawn(action);
        let (mut told, mut wait) = (Instant::now(), SHORT);
        while !worker.is_finished() {
            if told.elapsed() >= wait {
                frontend.tell(News::Doing(what));
                (told, wait) = (Instant::now(), SILENCE);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Where downloads come from: upstream, or the mirrors and the proxy that kubespray's variables name, and the digests that images
/// must have. Without an inventory the environment alone says something.
///
/// # Errors
/// The value of a variable cannot be made, or is no list of digests.
pub fn sources(world: Option<&World>, environment: &Environment) -> Result<Sources, Error> {
    let host = world.map(speaker).transpose()?.flatten();
    let variable = |name: &str| -> Result<Option<String>, Error> {
        let value = host.as_ref().map(|vars| vars.get(name)).transpose()?.flatten();
        Ok(value.and_then(|value| value.as_str().map(str::to_owned)).filter(|text| !text.is_empty()))
    };
    let of_environment =
        |names: [&str; 2]| names.iter().find_map(|name| environment.get(name)).map(str::to_owned);
    Ok(Sources {
        files_repo: variable("files_repo")?,
        registry_host: variable("registry_host")?,
        files_of: host.as_ref().map(mirrors::of_sites).transpose()?.unwrap_or_default(),
        images_of: host.as_ref().map(mirrors::of_registries).transpose()?.unwrap_or_default(),
        credentials: mirrors::credentials(host.as_ref(), environment)?,
        image_digests: host.as_ref().map(image_digests).transpose()?.unwrap_or_default(),
        proxy: variable("https_proxy")?
            .or(variable("http_proxy")?)
            .or_else(|| of_environment(["https_proxy", "HTTPS_PROXY"])),
        no_proxy: variable("no_proxy")?
            .or(variable("additional_no_proxy")?)
            .or_else(|| of_environment(["no_proxy", "NO_PROXY"]))
            .unwrap_or_default(),
        ..Sources::default()
    })
}

/// The variables of the machine that speaks for all where it is this computer that downloads: the first one of the cluster, because
/// others in the inventory may not have what is said of that.
fn speaker(world: &World) -> Result<Option<HostVars>, Error> {
    let of_cluster = world.inventory.group("k8s_cluster").first().copied();
    let host = of_cluster.or_else(|| world.inventory.hosts().next().map(muster_inventory::Host::name));
    Ok(host.map(|host| world.vars.host(host)).transpose()?)
}

/// No image that the bundle has is another one than `image_digests` says.
fn known(bundle: &Bundle, releases: &[Release], digests: &ImageDigests) -> Result<(), Error> {
    let images = releases.iter().flat_map(|release| release.images.iter().map(|image| (image, release.arch)));
    let wrong: Vec<String> = images
        .filter_map(|(image, arch)| {
            let entry = bundle.image(&image.reference.to_string(), arch).ok()?;
            let why = digests.check(&entry.reference, entry.manifest_digest).err()?;
            Some(format!("{}: {why}", entry.reference))
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("the bundle {} has images that it may not have: {}", bundle.dir().display(), wrong.join("; ")))
        .hint("where they are wrong, make the bundle anew in another folder; where the list is, correct image_digests (muster bundle list \
               --digests shows what the bundle has)"))
}

/// The digests that images must have, by the variable.
fn image_digests(vars: &HostVars) -> Result<ImageDigests, Error> {
    let Some(value) = vars.get("image_digests")? else { return Ok(ImageDigests::default()) };
    ImageDigests::from_value(&value.to_json()).map_err(|why| {
        let origin = value.origin.as_ref();
        let place = origin.map(|origin| format!("{origin}: ")).unwrap_or_default();
        let excerpt = origin.map(muster_inventory::Origin::excerpt).unwrap_or_default();
        Error::written(format!("{place}image_digests {why}{excerpt}"))
            .hint("see how it is written: muster docs vars image_digests")
    })
}

/// The bundle as it is, for runs that need nothing of it.
///
/// # Errors
/// It is there and cannot be read.
pub(crate) fn as_it_is(options: &RunOptions, environment: &Environment) -> Result<Arc<Bundle>, Error> {
    let dir = bundle_dir(options.bundle.as_deref(), environment)?;
    match Bundle::open(&dir) {
        Ok(bundle) => Ok(Arc::new(match environment.cache_dir() {
            Ok(cache) => bundle.with_programs_in(cache.join("bin")),
            Err(_) => bundle,
        })),
        Err(BundleError::NotABundle { .. }) => Ok(Arc::new(Bundle::empty(&dir))),
        Err(error) => Err(error.into()),
    }
}

/// What some versions consist of, for the architectures a bundle is for.
fn releases(bundle: &Bundle, versions: &[String]) -> Result<Vec<Release>, Error> {
    let mut releases = Vec::new();
    for arch in arches(bundle) {
        for version in versions {
            releases
                .push(CATALOGUE.release(version, arch).map_err(|error| Error::written(error.to_string()))?);
        }
    }
    Ok(releases)
}

/// The architectures a bundle is for. What the machines are is not known before they are contacted: an empty bundle is
/// taken to be for machines like this computer.
fn arches(bundle: &Bundle) -> Vec<Arch> {
    let has = |arch: &Arch| bundle.files().iter().any(|file| file.arch == *arch);
    let found: Vec<Arch> = Arch::ALL.into_iter().filter(has).collect();
    if found.is_empty() { vec![Arch::host().unwrap_or(Arch::Amd64)] } else { found }
}

/// What `muster bundle` is to be told.
struct Asked {
    /// Its options.
    which: String,
    /// Whether all of it can be compiled: of what the catalogue has as an option (calico) there are only upstream's images.
    can_be_built: bool,
}

/// The options of `muster bundle` that ask for these versions of Kubernetes and for what the inventory asks for.
fn asked_for(world: &World, versions: &[String]) -> Asked {
    let of_default = |version: &String| version == CATALOGUE.default_release();
    let mut which = String::new();
    let options = options_of(&world.inventory, &world.vars);
    if !versions.iter().all(of_default) {
        which.extend(versions.iter().map(|version| format!(" --kube-version {}", quote(version))));
    }
    which.extend(options.iter().map(|name| format!(" --with {name}")));
    let can_be_built = !CATALOGUE
        .options()
        .chain([RUNC])
        .any(|option| options.iter().any(|asked| asked.split('=').next() == Some(option)));
    Asked { which, can_be_built }
}

/// What the bundle lacks of what was asked for, and the commands that get it.
fn lacks(bundle: &Bundle, missing: &[MissingArtifact], asked: &Asked, options: &RunOptions) -> Error {
    let list: String =
        missing.iter().map(|artifact| format!("\n  {} ({})", artifact.what, artifact.has)).collect();
    let mut which = asked.which.clone();
    if let Some(dir) = &options.bundle {
        which.push_str(&format!(" --dir {}", quote(&dir.display().to_string())));
    }
    let error = Error::failed(format!("the bundle {} lacks:{list}", bundle.dir().display()))
        .hint(format!("fetch it from the internet or a mirror: muster bundle fetch{which}"));
    let error = match asked.can_be_built {
        true => error.hint(format!("or compile it from source: muster bundle build{which}")),
        false => error,
    };
    error.hint("or name another bundle: --bundle DIR")
}
