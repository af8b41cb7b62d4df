//! One HTTP request and its answer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::error::CloudError;
use crate::clouds::Cloud;

/// How long to wait for a connection, including its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait for an answer. Services of a busy cloud take their time with lists and servers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest answer that is taken.
const ANSWER_LIMIT: u64 = 64 << 20;

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) token: Option<String>,
    pub(crate) request: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// What makes requests to a cloud: its authorities, its proxy.
///
/// # Errors
/// The file of authorities cannot be read, or the proxy is none.
pub(crate) fn agent(cloud: &Cloud) -> Result<Agent, CloudError> {
    let unusable = |reason: String| CloudError::Unreachable { url: cloud.auth_url.clone(), reason };
    let roots = match &cloud.cacert {
        None => RootCerts::PlatformVerifier,
        Some(path) => {
            let shown = path.display();
            let pem = std::fs::read(path).map_err(|error| {
                unusable(format!("the authorities (cacert) in {shown} cannot be read: {error}"))
            })?;
            let items = parse_pem(&pem).filter_map(Result::ok);
            let certificates: Vec<Certificate<'static>> = items
                .filter_map(|item| match item {
                    PemItem::Certificate(certificate) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(unusable(format!(
                    "{shown}, the file of authorities (cacert), holds no certificate"
                )));
            }
            RootCerts::new_with_certs(&certificates)
        }
    };
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(roots)
        .disable_verification(!cloud.verify)
        .build();
    let proxy = cloud.proxy.as_deref().map(ureq::Proxy::new).transpose();
    let proxy = proxy.map_err(|error| unusable(format!("the proxy of the environment is none: {error}")))?;
    let config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
        // A redirect would turn a POST into a GET; OpenStack's services have none where they are asked rightly.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(ANSWER_TIMEOUT))
        .proxy(proxy);
    Ok(config.build().new_agent())
}

/// Makes one request. Every status is an answer.
///
/// # Errors
/// There is no answer: [`CloudError::Unclear`], or [`CloudError::Unreachable`] where asking again would not help.
pub(crate) fn ask(
    agent: &Agent,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer, CloudError> {
    let strange =
        |error: ureq::http::Error| CloudError::Unreachable { url: url.to_owned(), reason: error.to_string() };
    let mut request = Request::builder().method(method.word()).uri(url).header("Accept", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = match body {
        None => agent.run(request.body(()).map_err(strange)?),
        Some(body) => {
            let request = request.header("Content-Type", "application/json").body(body.to_string());
            agent.run(request.map_err(strange)?)
        }
    };
    let mut response = answer.map_err(|error| classify(method, url, &error))?;
    let text =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let request = text("x-openstack-request-id").or_else(|| text("x-compute-request-id"));
    let token = text("x-subject-token");
    let retry_after = text("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(ANSWER_LIMIT).read_to_vec();
    let body = body.map_err(|error| classify(method, url, &error))?;
    Ok(Answer { status, token, request, retry_after, body })
}

/// Whether an error of a request may pass.
fn classify(method: Method, url: &str, error: &ureq::Error) -> CloudError {
    let lasting = match error {
        ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::HostNotFound
        | ureq::Error::BodyExceedsLimit(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::TlsRequired
        | ureq::Error::InvalidProxyUrl => true,
        // TLS failures, such as a certificate that nobody vouches for, come out of the transport as this.
        ureq::Error::Io(io) => io.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    };
    let (url, reason) = (url.to_owned(), error.to_string());
    if lasting {
        CloudError::Unreachable { url, reason }
    } else {
        CloudError::Unclear { method: method.word(), url, reason }
    }
}
