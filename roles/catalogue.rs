//! What is installed: the catalogue (`catalogue/catalogue.yml`), and what of it a role takes from the bundle.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use muster_artifacts::{Arch, Bundle, Catalogue, Release};
use muster_engine::prelude::*;
use muster_inventory::{HostVars, Inventory, Vars};

use crate::apps::gateway_api;
use crate::balancer;
use crate::cilium;
use crate::coredns;
use crate::custom_cni;
use crate::docker;
use crate::extension;
use crate::helm;
use crate::vip;

/// Why the catalogue has nothing older than 1.30, and what can be done about it.
const BEGINS_BECAUSE: &str = "older programs of Kubernetes do not understand what they would be told. A cluster that runs them goes there \
                              first, by what made it";

/// The catalogue that muster comes with.
#[expect(clippy::expect_used, reason = "the text is compiled in, and a test parses it")]
pub static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::parse(include_str!("catalogue/catalogue.yml"), "catalogue.yml")
        .expect("the catalogue is correct")
        .begins_because(BEGINS_BECAUSE)
});

/// What of a version of Kubernetes a machine's variables ask for, for its architecture.
pub fn release(host: &Host, kube_version: &str) -> Result<Release> {
    let whole = whole_release(host, kube_version)?;
    Ok(CATALOGUE.needed(whole, |purpose| asks_for(host.all_vars(), purpose)))
}

fn whole_release(host: &Host, kube_version: &str) -> Result<Release> {
    let release = CATALOGUE.release(kube_version, arch(host)?).map_err(|error| {
        Failure::new(error.to_string(), "see the versions there are: muster bundle list --versions")
    })?;
    Ok(as_chosen(release, host.all_vars()))
}

const OF_CALICO: [&str; 2] = ["calico", "typha"];

/// What is the same for all machines and whose version a variable chooses: the variable, a file in that version, and the options and
/// applications that have it.
const CHOSEN: [(&str, &str, &[&str]); 2] = [
    ("calico_version", "calico-manifest", &OF_CALICO),
    ("gateway_api_version", "gateway-api-standard", &[gateway_api::NAME]),
];

/// Whether an option of the catalogue is for another network plugin than that of new clusters.
pub fn is_of_another_network(option: &str) -> bool {
    OF_CALICO.contains(&option) || ["cilium", "cilium-envoy", "hubble"].contains(&option)
}

/// The program that starts containers. A variable chooses its version, too.
pub const RUNC: &str = "runc";

/// The version of an artifact that a variable chooses, where the catalogue has it.
fn chosen(vars: &HostVars, variable: &str, artifact: &str) -> Option<String> {
    let version = text(vars, variable)?.trim_start_matches('v').to_owned();
    CATALOGUE.versions(artifact).contains(&version.as_str()).then_some(version)
}

/// Whether an application may be asked for in another version than that of the catalogue.
pub fn has_versions(app: &str) -> bool {
    CHOSEN.iter().any(|(.., names)| names.contains(&app))
}

fn chosen_runc(vars: &HostVars) -> Option<String> {
    chosen(vars, "runc_version", RUNC)
}

/// The release with the versions that a machine's variables choose.
fn as_chosen(release: Release, vars: &HostVars) -> Release {
    let release = in_chosen_versions(release, vars);
    let Some(version) = chosen_runc(vars) else { return release };
    CATALOGUE.in_version(release.clone(), &[RUNC], &version).unwrap_or(release)
}

fn in_chosen_versions(release: Release, vars: &HostVars) -> Release {
    CHOSEN.iter().fold(release, |release, (variable, artifact, names)| {
        let Some(version) = chosen(vars, variable, artifact) else { return release };
        CATALOGUE.in_version(release.clone(), names, &version).unwrap_or(release)
    })
}

/// The release with each version of runc that one of the machines is to have.
fn with_each_runc(mut release: Release, hosts: &[HostVars]) -> Release {
    let place = release.files.iter().position(|file| file.name == RUNC).filter(|_| !hosts.is_empty());
    let Some(place) = place else { return release };
    let usual = release.files.remove(place);
    let mut wanted = Vec::new();
    for vars in hosts {
        let file = chosen_runc(vars).and_then(|version| CATALOGUE.file(RUNC, &version, release.arch).ok());
        let file = file.unwrap_or_else(|| usual.clone());
        if !wanted.contains(&file) {
            wanted.push(file);
        }
    }
    let behind = release.files.split_off(place);
    release.files.extend(wanted.into_iter().chain(behind));
    release
}

/// A variable that is a text and can be worked out.
pub(crate) fn text(vars: &HostVars, name: &str) -> Option<String> {
    vars.get(name).ok().flatten().and_then(|value| value.as_str().map(str::to_owned))
}

/// What of a release the machines of an inventory need, all together.
pub fn needed_by(inventory: &Inventory, vars: &Vars, release: Release) -> Release {
    let hosts: Vec<_> = inventory.hosts().filter_map(|host| vars.host(host.name()).ok()).collect();
    let release = hosts.first().map_or(release.clone(), |vars| in_chosen_versions(release, vars));
    let release = with_each_runc(release, &hosts);
    CATALOGUE.needed(release, |purpose| hosts.iter().any(|vars| asks_for(vars, purpose)))
}

/// The options and applications that any of an inventory's machines asks for; behind one whose version is chosen stands `=VERSION`.
pub fn options_of(inventory: &Inventory, vars: &Vars) -> Vec<String> {
    let hosts: Vec<_> = inventory.hosts().filter_map(|host| vars.host(host.name()).ok()).collect();
    let all = CATALOGUE.options().chain(CATALOGUE.apps());
    let asked = all.filter(|option| hosts.iter().any(|vars| asks_for(vars, option)));
    let in_version = |option: &str| {
        let of = CHOSEN.iter().find(|(.., names)| names.contains(&option));
        let version = of.and_then(|(variable, artifact, _)| chosen(hosts.first()?, variable, artifact));
        version.map_or_else(|| option.to_owned(), |version| format!("{option}={version}"))
    };
    let usual = CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).ok();
    let usual = usual.as_ref().and_then(|release| release.file(RUNC)).map(|file| file.version.as_str());
    let runcs: BTreeSet<String> = hosts.iter().filter_map(chosen_runc).collect();
    let runcs = runcs.into_iter().filter(|version| Some(version.as_str()) != usual);
    asked.map(in_version).chain(runcs.map(|version| format!("{RUNC}={version}"))).collect()
}

/// Whether a machine's variables ask for a purpose (`for`, `options` and `apps` in the catalogue). A variable that cannot be
/// worked out asks: what is wrong with it is told elsewhere.
fn asks_for(vars: &HostVars, purpose: &str) -> bool {
    let plugin_is = |name: &str| text(vars, "kube_network_plugin").is_none_or(|plugin| plugin == name);
    match purpose {
        "dns" => text(vars, "dns_mode").is_none_or(|mode| {
            let caches = vars.get("enable_nodelocaldns").ok().flatten();
            coredns::is_anywhere(&mode, caches.is_none_or(|caches| caches.as_bool() != Some(false)))
        }),
        "kube-proxy" => {
            let is_removed = vars.get("kube_proxy_remove").ok().flatten();
            is_removed.is_none_or(|is_removed| is_removed.as_bool() != Some(true))
        }
        "flannel" | "calico" | "cilium" => plugin_is(purpose),
        "cilium-envoy" => cilium::has_envoy(vars),
        "hubble" => cilium::has_hubble(vars),
        "typha" => {
            let typha = vars.get("typha_enabled").ok().flatten();
            plugin_is("calico") && typha.is_none_or(|typha| typha.as_bool() != Some(false))
        }
        "docker" => docker::is_asked_for(vars),
        "load-balancer" => balancer::is_asked_for(vars),
        "api-vip" => vip::is_asked_for(vars),
        "network-test" => text(vars, "verify_network").is_none_or(|when| when != "never"),
        // It renders charts, on this computer.
        helm::NAME => {
            wants_app(vars, purpose).unwrap_or(true)
                || extension::has_charts(vars)
                || plugin_is("cilium")
                || custom_cni::has_chart(vars)
        }
        app => wants_app(vars, app).unwrap_or(true),
    }
}

/// Whether a machine's variables ask for an application: whether `NAME_enabled` is true, with `_` for the hyphens of its name.
///
/// # Errors
/// The variable cannot be worked out, or is neither true nor false.
pub fn wants_app(vars: &HostVars, app: &str) -> Result<bool> {
    let name = format!("{}_enabled", app.replace('-', "_"));
    let Some(value) = vars.get(&name)? else { return Ok(false) };
    value
        .as_bool()
        .ok_or_else(|| Failure::Vars(format!("{name} is {}, and should be true or false", value.to_json())))
}

pub(crate) fn arch(host: &Host) -> Result<Arch> {
    Arch::of_machine(&host.facts().arch).ok_or_else(|| {
        Failure::new(
            format!("there are no programs for {} machines", host.facts().arch),
            "use amd64 or arm64 machines",
        )
    })
}

/// A file of the bundle, by its name in the catalogue, in the version that goes with this version of Kubernetes.
pub fn artifact(host: &Host, name: &str, kube_version: &str) -> Result<Artifact> {
    let release = release(host, kube_version)?;
    let Some(file) = release.file(name) else {
        return Err(Failure::new(format!("the catalogue has no {name} for Kubernetes {kube_version}"), ""));
    };
    let bundle = host.bundle().clone();
    let entry = bundle.file(name, &file.version, release.arch).map_err(missing)?.clone();
    Ok(Artifact { bundle, entry })
}

/// The same, where the bundle has it.
pub(crate) fn artifact_if_there(host: &Host, name: &str, kube_version: &str) -> Result<Option<Artifact>> {
    let release = release(host, kube_version)?;
    let bundle = host.bundle().clone();
    let entry = release.file(name).and_then(|file| bundle.file(name, &file.version, release.arch).ok());
    Ok(entry.cloned().map(|entry| Artifact { bundle: bundle.clone(), entry }))
}

/// [`artifact`] for this computer, whose architecture may be another one than the machine's; `None` where the bundle does not have it.
pub fn artifact_for_here(host: &Host, name: &str, kube_version: &str) -> Option<Artifact> {
    artifact_of(host.bundle(), name, kube_version, Arch::host()?)
}

/// The same for an architecture, where there is no machine yet.
pub(crate) fn artifact_of(
    bundle: &Arc<Bundle>,
    name: &str,
    kube_version: &str,
    arch: Arch,
) -> Option<Artifact> {
    let release = CATALOGUE.release(kube_version, arch).ok()?;
    let entry = bundle.file(name, &release.file(name)?.version, arch).ok()?.clone();
    Some(Artifact { bundle: bundle.clone(), entry })
}

/// The full reference of an image, by its name in the catalogue, in the version that goes with this version of Kubernetes.
pub fn image(host: &Host, name: &str, kube_version: &str) -> Result<String> {
    let release = whole_release(host, kube_version)?;
    release.image(name).map(|image| image.reference.to_string()).ok_or_else(|| {
        Failure::new(format!("the catalogue has no image {name} for Kubernetes {kube_version}"), "")
    })
}

/// What the bundle lacks, as a failure with its remedy.
pub fn missing(error: muster_artifacts::MissingArtifact) -> Failure {
    Failure::new(
        error.to_string(),
        "get it: muster bundle fetch (from the internet or a mirror) or muster bundle build",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::inventory_and_vars;

    #[test]
    fn what_comes_to_this_computer_is_of_its_architecture() {
        let folder = tempfile::tempdir().unwrap();
        let version = CATALOGUE.default_release();
        let sha256 = "0".repeat(64);
        let kubectl = |arch: &str| {
            serde_json::json!({
                "name": "kubectl", "version": version, "arch": arch, "kind": "binary", "sha256": sha256, "size": 1,
                "stored": { "name": format!("kubectl-{arch}"), "encoding": "identity", "sha256": sha256, "size": 1 },
                "origin": "built", "source": "a test",
            })
        };
        let manifest = serde_json::json!({ "format": 1, "files": [kubectl("arm64")], "images": [] });
        std::fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
        let bundle = Arc::new(Bundle::open(folder.path()).unwrap());
        let found = |arch| artifact_of(&bundle, "kubectl", version, arch).map(|artifact| artifact.entry.arch);
        assert_eq!((found(Arch::Arm64), found(Arch::Amd64)), (Some(Arch::Arm64), None));
    }

    #[test]
    fn an_inventory_needs_what_any_of_its_machines_asks_for() {
        let whole = CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).unwrap();
        let names = |a: &str, b: &str| {
            let hosts = format!("a {a}\nb {b}\n[kube_node]\na\nb\n");
            let (inventory, vars) = inventory_and_vars(&hosts, "");
            let needed = needed_by(&inventory, &vars, whole.clone());
            ["coredns", "flannel", "kube-proxy", "agnhost", "pause"].map(|name| needed.image(name).is_some())
        };
        assert_eq!(names("", ""), [true; 5]);
        assert_eq!(names("dns_mode=none", ""), [true; 5]);
        let dns = names("dns_mode=none verify_network=never", "dns_mode=none");
        assert_eq!(dns, [false, true, true, true, true]);
        let own = names("kube_network_plugin=none", "kube_network_plugin=none");
        assert_eq!(own, [true, false, true, true, true]);
        let manual = "dns_mode=manual verify_network=never";
        assert!(!names(manual, manual)[0]);
        assert!(names(manual, &format!("{manual} enable_nodelocaldns=true"))[0]);
        assert_eq!(names("dns_mode='{{ nobody }}'", "dns_mode=none"), [true; 5]);
        let without = names("kube_proxy_remove=true", "kube_proxy_remove=true");
        assert_eq!(without, [true, true, false, true, true]);
    }

    #[test]
    fn each_version_of_runc_that_is_asked_for_is_needed() {
        let whole = CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).unwrap();
        let usual = whole.file(RUNC).unwrap().version.as_str();
        let of = |a: &str, b: &str| {
            let (inventory, vars) = inventory_and_vars(&format!("a {a}\nb {b}\n[kube_node]\na\nb\n"), "");
            let needed = needed_by(&inventory, &vars, whole.clone());
            let others = |file: &&muster_artifacts::CatalogueFile| file.name != RUNC;
            assert!(needed.files.iter().filter(others).all(|file| whole.files.contains(file)));
            let runcs = needed.files.into_iter().filter(|file| file.name == RUNC);
            let asked: Vec<String> =
                options_of(&inventory, &vars).into_iter().filter(|asked| asked.starts_with(RUNC)).collect();
            (runcs.map(|file| file.version).collect::<Vec<_>>(), asked)
        };
        let own = |versions: &[&str], asked: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            (owned(versions), owned(asked))
        };
        assert_eq!(of("", ""), own(&[usual], &[]));
        let older = "runc_version=v1.3.6";
        assert_eq!(of(older, older), own(&["1.3.6"], &["runc=1.3.6"]));
        assert_eq!(of(older, ""), own(&["1.3.6", usual], &["runc=1.3.6"]));
        assert_eq!(of(&format!("runc_version={usual}"), ""), own(&[usual], &[]));
        assert_eq!(of("runc_version=1.2.3", ""), own(&[usual], &[]), "preflight tells of it");
    }

    #[test]
    fn the_gateway_api_is_needed_in_the_version_that_is_asked_for() {
        let whole = CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).unwrap();
        let of = |version: &str| {
            let yaml = format!("gateway_api_enabled: true\n{version}");
            let (inventory, vars) = inventory_and_vars("a\n[kube_node]\na\n", &yaml);
            let needed = needed_by(&inventory, &vars, whole.clone());
            let files =
                ["gateway-api-standard", "gateway-api-experimental"].map(|name| needed.file(name).unwrap());
            let asked =
                options_of(&inventory, &vars).into_iter().find(|asked| asked.starts_with("gateway-api"));
            (files.map(|file| file.version.clone()), asked.unwrap())
        };
        let usual = whole.file("gateway-api-standard").unwrap().version.as_str();
        assert_eq!(of(""), ([usual, usual].map(str::to_owned), "gateway-api".to_owned()));
        let older = of("gateway_api_version: v1.4.1\n");
        assert_eq!(older, (["1.4.1", "1.4.1"].map(str::to_owned), "gateway-api=1.4.1".to_owned()));
    }

    #[test]
    fn docker_is_needed_where_it_is_the_engines_name() {
        let whole = CATALOGUE.release(CATALOGUE.default_release(), Arch::Arm64).unwrap();
        let url = |set: &str| {
            let (inventory, vars) = inventory_and_vars(&format!("a {set}\n[kube_node]\na\n"), "");
            needed_by(&inventory, &vars, whole.clone()).file("docker").map(|file| file.url.clone())
        };
        assert_eq!((url(""), url("container_manager=containerd")), (None, None));
        let docker = "https://download.docker.com/linux/static/stable/aarch64/docker-28.5.2.tgz";
        assert_eq!(url("container_manager=docker").as_deref(), Some(docker));
    }

    #[test]
    fn an_application_is_needed_where_its_variable_is_true() {
        let whole = CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).unwrap();
        let needs = |set: &str| {
            let (inventory, vars) = inventory_and_vars(&format!("a {set}\n[kube_node]\na\n"), "");
            needed_by(&inventory, &vars, whole.clone()).image("metrics-server").is_some()
        };
        let cases = [
            "",
            "metrics_server_enabled=false",
            "metrics_server_enabled=yes",
            "metrics_server_enabled=\"{{ x }}\"",
        ];
        assert_eq!(cases.map(needs), [false, false, true, true]);
    }
}
