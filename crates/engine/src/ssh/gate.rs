//! What a connection calls back: is this the machine we mean, and why did it end.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use russh::client::{DisconnectReason, Handler};
use russh::keys::PublicKeyOrCertificate;

use super::known_hosts::{HostName, KnownHosts, Verdict, describe};
use super::{Client, HostKeyPolicy, Target};
use crate::advice::{Advice, KnownHostKey};
use crate::transport::TransportError;

/// What is known of one connection beside the connection itself.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Why the host key was refused. Kept here because a reset during the refusal would hide it.
    pub(super) refused: OnceLock<TransportError>,
    ended: Mutex<Option<String>>,
    banner: Mutex<String>,
}

impl Fate {
    /// Why the connection ended, as far as that was seen.
    pub(super) fn reason(&self) -> String {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.clone().unwrap_or_else(|| "closed by the other side".to_owned())
    }

    /// Why the server said it ends the connection.
    pub(super) fn farewell(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What sshd said before login.
    pub(super) fn banner(&self) -> String {
        self.banner.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned()
    }
}

/// Checks the host key, and notes how the connection ends.
pub(super) struct Gate {
    client: Arc<Client>,
    known_hosts: Arc<KnownHosts>,
    target: Target,
    fate: Arc<Fate>,
}

impl Gate {
    pub(super) fn new(
        client: Arc<Client>,
        known_hosts: Arc<KnownHosts>,
        target: Target,
        fate: Arc<Fate>,
    ) -> Self {
        Self { client, known_hosts, target, fate }
    }

    fn policy(&self) -> HostKeyPolicy {
        self.target.host_key_policy.unwrap_or(self.client.options.host_key_policy)
    }

    /// Whether to go on with a machine that shows this key; otherwise why not.
    fn judge(&self, shown: &PublicKeyOrCertificate) -> Result<(), TransportError> {
        let host = host_name(&self.target);
        let known_hosts = &self.known_hosts;
        let key = describe(shown.public_key().key_data());
        let mut verdict = known_hosts.judge(&host, shown, SystemTime::now());
        if self.policy() == HostKeyPolicy::Off && !matches!(verdict, Verdict::Revoked { .. }) {
            return Ok(());
        }
        if let (Verdict::Changed { .. }, true) = (&verdict, self.target.reimaged) {
            if let Err(error) = known_hosts.forget(&host) {
                self.client
                    .warn(format!("the old host key of {} could not be removed: {error}", host.written()));
            }
            verdict = known_hosts.judge(&host, shown, SystemTime::now());
        }
        let changed = matches!(verdict, Verdict::Changed { .. });
        let (reason, remedy) = match verdict {
            Verdict::Known => return Ok(()),
            Verdict::New if self.policy() == HostKeyPolicy::AcceptNew => {
                if let Err(error) = known_hosts.add(&host, &shown.public_key()) {
                    let name = host.written();
                    self.client.warn(format!("the host key of {name} could not be written down: {error}"));
                }
                return Ok(());
            }
            Verdict::New => (
                format!("its host key is not known; it shows {key}"),
                format!("compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the machine; if it is the \
                         same: `ssh-keyscan -p {} {} >> KNOWN_HOSTS`", self.target.port, self.target.host)
                    .into(),
            ),
            Verdict::Changed { place, known } => (
                format!("its host key has changed: it shows {key}, but {place} holds {known}"),
                Advice::ReplaceHostKey(Box::new(KnownHostKey {
                    machine: self.target.host.clone(),
                    file: place.file.display().to_string(),
                    name: host.written(),
                })),
            ),
            Verdict::Revoked { place } => (
                format!("its host key is revoked by {place}; it shows {key}"),
                "do not use this machine before it has a new host key; whoever holds the old one can pose as it".into(),
            ),
            Verdict::BadCertificate { place, reason } => (
                format!("its host certificate, by the authority of {place}, does not hold: {reason}"),
                "have the authority certify the machine's host key again (ssh-keygen -s CA -h -n NAME)".into(),
            ),
            Verdict::Uncertified { place } => (
                format!("its host key is not certified by the authority of {place}, nor known otherwise; it shows {key}"),
                "have the machine start with its certificate; if it is to have a key of its own, take its name out of that \
                 line"
                    .into(),
            ),
        };
        Err(TransportError::HostKey { address: self.target.address(), reason, changed, remedy })
    }
}

impl Handler for Gate {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        match self.judge(shown) {
            Ok(()) => Ok(true),
            Err(error) => {
                // Judged once a connection: russh repeats the key exchange, but not this question.
                self.fate.refused.set(error).ok();
                Ok(false)
            }
        }
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut russh::client::Session) -> Result<(), Self::Error> {
        self.fate.banner.lock().unwrap_or_else(PoisonError::into_inner).push_str(banner);
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        let reason = match &reason {
            DisconnectReason::ReceivedDisconnect(info) => format!("the server says: {}", info.message.trim()),
            DisconnectReason::Error(russh::Error::KeepaliveTimeout) => {
                "it does not answer any more".to_owned()
            }
            DisconnectReason::Error(russh::Error::IO(error)) => error.to_string(),
            DisconnectReason::Error(russh::Error::Disconnect | russh::Error::HUP) => return Ok(()),
            DisconnectReason::Error(error) => error.to_string(),
        };
        self.fate.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        Ok(())
    }
}

/// The name the machine's host key is known under.
pub(super) fn host_name(target: &Target) -> HostName {
    match &target.host_key_alias {
        // An alias stands for the machine whatever its port (ssh_config(5), HostKeyAlias).
        Some(alias) => HostName::new(alias, super::DEFAULT_PORT),
        None => HostName::new(&target.host, target.port),
    }
}
