//! Image references, written out in full.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A full image reference: registry, repository and tag, e.g. `registry.k8s.io/pause:3.10.2`.
///
/// Short names (`nginx`) are refused: which registry they mean depends on the program that reads them, and containerd's
/// own tools take none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    /// Host and perhaps port of the registry.
    pub registry: String,
    /// The path below the registry, without a tag.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

impl FromStr for ImageReference {
    type Err = String;

    fn from_str(text: &str) -> Result<ImageReference, String> {
        let bad = |why: &str| {
            format!(
                "{text:?} is not a full image reference ({why}); write it like registry.k8s.io/pause:3.10.2"
            )
        };
        let (registry, rest) = text.split_once('/').ok_or_else(|| bad("it has no registry"))?;
        if !(registry.contains(['.', ':']) || registry == "localhost") {
            return Err(bad("its first part is not the host of a registry"));
        }
        let (repository, tag) = rest.split_once(':').ok_or_else(|| bad("it has no tag"))?;
        // Tag: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
        let tag_fits =
            !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let part_fits = |part: &str| {
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
            part.bytes().all(fits) && part.starts_with(|c: char| c.is_ascii_alphanumeric())
        };
        if !tag_fits {
            return Err(bad("its tag has characters that no tag may have"));
        }
        if !repository.split('/').all(part_fits) {
            return Err(bad("its repository has characters that no repository may have"));
        }
        Ok(ImageReference { registry: registry.into(), repository: repository.into(), tag: tag.into() })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

impl Serialize for ImageReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ImageReference, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_references_are_read_and_written_alike() {
        for text in
            ["registry.k8s.io/pause:3.10.2", "docker.io/flannel/flannel:v0.28.4", "localhost:5000/a/b/c:1"]
        {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn short_and_malformed_references_are_refused_with_the_reason() {
        for (text, why) in [
            ("pause:3.10", "no registry"),
            ("library/nginx:1", "not the host"),
            ("registry.k8s.io/pause", "no tag"),
            ("registry.k8s.io/pause:", "its tag"),
            ("registry.k8s.io/../pause:1", "its repository"),
            ("registry.k8s.io/pause:1@sha256:00", "its tag"),
        ] {
            let error = text.parse::<ImageReference>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
