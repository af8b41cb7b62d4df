//! Private key files, each read and decrypted once a run however many machines use it: the key derivation of an
//! encrypted key takes a second of CPU on purpose (bcrypt_pbkdf).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::{
    Certificate, PrivateKey, PublicKey, decode_secret_key, load_openssh_certificate, load_public_key,
};
use secrecy::{ExposeSecret, SecretString};

use super::AskPassphrase;

/// What a key file turned out to be.
#[derive(Debug, Clone)]
pub(super) enum KeyFile {
    /// Ready to sign with. The certificate is that of `FILE-cert.pub`, where there is one.
    Ready { key: Arc<PrivateKey>, certificate: Option<Box<Certificate>> },
    /// Encrypted, and no passphrase is known. The public half, where it could be found.
    Encrypted { public: Option<PublicKey> },
    /// The public half only: the private one may be the agent's.
    Public(PublicKey),
    /// There is no such file.
    Missing,
    /// There is something, but not a key we can use: why.
    Unusable(String),
}

/// The key files of a run.
pub(super) struct KeyRing {
    ask: Option<AskPassphrase>,
    files: Mutex<HashMap<PathBuf, KeyFile>>,
    /// Held while a passphrase is asked for, so that the user is asked one thing at a time and nothing twice.
    asking: tokio::sync::Mutex<HashMap<PathBuf, KeyFile>>,
}

impl KeyRing {
    pub(super) fn new(ask: Option<AskPassphrase>) -> Self {
        Self { ask, files: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Reads a key file without asking for anything.
    pub(super) fn load(&self, path: &Path) -> KeyFile {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.entry(path.to_owned()).or_insert_with(|| read(path, None)).clone()
    }

    /// Reads an encrypted key file, asking for its passphrase unless that was done before.
    pub(super) async fn unlock(&self, path: &Path) -> KeyFile {
        let mut asked = self.asking.lock().await;
        if let Some(known) = asked.get(path) {
            return known.clone();
        }
        let Some(ask) = self.ask.clone() else { return self.load(path) };
        let owned = path.to_owned();
        // The user takes minutes and the key derivation a second: neither may hold up the other connections.
        let work = tokio::task::spawn_blocking(move || match ask(&owned) {
            Some(passphrase) => read(&owned, Some(&passphrase)),
            None => KeyFile::Unusable("encrypted, and no passphrase was given".to_owned()),
        });
        let file = work.await.unwrap_or_else(|error| KeyFile::Unusable(error.to_string()));
        if let KeyFile::Ready { .. } = file {
            self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), file.clone());
        }
        asked.insert(path.to_owned(), file.clone());
        file
    }
}

fn read(path: &Path, passphrase: Option<&SecretString>) -> KeyFile {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return load_public_key(with_suffix(path, ".pub")).map_or(KeyFile::Missing, KeyFile::Public);
        }
        Err(error) => return KeyFile::Unusable(error.to_string()),
    };
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind)) {
        let unusable = |error| KeyFile::Unusable(format!("not a public key ({error})"));
        return load_public_key(path).map_or_else(unusable, KeyFile::Public);
    }
    // Only this format holds the public half in the clear.
    let openssh = PrivateKey::from_openssh(&text).ok();
    let encrypted = openssh.as_ref().map_or(text.contains("ENCRYPTED"), PrivateKey::is_encrypted);
    if encrypted && passphrase.is_none() {
        let beside = || load_public_key(with_suffix(path, ".pub")).ok();
        return KeyFile::Encrypted { public: openssh.map(|key| key.public_key().clone()).or_else(beside) };
    }
    match decode_secret_key(&text, passphrase.map(|passphrase| passphrase.expose_secret())) {
        Ok(key) => {
            let certificate = load_openssh_certificate(with_suffix(path, "-cert.pub")).ok();
            let certificate = certificate.filter(|found| found.public_key() == key.public_key().key_data());
            KeyFile::Ready { key: Arc::new(key), certificate: certificate.map(Box::new) }
        }
        Err(_) if encrypted => {
            KeyFile::Unusable("encrypted, and the passphrase given is not the right one".to_owned())
        }
        Err(error) => KeyFile::Unusable(format!("not a private key ({error})")),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
