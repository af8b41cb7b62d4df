//! How API servers keep objects in etcd: `EncryptionConfiguration` (apiserver.config.k8s.io/v1), as far as it is used here, and
//! the rule by which several API servers come to another key while each can read what the others write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

/// One way of keeping an object: with a key, or as it is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Provider {
    /// As it is.
    Identity,
    /// Encrypted.
    Key {
        /// `secretbox`, `aescbc` or `aesgcm`.
        algorithm: String,
        /// Stands in front of each object in etcd. One name belongs to one key.
        name: String,
        /// In base64.
        secret: String,
    },
}

impl fmt::Display for Provider {
    /// Without the key itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Key { algorithm, name, .. } => write!(f, "{algorithm}:{name}"),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How objects of each kind are to be written in the end. Those that are not named are kept as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Targets(pub(super) BTreeMap<String, Provider>);

impl fmt::Display for Targets {
    /// Without the keys themselves.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        let one = |(resource, provider): (&String, &Provider)| format!("{resource} with {provider}");
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

impl Targets {
    fn of(&self, resource: &str) -> &Provider {
        self.0.get(resource).unwrap_or(&Provider::Identity)
    }
}

/// What one API server is told: of each kind of objects, how it is written (the first provider) and how it is read (all of them).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Config(BTreeMap<String, Vec<Provider>>);

#[derive(Deserialize)]
struct Written {
    resources: Vec<WrittenEntry>,
}

#[derive(Deserialize)]
struct WrittenEntry {
    resources: Vec<String>,
    providers: Vec<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct WrittenKeys {
    keys: Vec<WrittenKey>,
}

#[derive(Deserialize)]
struct WrittenKey {
    name: String,
    secret: String,
}

impl Config {
    /// What a file says.
    ///
    /// # Errors
    /// It is none of these files, or names a provider that is not known here.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // What an error says of a value may be a key.
        let written: Written = serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map(|place| format!(" (line {})", place.line()));
            format!("it has another form{}", line.unwrap_or_default())
        })?;
        let mut config = Self::default();
        for entry in written.resources {
            let mut providers = Vec::new();
            for (algorithm, told) in entry.providers.into_iter().flatten() {
                match algorithm.as_str() {
                    "identity" => providers.push(Provider::Identity),
                    "secretbox" | "aescbc" | "aesgcm" => {
                        let told: WrittenKeys = serde_json::from_value(told)
                            .map_err(|_| format!("its keys of {algorithm} have another form"))?;
                        providers.extend(told.keys.into_iter().map(|WrittenKey { name, secret }| {
                            Provider::Key { algorithm: algorithm.clone(), name, secret }
                        }));
                    }
                    other => return Err(format!("it has a provider {other}, which muster does not know")),
                }
            }
            for resource in entry.resources {
                config.0.insert(resource, providers.clone());
            }
        }
        Ok(config)
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        let provider = |provider: &Provider| match provider {
            Provider::Identity => json!({ "identity": {} }),
            Provider::Key { algorithm, name, secret } => {
                json!({ algorithm: { "keys": [{ "name": name, "secret": secret }] } })
            }
        };
        let entry = |(resource, providers): (&String, &Vec<Provider>)| json!({ "resources": [resource], "providers": providers.iter().map(provider).collect::<Vec<_>>() });
        let text = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": self.0.iter().map(entry).collect::<Vec<_>>(),
        });
        format!("{text:#}\n")
    }

    /// What it does, without the keys themselves.
    pub(super) fn gist(&self) -> String {
        format!("{:?}", self.0)
    }

    /// All keys that it has.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Provider> {
        self.0.values().flatten().filter(|provider| **provider != Provider::Identity)
    }

    fn of(&self, resource: &str) -> &[Provider] {
        self.0.get(resource).map_or(&[Provider::Identity], Vec::as_slice)
    }

    /// What an API server is told next, where the others are told this: it reads what they write and what is wanted, and it
    /// writes as is wanted as soon as all others can read that. No key is ever taken out: objects may still be encrypted with it.
    pub(super) fn next(&self, others: &[&Self], targets: &Targets) -> Self {
        let configs = || others.iter().copied().chain([self]);
        let resources: BTreeSet<&String> =
            configs().flat_map(|config| config.0.keys()).chain(targets.0.keys()).collect();
        let providers = |resource: &String| {
            let target = targets.of(resource);
            let mut providers = self.of(resource).to_vec();
            for provider in
                others.iter().flat_map(|other| other.of(resource)).chain([target, &Provider::Identity])
            {
                if !providers.contains(provider) {
                    providers.push(provider.clone());
                }
            }
            if others.iter().all(|other| other.of(resource).contains(target)) {
                providers.retain(|provider| provider != target);
                providers.insert(0, target.clone());
            }
            (resource.clone(), providers)
        };
        Self(resources.into_iter().map(providers).collect())
    }

    /// What is written with a key, and with which.
    pub(super) fn encrypts(&self) -> Targets {
        let first = |(resource, providers): (&String, &Vec<Provider>)| {
            let provider = providers.first().filter(|first| **first != Provider::Identity)?;
            Some((resource.clone(), provider.clone()))
        };
        Targets(self.0.iter().filter_map(first).collect())
    }

    /// Whether everything is written as is wanted.
    pub(super) fn is_settled(&self, targets: &Targets) -> bool {
        self.0
            .keys()
            .chain(targets.0.keys())
            .all(|resource| self.of(resource).first() == Some(targets.of(resource)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Provider {
        Provider::Key { algorithm: "secretbox".into(), name: name.into(), secret: format!("{name}=") }
    }

    fn targets(provider: Provider) -> Targets {
        Targets([("secrets".to_owned(), provider)].into())
    }

    /// Brings API servers, one at a time and each by what is there at the beginning of the round, to the end. After each step every
    /// one of them reads what any of them writes.
    fn rolled(mut all: Vec<Config>, targets: &Targets) -> (Vec<Config>, usize) {
        for round in 0.. {
            if all.iter().all(|config| config.is_settled(targets)) {
                return (all, round);
            }
            let before = all.clone();
            for place in 0..all.len() {
                let others = before.iter().enumerate().filter(|(other, _)| *other != place);
                let others: Vec<_> = others.map(|(_, config)| config).collect();
                all[place] = before[place].next(&others, targets);
                for (writer, reader) in
                    all.iter().flat_map(|writer| all.iter().map(move |reader| (writer, reader)))
                {
                    let written = &writer.of("secrets")[0];
                    assert!(
                        reader.of("secrets").contains(written),
                        "{reader:?} cannot read what {writer:?} writes"
                    );
                }
            }
            assert!(round < 3, "{all:?}");
        }
        unreachable!()
    }

    #[test]
    fn several_api_servers_come_to_a_key_to_another_one_and_back_and_always_read_each_other() {
        let (encrypted, rounds) = rolled(vec![Config::default(); 3], &targets(key("key1")));
        assert_eq!(rounds, 2);
        let (rotated, rounds) = rolled(encrypted, &targets(key("key2")));
        assert_eq!(
            (rounds, rotated[0].of("secrets")),
            (2, &[key("key2"), key("key1"), Provider::Identity][..])
        );
        // What is to be written as it is can be read by all at any time.
        let (off, rounds) = rolled(rotated, &Targets::default());
        assert_eq!((rounds, off[2].of("secrets")), (1, &[Provider::Identity, key("key2"), key("key1")][..]));
    }

    #[test]
    fn a_single_api_server_needs_one_step() {
        let (all, rounds) = rolled(vec![Config::default()], &targets(key("key1")));
        assert_eq!((rounds, all[0].of("secrets")), (1, &[key("key1"), Provider::Identity][..]));
    }

    #[test]
    fn one_that_joins_or_has_lost_its_file_reads_what_the_others_write() {
        let (others, _) = rolled(vec![Config::default()], &targets(key("key1")));
        let joined = Config::default().next(&[&others[0]], &targets(key("key1")));
        assert_eq!(joined, others[0]);
        // Also where it is a key that nobody wants any more.
        let joined = Config::default().next(&[&others[0]], &Targets::default());
        assert_eq!(joined.of("secrets"), [Provider::Identity, key("key1")]);
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_as_kubespray_writes_it() {
        let (all, _) = rolled(vec![Config::default()], &targets(key("key1")));
        assert_eq!(Config::parse(&all[0].text()).unwrap(), all[0]);
        let kubespray = "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n  - resources:\n      - secrets\n    \
                         providers:\n    - secretbox:\n        keys:\n        - name: key\n          secret: key=\n    - identity: {}\n";
        assert_eq!(Config::parse(kubespray).unwrap().of("secrets"), [key("key"), Provider::Identity]);
        let foreign = kubespray.replace("secretbox", "kms");
        assert!(Config::parse(&foreign).unwrap_err().contains("kms"));
        assert!(Config::parse("").is_err());
        for wrong in [
            "secret: s3cret\nresources: [\n",
            "{resources: s3cret}",
            r#"{"resources": [{"resources": ["secrets"], "providers": [{"aescbc": {"keys": "s3cret"}}]}]}"#,
        ] {
            let told = Config::parse(wrong).unwrap_err();
            assert!(!told.contains("s3cret") && told.contains("another form"), "{told}");
        }
    }

    #[test]
    fn what_is_shown_of_it_holds_no_key() {
        let (all, _) = rolled(vec![Config::default()], &targets(key("key1")));
        assert_eq!(all[0].gist(), "{\"secrets\": [secretbox:key1, identity]}");
    }
}
