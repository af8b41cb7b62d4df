//! The authorities of a cluster, each with the one that follows it; and how far a machine has come with them.

use muster_artifacts::Sha256;
use time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificates::Keys;
use crate::etcd::pki;

/// An authority and the one that follows it, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Succession {
    pub old: String,
    pub new: String,
    /// The key of the new one.
    pub key: String,
}

/// All authorities of a cluster with their successors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authorities {
    pub cluster: Succession,
    pub front_proxy: Succession,
    pub etcd: Succession,
}

/// What machines do, one phase after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The new authority is trusted beside the old one, which signs.
    Trust,
    /// The new authority signs, and has signed everything; the old one is still trusted.
    Sign,
    /// Only the new authority is trusted.
    Drop,
}

/// How far a machine has come: the phase that it began last, and whether that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reached {
    Nothing,
    Begun(Phase),
    Done(Phase),
}

impl Phase {
    const ALL: [Self; 3] = [Self::Trust, Self::Sign, Self::Drop];

    fn word(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Sign => "sign",
            Self::Drop => "drop",
        }
    }
}

impl Reached {
    /// Whether a machine must not be brought to this phase any more, because it has begun a later one.
    pub(super) fn is_beyond(self, phase: Phase) -> bool {
        match self {
            Self::Nothing => false,
            Self::Begun(other) | Self::Done(other) => other > phase,
        }
    }
}

impl Succession {
    /// A new authority that follows one: with keys of the same kind, unless another kind is asked for.
    pub(super) fn after(
        old: String,
        name: &str,
        lasts: Duration,
        asked: Option<Keys>,
    ) -> Result<Self, rcgen::Error> {
        let keys = asked.or_else(|| Keys::of_pem(&old)).unwrap_or_default();
        let (new, key) = pki::new_authority(name, lasts, keys)?.into_parts();
        Ok(Self { old, new, key })
    }

    /// The certificates that are trusted in a phase. Who signs comes first: kubeadm signs with the first one.
    pub(super) fn trusted(&self, phase: Phase) -> String {
        match phase {
            Phase::Trust => format!("{}{}", self.old, self.new),
            Phase::Sign => format!("{}{}", self.new, self.old),
            Phase::Drop => self.new.clone(),
        }
    }

    /// The certificate of the authority that signs in a phase.
    pub(super) fn signer(&self, phase: Phase) -> &str {
        if phase == Phase::Trust { &self.old } else { &self.new }
    }

    /// A line of the new certificate that the old one has not, and one of the old certificate.
    pub(super) fn lines(&self) -> [&str; 2] {
        let own =
            |text: &'_ str, other: &str| text.lines().position(|line| !other.contains(line)).unwrap_or(0);
        let of = |text, other| str::lines(text).nth(own(text, other)).unwrap_or_default();
        [of(&self.new, &self.old), of(&self.old, &self.new)]
    }

    /// Whether the new authority has signed a certificate (PEM).
    pub(super) fn has_signed(&self, certificate: &str) -> bool {
        let check = || -> Option<()> {
            let (_, authority) = x509_parser::pem::parse_x509_pem(self.new.as_bytes()).ok()?;
            let (_, authority) = X509Certificate::from_der(&authority.contents).ok()?;
            let (_, certificate) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).ok()?;
            let (_, certificate) = X509Certificate::from_der(&certificate.contents).ok()?;
            certificate.verify_signature(Some(authority.public_key())).ok()
        };
        check().is_some()
    }
}

impl Authorities {
    /// Tells this rotation from every other one.
    pub(super) fn id(&self) -> String {
        Sha256::of(self.cluster.new.as_bytes()).to_string()[..16].to_owned()
    }

    /// Everything as one file in PEM, which is there as a whole or not at all.
    pub(super) fn text(&self) -> String {
        let all = [&self.cluster, &self.front_proxy, &self.etcd];
        all.iter().flat_map(|one| [one.old.as_str(), &one.new, &one.key]).collect()
    }

    /// What [`Self::text`] has made.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let blocks: [String; 9] = blocks(text).try_into().ok()?;
        let [a, b, c, d, e, f, g, h, i] = blocks;
        let succession = |old, new, key| Succession { old, new, key };
        Some(Self {
            cluster: succession(a, b, c),
            front_proxy: succession(d, e, f),
            etcd: succession(g, h, i),
        })
    }

    /// What a machine notes of how far it is.
    pub(super) fn note(&self, reached: Reached) -> String {
        let (how, phase) = match reached {
            Reached::Nothing => return String::new(),
            Reached::Begun(phase) => ("begun", phase),
            Reached::Done(phase) => ("done", phase),
        };
        format!("{} {how} {}\n", self.id(), phase.word())
    }

    /// How far a machine is by its note. One of another rotation says nothing.
    pub(super) fn noted(&self, note: &str) -> Reached {
        let mut words = note.split_whitespace();
        let ours = words.next() == Some(self.id().as_str());
        let how = words.next();
        let word = words.next();
        match Phase::ALL.into_iter().find(|phase| ours && Some(phase.word()) == word) {
            Some(phase) if how == Some("done") => Reached::Done(phase),
            Some(phase) => Reached::Begun(phase),
            None => Reached::Nothing,
        }
    }
}

/// The blocks of a text in PEM, each with its line breaks. What stands between them is left out.
pub(super) fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block = String::new();
    for line in text.lines().map(str::trim_end) {
        if line.starts_with("-----BEGIN ") {
            block.clear();
        } else if block.is_empty() {
            continue;
        }
        block.push_str(line);
        block.push('\n');
        if line.starts_with("-----END ") {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn succession(name: &str) -> Succession {
        let (old, _) = pki::new_authority(name, Duration::days(10), Keys::Rsa2048).unwrap().into_parts();
        Succession::after(old, name, Duration::days(20), None).unwrap()
    }

    pub(crate) fn authorities() -> Authorities {
        Authorities {
            cluster: succession("kubernetes"),
            front_proxy: succession("front-proxy-ca"),
            etcd: succession("etcd-ca"),
        }
    }

    #[test]
    fn what_is_handed_on_is_read_back() {
        let all = authorities();
        assert_eq!(Authorities::parse(&all.text()), Some(all.clone()));
        assert_eq!(Authorities::parse(&all.text()[..2000]), None, "cut off");
        assert_eq!(Authorities::parse(""), None);
        assert_eq!(blocks(&format!("a comment\n{}", all.cluster.old)), [all.cluster.old]);
    }

    #[test]
    fn a_note_counts_for_its_own_rotation_alone() {
        let (one, other) = (authorities(), authorities());
        for reached in [Reached::Begun(Phase::Trust), Reached::Done(Phase::Trust), Reached::Done(Phase::Drop)]
        {
            assert_eq!(one.noted(&one.note(reached)), reached);
            assert_eq!(other.noted(&one.note(reached)), Reached::Nothing);
        }
        assert_eq!(one.noted(""), Reached::Nothing);
        assert!(Reached::Begun(Phase::Sign).is_beyond(Phase::Trust));
        assert!(!Reached::Done(Phase::Trust).is_beyond(Phase::Trust));
    }

    #[test]
    fn the_new_authority_has_keys_like_the_old_one_unless_others_are_asked_for() {
        let followed = |old: Keys, asked: Option<Keys>| {
            let (old, _) = pki::new_authority("kubernetes", Duration::days(10), old).unwrap().into_parts();
            let all = Succession::after(old, "kubernetes", Duration::days(20), asked).unwrap();
            assert!(all.has_signed(&all.new));
            Keys::of_pem(&all.new)
        };
        for keys in [Keys::Rsa2048, Keys::Rsa4096, Keys::EcdsaP256, Keys::EcdsaP384] {
            assert_eq!(followed(keys, None), Some(keys));
        }
        assert_eq!(followed(Keys::Rsa2048, Some(Keys::EcdsaP256)), Some(Keys::EcdsaP256));
        assert_eq!(followed(Keys::EcdsaP256, Some(Keys::Rsa2048)), Some(Keys::Rsa2048));
    }

    #[test]
    fn who_signs_is_trusted_first() {
        let all = authorities().cluster;
        assert_eq!(all.trusted(Phase::Trust), format!("{}{}", all.old, all.new));
        assert_eq!(all.trusted(Phase::Sign), format!("{}{}", all.new, all.old));
        assert_eq!(all.trusted(Phase::Drop), all.new);
        assert!(all.has_signed(&all.new) && !all.has_signed(&all.old) && !all.has_signed("no certificate"));
    }
}
