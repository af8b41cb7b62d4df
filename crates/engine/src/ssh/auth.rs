//! Logging in: which credentials are tried, in which order, and what is told when none is accepted.
//!
//! Keys in files that need no passphrase, then the agent's, then encrypted files (which may ask the user), then the
//! password. There is no `none` request to learn what the server would take: the first real attempt tells.
//! russh asks whether a key would do before it signs (RFC 4252, section 7), which costs a round trip but no signature
//! for keys that will not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::{AgentIdentity, client::AgentClient};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{
    Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_openssh_certificate,
};
use russh::{MethodKind, MethodSet, Signer};
use secrecy::{ExposeSecret, SecretString};

use super::gate::{Fate, Gate};
use super::keys::KeyFile;
use super::{Agent, Client, Target};
use crate::advice::Advice;
use crate::transport::TransportError;

/// Keys offered at most: sshd ends the connection at the sixth failure (`MaxAuthTries`, sshd_config(5)), and the
/// password must have its turn.
const MOST_KEYS: usize = 5;
/// Rounds of questions answered with the password at most, so that a server cannot go on for ever.
const MOST_QUESTIONS: usize = 4;

/// Why the login did not succeed.
pub(super) enum NoLogin {
    /// Nothing was accepted: final.
    Refused(TransportError),
    /// The connection ended meanwhile.
    Lost,
}

/// Logs in.
pub(super) async fn log_in(
    handle: &mut Handle<Gate>,
    client: &Client,
    target: &Target,
    fate: &Fate,
) -> Result<(), NoLogin> {
    let mut login = Login {
        handle,
        target,
        tried: Vec::new(),
        passed_over: Vec::new(),
        keys: Vec::new(),
        certificates: Vec::new(),
        offered: None,
    };
    if login.run(client).await.map_err(|Ended| login.ended(fate))? {
        return Ok(());
    }
    Err(NoLogin::Refused(login.refusal(fate)))
}

/// The connection ended while logging in.
struct Ended;

/// Signs for a certificate. The agent refuses one that it does not hold itself, and signs with the key in it.
struct CertificateSigner<'a, S> {
    agent: &'a mut S,
    known_as: Option<PublicKey>,
}

impl<S: Signer + Send> Signer for CertificateSigner<'_, S> {
    type Error = S::Error;

    async fn auth_sign(
        &mut self,
        shown: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, S::Error> {
        let known_as = self.known_as.clone().map(AgentIdentity::from);
        self.agent.auth_sign(known_as.as_ref().unwrap_or(shown), hash, data).await
    }
}

struct Login<'a> {
    handle: &'a mut Handle<Gate>,
    target: &'a Target,
    /// What the server refused, in order.
    tried: Vec<String>,
    /// What was not tried, and why.
    passed_over: Vec<String>,
    /// Keys offered so far, and whether as a certificate.
    keys: Vec<(KeyData, bool)>,
    /// Certificates that the user named.
    certificates: Vec<Certificate>,
    /// What the server says it would take; unknown before the first attempt.
    offered: Option<MethodSet>,
}

impl Login<'_> {
    async fn run(&mut self, client: &Client) -> Result<bool, Ended> {
        let own = &self.target.identity_files;
        let files = client.identity_files(self.target);
        self.certificates = self.certificate_files();
        let mut encrypted: Vec<PathBuf> = Vec::new();
        let mut locked_keys: Vec<KeyData> = Vec::new();
        let mut public: Vec<(PathBuf, KeyData)> = Vec::new();
        for file in &files {
            match client.keys.load(file) {
                KeyFile::Ready { key, certificate } => {
                    if self.try_file(file, key, certificate).await? {
                        return Ok(true);
                    }
                }
                KeyFile::Encrypted { public } => {
                    locked_keys.extend(public.map(|key| key.key_data().clone()));
                    encrypted.push(file.clone());
                }
                KeyFile::Public(key) => {
                    locked_keys.push(key.key_data().clone());
                    public.push((file.clone(), key.key_data().clone()));
                }
                // The default files are guesses; one that the user named must exist.
                KeyFile::Missing if own.is_empty() => {}
                KeyFile::Missing => self.passed_over.push(format!("{} does not exist", file.display())),
                KeyFile::Unusable(reason) => self.passed_over.push(format!("{}: {reason}", file.display())),
            }
        }
        let socket = match &self.target.agent {
            Agent::Usual => client.options.agent_socket.as_ref(),
            Agent::Nobody => None,
            Agent::At(socket) => Some(socket),
        };
        if let Some(socket) = socket
            && self.try_agent(socket, &locked_keys).await?
        {
            return Ok(true);
        }
        for (file, key) in public {
            if !self.keys.iter().any(|(offered, _)| *offered == key) {
                let reason = "a public key; the private one is needed, here or in the agent";
                self.passed_over.push(format!("{}: {reason}", file.display()));
            }
        }
        for file in &encrypted {
            match client.keys.unlock(file).await {
                KeyFile::Ready { key, certificate } => {
                    if self.try_file(file, key, certificate).await? {
                        return Ok(true);
                    }
                }
                KeyFile::Unusable(reason) => self.passed_over.push(format!("{}: {reason}", file.display())),
                KeyFile::Encrypted { .. } | KeyFile::Public(_) | KeyFile::Missing => {
                    self.passed_over.push(format!(
                        "{} is encrypted, and neither a passphrase nor the agent is at hand",
                        file.display()
                    ))
                }
            }
        }
        match &self.target.password {
            Some(password) => {
                let password = password.clone();
                Ok(self.try_password(&password).await? || self.try_questions(&password).await?)
            }
            None => Ok(false),
        }
    }

    /// The certificates that the user named; what is wrong with others is noted.
    fn certificate_files(&mut self) -> Vec<Certificate> {
        let mut certificates = Vec::new();
        for file in &self.target.certificate_files {
            match load_openssh_certificate(file) {
                Ok(certificate) => certificates.push(certificate),
                Err(error) => self.passed_over.push(format!("certificate {}: {error}", file.display())),
            }
        }
        certificates
    }

    /// Whether the server may take this method, as far as it has said.
    fn takes(&self, method: MethodKind) -> bool {
        self.offered.as_ref().is_none_or(|offered| offered.contains(&method))
    }

    /// Whether to offer this key; notes that it was.
    fn offers(&mut self, key: &KeyData, certified: bool, name: &str) -> bool {
        let offer = (key.clone(), certified);
        if !self.takes(MethodKind::PublicKey) || self.keys.contains(&offer) {
            return false;
        }
        if self.keys.len() == MOST_KEYS {
            self.passed_over.push(format!("{name}: {MOST_KEYS} keys are the most a server lets us try"));
            return false;
        }
        self.keys.push(offer);
        true
    }

    fn note(&mut self, result: AuthResult, name: String) -> Result<bool, Ended> {
        match result {
            AuthResult::Success => Ok(true),
            // An empty list stands for a connection that ended: a server that goes on has something to go on with.
            AuthResult::Failure { remaining_methods, .. } if remaining_methods.is_empty() => {
                self.tried.push(name);
                Err(Ended)
            }
            AuthResult::Failure { remaining_methods, partial_success } => {
                self.tried.push(if partial_success {
                    format!("{name}, accepted but not enough")
                } else {
                    name
                });
                self.offered = Some(remaining_methods);
                Ok(false)
            }
        }
    }

    async fn hash_for(&self, key: &KeyData) -> Result<Option<HashAlg>, Ended> {
        // Only RSA has a choice, and asking may wait a second for a server that says nothing about it.
        match key {
            KeyData::Rsa(_) => Ok(self.handle.best_supported_rsa_hash().await.map_err(|_| Ended)?.flatten()),
            _ => Ok(None),
        }
    }

    async fn try_file(
        &mut self,
        file: &Path,
        key: Arc<PrivateKey>,
        certificate: Option<Box<Certificate>>,
    ) -> Result<bool, Ended> {
        let name = format!("key {}", file.display());
        let data = key.public_key().key_data().clone();
        let user = self.target.user.as_str();
        let named = self.certificates.iter().find(|named| *named.public_key() == data).cloned();
        if let Some(certificate) = named.or(certificate.map(|beside| *beside))
            && self.offers(&data, true, &name)
        {
            let name = format!("certificate of key {}", file.display());
            let result = self.handle.authenticate_openssh_cert(user, Arc::clone(&key), certificate).await;
            if self.note(result.map_err(|_| Ended)?, name)? {
                return Ok(true);
            }
        }
        if !self.offers(&data, false, &name) {
            return Ok(false);
        }
        let key = PrivateKeyWithHashAlg::new(key, self.hash_for(&data).await?);
        let result = self.handle.authenticate_publickey(user, key).await.map_err(|_| Ended)?;
        self.note(result, name)
    }

    /// Tries the agent's keys, those first whose files are encrypted: the user named them.
    async fn try_agent(&mut self, socket: &Path, locked_keys: &[KeyData]) -> Result<bool, Ended> {
        let mut agent = match AgentClient::connect_uds(socket).await {
            Ok(agent) => agent,
            Err(error) => {
                self.passed_over.push(format!("agent at {}: {error}", socket.display()));
                return Ok(false);
            }
        };
        // Lets the agent use keys that are bound to destinations. Agents that do not know the request refuse it,
        // and go on.
        if let Some(binding) = self.handle.agent_session_binding().cloned() {
            agent.bind_session(&binding, false).await.ok();
        }
        let held = match agent.request_identities().await {
            Ok(identities) => identities,
            Err(error) => {
                self.passed_over.push(format!("agent at {}: {error}", socket.display()));
                return Ok(false);
            }
        };
        if held.is_empty() {
            self.passed_over.push("the agent holds no key".to_owned());
        }
        // What is shown, and the key that the agent knows it by where that is another.
        let mut identities: Vec<(AgentIdentity, Option<PublicKey>)> = Vec::new();
        for identity in held {
            let named =
                self.certificates.iter().find(|named| named.public_key() == identity.public_key().key_data());
            if let (AgentIdentity::PublicKey { key, comment }, Some(certificate)) = (&identity, named) {
                let (certificate, comment) = (certificate.clone(), comment.clone());
                identities.push((AgentIdentity::Certificate { certificate, comment }, Some(key.clone())));
            }
            identities.push((identity, None));
        }
        identities.sort_by_key(|(identity, _)| !locked_keys.contains(identity.public_key().key_data()));
        for (identity, known_as) in identities {
            let data = identity.public_key().key_data().clone();
            if self.target.identities_only && !locked_keys.contains(&data) {
                continue;
            }
            let name = format!("agent key {}", identity.comment());
            if !self.offers(&data, matches!(identity, AgentIdentity::Certificate { .. }), &name) {
                continue;
            }
            let hash = self.hash_for(&data).await?;
            let user = self.target.user.as_str();
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    let mut signer = CertificateSigner { agent: &mut agent, known_as };
                    self.handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await
                }
            };
            match result {
                Ok(result) => {
                    if self.note(result, name)? {
                        return Ok(true);
                    }
                }
                Err(russh::AgentAuthError::Send(_)) => return Err(Ended),
                Err(error) => self.passed_over.push(format!("{name}: the agent did not sign ({error})")),
            }
        }
        Ok(false)
    }

    async fn try_password(&mut self, password: &SecretString) -> Result<bool, Ended> {
        if !self.takes(MethodKind::Password) {
            return Ok(false);
        }
        let result = self.handle.authenticate_password(&self.target.user, password.expose_secret()).await;
        self.note(result.map_err(|_| Ended)?, "password".to_owned())
    }

    /// Answers the server's questions (RFC 4256) with the password. PAM behind sshd asks for it this way where
    /// `PasswordAuthentication` is off.
    async fn try_questions(&mut self, password: &SecretString) -> Result<bool, Ended> {
        if !self.takes(MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        let name = || "password (keyboard-interactive)".to_owned();
        let mut reply = self
            .handle
            .authenticate_keyboard_interactive_start(&self.target.user, None)
            .await
            .map_err(|_| Ended)?;
        for _ in 0..MOST_QUESTIONS {
            match reply {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    return self.note(AuthResult::Failure { remaining_methods, partial_success }, name());
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    // A question whose answer may be seen is not for a password.
                    let answer = |shown: bool| if shown { "" } else { password.expose_secret() }.to_owned();
                    let answers = prompts.iter().map(|prompt| answer(prompt.echo)).collect();
                    reply = self
                        .handle
                        .authenticate_keyboard_interactive_respond(answers)
                        .await
                        .map_err(|_| Ended)?;
                }
            }
        }
        self.tried.push(name());
        Ok(false)
    }

    fn refusal(&self, fate: &Fate) -> TransportError {
        let mut tried = match self.tried.as_slice() {
            [] => "nothing to try".to_owned(),
            tried => format!("tried: {}", tried.join(", ")),
        };
        if !self.passed_over.is_empty() {
            tried.push_str(&format!("; not tried: {}", self.passed_over.join(", ")));
        }
        if self.target.password.is_none() && self.offered.is_some() && !self.takes(MethodKind::PublicKey) {
            tried.push_str("; the server takes no keys");
        }
        let banner = fate.banner();
        if !banner.is_empty() {
            tried.push_str(&format!("; the server says: {banner}"));
        }
        let Target { user, host, port, .. } = self.target;
        let remedy = if self.tried.is_empty() {
            Advice::GivePrivateKey
        } else {
            format!(
                "put your public key on the machine (ssh-copy-id -p {port} {user}@{host}), or name the right user \
                     (ansible_user) or key (ansible_ssh_private_key_file)"
            )
            .into()
        };
        TransportError::Refused { address: self.target.address(), user: user.clone(), tried, remedy }
    }

    /// The connection ended during the login: a refusal if the server said so, else a passing fault.
    fn ended(&mut self, fate: &Fate) -> NoLogin {
        match fate.farewell() {
            Some(farewell) if farewell.contains("authentication") => {
                self.passed_over.push(format!("what is left, because {farewell}"));
                NoLogin::Refused(self.refusal(fate))
            }
            _ => NoLogin::Lost,
        }
    }
}
