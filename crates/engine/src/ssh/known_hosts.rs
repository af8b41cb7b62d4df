//! Which host keys are known: the file format of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT", with hashed names, patterns,
//! ports, certificate authorities and revoked keys.
//!
//! The files are read once a run. New keys are appended to the first of them, one whole line at a time; by a run that only looks
//! they are known for that run alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use muster_files::rewrite;
use russh::keys::PublicKeyOrCertificate;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::ssh_key::{Algorithm, Certificate, Fingerprint, HashAlg, PublicKey, certificate::CertType};
use sha1::Sha1;

use super::target::DEFAULT_PORT;

/// The name a host key is known under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostName {
    host: String,
    port: u16,
}

impl HostName {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_lowercase(), port }
    }

    /// As written in the file: `host`, or `[host]:port` where the port is not the default one.
    pub(super) fn written(&self) -> String {
        if self.port == DEFAULT_PORT { self.host.clone() } else { format!("[{}]:{}", self.host, self.port) }
    }
}

/// What the files say about a key that a machine showed.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is the known one, or certified by a known authority.
    Known,
    /// Nothing is known about this machine.
    New,
    /// Another key is known for this machine.
    Changed { place: Place, known: String },
    /// It, or the authority that certified it, is revoked.
    Revoked { place: Place },
    /// A known authority certified it, but the certificate does not hold for this machine now.
    BadCertificate { place: Place, reason: String },
    /// It is not known, and of this very machine it is known that an authority certifies it.
    Uncertified { place: Place },
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<Path>,
    /// Counted from 1.
    pub(super) line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The lines of all files.
#[derive(Debug)]
pub(super) struct KnownHosts {
    lines: RwLock<Vec<Line>>,
    /// Where new keys go; held while writing, so that no line is written twice.
    written: Mutex<Written>,
}

/// The file that is written.
#[derive(Debug, Default)]
struct Written {
    file: Option<PathBuf>,
    /// Whether it stays as it is, as in a run that only looks.
    stays: bool,
    /// What would have been written meanwhile.
    later: Vec<Later>,
}

/// A change of the file.
#[derive(Debug)]
enum Later {
    Append(String),
    Forget(HostName),
}

#[derive(Debug)]
struct Line {
    place: Place,
    entry: Entry,
}

impl KnownHosts {
    /// Reads the files; one that does not exist is empty. Also returns what is wrong with lines that cannot be
    /// understood; they count for nothing, as with OpenSSH.
    pub(super) fn read(files: &[PathBuf]) -> io::Result<(Self, Vec<String>)> {
        let (mut lines, mut warnings) = (Vec::new(), Vec::new());
        for file in files {
            let text = match std::fs::read(file) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", file.display())));
                }
            };
            for (place, text) in number(file, &text) {
                match parse(&text) {
                    Ok(Some(entry)) => lines.push(Line { place, entry }),
                    Ok(None) => {}
                    Err(error) => {
                        warnings.push(format!("{place}: not a host key ({error}); the line is ignored"))
                    }
                }
            }
        }
        let written = Mutex::new(Written { file: files.first().cloned(), ..Written::default() });
        Ok((Self { lines: RwLock::new(lines), written }, warnings))
    }

    /// The algorithms of the keys known for a machine, and whether an authority is known that may certify it.
    pub(super) fn algorithms(&self, host: &HostName) -> (Vec<Algorithm>, bool) {
        let (mut algorithms, mut authority) = (Vec::new(), false);
        for line in self.lines().iter().filter(|line| line.names(host)) {
            match line.entry.marker() {
                None => algorithms.push(line.entry.public_key().algorithm()),
                Some(Marker::CertAuthority) => authority = true,
                Some(Marker::Revoked) => {}
            }
        }
        (algorithms, authority)
    }

    /// Judges the key or certificate a machine showed.
    pub(super) fn judge(&self, host: &HostName, shown: &PublicKeyOrCertificate, now: SystemTime) -> Verdict {
        let lines = self.lines();
        let about: Vec<&Line> = lines.iter().filter(|line| line.names(host)).collect();
        let marked = |marker| about.iter().filter(move |line| line.entry.marker() == marker);
        let key = shown.public_key();
        let certificate = shown.certificate();

        let revoked = marked(Some(&Marker::Revoked)).find(|line| {
            line.holds(key.key_data()) || certificate.is_some_and(|shown| line.holds(shown.signature_key()))
        });
        if let Some(line) = revoked {
            return Verdict::Revoked { place: line.place.clone() };
        }
        // Without a matching authority the key inside the certificate is judged as a plain one, as OpenSSH does: the
        // machine proved that it holds it.
        if let Some(certificate) = certificate {
            let signer = certificate.signature_key();
            if let Some(line) = marked(Some(&Marker::CertAuthority)).find(|line| line.holds(signer)) {
                return match fault_of(certificate, &host.host, now) {
                    None => Verdict::Known,
                    Some(reason) => Verdict::BadCertificate { place: line.place.clone(), reason },
                };
            }
        }
        if marked(None).any(|line| line.holds(key.key_data())) {
            return Verdict::Known;
        }
        // OpenSSH takes a key of a kind not yet known as new. Whoever poses as a machine would then only have to
        // choose another kind, so here it is a changed key. Names without the port only ever help, so they are left out.
        let others = || marked(None).filter(|line| line.names_exactly(host));
        let other =
            others().find(|line| line.entry.public_key().algorithm() == key.algorithm()).or(others().next());
        match other {
            Some(line) => Verdict::Changed {
                place: line.place.clone(),
                known: describe(line.entry.public_key().key_data()),
            },
            // OpenSSH would take it as new: whoever poses as a machine would only have to leave out its certificate. A line for
            // many machines (`*`) does not say that each of them has one.
            None => match marked(Some(&Marker::CertAuthority)).find(|line| line.spells_out(host)) {
                Some(line) => Verdict::Uncertified { place: line.place.clone() },
                None => Verdict::New,
            },
        }
    }

    /// Whether the file stays as it is. What was learned while it did is written when it does not any more.
    pub(super) fn stays(&self, stays: bool) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.stays = stays;
        if stays {
            return Ok(());
        }
        let Written { file: Some(file), later, .. } = &mut *written else { return Ok(()) };
        later.drain(..).try_for_each(|change| match change {
            Later::Append(line) => append(file, &line).map(drop),
            Later::Forget(host) => write_without(file, &host).map(drop),
        })
    }

    /// Remembers a machine's key in the first file, unless it is there. Creates the file (mode 0600) and its folder
    /// (0700). Even where writing fails the key is remembered for the rest of the run.
    pub(super) fn add(&self, host: &HostName, key: &PublicKey) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = PublicKeyOrCertificate::from(key.clone());
        if self.judge(host, &shown, SystemTime::now()) != Verdict::New {
            return Ok(());
        }
        let key = PublicKey::new(key.key_data().clone(), "");
        let text = format!("{} {}", host.written(), key.to_openssh().map_err(io::Error::other)?);
        let entry: Entry = text.parse().map_err(io::Error::other)?;
        let appended = match &written.file {
            Some(file) if !written.stays => append(file, &text),
            _ => Ok(0),
        };
        let place = Place {
            file: written.file.as_deref().unwrap_or(Path::new("memory")).into(),
            line: *appended.as_ref().unwrap_or(&0),
        };
        if written.stays {
            written.later.push(Later::Append(text));
        }
        self.lines.write().unwrap_or_else(PoisonError::into_inner).push(Line { place, entry });
        appended.map(drop)
    }

    /// Forgets the plain keys known for a machine, in the first file and in memory, so that the key it shows next is
    /// new. Lines with patterns and those of other files stay.
    pub(super) fn forget(&self, host: &HostName) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Written { file: Some(file), stays, later } = &mut *written else { return Ok(()) };
        let kept = if *stays {
            later.push(Later::Forget(host.clone()));
            text_without(file, host)?
        } else {
            write_without(file, host)?
        };

        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| &*line.place.file != file.as_path());
        for (place, text) in number(file, &kept) {
            if let Ok(Some(entry)) = parse(&text) {
                lines.push(Line { place, entry });
            }
        }
        Ok(())
    }

    fn lines(&self) -> RwLockReadGuard<'_, Vec<Line>> {
        self.lines.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Whether the line is about this machine. As with OpenSSH, a line that names it without the port counts too.
    fn names(&self, host: &HostName) -> bool {
        self.names_exactly(host)
            || (host.port != DEFAULT_PORT && names(self.entry.host_patterns(), &host.host))
    }

    fn names_exactly(&self, host: &HostName) -> bool {
        names(self.entry.host_patterns(), &host.written())
    }

    /// Whether the line names this machine and not only a pattern that it matches.
    fn spells_out(&self, host: &HostName) -> bool {
        match self.entry.host_patterns() {
            HostPatterns::HashedName { .. } => true,
            HostPatterns::Patterns(patterns) => {
                let named = |name: &str| patterns.iter().any(|pattern| pattern.to_lowercase() == name);
                named(&host.host) || named(&host.written())
            }
        }
    }

    fn holds(&self, key: &KeyData) -> bool {
        self.entry.public_key().key_data() == key
    }
}

/// A key in words: `ED25519 SHA256:...`, as OpenSSH prints it.
pub(super) fn describe(key: &KeyData) -> String {
    let algorithm = match key.algorithm() {
        Algorithm::Ed25519 => "ED25519".to_owned(),
        Algorithm::Ecdsa { .. } => "ECDSA".to_owned(),
        Algorithm::Rsa { .. } => "RSA".to_owned(),
        other => other.to_string(),
    };
    format!("{algorithm} {}", key.fingerprint(HashAlg::Sha256))
}

fn number(file: &Path, text: &str) -> Vec<(Place, String)> {
    let file: Arc<Path> = file.into();
    let place = |index| Place { file: Arc::clone(&file), line: index + 1 };
    text.lines().enumerate().map(|(index, line)| (place(index), line.to_owned())).collect()
}

fn parse(line: &str) -> Result<Option<Entry>, russh::keys::ssh_key::Error> {
    // Fields may be apart by any blanks; the parser knows a single space.
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    match fields.first() {
        None => Ok(None),
        Some(first) if first.starts_with('#') => Ok(None),
        Some(_) => fields.join(" ").parse().map(Some),
    }
}

fn names(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => hash_of(salt, name).is_some_and(|found| found == *hash),
        HostPatterns::Patterns(patterns) => {
            let mut named = false;
            for pattern in patterns.iter().map(|pattern| pattern.to_lowercase()) {
                match pattern.strip_prefix('!') {
                    // A negated pattern that matches overrules all the others of its line.
                    Some(pattern) if matches(pattern, name) => return false,
                    Some(_) => {}
                    None => named |= matches(&pattern, name),
                }
            }
            named
        }
    }
}

fn hash_of(salt: &[u8], name: &str) -> Option<[u8; 20]> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

/// Whether a name matches a pattern with `*` and `?` (ssh_config(5), PATTERNS).
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and up to where it has taken the name: the only point to go back to.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|&left| left == b'*')
}

/// What is wrong with a certificate of a trusted authority, if anything (OpenSSH, PROTOCOL.certkeys).
fn fault_of(certificate: &Certificate, host: &str, now: SystemTime) -> Option<String> {
    if certificate.cert_type() != CertType::Host {
        return Some("it is a certificate for users, not for hosts".to_owned());
    }
    let principals = certificate.valid_principals();
    if !principals.is_empty() && !principals.iter().any(|principal| matches(&principal.to_lowercase(), host))
    {
        return Some(format!("it is for {}, not for {host}", principals.join(", ")));
    }
    if let Some((option, _)) = certificate.critical_options().iter().next() {
        return Some(format!("it demands {option}, which nothing defines for hosts"));
    }
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if seconds < certificate.valid_after() {
        return Some("it is not valid yet; is a clock wrong?".to_owned());
    }
    if seconds >= certificate.valid_before() {
        return Some("it has expired".to_owned());
    }
    let authority: Fingerprint = certificate.signature_key().fingerprint(HashAlg::Sha256);
    match certificate.validate_at(seconds, [&authority]) {
        Ok(()) => None,
        Err(_) => Some("its signature is wrong".to_owned()),
    }
}

/// Appends a line unless the file has it, in one write; returns its number. Other processes that do the same are kept
/// out with a lock.
fn append(path: &Path, text: &str) -> io::Result<usize> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    file.lock()?;
    let result = append_locked(&mut file, text);
    file.unlock()?;
    result
}

fn append_locked(file: &mut File, text: &str) -> io::Result<usize> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let present = String::from_utf8_lossy(&bytes);
    if let Some(index) = present.lines().position(|line| line.trim_end() == text) {
        return Ok(index + 1);
    }
    let ends_open = !present.is_empty() && !present.ends_with('\n');
    let line = format!("{}{text}\n", if ends_open { "\n" } else { "" });
    file.write_all(line.as_bytes())?;
    Ok(present.lines().count() + 1)
}

/// Takes a machine's name out of the file; returns what it says then.
fn write_without(file: &Path, host: &HostName) -> io::Result<String> {
    let kept = text_without(file, host)?;
    rewrite(file, &kept)?;
    Ok(kept)
}

/// What the file says, without a machine's name.
fn text_without(file: &Path, host: &HostName) -> io::Result<String> {
    let text = std::fs::read_to_string(file)?;
    Ok(text.lines().filter_map(|line| without(line, host)).map(|line| line + "\n").collect())
}

/// A line of the file without a machine's name: none left when it named nothing else.
fn without(line: &str, host: &HostName) -> Option<String> {
    let keep = Some(line.to_owned());
    let Ok(Some(entry)) = parse(line) else { return keep };
    if entry.marker().is_some() {
        return keep;
    }
    match entry.host_patterns() {
        hashed @ HostPatterns::HashedName { .. } => keep.filter(|_| !names(hashed, &host.written())),
        HostPatterns::Patterns(patterns) => {
            let others: Vec<&str> = patterns
                .iter()
                .map(String::as_str)
                .filter(|name| name.to_lowercase() != host.written())
                .collect();
            if others.len() == patterns.len() {
                return keep;
            }
            let rest = line.trim_start().split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
            (!others.is_empty()).then(|| format!("{} {rest}", others.join(",")))
        }
    }
}

#[cfg(test)]
mod tests;
