//! Mirrors of single registries and sites, and who this computer is to registries, by variables of kubespray's and by Docker's files.

use std::collections::BTreeMap;

use muster_artifacts::Credentials;
use muster_inventory::HostVars;
use muster_roles::registry_credentials;

use crate::environment::Environment;
use crate::error::Error;

/// Variables that name a registry to take the place of another one.
const REGISTRIES: [(&str, &str); 5] = [
    ("kube_image_repo", "registry.k8s.io"),
    ("gcr_image_repo", "gcr.io"),
    ("docker_image_repo", "docker.io"),
    ("quay_image_repo", "quay.io"),
    ("github_image_repo", "ghcr.io"),
];

/// Where Kubernetes' images were in former times: samples of kubespray of these ages say so, and mean upstream.
const FORMER: [&str; 2] = ["gcr.io/google-containers", "k8s.gcr.io"];

/// Variables that name a URL to take the place of a site's.
const SITES: [(&str, &str); 4] = [
    ("dl_k8s_io_url", "dl.k8s.io"),
    ("github_url", "github.com"),
    ("storage_googleapis_url", "storage.googleapis.com"),
    ("get_helm_url", "get.helm.sh"),
];

/// The registries with a mirror of their own, by name.
///
/// # Errors
/// The value of a variable cannot be made.
pub(crate) fn of_registries(vars: &HostVars) -> Result<BTreeMap<String, String>, Error> {
    said(vars, &REGISTRIES, |upstream, value| value == upstream || FORMER.contains(&value))
}

/// The sites with a mirror of their own, by host.
///
/// # Errors
/// As [`of_registries`].
pub(crate) fn of_sites(vars: &HostVars) -> Result<BTreeMap<String, String>, Error> {
    said(vars, &SITES, |upstream, value| value.trim_end_matches('/') == format!("https://{upstream}"))
}

/// What variables say of upstream's places, without what is upstream itself.
fn said(
    vars: &HostVars,
    places: &[(&str, &str)],
    is_upstream: impl Fn(&str, &str) -> bool,
) -> Result<BTreeMap<String, String>, Error> {
    let mut mirrors = BTreeMap::new();
    for (name, upstream) in places {
        let value = vars.get(name)?;
        let value = value.as_ref().and_then(|value| value.as_str()).filter(|text| !text.is_empty());
        if let Some(value) = value.filter(|text| !is_upstream(upstream, text)) {
            mirrors.insert((*upstream).to_owned(), value.to_owned());
        }
    }
    Ok(mirrors)
}

/// Names and passwords: those of the variables, and of other registries those that `docker login` has left on this computer.
///
/// # Errors
/// A variable or the file cannot be read.
pub(crate) fn credentials(vars: Option<&HostVars>, environment: &Environment) -> Result<Credentials, Error> {
    let mut known = vars.map_or_else(|| Ok(Credentials::default()), registry_credentials).map_err(|why| {
        Error::written(why).hint("see how it is written: muster docs vars containerd_registry_auth")
    })?;
    let folder = environment.path("DOCKER_CONFIG");
    let folder = folder.or_else(|| environment.home().map(|home| home.join(".docker")));
    let Some(file) = folder.map(|folder| folder.join("config.json")) else { return Ok(known) };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(known),
        Err(error) => return Err(Error::failed(format!("{} cannot be read: {error}", file.display()))),
    };
    known.add_of_docker(&text).map_err(|why| {
        Error::failed(format!("{}: {why}", file.display()))
            .hint("correct it, or log in again: docker login REGISTRY")
    })?;
    Ok(known)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_inventory::{GroupRules, Inventory, VarsBuilder};
    use muster_roles::COMMON_DEFAULTS;

    use super::*;

    fn vars(extra: &str) -> HostVars {
        let inventory = Inventory::from_ini("hosts.ini", "a\n", GroupRules::new()).unwrap();
        let builder = VarsBuilder::new(Arc::new(inventory)).defaults("common", COMMON_DEFAULTS).unwrap();
        builder.extra_vars(extra).unwrap().build().unwrap().host("a").unwrap()
    }

    #[test]
    fn each_variable_is_the_mirror_of_its_registry_or_site_unless_it_is_upstream() {
        let usual = vars("{unused: 1}");
        assert!(of_registries(&usual).unwrap().is_empty() && of_sites(&usual).unwrap().is_empty());
        let former =
            vars("{kube_image_repo: k8s.gcr.io, github_url: 'https://github.com/', quay_image_repo: ''}");
        assert!(of_registries(&former).unwrap().is_empty() && of_sites(&former).unwrap().is_empty());
        let said = vars(
            "{kube_image_repo: a, gcr_image_repo: b, docker_image_repo: c/hub, quay_image_repo: d, github_image_repo: e, \
             dl_k8s_io_url: 'http://f', github_url: 'http://g', storage_googleapis_url: 'http://h', get_helm_url: 'http://i'}",
        );
        let pairs = |mirrors: BTreeMap<String, String>| -> Vec<String> {
            mirrors.into_iter().map(|(upstream, mirror)| format!("{upstream} {mirror}")).collect()
        };
        assert_eq!(
            pairs(of_registries(&said).unwrap()),
            ["docker.io c/hub", "gcr.io b", "ghcr.io e", "quay.io d", "registry.k8s.io a"]
        );
        assert_eq!(
            pairs(of_sites(&said).unwrap()),
            [
                "dl.k8s.io http://f",
                "get.helm.sh http://i",
                "github.com http://g",
                "storage.googleapis.com http://h"
            ]
        );
    }

    #[test]
    fn what_docker_knows_is_used_where_variables_say_nothing() {
        let home = tempfile::tempdir().unwrap();
        let nothing = Environment::default();
        assert_eq!(credentials(None, &nothing).unwrap(), Credentials::default());
        std::fs::create_dir(home.path().join(".docker")).unwrap();
        let file = home.path().join(".docker/config.json");
        std::fs::write(&file, r#"{"auths": {"a": {"auth": "YTpi"}, "b": {"auth": "YTpi"}}}"#).unwrap();
        let environment = Environment::new(BTreeMap::new(), Some(home.path().to_owned()), None);
        let said = vars("{containerd_registry_auth: [{registry: a, username: x, password: y}]}");
        let mut expected = Credentials::default();
        expected.add("a", "x", "y");
        expected.add_encoded("b", "YTpi".to_owned());
        assert_eq!(credentials(Some(&said), &environment).unwrap(), expected);
        let wrong = vars("{containerd_registry_auth: [{registry: a, username: secret}]}");
        let error = credentials(Some(&wrong), &environment).unwrap_err();
        assert!(
            error.message.contains("containerd_registry_auth") && !error.message.contains("secret"),
            "{error:?}"
        );
        std::fs::write(&file, "[").unwrap();
        assert!(credentials(None, &environment).unwrap_err().message.contains("config.json"));
    }
}
