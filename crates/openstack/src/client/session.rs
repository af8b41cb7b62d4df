//! A login: the token, the catalogue, and requests to its services.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use ureq::Agent;

use super::error::{CloudError, Refusal, said};
use super::http::{Answer, Method, agent, ask};
use crate::clouds::{Cloud, Login, Named};

/// How often what may be repeated is tried.
const ATTEMPTS: u32 = 4;
/// The pause after the first attempt; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// No service is waited for longer between two attempts, whatever it asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The version of the compute API that requests name: the first one in which servers get their tags in the request that makes
/// them (nova, "REST API Version History": 2.52, Pike, 2017).
const COMPUTE_VERSION: &str = "2.52";

/// A service, as the catalogue names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Compute,
    Network,
    Image,
    /// Load balancers; not every cloud has them.
    LoadBalancer,
    /// Volumes; not every cloud has them.
    Volume,
}

impl Service {
    fn word(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Network => "network",
            Self::Image => "image",
            Self::LoadBalancer => "load-balancer",
            Self::Volume => "block-storage",
        }
    }

    /// Its types in the catalogue: the official one, and that of before (OpenStack service types authority).
    fn types(self) -> [&'static str; 2] {
        match self {
            Self::Volume => [self.word(), "volumev3"],
            _ => [self.word(); 2],
        }
    }

    /// The version in the path of the API. Catalogues name it or not, as whoever runs the cloud likes.
    fn version(self) -> &'static str {
        match self {
            Self::Compute => "v2.1",
            Self::Network => "v2.0",
            Self::Image | Self::LoadBalancer => "v2",
            Self::Volume => "v3",
        }
    }
}

/// A login to a cloud.
pub struct Session {
    cloud: Cloud,
    agent: Agent,
    token: Mutex<Arc<Token>>,
}

struct Token {
    value: SecretString,
    project: String,
    catalogue: Vec<Value>,
}

impl Session {
    /// Logs in.
    ///
    /// # Errors
    /// The cloud cannot be reached, does not accept the login, or lets it into no project.
    pub fn open(cloud: Cloud) -> Result<Self, CloudError> {
        let agent = agent(&cloud)?;
        let token = Mutex::new(Arc::new(log_in(&cloud, &agent)?));
        Ok(Self { cloud, agent, token })
    }

    /// The id of the project that the login is for.
    pub fn project(&self) -> String {
        self.token().project.clone()
    }

    /// Whether the cloud has a service.
    pub(crate) fn has(&self, service: Service) -> bool {
        self.url(&self.token(), service, "").is_ok()
    }

    fn token(&self) -> Arc<Token> {
        Arc::clone(&self.token.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Logs in again where the token has run out meanwhile; only the first of those who notice does.
    fn renew(&self, old: &Arc<Token>) -> Result<Arc<Token>, CloudError> {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&token, old) {
            *token = Arc::new(log_in(&self.cloud, &self.agent)?);
        }
        Ok(Arc::clone(&token))
    }

    /// All objects of a list, whatever the number of its pages.
    ///
    /// # Errors
    /// The service refuses, or does not answer after several attempts.
    pub(crate) fn list(&self, service: Service, path: &str, key: &str) -> Result<Vec<Value>, CloudError> {
        let (base, mut query) =
            path.split_once('?').map_or((path, String::new()), |(base, query)| (base, query.to_owned()));
        let mut all: Vec<Value> = Vec::new();
        loop {
            let target = if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") };
            let mut page = self.repeated(Method::Get, service, &target, None)?;
            match page.get_mut(key).map(Value::take) {
                Some(Value::Array(objects)) if !objects.is_empty() => all.extend(objects),
                Some(Value::Array(_)) => return Ok(all),
                _ => {
                    let url = self.url(&self.token(), service, &target)?;
                    return Err(CloudError::Strange {
                        url,
                        reason: format!("there is no list {key:?} in it"),
                    });
                }
            }
            // Only the query of the next page's address is taken: behind a load balancer its host is often a wrong one.
            match next_page(&page, key).and_then(|href| Some(href.split_once('?')?.1.to_owned())) {
                Some(next) if next != query => query = next,
                _ => return Ok(all),
            }
        }
    }

    /// Makes something. It is asked once: whether an unclear answer means that it was made, only a look can tell.
    ///
    /// # Errors
    /// The service refuses, or it is unclear what it did.
    pub(crate) fn post(&self, service: Service, path: &str, body: &Value) -> Result<Value, CloudError> {
        self.once(Method::Post, service, path, Some(body))
    }

    /// Sets something to a state, which may be repeated.
    ///
    /// # Errors
    /// The service refuses, or does not answer after several attempts.
    pub(crate) fn put(&self, service: Service, path: &str, body: &Value) -> Result<Value, CloudError> {
        self.repeated(Method::Put, service, path, Some(body))
    }

    /// Removes something. What is not there is removed.
    ///
    /// # Errors
    /// The service refuses, or does not answer after several attempts.
    pub(crate) fn delete(&self, service: Service, path: &str) -> Result<(), CloudError> {
        match self.repeated(Method::Delete, service, path, None) {
            Err(error) if error.has_status(404) => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn repeated(
        &self,
        method: Method,
        service: Service,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CloudError> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.once(method, service, path, body) {
                Err(error) if error.is_unclear() => thread::sleep(pause),
                answer => return answer,
            }
            pause *= 2;
        }
        self.once(method, service, path, body)
    }

    /// One request; a second one if the token has run out, or if the service asks to come back later without having begun.
    fn once(
        &self,
        method: Method,
        service: Service,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CloudError> {
        let mut token = self.token();
        let mut patience = ATTEMPTS;
        let mut is_renewed = false;
        loop {
            let url = self.url(&token, service, path)?;
            let version = format!("compute {COMPUTE_VERSION}");
            let mut headers = vec![("X-Auth-Token", token.value.expose_secret())];
            if service == Service::Compute {
                // The first is the name since 2.27, the second the one before.
                headers.push(("OpenStack-API-Version", &version));
                headers.push(("X-OpenStack-Nova-API-Version", COMPUTE_VERSION));
            }
            let answer = ask(&self.agent, method, &url, &headers, body)?;
            match answer.status {
                200..=299 => return read(&url, &answer.body),
                401 if !is_renewed => {
                    is_renewed = true;
                    token = self.renew(&token)?;
                }
                429 if patience > 1 => {
                    patience -= 1;
                    thread::sleep(answer.retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE));
                }
                _ => return Err(refused(method, url, answer)),
            }
        }
    }

    /// The address of a path of a service.
    fn url(&self, token: &Token, service: Service, path: &str) -> Result<String, CloudError> {
        let is_its = |entry: &&Value| service.types().iter().any(|word| entry["type"] == *word);
        let entries = token.catalogue.iter().filter(is_its);
        let endpoints: Vec<&Value> =
            entries.filter_map(|entry| entry["endpoints"].as_array()).flatten().collect();
        let region_of = |endpoint: &&Value| {
            let id = endpoint["region_id"].as_str().or_else(|| endpoint["region"].as_str());
            id.unwrap_or_default().to_owned()
        };
        let is_wanted = |endpoint: &&&Value| {
            endpoint["interface"] == self.cloud.interface.as_str()
                && self.cloud.region.as_ref().is_none_or(|region| *region == region_of(endpoint))
        };
        let Some(base) = endpoints.iter().find(is_wanted).and_then(|endpoint| endpoint["url"].as_str())
        else {
            let mut regions: Vec<String> = endpoints.iter().map(region_of).collect();
            regions.sort();
            regions.dedup();
            return Err(self.no_service(service, &regions));
        };
        let base = base.trim_end_matches('/');
        let has_version = base.split('/').skip(3).any(|part| {
            part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        });
        let version = if has_version { String::new() } else { format!("/{}", service.version()) };
        Ok(format!("{base}{version}{path}"))
    }

    fn no_service(&self, service: Service, regions: &[String]) -> CloudError {
        let Cloud { name, interface, region, .. } = &self.cloud;
        let service = service.word();
        let message = match region {
            _ if regions.is_empty() => {
                format!("the cloud {name} has no service of type {service} in its catalogue")
            }
            Some(region) if !regions.contains(region) => format!(
                "the cloud {name} has no region {region:?} with a service of type {service}; its regions are {}",
                regions.join(", ")
            ),
            _ => format!(
                "the cloud {name} has a service of type {service}, but no endpoint for the interface {interface:?}"
            ),
        };
        CloudError::NoService { message }
    }
}

/// The address of the next page, as the services give it: nova and neutron in `NAME_links`, glance in `next`.
fn next_page<'a>(page: &'a Value, key: &str) -> Option<&'a str> {
    let links = page.get(format!("{key}_links")).and_then(Value::as_array);
    let next = links.into_iter().flatten().find(|link| link["rel"] == "next");
    next.and_then(|link| link["href"].as_str()).or_else(|| page["next"].as_str())
}

fn read(url: &str, body: &[u8]) -> Result<Value, CloudError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| CloudError::Strange {
        url: url.to_owned(),
        reason: format!("it is no JSON: {error}"),
    })
}

fn refused(method: Method, url: String, answer: Answer) -> CloudError {
    let (kind, mut message) = said(&answer.body);
    if message.is_empty() {
        message = "it does not say why".into();
    }
    let (method, status) = (method.word(), answer.status);
    if (500..=599).contains(&status) || status == 408 {
        let request = answer.request.map(|id| format!(" [{id}]")).unwrap_or_default();
        return CloudError::Unclear {
            method,
            url,
            reason: format!("the service answered {status}: {message}{request}"),
        };
    }
    CloudError::Refused(Box::new(Refusal { method, url, status, kind, message, request: answer.request }))
}

/// Gets a token. It is asked for several times: a login changes nothing.
fn log_in(cloud: &Cloud, agent: &Agent) -> Result<Token, CloudError> {
    let url = format!("{}/auth/tokens", identity_url(&cloud.auth_url));
    let body = login_body(&cloud.login);
    let mut pause = PAUSE;
    let mut attempt = 1;
    let answer = loop {
        let answer = ask(agent, Method::Post, &url, &[], Some(&body));
        let may_pass = match &answer {
            Ok(answer) => matches!(answer.status, 408 | 429 | 500..=599),
            Err(error) => error.is_unclear(),
        };
        if !may_pass || attempt == ATTEMPTS {
            break answer?;
        }
        attempt += 1;
        thread::sleep(pause);
        pause *= 2;
    };
    if !(200..=299).contains(&answer.status) {
        let (_, message) = said(&answer.body);
        let (cloud, auth_url) = (cloud.name.clone(), cloud.auth_url.clone());
        return Err(match answer.status {
            400..=499 => {
                CloudError::Login { cloud, auth_url, message: format!("{message} ({})", answer.status) }
            }
            _ => refused(Method::Post, url, answer),
        });
    }
    let strange = |reason: &str| CloudError::Strange { url: url.clone(), reason: reason.to_owned() };
    let value = answer.token.ok_or_else(|| strange("there is no token in its answer"))?;
    let body = read(&url, &answer.body)?;
    let project = body["token"]["project"]["id"].as_str().map(str::to_owned);
    let project = project.ok_or_else(|| CloudError::Login {
        cloud: cloud.name.clone(),
        auth_url: cloud.auth_url.clone(),
        message:
            "the login is for no project; name one (project_name with project_domain_name, or project_id)"
                .into(),
    })?;
    let catalogue = body["token"]["catalog"].as_array().cloned().unwrap_or_default();
    Ok(Token { value: value.into(), project, catalogue })
}

/// Where version 3 of the identity API is: `auth_url` is written with the version and without it.
fn identity_url(auth_url: &str) -> String {
    let url = auth_url.trim_end_matches('/');
    let url = url.strip_suffix("/v2.0").unwrap_or(url);
    if url.ends_with("/v3") { url.to_owned() } else { format!("{url}/v3") }
}

/// The request for a token (Identity API v3, "Password authentication with scoped authorization").
fn login_body(login: &Login) -> Value {
    let domain = |id: &Option<String>, name: &Option<String>| match (id, name) {
        (Some(id), _) => json!({"id": id}),
        (None, Some(name)) => json!({"name": name}),
        (None, None) => json!({"id": "default"}),
    };
    let scoped = |mut auth: Value, project: &Named| {
        match (&project.id, &project.name) {
            (Some(id), _) => auth["scope"] = json!({"project": {"id": id}}),
            (None, Some(name)) => {
                let domain = domain(&project.domain_id, &project.domain_name);
                auth["scope"] = json!({"project": {"name": name, "domain": domain}});
            }
            // The user's default project, if there is one.
            (None, None) => {}
        }
        json!({"auth": auth})
    };
    match login {
        Login::Password { user, password, project } => {
            let mut who = json!({"password": password.expose_secret()});
            match &user.id {
                Some(id) => who["id"] = json!(id),
                None => {
                    who["name"] = json!(user.name);
                    who["domain"] = domain(&user.domain_id, &user.domain_name);
                }
            }
            let auth = json!({"identity": {"methods": ["password"], "password": {"user": who}}});
            scoped(auth, project)
        }
        Login::ApplicationCredential { id, name, secret, user } => {
            let mut credential = json!({"secret": secret.expose_secret()});
            match id {
                Some(id) => credential["id"] = json!(id),
                None => {
                    credential["name"] = json!(name);
                    credential["user"] = match &user.id {
                        Some(id) => json!({"id": id}),
                        None => {
                            json!({"name": user.name, "domain": domain(&user.domain_id, &user.domain_name)})
                        }
                    };
                }
            }
            json!({"auth": {"identity": {"methods": ["application_credential"], "application_credential": credential}}})
        }
        Login::Token { token, project } => {
            let auth = json!({"identity": {"methods": ["token"], "token": {"id": token.expose_secret()}}});
            scoped(auth, project)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_the_identity_api_is_added_where_it_is_not_written() {
        for (written, meant) in [
            ("http://a:5000", "http://a:5000/v3"),
            ("http://a:5000/v3/", "http://a:5000/v3"),
            ("https://a/identity/", "https://a/identity/v3"),
            ("https://a/identity/v2.0", "https://a/identity/v3"),
        ] {
            assert_eq!(identity_url(written), meant);
        }
    }

    #[test]
    fn the_next_page_is_found_in_the_form_of_each_service() {
        let nova =
            json!({"servers": [], "servers_links": [{"rel": "next", "href": "http://x/servers?marker=1"}]});
        assert_eq!(next_page(&nova, "servers"), Some("http://x/servers?marker=1"));
        let glance = json!({"images": [], "next": "/v2/images?marker=2"});
        assert_eq!(next_page(&glance, "images"), Some("/v2/images?marker=2"));
        assert_eq!(
            next_page(&json!({"ports": [], "ports_links": [{"rel": "previous", "href": "x"}]}), "ports"),
            None
        );
    }
}
