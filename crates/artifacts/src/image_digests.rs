//! The digests by which somebody knows images. A registry says which image a tag stands for today; what it says of the digests of
//! a mirror is as good as the mirror. With digests from elsewhere it need not be trusted.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Bundle, ImageReference, Sha256};

/// Images by their names, as `registry.k8s.io/pause:3.10.2`, each with the digests that it may have: those of the manifests for
/// single architectures, which a bundle has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDigests(BTreeMap<String, Vec<Sha256>>);

/// One digest, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// The form of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    image_digests: serde_json::Value,
}

impl ImageDigests {
    /// Reads the value of the variable `image_digests`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence without its beginning.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, String> {
        let images: BTreeMap<String, OneOrMore> = serde_json::from_value(value.clone())
            .map_err(|_| "is no list of images with their digests, as {\"registry.k8s.io/pause:3.10.2\": \"sha256:...\"}".to_owned())?;
        let read = |(image, digests): (String, OneOrMore)| {
            let image: ImageReference =
                image.parse().map_err(|why| format!("names {image:?}, which is no image ({why})"))?;
            let digests = match digests {
                OneOrMore::One(digest) => vec![digest],
                OneOrMore::More(digests) => digests,
            };
            let digest = |text: &String| {
                Sha256::from_oci(text).ok_or_else(|| {
                    format!("has {text:?} for {image}, and not sha256: with 64 hexadecimal digits")
                })
            };
            Ok((image.to_string(), digests.iter().map(digest).collect::<Result<Vec<_>, String>>()?))
        };
        images.into_iter().map(read).collect::<Result<_, String>>().map(Self)
    }

    /// Reads a YAML file of the same form as group_vars: `image_digests:`, and below it the images.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        let document: Document = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        Self::from_value(&document.image_digests).map_err(|why| format!("image_digests {why}"))
    }

    /// The digests of a bundle's images.
    pub fn of(bundle: &Bundle) -> Self {
        let mut digests = Self::default();
        for entry in bundle.images() {
            digests.0.entry(entry.reference.to_string()).or_default().push(entry.manifest_digest);
        }
        digests
    }

    /// The same as a YAML file.
    pub fn to_yaml(&self) -> String {
        let mut text = "image_digests:\n".to_owned();
        for (image, digests) in &self.0 {
            let digests: Vec<String> = digests.iter().map(|digest| digest.oci()).collect();
            match digests.as_slice() {
                [digest] => text.push_str(&format!("  \"{image}\": {digest}\n")),
                digests => text.push_str(&format!("  \"{image}\": [{}]\n", digests.join(", "))),
            }
        }
        text
    }

    /// Whether nobody has said any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sees whether an image may be taken whose manifest has this digest. Where digests are said at all, each image needs one.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, reference: &ImageReference, found: Sha256) -> Result<(), String> {
        if self.is_empty() {
            return Ok(());
        }
        let Some(expected) = self.0.get(&reference.to_string()) else {
            return Err("image_digests does not name it".to_owned());
        };
        if expected.contains(&found) {
            return Ok(());
        }
        let expected: Vec<String> = expected.iter().map(|digest| digest.oci()).collect();
        Err(format!(
            "it is another image of that name, {}; image_digests says {}",
            found.oci(),
            expected.join(" or ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_wrong_is_named() {
        let (one, two) = (Sha256::of(b"1"), Sha256::of(b"2"));
        let text = format!(
            "image_digests:\n  \"docker.io/library/a:1\": {}\n  \"r.example.org/b:2\": [{}, {}]\n",
            one.oci(),
            one.oci(),
            two.oci()
        );
        let digests = ImageDigests::from_yaml(&text).unwrap();
        assert_eq!(digests.to_yaml(), text);
        let a: ImageReference = "docker.io/library/a:1".parse().unwrap();
        assert_eq!(digests.check(&a, one), Ok(()));
        assert!(digests.check(&a, two).unwrap_err().contains("another image of that name"));
        let c: ImageReference = "r.example.org/c:1".parse().unwrap();
        assert!(digests.check(&c, one).unwrap_err().contains("does not name it"));
        assert_eq!(ImageDigests::default().check(&c, one), Ok(()));
        for (wrong, told) in [
            ("image_digest: {}", "image_digest"),
            ("image_digests: 3", "no list of images"),
            ("image_digests: {\"r.example.org/b:2\": 1234}", "no list of images"),
            ("image_digests: {\"r.example.org/b:2\": 1a2b}", "\"1a2b\" for r.example.org/b:2"),
        ] {
            let error = ImageDigests::from_yaml(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
