//! Names and passwords for registries.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// What proves to registries who asks for their images. It never shows a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `NAME:PASSWORD` in Base64, as it is sent (RFC 7617), by registry.
    by_registry: BTreeMap<String, String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_registry.keys()).finish()
    }
}

impl Credentials {
    /// Adds a name and a password for a registry (`docker.io`, `registry.example.org:5000`). What is known of it already stays.
    pub fn add(&mut self, registry: &str, name: &str, password: &str) {
        self.add_encoded(registry, STANDARD.encode(format!("{name}:{password}")));
    }

    /// The same, of the two in Base64, with a colon between them.
    pub fn add_encoded(&mut self, registry: &str, name_and_password: String) {
        self.by_registry.entry(place(registry).to_owned()).or_insert(name_and_password);
    }

    /// Adds those that `docker login` and others have left in Docker's `config.json`. Those that a helper program keeps are not among
    /// them.
    ///
    /// # Errors
    /// What is wrong with the text, without anything of it.
    pub fn add_of_docker(&mut self, text: &str) -> Result<(), String> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            auths: BTreeMap<String, Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default)]
            auth: String,
        }
        let config: Config = serde_json::from_str(text)
            .map_err(|error| format!("it is no JSON of Docker's at line {}", error.line()))?;
        let entries = config.auths.into_iter().filter(|(_, entry)| !entry.auth.is_empty());
        entries.for_each(|(registry, entry)| self.add_encoded(&registry, entry.auth));
        Ok(())
    }

    /// Those for a registry, by its URL, as the value of a header.
    pub(crate) fn header_for(&self, base: &str) -> Option<String> {
        self.by_registry.get(place(base)).map(|encoded| format!("Basic {encoded}"))
    }
}

/// A registry's `host[:port]` without all that may stand around it. Docker's own has several names.
pub(crate) fn place(registry: &str) -> &str {
    let place = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    let place = place.split('/').next().unwrap_or_default();
    match place.rsplit_once('@').map_or(place, |(_, place)| place) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        place => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_found_by_whatever_it_is_called_and_no_password_is_shown() {
        let mut known = Credentials::default();
        known.add("registry.example.org:5000", "me", "secret");
        let docker = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "YTpi"}, "kept.example.org": {},
            "registry.example.org:5000": {"auth": "eDp5"}}, "credsStore": "pass"}"#;
        known.add_of_docker(docker).unwrap();
        // RFC 7617.
        assert_eq!(
            known.header_for("https://registry.example.org:5000"),
            Some("Basic bWU6c2VjcmV0".to_owned())
        );
        assert_eq!(known.header_for("https://registry-1.docker.io"), Some("Basic YTpi".to_owned()));
        for other in ["https://kept.example.org", "https://registry.example.org", "http://x@y"] {
            assert_eq!(known.header_for(other), None, "{other}");
        }
        assert_eq!(format!("{known:?}"), r#"{"docker.io", "registry.example.org:5000"}"#);
        let wrong = known.add_of_docker("{\"auths\":\n secret}").unwrap_err();
        assert!(wrong.ends_with("at line 2") && !wrong.contains("secret"), "{wrong}");
    }
}
