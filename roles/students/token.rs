//! Tokens of service accounts: JSON Web Tokens (RFC 7519) that the API server has signed.

use std::time::{Duration, SystemTime};

use serde_json::Value;

/// What a token says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims {
    /// When it ends.
    pub(super) until: SystemTime,
    /// The identity of its service account.
    pub(super) account: String,
}

impl Claims {
    /// What a token says; `None` for what is no token of a service account.
    pub(super) fn of(token: &str) -> Option<Self> {
        let claims: Value = serde_json::from_slice(&base64url(token.split('.').nth(1)?)?).ok()?;
        Some(Self {
            until: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims["exp"].as_u64()?))?,
            account: claims["kubernetes.io"]["serviceaccount"]["uid"].as_str()?.to_owned(),
        })
    }
}

/// What was answered for a service account, among what `tokens.sh` has printed: its token, or why there is none.
pub(super) fn answered(printed: &str, name: &str) -> Result<String, String> {
    let of_it = |line: &'_ str| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    let answer = printed.lines().find_map(of_it).ok_or("the server was not asked for a token")?;
    // What is no answer holds no token, and may be shown.
    if let Some(why) = answer.strip_prefix("failed: ") {
        return Err(format!("no token: {}", why.trim_end()));
    }
    let answer: Option<Value> =
        serde_json::Deserializer::from_str(&answer).into_iter().next().and_then(Result::ok);
    let token = answer.as_ref().and_then(|answer| answer["status"]["token"].as_str());
    token.map(str::to_owned).ok_or_else(|| "no token: the answer of the server is none".to_owned())
}

/// Decodes base64url without padding (RFC 4648, section 5).
fn base64url(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A token that ends then, as far as anybody but the API server can see.
    pub(in crate::students) fn token(account: &str, until: u64) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let claims =
            format!(r#"{{"exp":{until},"kubernetes.io":{{"serviceaccount":{{"uid":"{account}"}}}}}}"#);
        let mut text = String::from("e30.");
        for three in claims.as_bytes().chunks(3) {
            let bits = three.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte));
            let bits = bits << (8 * (3 - three.len()));
            (0..=three.len())
                .for_each(|n| text.push(char::from(LETTERS[(bits >> (18 - 6 * n)) as usize & 63])));
        }
        text + ".c2ln"
    }

    #[test]
    fn a_token_says_whose_it_is_and_when_it_ends() {
        for account in ["a", "ab", "abc", "żółć-?>~"] {
            let claims = Claims::of(&token(account, 1_800_000_000)).unwrap();
            let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
            assert_eq!(claims, Claims { until, account: account.into() });
        }
        for wrong in ["", "a.b", "a.!.c", "e30.e30.e30"] {
            assert_eq!(Claims::of(wrong), None);
        }
    }

    #[test]
    fn an_answer_is_a_token_or_says_why_there_is_none() {
        let printed = "anna-2 {\"status\":{\"token\":\"t2\"}} \nanna {\"status\":{\"token\":\"t1\"}}\n\
                       ewa failed: Error from server (NotFound): serviceaccounts \"ewa\" not found \njan what\n";
        assert_eq!(answered(printed, "anna").as_deref(), Ok("t1"));
        assert_eq!(answered(printed, "anna-2").as_deref(), Ok("t2"));
        let why = "no token: Error from server (NotFound): serviceaccounts \"ewa\" not found";
        assert_eq!(answered(printed, "ewa"), Err(why.into()));
        assert!(answered(printed, "jan").is_err() && answered(printed, "an").is_err());
    }
}
