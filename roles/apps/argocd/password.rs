//! The password of Argo CD's user admin, of which the cluster holds what bcrypt makes of it.

use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use blowfish::Blowfish;
use futures::future::{BoxFuture, FutureExt};
use muster_engine::event::Change;
use muster_engine::prelude::*;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Vars;
use crate::kubectl::{Kubectl, kubectl};

/// How many bytes of a password bcrypt looks at.
pub(crate) const LONGEST: usize = 72;

/// How often its keys are made anew, as a power of two: the number that Argo CD takes itself.
const COST: u32 = 10;

/// How bytes are written in its hashes.
const LETTERS: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD);

/// The user has the password of the variables, if they say one.
pub(super) fn set(host: &Host) -> BoxFuture<'_, Result<()>> {
    async move {
        let Vars { argocd_namespace: namespace, argocd_admin_password: password, .. } = host.vars()?;
        let Some(password) = password.filter(|password| !password.is_empty()) else { return Ok(()) };
        let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
        let step = kubectl.step("Give Argo CD's admin a password");
        step.ensure(Password { namespace, password }).await.map(drop)
    }
    .boxed()
}

struct Password {
    namespace: String,
    password: String,
}

impl Password {
    /// Whether a hash that was found, as a Secret holds it, is one of this password.
    fn is_in(&self, found: &str) -> bool {
        let hash = STANDARD.decode(found.trim()).ok().and_then(|hash| String::from_utf8(hash).ok());
        hash.is_some_and(|hash| is_of(&hash, &self.password))
    }

    /// What of the Secret becomes another one. Argo CD ends what was begun with the former password.
    fn change(&self, now: OffsetDateTime) -> String {
        let hash = hashed(&self.password, COST, &rand::random());
        let now = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "argocd-secret", "namespace": self.namespace },
            "data": {
                "admin.password": STANDARD.encode(hash),
                "admin.passwordMtime": STANDARD.encode(now),
            },
        })
        .to_string()
    }
}

impl Resource for Password {
    fn label(&self) -> String {
        "the password of Argo CD's admin".into()
    }

    fn probe(&self) -> Probe {
        Probe::script(kubectl!(
            r#"kubectl get secret argocd-secret --namespace "$1" --ignore-not-found -o 'jsonpath={.data.admin\.password}'"#,
            [&self.namespace]
        ))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        if answer.status != 0 {
            return Err(format!("kubectl cannot look at it: {}", answer.output.trim_end()));
        }
        if self.is_in(&answer.output) {
            return Ok(Plan::nothing());
        }
        let script = kubectl!(
            r#"printf '%s' "$1" | kubectl apply --server-side --force-conflicts --field-manager=muster-password -f -"#,
            [self.change(OffsetDateTime::now_utc())]
        );
        let change = Change { resource: self.label(), what: "set".into(), diff: None, momentary: false };
        Ok(Plan { changes: vec![change], script: Some(script), uploads: Vec::new() })
    }

    fn desired(&self) -> String {
        self.label()
    }
}

/// Whether a hash (`$2a$COST$` and 53 letters, of any of bcrypt's versions that differ in nothing else) is one of this password.
fn is_of(hash: &str, password: &str) -> bool {
    let mut parts = hash.strip_prefix("$2").unwrap_or_default().splitn(3, '$');
    let [Some("a" | "b" | "y"), Some(cost), Some(text)] = [(); 3].map(|()| parts.next()) else {
        return false;
    };
    // Nobody waits hours for somebody else's hash.
    let Some(cost) = cost.parse().ok().filter(|cost| (4..=14).contains(cost)) else { return false };
    let salt = text.get(..22).and_then(|salt| LETTERS.decode(salt).ok());
    let Some(salt) = salt.and_then(|salt| salt.try_into().ok()) else { return false };
    hashed(password, cost, &salt).rsplit('$').next() == Some(text)
}

/// bcrypt's hash of a password ("A Future-Adaptable Password Scheme", Provos and Mazieres, 1999), as OpenBSD writes it.
fn hashed(password: &str, cost: u32, salt: &[u8; 16]) -> String {
    let mut key = password.as_bytes().to_vec();
    key.push(0);
    key.truncate(LONGEST);
    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(salt, &key);
    for _ in 0..1_u32 << cost {
        state.bc_expand_key(&key);
        state.bc_expand_key(salt);
    }
    let text = b"OrpheanBeholderScryDoubt";
    let mut bytes = Vec::with_capacity(text.len());
    for block in text.chunks_exact(8) {
        let mut words = [&block[..4], &block[4..]]
            .map(|word| word.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)));
        for _ in 0..64 {
            words = state.bc_encrypt(words);
        }
        bytes.extend(words.map(u32::to_be_bytes).concat());
    }
    // OpenBSD leaves the last byte out.
    bytes.pop();
    format!("$2a${cost:02}${}{}", LETTERS.encode(salt), LETTERS.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_bcrypt() {
        // Of the test vectors of crypt_blowfish (Openwall).
        let known = [
            ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
            ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
            ("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
        ];
        for (password, hash) in known {
            assert!(is_of(hash, password), "{password}");
            assert!(is_of(&hash.replacen("$2a$", "$2y$", 1), password), "{password}");
            assert!(!is_of(hash, "another"), "{password}");
        }
        for broken in [
            "",
            "$2a$05$",
            "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$2x$05$a",
            "$6$a$b",
        ] {
            assert!(!is_of(broken, "U*U"), "{broken}");
        }
    }

    #[test]
    fn a_password_is_set_where_another_one_or_none_is_there() {
        let own = Password { namespace: "argocd".into(), password: "s3cret".into() };
        let change = own.change(OffsetDateTime::UNIX_EPOCH);
        assert!(!change.contains("s3cret") && change != own.change(OffsetDateTime::UNIX_EPOCH));
        let change: serde_json::Value = serde_json::from_str(&change).unwrap();
        assert_eq!(change["metadata"], json!({ "name": "argocd-secret", "namespace": "argocd" }));
        let value = |name: &str| change["data"][name].as_str().unwrap().to_owned();
        assert_eq!(STANDARD.decode(value("admin.passwordMtime")).unwrap(), b"1970-01-01T00:00:00Z");
        assert!(own.is_in(&value("admin.password")));
        let other = Password { namespace: "argocd".into(), password: "other".into() };
        assert!(!other.is_in(&value("admin.password")) && !own.is_in(""));
    }
}
