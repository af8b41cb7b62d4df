//! What variables say about proxies, before any machine is asked.

use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::settings::Setting;

/// What is wrong with them.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let wrong = |name| {
        let mut setting = Setting::of(vars, name).filter(|setting| !is_proxy(&setting.text))?;
        // There is a password in front of it, most of the time.
        if setting.text.contains('@') {
            setting.text = "a text with @, which is not shown".to_owned();
        }
        Some(setting.wrong(
            "a URL, as http://proxy.example.org:3128, without a path; what is special in a password is written as %40",
            format!("correct {name}, or remove it"),
        ))
    };
    let certificates = Setting::of(vars, "https_proxy_cert_file").filter(|setting| !is_file(&setting.text));
    let certificates = certificates.map(|setting| {
        setting.wrong(
            "a path on the machines that begins with /, without spaces",
            "correct https_proxy_cert_file, or remove it",
        )
    });
    ["http_proxy", "https_proxy"].into_iter().filter_map(wrong).chain(certificates).collect()
}

/// What Go's net/http, apt and curl take: a machine and a port, with http in front unless said otherwise.
fn is_proxy(text: &str) -> bool {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let place = rest.rsplit('@').next().unwrap_or(rest);
    let (name, port) = place.rsplit_once(':').unwrap_or((place, "80"));
    let special = |c: char| c.is_whitespace() || c.is_control() || "\"'\\/".contains(c);
    text.is_empty()
        || ["http", "https", "socks5"].contains(&scheme)
            && !rest.contains(special)
            && !name.is_empty()
            && (port.parse::<u16>().is_ok_and(|port| port > 0) || place.ends_with(']'))
}

/// What stands in an environment file as it is; nothing, as in kubespray's sample, is none.
fn is_file(text: &str) -> bool {
    text.is_empty()
        || text.starts_with('/') && !text.contains(|c: char| c.is_whitespace() || "\"'\\".contains(c))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{told, variables};
    use super::*;

    #[test]
    fn a_proxy_is_a_url_and_a_password_is_not_shown() {
        for good in [
            "http://192.0.2.1:3128",
            "http://u:p%40x@proxy.example.org/",
            "proxy:80",
            "socks5://[2001:db8::1]:1",
            "",
        ] {
            assert!(is_proxy(good), "{good}");
        }
        assert!(check(&variables("https_proxy_cert_file: ''")).is_empty());
        let rows = [
            ("https_proxy_cert_file: proxy.pem", "https_proxy_cert_file: proxy.pem (vars.yml:1:24)"),
            ("http_proxy: http://:3128", "http_proxy: http://:3128 (vars.yml:1:13)"),
            ("https_proxy: ftp://proxy:21", "https_proxy: ftp://proxy:21 (vars.yml:1:14)"),
            ("https_proxy: http://proxy:port", "https_proxy: http://proxy:port (vars.yml:1:14)"),
            (
                "http_proxy: 'http://u:p w@proxy'",
                "http_proxy: a text with @, which is not shown (vars.yml:1:13)",
            ),
        ];
        for (yaml, expected) in rows {
            let found: Vec<_> = check(&variables(yaml)).iter().map(told).collect();
            assert_eq!(found, [expected]);
        }
    }
}
