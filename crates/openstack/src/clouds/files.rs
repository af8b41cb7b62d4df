//! Where the files are, and what several of them say together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use muster_inventory::closest;
use serde_json::{Map, Value};

use super::cloud::{Cloud, CloudConfigError};

/// Endings of the files, in the order in which they are looked for.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// Variables that choose and do not say how to log in: with them alone there is no cloud of the environment.
const SELECTORS: [&str; 5] =
    ["OS_CLOUD", "OS_REGION_NAME", "OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE", "OS_CLOUD_NAME"];

/// What there is around the program: it is told, never read from the process.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Variables of the environment.
    pub variables: BTreeMap<String, String>,
    /// The home directory.
    pub home: Option<PathBuf>,
    /// The current folder.
    pub here: PathBuf,
}

impl Surroundings {
    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// `~/x` as a path below the home directory; a relative one below `folder`.
    pub(crate) fn path(&self, text: &str, folder: &Path) -> PathBuf {
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => folder.join(text),
        }
    }

    /// The folders in which the files are looked for: the current one, the user's, the computer's.
    fn folders(&self) -> Vec<PathBuf> {
        let config = self.get("XDG_CONFIG_HOME").map(PathBuf::from);
        let own = config.into_iter().chain(self.home.as_ref().map(|home| home.join(".config")));
        let mut folders = vec![self.here.clone()];
        folders.extend(own.map(|folder| folder.join("openstack")));
        folders.extend(["/etc/xdg/openstack", "/etc/openstack"].map(PathBuf::from));
        folders
    }

    /// Places of a file: the one that a variable names comes first.
    fn places(&self, stem: &str, variable: Option<&str>) -> Vec<PathBuf> {
        let named = variable.and_then(|name| self.get(name)).map(|path| self.path(path, &self.here));
        let usual = self
            .folders()
            .into_iter()
            .flat_map(|folder| ENDINGS.map(|ending| folder.join(format!("{stem}.{ending}"))));
        named.into_iter().chain(usual).collect()
    }

    /// The proxy for a URL, as the variables of the environment say it.
    fn proxy(&self, url: &str) -> Option<String> {
        let either = |names: [&str; 2]| names.iter().find_map(|name| self.get(name)).map(str::to_owned);
        let proxy = match url.starts_with("https:") {
            true => either(["https_proxy", "HTTPS_PROXY"]),
            false => either(["http_proxy", "HTTP_PROXY"]),
        }
        .or_else(|| either(["all_proxy", "ALL_PROXY"]))?;
        let host = url.split("://").nth(1)?.split(['/', ':']).next()?;
        let direct = either(["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let is_direct = direct.split(',').map(|entry| entry.trim().trim_start_matches('.')).any(|entry| {
            entry == "*" || (!entry.is_empty() && (host == entry || host.ends_with(&format!(".{entry}"))))
        });
        (!is_direct).then_some(proxy)
    }
}

/// All clouds that the files know, and what the environment says.
#[derive(Debug)]
pub struct Clouds {
    surroundings: Surroundings,
    /// The file with the clouds, where there is one.
    file: Option<PathBuf>,
    clouds: Map<String, Value>,
}

impl Clouds {
    /// Reads the files.
    ///
    /// # Errors
    /// A file is there and cannot be read, or is no YAML (the openstack client passes over such a file with a warning; here it is
    /// an error, so that nobody logs in to another cloud than the one that was meant).
    pub fn read(surroundings: Surroundings) -> Result<Self, CloudConfigError> {
        let find = |stem: &str, variable| {
            surroundings.places(stem, Some(variable)).into_iter().find(|place| place.exists())
        };
        if let Some(named) = surroundings.get("OS_CLIENT_CONFIG_FILE") {
            let path = surroundings.path(named, &surroundings.here);
            if !path.exists() {
                let message = format!("{}, which OS_CLIENT_CONFIG_FILE names, is not there", path.display());
                return Err(CloudConfigError::new(message));
            }
        }
        let file = find("clouds", "OS_CLIENT_CONFIG_FILE");
        let mut all = file.as_deref().map(read).transpose()?.unwrap_or_default();
        if let Some(secure) = find("secure", "OS_CLIENT_SECURE_FILE") {
            merge(&mut all, read(&secure)?);
        }
        let clouds = match all.remove("clouds") {
            Some(Value::Object(clouds)) => clouds,
            None | Some(Value::Null) => Map::new(),
            Some(_) => {
                let name = file.as_deref().unwrap_or(Path::new("clouds.yaml")).display();
                return Err(CloudConfigError::new(format!(
                    "{name}: clouds is no mapping of names to clouds"
                )));
            }
        };
        Ok(Self { surroundings, file, clouds })
    }

    /// The cloud of this name; without a name that of `OS_CLOUD`, else the one that `OS_*` describe, else the only one of the file.
    /// As with the openstack client, `OS_*` win over what the file says of the cloud that `OS_CLOUD` chooses. A cloud that is named
    /// here is as the file has it: a login of another cloud that is left in the environment must not get into it.
    ///
    /// # Errors
    /// There is no such cloud, none is chosen, or it does not say how to log in.
    pub fn choose(&self, named: Option<&str>) -> Result<Cloud, CloudConfigError> {
        let of_environment = self.of_environment();
        let chosen = named.or_else(|| self.surroundings.get("OS_CLOUD"));
        let (name, mut settings) = match chosen {
            Some(name) => (name, self.of_file(name)?),
            None if of_environment.is_some() => ("of the environment", Map::new()),
            None => match self.clouds.iter().next() {
                Some((name, _)) if self.clouds.len() == 1 => (name.as_str(), self.of_file(name)?),
                _ => return Err(self.none_is_chosen()),
            },
        };
        if named.is_none() {
            for (key, value) in of_environment.unwrap_or_default() {
                settings.insert(key, value);
            }
            if let Some(region) = self.surroundings.get("OS_REGION_NAME") {
                settings.insert("region_name".into(), region.into());
            }
        }
        let folder = self.file.as_deref().and_then(Path::parent).unwrap_or(&self.surroundings.here);
        let mut cloud = Cloud::of(name, settings, &|text| self.surroundings.path(text, folder))?;
        cloud.proxy = self.surroundings.proxy(&cloud.auth_url);
        Ok(cloud)
    }

    /// What `OS_*` say, if it is more than which cloud is meant: `OS_AUTH_URL` is `auth_url`.
    fn of_environment(&self) -> Option<Map<String, Value>> {
        let passed_over = ["OS_TEST", "OS_STD", "OS_LOG"];
        let variables = self.surroundings.variables.iter().filter(|(name, value)| {
            name.starts_with("OS_")
                && !value.is_empty()
                && !SELECTORS.contains(&name.as_str())
                && !passed_over.iter().any(|start| name.starts_with(start))
        });
        let settings: Map<String, Value> =
            variables.map(|(name, value)| (name[3..].to_lowercase(), value.as_str().into())).collect();
        (!settings.is_empty()).then_some(settings)
    }

    fn of_file(&self, name: &str) -> Result<Map<String, Value>, CloudConfigError> {
        let Some(cloud) = self.clouds.get(name) else {
            let Some(file) = &self.file else { return Err(self.no_file(&format!("the cloud {name:?}"))) };
            let mut message = format!("{} has no cloud {name:?}", file.display());
            match closest(name, self.clouds.keys().map(String::as_str)) {
                Some(known) => message.push_str(&format!("; did you mean {known:?}?")),
                None => message.push_str(&format!("; it has {}", self.names())),
            }
            return Err(CloudConfigError::new(message));
        };
        let Value::Object(cloud) = cloud.clone() else {
            let file = self.file.as_deref().unwrap_or(Path::new("clouds.yaml")).display();
            return Err(CloudConfigError::new(format!("{file}: the cloud {name:?} is no mapping")));
        };
        let profile = cloud.get("profile").or_else(|| cloud.get("cloud")).and_then(Value::as_str);
        let mut settings =
            profile.map(|profile| self.profile(name, profile)).transpose()?.unwrap_or_default();
        merge(&mut settings, cloud);
        Ok(settings)
    }

    /// What `clouds-public.yaml` says of a vendor's cloud.
    fn profile(&self, cloud: &str, name: &str) -> Result<Map<String, Value>, CloudConfigError> {
        let file = self.surroundings.places("clouds-public", None).into_iter().find(|place| place.exists());
        let all = file.as_deref().map(read).transpose()?.unwrap_or_default();
        match all.get("public-clouds").and_then(|clouds| clouds.get(name)) {
            Some(Value::Object(profile)) => Ok(profile.clone()),
            _ => Err(CloudConfigError::new(format!(
                "the cloud {cloud:?} has the profile {name:?}, which no clouds-public.yaml describes; write its auth_url into the cloud"
            ))),
        }
    }

    fn names(&self) -> String {
        self.clouds.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    fn none_is_chosen(&self) -> CloudConfigError {
        match &self.file {
            Some(file) if !self.clouds.is_empty() => CloudConfigError::new(format!(
                "{} has several clouds ({}), and none is chosen; name one with cloud: in the declaration, or with OS_CLOUD",
                file.display(),
                self.names()
            )),
            _ => self.no_file("a cloud"),
        }
    }

    fn no_file(&self, what: &str) -> CloudConfigError {
        let folders = self.surroundings.folders();
        let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        CloudConfigError::new(format!(
            "{what} is described nowhere: there is no clouds.yaml in {}, and OS_CLIENT_CONFIG_FILE and OS_AUTH_URL are not set",
            folders.join(", ")
        ))
    }
}

fn read(path: &Path) -> Result<Map<String, Value>, CloudConfigError> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| CloudConfigError::new(format!("{shown} cannot be read: {error}")))?;
    // Not the text itself: it may hold passwords.
    let wrong = |error: serde_saphyr::Error| {
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        let why = error.without_snippet().to_string();
        let why = why.lines().next().unwrap_or_default();
        let why = why.rsplit_once(" at line ").map_or(why, |(why, _)| why);
        CloudConfigError::new(format!("{shown}{place}: this is not valid YAML: {why}"))
    };
    match serde_saphyr::from_str(&text).map_err(wrong)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(CloudConfigError::new(format!("{shown} is no mapping with the key clouds"))),
    }
}

/// Puts one mapping over another one, mapping by mapping.
fn merge(into: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
