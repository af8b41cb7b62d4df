//! Host keys of SSH that outlast a boot, and the project's authority that certifies them.
//!
//! A machine that boots from the network has no disk that would keep a host key. So its key is made here once and goes into its
//! Ignition, with a certificate by the project's authority. Whoever knows the authority (`@cert-authority` in known_hosts) knows
//! every machine of the project, also one that got a new key.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_files::write_whole;
use russh::keys::key::safe_rng;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::{Certificate, HashAlg, LineEnding};
use russh::keys::{Algorithm, PrivateKey, PublicKey};

/// How long a certificate is good: longer than a course, shorter than a machine.
pub const LIFETIME: Duration = Duration::from_secs(400 * 24 * 3600);
/// A certificate with less than this left is made anew.
const RENEWED: Duration = Duration::from_secs(100 * 24 * 3600);
/// Machines whose clock is behind have to accept a new one.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// A machine's host key. Nobody prints the private one.
#[derive(Clone)]
pub struct HostKey {
    /// As sshd reads it.
    pub(crate) private: String,
    /// One line.
    pub(crate) public: String,
    /// One line.
    pub(crate) certificate: String,
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostKey({})", self.public)
    }
}

/// Why keys cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The authority is gone, and there are keys that it has certified.
    #[error("{} is gone: the machines' host keys are certified by it", path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
        /// What is left of it: to be removed before there can be another one.
        left: Vec<PathBuf>,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be read or written: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds no key, or not the one that it should.
    #[error("{}: {reason}", path.display())]
    NoKey {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key or certificate could not be made.
    #[error("a key cannot be made: {0}")]
    Make(String),
}

/// What was done about a machine's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// Nothing: its key and certificate are good.
    Nothing,
    /// It got its first key.
    Key,
    /// Its key got another certificate; this is why.
    Certificate(String),
}

/// The keys of a project: a folder that nobody else may read.
#[derive(Debug, Clone)]
pub struct KeyStore {
    dir: PathBuf,
}

/// The project's authority.
pub struct Authority {
    key: PrivateKey,
}

impl KeyStore {
    /// The one in a folder, which need not be there yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where the authority's private key is.
    pub fn authority_path(&self) -> PathBuf {
        self.dir.join("ssh_ca")
    }

    /// Where a machine's private host key is; its public key and its certificate are beside it, as ssh-keygen names them.
    pub fn host_path(&self, machine: &str) -> PathBuf {
        self.dir.join("ssh_hosts").join(machine)
    }

    /// The authority, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, it holds no key, or it is gone.
    pub fn authority(&self) -> Result<Option<Authority>, KeyError> {
        let path = self.authority_path();
        if let Some(key) = read_private(&path)? {
            return Ok(Some(Authority { key }));
        }
        // The other half alone is what a run left that was cut off.
        let hosts = self.dir.join("ssh_hosts");
        let has_keys = fs::read_dir(&hosts).is_ok_and(|mut entries| entries.next().is_some());
        if !has_keys {
            return Ok(None);
        }
        let left = [self.dir.join("ssh_ca.pub"), hosts].into_iter().filter(|path| path.exists()).collect();
        Err(KeyError::Gone { path, left })
    }

    /// Makes the authority.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn make_authority(&self, comment: &str) -> Result<Authority, KeyError> {
        let mut key = new_key()?;
        key.set_comment(comment.to_owned());
        write_pair(&self.authority_path(), &key)?;
        Ok(Authority { key })
    }

    /// A machine's certificate as it is kept, good or not.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn certificate(&self, machine: &str) -> Result<Option<String>, KeyError> {
        Ok(read(&certificate_path(&self.host_path(machine)))?.map(|text| text.trim().to_owned()))
    }

    /// A machine's host key with a certificate that is good for these names now.
    ///
    /// # Errors
    /// It is missing or not good any more, in words; or a file cannot be read.
    pub fn host_key(
        &self,
        authority: &Authority,
        machine: &str,
        names: &[String],
        now: SystemTime,
    ) -> Result<Result<HostKey, String>, KeyError> {
        let path = self.host_path(machine);
        let Some(key) = read_private(&path)? else { return Ok(Err("there is no host key yet".to_owned())) };
        if let Some(fault) = self.fault(authority, machine, &key, names, now)? {
            return Ok(Err(fault));
        }
        let certificate = read(&certificate_path(&path))?.unwrap_or_default().trim().to_owned();
        let private = key.to_openssh(LineEnding::LF).map_err(make)?.to_string();
        let public = key.public_key().to_openssh().map_err(make)?;
        Ok(Ok(HostKey { private, public, certificate }))
    }

    /// Gives a machine a host key, if it has none, and a certificate that is good for these names for a while. With `dry` it
    /// says only what it would do.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn certify(
        &self,
        authority: &Authority,
        machine: &str,
        names: &[String],
        now: SystemTime,
        dry: bool,
    ) -> Result<Made, KeyError> {
        let path = self.host_path(machine);
        let (key, made) = match read_private(&path)? {
            None => {
                if dry {
                    return Ok(Made::Key);
                }
                let mut key = new_key()?;
                key.set_comment(machine.to_owned());
                write_pair(&path, &key)?;
                (key, Made::Key)
            }
            Some(key) => match self.fault(authority, machine, &key, names, now + RENEWED)? {
                None => return Ok(Made::Nothing),
                Some(_) if self.fault(authority, machine, &key, names, now)?.is_none() => {
                    (key, Made::Certificate("the certificate before ends soon".to_owned()))
                }
                Some(why) => (key, Made::Certificate(why)),
            },
        };
        if !dry {
            let certificate = authority.sign(machine, &key, names, now)?;
            let text = format!("{}\n", certificate.to_openssh().map_err(make)?);
            write_file(&certificate_path(&path), 0o644, &text)?;
        }
        Ok(made)
    }

    /// What is wrong with a machine's certificate at some time.
    fn fault(
        &self,
        authority: &Authority,
        machine: &str,
        key: &PrivateKey,
        names: &[String],
        at: SystemTime,
    ) -> Result<Option<String>, KeyError> {
        let path = certificate_path(&self.host_path(machine));
        let Some(text) = read(&path)? else { return Ok(Some("there is no certificate yet".to_owned())) };
        let Ok(certificate) = Certificate::from_openssh(text.trim()) else {
            return Ok(Some(format!("{} is no certificate", path.display())));
        };
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let trusted = authority.key.public_key().fingerprint(HashAlg::Sha256);
        let mut certified: Vec<&String> = certificate.valid_principals().iter().collect();
        let mut wanted: Vec<&String> = names.iter().collect();
        certified.sort();
        wanted.sort();
        Ok(if certificate.public_key() != key.public_key().key_data() {
            Some("the certificate is for another key".to_owned())
        } else if certificate.signature_key() != authority.key.public_key().key_data() {
            Some("the certificate is by another authority".to_owned())
        } else if certified != wanted {
            Some(format!("the certificate is for {}", certificate.valid_principals().join(", ")))
        } else if seconds >= certificate.valid_before() {
            Some("the certificate has ended".to_owned())
        } else if certificate.validate_at(seconds, [&trusted]).is_err() {
            Some("the certificate does not hold".to_owned())
        } else {
            None
        })
    }
}

impl Authority {
    /// The authority's public key, without a comment.
    ///
    /// # Errors
    /// It cannot be written as a text.
    pub fn public(&self) -> Result<String, KeyError> {
        PublicKey::new(self.key.public_key().key_data().clone(), "").to_openssh().map_err(make)
    }

    /// The line of known_hosts that trusts the machines with these names by their certificates.
    ///
    /// # Errors
    /// It cannot be written as a text.
    pub fn known_hosts_line(&self, names: &[String], comment: &str) -> Result<String, KeyError> {
        Ok(format!("@cert-authority {} {} {comment}", names.join(","), self.public()?))
    }

    fn sign(
        &self,
        machine: &str,
        key: &PrivateKey,
        names: &[String],
        now: SystemTime,
    ) -> Result<Certificate, KeyError> {
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let public = key.public_key().key_data().clone();
        let (begin, end) = (seconds(now - BACKDATED), seconds(now + LIFETIME));
        let mut builder =
            Builder::new_with_random_nonce(&mut safe_rng(), public, begin, end).map_err(make)?;
        builder.cert_type(CertType::Host).map_err(make)?;
        builder.key_id(machine).map_err(make)?;
        builder.serial(seconds(now)).map_err(make)?;
        for name in names {
            builder.valid_principal(name).map_err(make)?;
        }
        builder.sign(&self.key).map_err(make)
    }
}

fn make(error: russh::keys::ssh_key::Error) -> KeyError {
    KeyError::Make(error.to_string())
}

fn new_key() -> Result<PrivateKey, KeyError> {
    PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).map_err(make)
}

/// `KEY-cert.pub`, beside the key.
fn certificate_path(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push("-cert.pub");
    name.into()
}

fn read(path: &Path) -> Result<Option<String>, KeyError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KeyError::File { path: path.to_owned(), error }),
    }
}

/// A private key, which nobody else may read: ssh refuses such a key, too.
fn read_private(path: &Path) -> Result<Option<PrivateKey>, KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let Some(text) = read(path)? else { return Ok(None) };
    let no_key = |reason: String| KeyError::NoKey { path: path.to_owned(), reason };
    let mode = fs::metadata(path)
        .map_err(|error| KeyError::File { path: path.to_owned(), error })?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(no_key(format!(
            "others may read this private key (mode {:04o}); if nobody has: chmod 600 {}",
            mode & 0o7777,
            path.display()
        )));
    }
    let shown = path.display();
    let key = PrivateKey::from_openssh(&text).map_err(|error| {
        no_key(format!(
            "this is no private key as ssh-keygen writes it (it begins with -----BEGIN OPENSSH PRIVATE KEY-----): {error}; \
             put the right file back from a backup"
        ))
    })?;
    if key.is_encrypted() {
        return Err(no_key(format!(
            "this private key has a passphrase, which nobody is asked for here; take it away: ssh-keygen -p -N '' -f {shown}"
        )));
    }
    if key.algorithm() != Algorithm::Ed25519 {
        return Err(no_key(format!(
            "this key is of the kind {}, and one of the kind ed25519 was meant; put the right file back from a backup",
            key.algorithm()
        )));
    }
    Ok(Some(key))
}

fn write_pair(path: &Path, key: &PrivateKey) -> Result<(), KeyError> {
    let private = key.to_openssh(LineEnding::LF).map_err(make)?;
    // The public one first: a private key alone is found, and then its other half is never made.
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    write_file(Path::new(&public), 0o644, &format!("{}\n", key.public_key().to_openssh().map_err(make)?))?;
    write_file(path, 0o600, &private)
}

fn write_file(path: &Path, mode: u32, text: &str) -> Result<(), KeyError> {
    let folder = path.parent().unwrap_or(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| write_whole(path, Some(mode), &mut text.as_bytes()))
        .map_err(|error| KeyError::File { path: path.to_owned(), error })
}
