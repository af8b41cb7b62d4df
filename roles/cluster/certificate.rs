//! A certificate that a machine has: whose it is, and when it ends.

use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate on a machine, or one within a kubeconfig file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file that it is in.
    pub path: String,
    /// Its common name; what cannot be read has none.
    pub name: String,
    /// Whether it is that of an authority, by which others are signed.
    pub is_authority: bool,
    /// When it ends, in seconds since 1970; `None` where it cannot be read.
    pub ends: Option<i64>,
}

impl Certificate {
    /// A certificate in DER.
    pub(crate) fn of(path: &str, der: &[u8]) -> Self {
        let unreadable = Self { path: path.to_owned(), name: String::new(), is_authority: false, ends: None };
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return unreadable };
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Self {
            name: name.unwrap_or_default().to_owned(),
            is_authority: certificate.is_ca(),
            ends: Some(certificate.validity().not_after.timestamp()),
            ..unreadable
        }
    }

    /// How many whole days are left; negative when it has ended.
    pub fn days_left(&self, now: OffsetDateTime) -> Option<i64> {
        Some((self.ends? - now.unix_timestamp()).div_euclid(24 * 3600))
    }

    /// The last part of its path.
    pub fn file(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, file)| file)
    }

    /// Whether the kubelet renews it by itself, when the API answers it: from 70 to 90 percent of its time on.
    pub(crate) fn rotates(&self) -> bool {
        self.file() == "kubelet-client-current.pem"
    }
}
