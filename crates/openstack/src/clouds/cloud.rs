//! One cloud: what the files and the environment say of it, brought into one form.

use std::path::PathBuf;

use secrecy::SecretString;
use serde_json::{Map, Value};

/// A cloud, and how to log in to it.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// What it is called in `clouds.yaml`.
    pub name: String,
    /// Where its identity service is, with a version in the path or without.
    pub auth_url: String,
    /// The region; any, where none is named.
    pub region: Option<String>,
    /// Which of the endpoints in the catalogue are used: `public`, `internal` or `admin`.
    pub interface: String,
    /// Whether certificates are verified.
    pub verify: bool,
    /// A file of authorities to verify them by; without it those of this computer.
    pub cacert: Option<PathBuf>,
    pub(crate) proxy: Option<String>,
    pub(crate) login: Login,
}

/// How to log in.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    Password { user: Named, password: SecretString, project: Named },
    ApplicationCredential { id: Option<String>, name: Option<String>, secret: SecretString, user: Named },
    Token { token: SecretString, project: Named },
}

/// A user or project: by its id, or by its name in a domain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) domain_id: Option<String>,
    pub(crate) domain_name: Option<String>,
}

/// What is wrong with `clouds.yaml` or the variables, in whole sentences.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct CloudConfigError {
    message: String,
}

impl CloudConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// The settings of one cloud. What belongs to the login stands in `auth` or, from the environment, beside it, which wins.
struct Settings<'a> {
    cloud: &'a str,
    all: Map<String, Value>,
    auth: Map<String, Value>,
}

impl Settings<'_> {
    /// The first of some names that is set, under either spelling.
    fn text(&self, names: &[&str]) -> Option<String> {
        let spellings = |name: &str| [name.to_owned(), name.replace('_', "-")];
        let found = [&self.all, &self.auth].into_iter().find_map(|map| {
            names.iter().flat_map(|name| spellings(name)).find_map(|name| map.get(&name).and_then(as_text))
        });
        found.filter(|text| !text.is_empty())
    }

    fn needed(&self, names: &[&str]) -> Result<String, CloudConfigError> {
        let name = names.first().copied().unwrap_or_default();
        self.text(names).ok_or_else(|| {
            CloudConfigError::new(format!(
                "the cloud {} has no {name}: it is set in clouds.yaml or secure.yaml, or as OS_{}",
                self.cloud,
                name.to_uppercase()
            ))
        })
    }

    fn user(&self) -> Named {
        Named {
            id: self.text(&["user_id"]),
            name: self.text(&["username", "user_name"]),
            domain_id: self.text(&["user_domain_id", "domain_id", "default_domain_id"]),
            domain_name: self.text(&["user_domain_name", "domain_name", "default_domain_name"]),
        }
    }

    fn project(&self) -> Named {
        Named {
            id: self.text(&["project_id", "tenant_id"]),
            name: self.text(&["project_name", "tenant_name"]),
            domain_id: self.text(&["project_domain_id", "domain_id", "default_domain_id"]),
            domain_name: self.text(&["project_domain_name", "domain_name", "default_domain_name"]),
        }
    }

    fn is_true(&self, name: &str, default: bool) -> bool {
        match self.all.get(name) {
            Some(Value::Bool(value)) => *value,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => default,
        }
    }

    fn login(&self) -> Result<Login, CloudConfigError> {
        let kind = self.text(&["auth_type"]);
        let has_credential =
            self.text(&["application_credential_id", "application_credential_secret"]).is_some();
        match kind.as_deref() {
            Some("v3applicationcredential") => self.application_credential(),
            // clouds.yaml of some dashboards leave the type out.
            None if has_credential => self.application_credential(),
            None | Some("password" | "v3password") => {
                let user = self.user();
                if user.id.is_none() {
                    self.needed(&["username", "user_name"])?;
                }
                let password = self.needed(&["password"])?.into();
                Ok(Login::Password { user, password, project: self.project() })
            }
            Some("token" | "v3token") => Ok(Login::Token {
                token: self.needed(&["token", "auth_token"])?.into(),
                project: self.project(),
            }),
            Some(other) => Err(CloudConfigError::new(format!(
                "the cloud {} has auth_type: {other}, which muster does not know; it knows password, v3applicationcredential and token",
                self.cloud
            ))),
        }
    }

    fn application_credential(&self) -> Result<Login, CloudConfigError> {
        let secret = self.needed(&["application_credential_secret"])?.into();
        let id = self.text(&["application_credential_id"]);
        let name = self.text(&["application_credential_name"]);
        let user = self.user();
        if id.is_none() && (name.is_none() || (user.id.is_none() && user.name.is_none())) {
            self.needed(&["application_credential_id"])?;
        }
        Ok(Login::ApplicationCredential { id, name, secret, user })
    }
}

impl Cloud {
    /// Brings settings into one form. `path` tells where a file is that they name.
    ///
    /// # Errors
    /// Something is missing, or is of a kind that is not known.
    pub(crate) fn of(
        name: &str,
        mut all: Map<String, Value>,
        path: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Self, CloudConfigError> {
        let auth = match all.remove("auth") {
            Some(Value::Object(auth)) => auth,
            _ => Map::new(),
        };
        let settings = Settings { cloud: name, all, auth };
        if settings.text(&["cert"]).is_some() {
            return Err(CloudConfigError::new(format!(
                "the cloud {name} logs in with a certificate (cert), which muster cannot do"
            )));
        }
        let auth_url = settings.needed(&["auth_url"])?;
        if !["http://", "https://"].iter().any(|scheme| auth_url.starts_with(scheme)) {
            return Err(CloudConfigError::new(format!(
                "the auth_url of the cloud {name} is {auth_url:?}; it begins with http:// or https://"
            )));
        }
        let regions =
            settings.all.get("regions").and_then(Value::as_array).and_then(|regions| regions.first());
        let first =
            regions.and_then(|region| region.get("name").unwrap_or(region).as_str()).map(str::to_owned);
        let interface = settings.text(&["interface", "endpoint_type"]).unwrap_or_else(|| "public".into());
        Ok(Self {
            name: name.to_owned(),
            auth_url,
            region: settings.text(&["region_name"]).or(first),
            // `publicURL` is the spelling of version 2.
            interface: interface.strip_suffix("URL").unwrap_or(&interface).to_owned(),
            verify: settings.is_true("verify", true) && !settings.is_true("insecure", false),
            cacert: settings.text(&["cacert"]).map(|text| path(&text)),
            proxy: None,
            login: settings.login()?,
        })
    }
}

/// A scalar as a text: YAML reads an id of digits as a number.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
