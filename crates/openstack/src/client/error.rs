//! Why a request to a cloud did not do what it was for.

use serde_json::Value;

/// What went wrong with a cloud.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CloudError {
    /// The service understood the request and refused it.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No answer, or one that does not say whether it was done: a connection that broke, a timeout, a status 5xx.
    #[error("{method} {url}: {reason}")]
    Unclear {
        /// The HTTP method.
        method: &'static str,
        /// What was asked, without secrets.
        url: String,
        /// What was seen.
        reason: String,
    },
    /// The request cannot be made at all: no such host, a certificate that nobody vouches for, a URL that is none.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why not.
        reason: String,
    },
    /// Logging in did not work.
    #[error("{auth_url} did not accept the login of the cloud {cloud}: {message}")]
    Login {
        /// The cloud's name.
        cloud: String,
        /// Where the login was tried.
        auth_url: String,
        /// What the identity service said.
        message: String,
    },
    /// The catalogue has no such service.
    #[error("{message}")]
    NoService {
        /// Which, where, and what there is instead.
        message: String,
    },
    /// An answer that is not in the API's form.
    #[error("{url} answered something that is not OpenStack's: {reason}")]
    Strange {
        /// What was asked.
        url: String,
        /// What was seen.
        reason: String,
    },
}

/// A service's refusal.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{method} {url} was refused ({status}): {message}{}", .request.as_ref().map(|id| format!(" [{id}]")).unwrap_or_default())]
pub struct Refusal {
    /// The HTTP method.
    pub method: &'static str,
    /// What was asked, without secrets.
    pub url: String,
    /// The HTTP status.
    pub status: u16,
    /// The error's type, where the service gives one (neutron: `OverQuota`).
    pub kind: String,
    /// What the service said.
    pub message: String,
    /// The request's number in the service's log, for whoever runs the cloud.
    pub request: Option<String>,
}

impl Refusal {
    /// Whether a quota is used up. nova says 403 or 413, neutron 409 (`OverQuota`, `IpAddressGenerationFailure` is another matter).
    pub fn is_quota(&self) -> bool {
        let words = self.message.to_lowercase();
        self.kind == "OverQuota"
            || self.status == 413
            || matches!(self.status, 403 | 409)
                && (words.contains("quota") || words.contains("maximum number"))
    }
}

impl CloudError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the service refused with this status.
    pub(crate) fn has_status(&self, status: u16) -> bool {
        self.refusal().is_some_and(|refusal| refusal.status == status)
    }

    /// Whether it is not known if the request was done.
    pub(crate) fn is_unclear(&self) -> bool {
        matches!(self, Self::Unclear { .. })
    }
}

/// The type and the message in the answer of a service that refused. Each service has its own form around them: nova
/// `{"forbidden": {"message": ..}}`, neutron `{"NeutronError": {"type": .., "message": ..}}`, keystone `{"error": {..}}`, placement
/// a list of errors; glance answers HTML.
pub(crate) fn said(body: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(body);
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return (String::new(), without_tags(&text));
    };
    let inner = match value.as_object().and_then(|object| object.values().next()) {
        Some(inner @ Value::Object(_)) => inner.clone(),
        Some(Value::Array(list)) => list.first().cloned().unwrap_or_default(),
        _ => value.clone(),
    };
    let word =
        |name: &str| inner.get(name).or_else(|| value.get(name)).and_then(Value::as_str).unwrap_or_default();
    let message = [word("message"), word("detail"), word("title")].into_iter().find(|text| !text.is_empty());
    (word("type").to_owned(), message.map_or_else(|| short(&text), short))
}

/// A text of HTML as one line.
fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut depth = 0_usize;
    for c in html.chars() {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            c if depth == 0 => text.push(c),
            _ => {}
        }
    }
    short(&text)
}

/// The beginning of a text, as one line.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(500) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_its_own_form_of_saying_why() {
        let said = |body: &str| said(body.as_bytes());
        let pair = |kind: &str, message: &str| (kind.to_owned(), message.to_owned());
        assert_eq!(
            said(
                r#"{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}}"#
            ),
            pair("OverQuota", "Quota exceeded for resources: ['port'].")
        );
        assert_eq!(
            said(r#"{"badRequest": {"code": 400, "message": "Can not find"}}"#),
            pair("", "Can not find")
        );
        assert_eq!(
            said(r#"{"error":{"code":401,"message":"The request.","title":"Unauthorized"}}"#),
            pair("", "The request.")
        );
        assert_eq!(said("<html><body><h1>404\n Not Found</h1></body></html>"), pair("", "404 Not Found"));
        assert_eq!(said(""), pair("", ""));
        assert_eq!(said(r#"{"message": "plain"}"#), pair("", "plain"));
    }

    #[test]
    fn a_quota_is_told_from_other_refusals() {
        let refusal = |status, kind: &str, message: &str| Refusal {
            method: "POST",
            url: String::new(),
            status,
            kind: kind.into(),
            message: message.into(),
            request: None,
        };
        assert!(refusal(409, "OverQuota", "Quota exceeded for resources: ['port'].").is_quota());
        assert!(
            refusal(403, "", "Quota exceeded for instances: Requested 1, but already used 6 of 6 instances")
                .is_quota()
        );
        assert!(refusal(413, "", "x").is_quota());
        assert!(!refusal(403, "", "Policy doesn't allow os_compute_api:servers:create").is_quota());
        assert!(!refusal(409, "NetworkInUse", "There are one or more ports still in use").is_quota());
    }
}
