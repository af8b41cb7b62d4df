//! Registries: where containerd asks for images of a registry, and with which credentials. kubespray has had several variables for
//! it; all of them become a `hosts.toml` for each registry (containerd's docs/hosts.md).

use std::collections::BTreeMap;

use muster_engine::prelude::Failure;
use muster_inventory::HostVars;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where images of a registry are asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Registry {
    /// The registry in the names of images: `docker.io`, or `registry.example.org:5000`.
    pub(super) prefix: String,
    /// What is asked when none of the others has the image, if it is not the registry itself.
    pub(super) server: Option<String>,
    /// What is asked, in this order.
    pub(super) mirrors: Vec<Mirror>,
}

impl Registry {
    /// Whether its file has something that is nobody else's business.
    pub(super) fn is_secret(&self) -> bool {
        self.mirrors.iter().any(|mirror| !mirror.header.is_empty())
    }
}

/// An entry of `mirrors`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mirror {
    host: String,
    #[serde(default = "all_capabilities")]
    capabilities: OneOrMore,
    #[serde(default)]
    skip_verify: Value,
    #[serde(default)]
    override_path: Value,
    #[serde(default)]
    ca: OneOrMore,
    #[serde(default)]
    client: Vec<(String, String)>,
    #[serde(default)]
    header: BTreeMap<String, OneOrMore>,
}

/// An entry of `containerd_registries_mirrors`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mirrors {
    prefix: String,
    server: Option<String>,
    mirrors: Vec<Mirror>,
}

/// A text, or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(from = "OneOrList")]
struct OneOrMore(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrList {
    One(String),
    List(Vec<String>),
}

impl From<OneOrList> for OneOrMore {
    fn from(value: OneOrList) -> Self {
        match value {
            OneOrList::One(text) => Self(vec![text]),
            OneOrList::List(list) => Self(list),
        }
    }
}

fn all_capabilities() -> OneOrMore {
    OneOrMore(["pull", "resolve"].map(str::to_owned).into())
}

/// Credentials for a registry: an entry of `containerd_registry_auth`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    registry: String,
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
}

/// What is wrong with a variable: its name, what was found, and what is needed. Credentials are not among it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) name: &'static str,
    pub(crate) found: String,
    pub(crate) needed: &'static str,
}

impl Wrong {
    /// Where it was not told before a run.
    pub(crate) fn failure(self) -> Failure {
        Failure::new(
            format!("{}: {}, and what is needed is {}", self.name, self.found, self.needed),
            format!("correct {}", self.name),
        )
    }
}

const MIRRORS: &str = "containerd_registries_mirrors";
const AUTH: &str = "containerd_registry_auth";

/// The value of a variable that may be missing.
pub(crate) fn value<T: DeserializeOwned + Default>(
    vars: &HostVars,
    name: &'static str,
    needed: &'static str,
) -> Result<T, Wrong> {
    let wrong = |found| Wrong { name, found, needed };
    let value = vars.get(name).map_err(|error| wrong(error.summary()))?;
    let value = value.map(|value| value.to_json()).filter(|value| !value.is_null());
    let Some(value) = value else { return Ok(T::default()) };
    serde_json::from_value(value).map_err(|error| wrong(without_value(&error.to_string())))
}

/// What serde says of a value of another type, without the value: it may be a secret one, as in a header.
fn without_value(said: &str) -> String {
    match (said.strip_prefix("invalid "), said.rsplit_once(", expected ")) {
        (Some(_), Some((_, expected))) => format!("something else than {expected}"),
        _ => said.to_owned(),
    }
}

/// Every registry for which variables say something, by its name.
///
/// # Errors
/// What is wrong with them.
pub(super) fn registries(vars: &HostVars) -> Result<Vec<Registry>, Wrong> {
    let mut all: BTreeMap<String, Registry> = BTreeMap::new();
    let mut add = |name, prefix: String, server: Option<String>, mirrors: Vec<Mirror>| {
        if !is_place(&prefix) {
            let needed = "the name of a registry, as docker.io or registry.example.org:5000";
            return Err(Wrong { name, found: prefix, needed });
        }
        let is_url = |host: &str| {
            let place = host.strip_prefix("https://").or_else(|| host.strip_prefix("http://"));
            place.is_some_and(|place| !place.is_empty() && !place.contains(['"', '\\', ' ', '@']))
        };
        let hosts = mirrors.iter().map(|mirror| &mirror.host).chain(&server);
        if let Some(host) = hosts.into_iter().find(|host| !is_url(host)) {
            let needed = "a URL that begins with https:// or http://, without credentials";
            // A password in it is nobody's business.
            let found =
                host.rsplit_once('@').map_or_else(|| host.clone(), |(_, place)| format!("...@{place}"));
            return Err(Wrong { name, found, needed });
        }
        let new = || Registry { prefix: prefix.clone(), server: None, mirrors: Vec::new() };
        let registry = all.entry(prefix.clone()).or_insert_with(new);
        registry.server = registry.server.take().or(server);
        for mirror in mirrors {
            if registry.mirrors.iter().all(|known| known.host != mirror.host) {
                registry.mirrors.push(mirror);
            }
        }
        Ok(())
    };
    let needed =
        "a list, as [{prefix: docker.io, mirrors: [{host: https://mirror.example.org, skip_verify: false}]}]";
    for Mirrors { prefix, server, mirrors } in value::<Vec<Mirrors>>(vars, MIRRORS, needed)? {
        add(MIRRORS, prefix, server, mirrors)?;
    }
    let needed = "a mapping, as {docker.io: https://mirror.example.org}";
    for (name, skip_verify) in [("containerd_registries", false), ("containerd_insecure_registries", true)] {
        for (prefix, OneOrMore(hosts)) in value::<BTreeMap<String, OneOrMore>>(vars, name, needed)? {
            let hosts = hosts
                .into_iter()
                .map(|host| if host.contains("://") { host } else { format!("https://{host}") });
            add(name, prefix, None, hosts.map(|host| Mirror::at(host, skip_verify)).collect())?;
        }
    }
    let name = "docker_registry_mirrors";
    let hosts: Vec<String> = value(vars, name, "a list, as [https://mirror.example.org]")?;
    if !hosts.is_empty() {
        add(name, "docker.io".into(), None, hosts.into_iter().map(|host| Mirror::at(host, false)).collect())?;
    }
    // Docker tries https without looking at the certificate, and then http.
    let name = "docker_insecure_registries";
    for registry in value::<Vec<String>>(vars, name, "a list, as [registry.example.org:5000]")? {
        let hosts = ["https", "http"].map(|scheme| Mirror::at(format!("{scheme}://{registry}"), true));
        add(name, registry, None, hosts.into())?;
    }
    Ok(all.into_values().collect())
}

impl Mirror {
    fn at(host: String, skip_verify: bool) -> Self {
        Self {
            host,
            capabilities: all_capabilities(),
            skip_verify: skip_verify.into(),
            override_path: Value::Null,
            ca: OneOrMore::default(),
            client: Vec::new(),
            header: BTreeMap::new(),
        }
    }
}

/// Whether a text may be a registry in the name of an image. It becomes the name of a folder.
fn is_place(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    !text.is_empty() && !text.starts_with('.') && text.chars().all(allowed)
}

/// The credentials for registries.
///
/// # Errors
/// What is wrong with the variable, without what is secret.
pub(super) fn credentials(vars: &HostVars) -> Result<Vec<Credentials>, Wrong> {
    let needed = "a list, as [{registry: registry.example.org:5000, username: NAME, password: PASSWORD}], or with auth: BASE64";
    let wrong = |found| Wrong { name: AUTH, found, needed };
    // What cannot be read may be a password.
    let all: Vec<Credentials> =
        value(vars, AUTH, needed).map_err(|_| wrong("a value that is not shown".to_owned()))?;
    let is_whole =
        |entry: &Credentials| entry.auth.is_some() || entry.username.is_some() && entry.password.is_some();
    match all.iter().find(|entry| !is_place(&entry.registry) || !is_whole(entry)) {
        Some(entry) => Err(wrong(format!("an entry for the registry {:?}", entry.registry))),
        None => Ok(all.into_iter().map(Credentials::where_asked).collect()),
    }
}

/// The same for this computer, which fetches images from registries, too.
///
/// # Errors
/// What is wrong with the variable, without what is secret.
pub fn registry_credentials(vars: &HostVars) -> Result<muster_artifacts::Credentials, String> {
    let mut known = muster_artifacts::Credentials::default();
    let all = credentials(vars)
        .map_err(|wrong| format!("{}: {}; needed: {}", wrong.name, wrong.found, wrong.needed))?;
    for Credentials { registry, username, password, auth } in all {
        match (auth, username.zip(password)) {
            (Some(auth), _) => known.add_encoded(&registry, auth),
            (None, Some((name, password))) => known.add(&registry, &name, &password),
            // Such an entry is refused above.
            (None, None) => {}
        }
    }
    Ok(known)
}

impl Credentials {
    /// containerd looks for them under the machine that it asks, which for docker.io has another name.
    fn where_asked(mut self) -> Self {
        if self.registry == "docker.io" {
            "registry-1.docker.io".clone_into(&mut self.registry);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn hosts_toml(yaml: &str, prefix: &str) -> String {
        let vars = variables(yaml);
        let all = registries(&vars).unwrap();
        let registry = all.iter().find(|registry| registry.prefix == prefix).unwrap();
        super::super::hosts_toml(&vars, registry).unwrap()
    }

    #[test]
    fn every_variable_for_registries_becomes_what_containerd_reads() {
        let yaml = "containerd_registries_mirrors: [{prefix: docker.io, mirrors: [{host: 'https://m.example.org', capabilities: pull}]}]\n\
                    docker_registry_mirrors: ['https://n.example.org', 'https://m.example.org']\n\
                    containerd_registries: {docker.io: 'https://registry-1.docker.io'}\n\
                    containerd_insecure_registries: {'192.0.2.5:5000': 'http://192.0.2.5:5000', lan: [lan.example.org]}\n\
                    docker_insecure_registries: ['192.0.2.6:5000']\n";
        let of_docker = "[host.\"https://m.example.org\"]\ncapabilities = [\"pull\"]\nskip_verify = false\n\
                         [host.\"https://registry-1.docker.io\"]\ncapabilities = [\"pull\", \"resolve\"]\nskip_verify = false\n\
                         [host.\"https://n.example.org\"]\ncapabilities = [\"pull\", \"resolve\"]\nskip_verify = false\n";
        assert_eq!(hosts_toml(yaml, "docker.io"), of_docker);
        let insecure = hosts_toml(yaml, "192.0.2.5:5000");
        // With a word on certificates containerd asks by https first.
        assert!(
            insecure.starts_with("[host.\"http://192.0.2.5:5000\"]\n") && !insecure.contains("skip_verify"),
            "{insecure}"
        );
        let lan = hosts_toml(yaml, "lan");
        assert!(
            lan.contains("[host.\"https://lan.example.org\"]\n") && lan.contains("skip_verify = true\n"),
            "{lan}"
        );
        let of_docker = hosts_toml(yaml, "192.0.2.6:5000");
        assert!(of_docker.starts_with("[host.\"https://192.0.2.6:5000\"]\n"), "{of_docker}");
        assert!(of_docker.contains("\n[host.\"http://192.0.2.6:5000\"]\n"), "{of_docker}");
    }

    #[test]
    fn what_a_mirror_may_say_is_written_and_a_header_is_secret() {
        let yaml = "containerd_registries_mirrors: [{prefix: quay.io, server: 'https://q.example.org', mirrors: [{host: 'https://m', \
                    skip_verify: 'true', override_path: true, ca: /etc/ca.pem, client: [[/c.pem, /k.pem]], header: {authorization: 'Basic eA=='}}]}]";
        let expected = "server = \"https://q.example.org\"\n[host.\"https://m\"]\ncapabilities = [\"pull\", \"resolve\"]\nskip_verify = true\n\
                        override_path = true\nca = [\"/etc/ca.pem\"]\nclient = [[\"/c.pem\", \"/k.pem\"]]\n[host.\"https://m\".header]\n\
                        \"authorization\" = [\"Basic eA==\"]\n";
        assert_eq!(hosts_toml(yaml, "quay.io"), expected);
        assert!(registries(&variables(yaml)).unwrap()[0].is_secret());
    }

    #[test]
    fn what_cannot_be_a_registry_is_told_and_credentials_are_not() {
        let rows = [
            ("docker_insecure_registries: [192.0.2.0/24]", "192.0.2.0/24"),
            ("docker_registry_mirrors: [mirror.example.org]", "mirror.example.org"),
            ("containerd_registries_mirrors: [{prefix: ../x, mirrors: []}]", "../x"),
            ("containerd_registries_mirrors: [{prefix: x}]", "missing field `mirrors`"),
            (
                "containerd_registries_mirrors: [{prefix: x, mirrors: [{host: y, header: 'Basic czNjcmV0'}]}]",
                "something else than a map",
            ),
        ];
        for (yaml, expected) in rows {
            assert_eq!(registries(&variables(yaml)).unwrap_err().found, expected, "{yaml}");
        }
        for yaml in
            ["[{registry: r, username: u, pasword: secret}]", "[{registry: r, password: secret}]", "secret"]
        {
            let wrong = credentials(&variables(&format!("containerd_registry_auth: {yaml}"))).unwrap_err();
            assert!(!format!("{wrong:?}").contains("secret"), "{wrong:?}");
        }
        let good = "containerd_registry_auth: [{registry: docker.io, username: u, password: 'p\"'}]";
        assert_eq!(credentials(&variables(good)).unwrap()[0].registry, "registry-1.docker.io");
    }
}
