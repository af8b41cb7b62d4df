//! containerd: the container engine, with runc and the CNI plugins, from the bundle.

pub(crate) mod earlier;
mod registries;
mod settings;

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use muster_inventory::{HostVars, VarsError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::adoption;
use crate::apps::registry;
use crate::catalogue::{artifact, image};
use crate::cluster;
use crate::common::{bin_dir, cluster_vars};
use crate::docker;
use crate::proxies;
use crate::unit::unit;
use registries::{Registry, registries};
use settings::{SPECS, Settings, settings};

pub use registries::registry_credentials;
pub(crate) use registries::{Wrong, value};
pub(crate) use settings::variable_of;

#[derive(Deserialize)]
struct Vars {
    container_manager: String,
    containerd_state_dir: String,
    containerd_storage_dir: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>()];

/// The CNI plugins that flannel's configuration, and most others', call.
pub(crate) const CNI_PLUGINS: [&str; 7] =
    ["bridge", "host-local", "loopback", "portmap", "bandwidth", "firewall", "tuning"];

const PROGRAMS: [&str; 3] = ["containerd", "containerd-shim-runc-v2", "ctr"];
const CONFIG: &str = "/etc/containerd/config.toml";
const REGISTRIES: &str = "/etc/containerd/certs.d";
const UNIT: &str = "/etc/systemd/system/containerd.service";
/// The proxies of containerd, in a file because everybody may see what a unit says (systemctl(1), show).
const PROXIES: &str = "/etc/containerd/proxies.env";

/// containerd itself says whether it takes a configuration. What it does not know it would only leave out.
const CHECK: &str = r#"
said=$(containerd --config /dev/stdin config dump 2>&1 >/dev/null) && case $said in *'unknown key'*) false ;; esac || {
  printf '%s\n' "$said" 'containerd does not take what the variables containerd_* say; it goes on with what it has' >&2
  exit 1
}"#;

pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    // With docker it is the same, and the role `docker` adds Docker.
    if !["containerd", "docker"].contains(&vars.container_manager.as_str()) {
        return Err(Failure::new(
            format!(
                "container_manager is {:?}, and there is containerd, and docker beside it",
                vars.container_manager
            ),
            "set container_manager: containerd",
        ));
    }
    cluster::may_set_up(host).await?;
    let kube_version = cluster_vars(host)?.kube_version;
    let bin = bin_dir(host)?;

    let containerd = artifact(host, "containerd", &kube_version)?;
    let plugins = artifact(host, "cni-plugins", &kube_version)?;
    let programs = host
        .step("Install containerd, runc and the CNI plugins")
        .ensure(earlier::is_noted(host, &vars.containerd_storage_dir)?)
        .ensure(PROGRAMS.into_iter().fold(archive(containerd), |all, name| {
            all.member(format!("bin/{name}"), format!("{bin}/{name}"))
        }))
        .ensure(binary(artifact(host, "runc", &kube_version)?, format!("{bin}/runc")))
        .ensure(CNI_PLUGINS.into_iter().fold(archive(plugins), |plugins, name| {
            plugins.member(format!("./{name}"), format!("/opt/cni/bin/{name}"))
        }))
        .await?;

    let vars = host.all_vars();
    let settings = settings(vars).map_err(Wrong::failure)?;
    let proxies = proxies::environment(host)?;
    let mut extra = extra(host, &settings, &image(host, "pause", &kube_version)?)?;
    extra["proxies"] = json!(proxies.as_ref().map(|_| PROXIES));
    let config = host.render("config.toml.j2", include_str!("templates/config.toml.j2"), &extra)?;
    let text =
        host.render("containerd.service.j2", include_str!("templates/containerd.service.j2"), &extra)?;
    let config = if settings.is_secret { file(CONFIG).secret(config) } else { file(CONFIG).content(config) };
    let spec = |(name, text): (&String, &String)| file(format!("{SPECS}/{name}")).content(text);
    let config = host
        .step("Configure containerd")
        .ensure(dir("/etc/cni/net.d"))
        // Before the unit that names it: where it is not taken, containerd starts as before.
        .ensure_all(proxies.as_ref().map(|text| file(PROXIES).secret(text).taken_by(proxies::CHECK)))
        .ensure(config.taken_by(CHECK))
        .ensure(unit(UNIT, text))
        .ensure_all(settings.specs.iter().map(spec))
        .await?;

    // containerd reads these whenever it pulls.
    let registries = registries(vars).map_err(Wrong::failure)?;
    let prefixes: Vec<String> = registries.iter().map(|registry| registry.prefix.clone()).collect();
    let mut step = host.step("Run containerd");
    if !prefixes.is_empty() {
        step = step.ensure(kept_before(MIRRORS, &prefixes));
    }
    for registry in &registries {
        let path = format!("{REGISTRIES}/{}/hosts.toml", registry.prefix);
        let text = hosts_toml(vars, registry)?;
        step = step.ensure(match registry.is_secret() {
            true => file(path).secret(text),
            false => file(path).content(text),
        });
    }
    if proxies.is_none() {
        step = step.remove(file(PROXIES));
    }
    step = match settings.specs.is_empty() {
        true => step.remove(dir(SPECS)),
        false => step.ensure(no_other_specs(settings.specs.into_keys())),
    };
    docker::removed_in(host, step)?
        .ensure(no_other_mirrors(MIRRORS, &prefixes))
        .ensure_all(adoption::no_drop_ins(host, "containerd"))
        .ensure(service("containerd").restart_on(&[&programs, &config]))
        .await
        .map(drop)
}

/// What the template of the configuration is told. `pause`: the image of sandboxes.
fn extra(host: &Host, settings: &Settings, pause: &str) -> Result<Value> {
    let mut extra = settings.extra.clone();
    extra["bin_dir"] = json!(bin_dir(host)?);
    extra["pause_image"] = json!(pause);
    // Without this capability no process may lower its OOM score, and no container would start.
    extra["restrict_oom_score_adj"] = json!(!host.facts().may_lower_oom_score());
    Ok(extra)
}

/// What variables say of containerd, for who compares it with one that is there.
pub(crate) struct Wanted {
    /// The configuration.
    pub(crate) config: String,
    /// The base specifications of containers, by the paths of their files.
    pub(crate) specs: BTreeMap<String, String>,
    /// Limits of its unit as systemd.exec(5) has them, where they are not systemd's: of open files, and of locked memory in bytes.
    pub(crate) open_files: Option<String>,
    pub(crate) locked_memory: Option<String>,
}

/// What a machine's containerd is to have.
///
/// # Errors
/// A variable is wrong.
pub(crate) fn wanted(host: &Host) -> Result<Wanted> {
    let vars = host.all_vars();
    let settings = settings(vars).map_err(Wrong::failure)?;
    // No image of sandboxes: that is not compared, and of a version that the catalogue has not got there is none.
    let extra = extra(host, &settings, "")?;
    let limit = |name| -> Result<Option<String>> {
        let limit: Option<Value> =
            value(vars, name, "a limit, as 1048576 or infinity").map_err(Wrong::failure)?;
        Ok(limit.map(|limit| limit.as_str().map_or_else(|| limit.to_string(), str::to_owned)))
    };
    Ok(Wanted {
        config: host.render("config.toml.j2", include_str!("templates/config.toml.j2"), &extra)?,
        open_files: limit("containerd_limit_open_file_num")?,
        locked_memory: limit("containerd_limit_mem_lock")?,
        specs: settings.specs.into_iter().map(|(name, text)| (format!("{SPECS}/{name}"), text)).collect(),
    })
}

/// What is wrong with the variables that are settings of containerd.
pub(crate) fn wrong(vars: &HostVars) -> Vec<Wrong> {
    [settings(vars).err(), registries(vars).err()].into_iter().flatten().collect()
}

fn hosts_toml(vars: &HostVars, registry: &Registry) -> Result<String, VarsError> {
    vars.render(include_str!("templates/hosts.toml.j2"), "hosts.toml.j2", registry)
}

/// Specifications that were taken out of the variable are gone.
fn no_other_specs(names: impl Iterator<Item = String>) -> Command {
    let args: Vec<String> = std::iter::once(SPECS.to_owned()).chain(names).collect();
    removal(
        "other specifications of containers",
        sh(
            concat!(
                include_str!("other_specs.sh"),
                "others \"$@\" | while read -r name; do rm -f \"$folder/$name\"; done"
            ),
            args.clone(),
        ),
        sh(concat!(include_str!("other_specs.sh"), "[ -z \"$(others \"$@\")\" ]"), args),
    )
}

/// The lists of registries of which muster tells containerd: by variables, and of the cluster's own.
const MIRRORS: &str = "/var/lib/muster/mirrors";
pub(crate) const OWN_REGISTRY: &str = "/var/lib/muster/own-registry";

/// What somebody has where these files are to be is kept, and noted that they are muster's.
fn kept_before(list: &str, prefixes: &[String]) -> Command {
    command(
        "what was there before mirrors is kept",
        sh(include_str!("mirrors.sh"), mirrors("keep", list, prefixes)),
        sh(include_str!("mirrors.sh"), mirrors("is-kept", list, prefixes)),
    )
}

/// Mirrors that were taken out of the variable are gone: a mirror that is no more would be asked for ever. What was there before is
/// there again, and files of others stay.
pub(crate) fn no_other_mirrors(list: &str, prefixes: &[String]) -> Command {
    // Not a removal by name: the first time it only notes which are muster's.
    command(
        "there are no mirrors but those of the variables",
        sh(include_str!("mirrors.sh"), mirrors("remove", list, prefixes)),
        sh(include_str!("mirrors.sh"), mirrors("look", list, prefixes)),
    )
}

fn mirrors(what: &str, list: &str, prefixes: &[String]) -> Vec<String> {
    [what, list].map(str::to_owned).into_iter().chain(prefixes.iter().cloned()).collect()
}

/// No mirrors of muster's are left, whatever the variables say now.
pub(crate) fn no_mirrors() -> [Command; 2] {
    [MIRRORS, OWN_REGISTRY].map(|list| no_other_mirrors(list, &[]))
}

/// containerd has nothing in its folder of storage, which may hold more than that: a disk of somebody's.
pub(crate) fn no_images(folder: &str) -> Command {
    removal(
        format!("images in {folder}"),
        sh(include_str!("no_images.sh"), [folder]),
        sh(
            r#"for path in "$1"/io.containerd.* "$1"/tmpmounts; do [ ! -e "$path" ] || exit 1; done"#,
            [folder],
        ),
    )
}

/// Where this role has its programs; another engine may have its own there.
fn programs(host: &Host) -> Result<impl Iterator<Item = String>> {
    let bin = bin_dir(host)?;
    let own = PROGRAMS.into_iter().chain(["runc"]).map(move |name| format!("{bin}/{name}"));
    Ok(own.chain(CNI_PLUGINS.into_iter().map(|name| format!("/opt/cni/bin/{name}"))))
}

/// The programs of this role that are still on a machine on which somebody has set up another engine: those that are as they were
/// installed.
pub(crate) fn programs_beside_anothers(host: &Host) -> Result<Resources> {
    let left = programs(host)?.map(|path| uninstalled(path).only_as_installed());
    Ok(left.fold(Resources::new(), Resources::with))
}

/// What this role has on a machine, but for the images. Its programs and the images stay where `keep` says so.
pub(crate) fn owned(host: &Host, keep: bool) -> Result<Resources> {
    let vars: Vars = host.vars()?;
    let programs = programs(host)?.filter(|_| !keep).map(uninstalled);
    let mut owned = programs.fold(Resources::new(), Resources::with);
    if let Some(path) = registry::told_in(host)? {
        owned = owned.with(file(path));
    }
    Ok(owned
        .with(dir(vars.containerd_state_dir))
        .with(file(CONFIG))
        .with(file(PROXIES))
        .with(dir(SPECS))
        .with(file(UNIT))
        .with(service("containerd")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn a_mirror_that_left_the_variable_is_gone_and_those_of_others_stay_or_come_back() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().display().to_string();
        let program = include_str!("mirrors.sh").replace("/etc/containerd", &format!("{folder}/containerd"));
        let list = format!("{folder}/muster/mirrors");
        let run_cut = |cut: &str, words: &[&str]| {
            let mut dash = std::process::Command::new("dash");
            dash.args(["-euc", &format!("{cut}\n{program}"), "mirrors", words[0], &list]).args(&words[1..]);
            dash.status().unwrap().success()
        };
        let run = |words: &[&str]| run_cut("", words);
        let file = |prefix: &str| root.path().join(format!("containerd/certs.d/{prefix}/hosts.toml"));
        let write = |prefix: &str, text: &str| {
            fs::create_dir_all(file(prefix).parent().unwrap()).unwrap();
            fs::write(file(prefix), text).unwrap();
        };
        let says = |prefix: &str| fs::read_to_string(file(prefix)).unwrap_or_default();
        write("own.example.org", "theirs");
        write("quay.io", "theirs");
        assert!(run(&["look"]) && !run(&["is-kept", "quay.io"]), "there was never a mirror");
        let both = ["docker.io", "quay.io"];
        for _ in 0..2 {
            // Killed before the files are written, and again: what is muster's own is not kept.
            assert!(run(&["keep", both[0], both[1]]) && run(&["is-kept", both[0], both[1]]));
            both.iter().for_each(|prefix| write(prefix, "muster's"));
        }
        assert!(
            run(&["remove", both[0], both[1]])
                && run(&["look", both[0], both[1]])
                && !run(&["look", "quay.io"])
        );
        assert!(run(&["remove", "quay.io"]) && run(&["look", "quay.io"]));
        assert!(!file("docker.io").exists() && says("quay.io") == "muster's");
        assert!(run(&["remove"]) && run(&["look"]));
        assert_eq!((says("quay.io").as_str(), says("own.example.org").as_str()), ("theirs", "theirs"));
        assert!(!file("docker.io").parent().unwrap().exists());
        let is_empty = || fs::read_dir(root.path().join("muster")).unwrap().count() == 0;
        assert!(is_empty(), "nothing of it is left");

        // Killed when somebody's file has come back: it is theirs, also while the list names it still.
        for (program, wanted) in [("mv", &["docker.io"][..]), ("rm", &[][..])] {
            assert!(run(&["keep", both[0], both[1]]));
            both.iter().for_each(|prefix| write(prefix, "muster's"));
            let remove = [&["remove"][..], wanted].concat();
            let cut =
                format!("{program}() {{ case $* in *mirrors) exit 9 ;; esac; command {program} \"$@\"; }}");
            assert!(!run_cut(&cut, &remove) && says("quay.io") == "theirs", "{program}");
            assert!(run(&remove) && run(&[&["look"][..], wanted].concat()) && says("quay.io") == "theirs");
            // The copy is still there, if it was killed then.
            fs::create_dir_all(format!("{list}-before/quay.io")).unwrap();
            assert!(!run(&[&["look"][..], wanted].concat()) && run(&remove) && says("quay.io") == "theirs");
            assert!(run(&["remove"]) && is_empty(), "{program}");
        }
    }
}
