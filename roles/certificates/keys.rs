//! What keys certificates have. A new certificate gets keys of the kind that its authority has, and a new authority those of the one
//! that it follows.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// A kind of keys, of those that kubeadm makes (`encryptionAlgorithm` of its ClusterConfiguration).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Keys {
    /// kubeadm's default.
    #[default]
    Rsa2048,
    Rsa3072,
    Rsa4096,
    EcdsaP256,
    EcdsaP384,
}

impl Keys {
    const ALL: [Self; 5] = [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcdsaP256, Self::EcdsaP384];

    /// kubeadm's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
        }
    }

    /// The kind of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keys| keys.name() == name)
    }

    /// The kind of a certificate in DER; `None` where it is another one.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        match certificate.public_key().parsed().ok()? {
            PublicKey::RSA(key) => [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096]
                .into_iter()
                .find(|rsa| rsa.bits() == key.key_size()),
            PublicKey::EC(key) => {
                [Self::EcdsaP256, Self::EcdsaP384].into_iter().find(|curve| curve.bits() == key.key_size())
            }
            _ => None,
        }
    }

    /// The kind of the first certificate in a text in PEM.
    pub(crate) fn of_pem(pem: &str) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        Self::of(&pem.contents)
    }

    fn bits(self) -> usize {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
            Self::EcdsaP256 => 256,
            Self::EcdsaP384 => 384,
        }
    }

    /// A new key.
    pub(crate) fn generate(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
            Self::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;

    use super::*;

    #[test]
    fn a_certificate_tells_what_keys_it_has() {
        for keys in Keys::ALL {
            let key = keys.generate().unwrap();
            let certificate = CertificateParams::default().self_signed(&key).unwrap();
            assert_eq!(Keys::of_pem(&certificate.pem()), Some(keys), "{}", keys.name());
            assert_eq!(Keys::named(keys.name()), Some(keys));
        }
        let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert_eq!(Keys::of_pem(&CertificateParams::default().self_signed(&other).unwrap().pem()), None);
        assert_eq!((Keys::of_pem("no certificate"), Keys::named("RSA")), (None, None));
    }
}
