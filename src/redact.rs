//! What must not leave this computer is taken out of a text that is handed on: private keys, tokens and passwords, by what they look
//! like and by the names in front of them.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// What stands in the place of what was taken out.
const OUT: &str = "[taken out]";

/// What is taken out, and what stays of it.
static SECRETS: LazyLock<Vec<(Regex, String)>> = LazyLock::new(|| {
    let rows = [
        // PEM (RFC 7468): private keys, to their end or to that of the text.
        (
            r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\z)",
            format!("$1{OUT}$2"),
        ),
        // JSON Web Tokens (RFC 7519), such as those of service accounts.
        (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", OUT.to_owned()),
        // Bootstrap tokens (Kubernetes, "Authenticating with Bootstrap Tokens").
        (r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b", OUT.to_owned()),
        // User and password in a URL (RFC 3986, 3.2.1).
        (r"://[^/\s@:]+:[^/\s@]+@", format!("://{OUT}@")),
        // What registries are logged in to with (containerd, "hosts configuration").
        (r#"(\bauth["']?\s*[:=]\s*)"[A-Za-z0-9+/=]{8,}""#, format!("${{1}}{OUT}")),
        // NAME: VALUE and NAME=VALUE, in YAML, JSON, TOML and on command lines; what an option says is a path is no secret.
        (
            r#"(?i)([\w.-]*(?:password|passwd|passphrase|token|secret|credential|key-data|api[_-]?key|authorization|encrypt[\w-]*key)["']?[ \t]*[:=][ \t]*)(?:bearer\s+|basic\s+)?("[^"\n]+"|'[^'\n]+'|[^\s/\[{"'][^\s,]*)"#,
            format!("${{1}}{OUT}"),
        ),
    ];
    #[expect(clippy::expect_used, reason = "the test reads all of them")]
    let compiled =
        |(pattern, kept): (&str, String)| (Regex::new(pattern).expect("a regular expression"), kept);
    rows.into_iter().map(compiled).collect()
});

/// The text without secrets.
pub(crate) fn without_secrets(text: &str) -> Cow<'_, str> {
    SECRETS.iter().fold(Cow::Borrowed(text), |text, (pattern, kept)| {
        match pattern.replace_all(&text, kept.as_str()) {
            Cow::Borrowed(_) => text,
            Cow::Owned(replaced) => Cow::Owned(replaced),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        let rows = [
            "a: -----BEGIN RSA PRIVATE KEY-----\nSECRET\nSECRET\n-----END RSA PRIVATE KEY-----\nb",
            "-----BEGIN PRIVATE KEY-----\nSECRET cut off",
            "ansible_password: SECRET",
            "ansible_become_pass=x ansible_ssh_password='SECRET x'",
            "\"registry_password\": \"SECRET SECRET\",",
            "  client-key-data: SECRET==",
            "--token=SECRET --v=2",
            "Authorization: Bearer SECRET",
            "auth: {password: SECRET}",
            "https://user:SECRET@registry.example.org/v2",
            "kube_encrypt_token: \"SECRET\"",
            "msg=\"joined\" token=SECRET",
        ];
        for row in rows {
            let told = without_secrets(row);
            assert!(!told.contains("SECRET") && told.contains(OUT), "{row} became {told}");
        }
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJl.c2lnbmF0dXJl";
        assert_eq!(without_secrets(&format!("x {jwt} y")), format!("x {OUT} y"));
        assert_eq!(without_secrets("auth = \"dXNlcjpTRUNSRVQ=\""), format!("auth = {OUT}"));
        assert_eq!(without_secrets("join with abcdef.0123456789abcdef now"), format!("join with {OUT} now"));
    }

    #[test]
    fn what_tells_something_stays() {
        for text in [
            "--service-account-key-file=/etc/kubernetes/ssl/sa.pub",
            "tokenFile: /var/run/secrets/token",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "secretName: web-tls",
            "--anonymous-auth=false",
            "authorization:\n  mode: Webhook",
            "node1   Ready   control-plane   1.36.3",
            "discovery-token-ca-cert-hash",
        ] {
            assert_eq!(without_secrets(text), text);
        }
    }
}
