//! Encrypted texts of `ansible-vault`, formats 1.1 and 1.2, cipher AES256.
//!
//! The text is a header line `$ANSIBLE_VAULT;1.1;AES256` (1.2 adds `;<vault id>`) and hex digits,
//! which hold three lines of hex digits again: salt, HMAC, ciphertext. PBKDF2-HMAC-SHA256 with
//! 10 000 rounds makes 80 bytes of the password and the salt: the AES-256 key, the HMAC key and
//! the counter block. (`ansible/parsing/vault/__init__.py`, class `VaultAES256`.)

use std::fmt;
use std::sync::Arc;

use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const HEADER: &str = "$ANSIBLE_VAULT";
const ROUNDS: u32 = 10_000;
const BLOCK: usize = 16;

/// An encrypted text, checked for its form but not decrypted.
#[derive(Clone, PartialEq)]
pub struct VaultText {
    text: String,
    id: Option<String>,
    salt: Vec<u8>,
    mac: Vec<u8>,
    body: Vec<u8>,
}

/// Why a vault text cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VaultError {
    /// No password was given at all.
    #[error(
        "it is encrypted with ansible-vault, and no vault password was given (--ask-vault-pass, --vault-password-file)"
    )]
    NoPassword,
    /// None of the passwords fits.
    #[error("none of the vault passwords given decrypts it{}", id.as_ref().map(|id| format!(" (it was encrypted with the vault id \"{id}\")")).unwrap_or_default())]
    WrongPassword {
        /// The vault id that the text names.
        id: Option<String>,
    },
    /// The header names a format this program does not know.
    #[error("it has the vault format \"{0}\"; known are 1.1 and 1.2 with AES256")]
    UnknownFormat(String),
    /// The digits are cut off or changed.
    #[error("the encrypted text is damaged: {0}")]
    Damaged(&'static str),
    /// It was decrypted, but is not UTF-8.
    #[error("the decrypted text is not UTF-8")]
    NotText,
}

/// The passwords that may open encrypted texts. Shown by nothing, erased when dropped.
#[derive(Clone, Default)]
pub struct VaultSecrets {
    secrets: Vec<(String, Arc<Zeroizing<Vec<u8>>>)>,
}

impl VaultSecrets {
    /// No password.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a password under a vault id (`default` when the user named none). Like
    /// ansible-vault, the bytes are stripped of surrounding white space.
    pub fn add(&mut self, id: impl Into<String>, password: &[u8]) {
        let secret = Zeroizing::new(password.trim_ascii().to_vec());
        self.secrets.push((id.into(), Arc::new(secret)));
    }

    /// Whether there is no password at all.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

impl fmt::Debug for VaultSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultSecrets({} passwords)", self.secrets.len())
    }
}

impl fmt::Debug for VaultText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultText({} bytes)", self.body.len())
    }
}

/// Whether a text is a vault text as a whole, as files are.
pub fn is_vault(text: &str) -> bool {
    text.starts_with(HEADER)
}

impl VaultText {
    /// Reads the header and the digits.
    ///
    /// # Errors
    /// When the format is unknown or the digits are damaged.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let mut lines = text.trim().lines();
        let header = lines.next().unwrap_or_default().trim();
        let fields: Vec<&str> = header.split(';').map(str::trim).collect();
        let id = match fields.as_slice() {
            [HEADER, "1.1", "AES256"] => None,
            [HEADER, "1.2", "AES256", id] => Some((*id).to_owned()),
            _ => return Err(VaultError::UnknownFormat(header.trim_start_matches(HEADER).to_owned())),
        };
        let digits: String = lines.flat_map(|line| line.trim().chars()).collect();
        let inner =
            unhex(digits.as_bytes()).ok_or(VaultError::Damaged("a digit is missing or not hexadecimal"))?;
        let parts: Vec<&[u8]> = inner.splitn(3, |byte| *byte == b'\n').collect();
        let [salt, mac, body] = parts.as_slice() else {
            return Err(VaultError::Damaged("salt, checksum and content are not three lines"));
        };
        let part =
            |digits: &[u8]| unhex(digits).ok_or(VaultError::Damaged("an inner digit is not hexadecimal"));
        Ok(Self { text: text.to_owned(), id, salt: part(salt)?, mac: part(mac)?, body: part(body)? })
    }

    /// The text as it was written, header and digits.
    pub fn ciphertext(&self) -> &str {
        &self.text
    }

    /// Decrypts with the first password that fits: those of the named vault id first.
    ///
    /// # Errors
    /// When no password fits, or the content is damaged.
    pub fn decrypt(&self, secrets: &VaultSecrets) -> Result<String, VaultError> {
        if secrets.is_empty() {
            return Err(VaultError::NoPassword);
        }
        let named = |id: &String| self.id.as_ref() == Some(id);
        let first = secrets.secrets.iter().filter(|(id, _)| named(id));
        let others = secrets.secrets.iter().filter(|(id, _)| !named(id));
        for (_, password) in first.chain(others) {
            if let Some(plain) = self.open(password)? {
                return String::from_utf8(plain).map_err(|_| VaultError::NotText);
            }
        }
        Err(VaultError::WrongPassword { id: self.id.clone() })
    }

    /// `None` when the password is wrong. The HMAC is checked (in constant time) before anything
    /// is decrypted.
    fn open(&self, password: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        let mut derived = Zeroizing::new([0u8; 80]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &self.salt, ROUNDS, derived.as_mut());
        let (cipher_key, rest) = derived.split_at(32);
        let (mac_key, counter) = rest.split_at(32);
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(mac_key) else {
            return Err(VaultError::Damaged("the key has the wrong length"));
        };
        mac.update(&self.body);
        if mac.verify_slice(&self.mac).is_err() {
            return Ok(None);
        }
        let mut plain = self.body.clone();
        let Ok(mut cipher) = ctr::Ctr128BE::<Aes256>::new_from_slices(cipher_key, counter) else {
            return Err(VaultError::Damaged("the key has the wrong length"));
        };
        cipher.apply_keystream(&mut plain);
        // PKCS#7 padding: the last byte says how many bytes to drop.
        match plain.last().map(|byte| usize::from(*byte)) {
            Some(padding) if (1..=BLOCK).contains(&padding) && padding <= plain.len() => {
                plain.truncate(plain.len() - padding);
                Ok(Some(plain))
            }
            _ => Err(VaultError::Damaged("the padding is wrong")),
        }
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    rest.is_empty()
        .then(|| pairs.iter().map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?)).collect())?
}
