//! What DNS caches of kubespray's on the nodes are told, beside what muster's would be.

use serde_json::Value;

use super::compared;

/// Lines that the caches would not have any more. `living`: the data of their ConfigMap, in which a second cache on each node has a
/// Corefile, too, and names of machines may stand; `wanted`: the texts of muster's.
pub(super) fn lost(living: &Value, wanted: &str, domain: &str) -> Vec<String> {
    let will: Vec<Vec<&str>> = wanted.lines().map(|line| line.split_whitespace().collect()).collect();
    // Each cache has a port of its own for those who ask how it is: muster's has one for all.
    let port = |words: &[&str]| words.last().and_then(|word| word.rsplit(':').next().map(str::to_owned));
    let is_kept = |is_first: bool, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            // kubespray logs what zones of others are asked for.
            ["log"] => true,
            ["health", ..] => !is_first,
            ["prometheus", ..] => {
                let same =
                    |will: &Vec<&str>| will.first() == Some(&"prometheus") && port(will) == port(&words);
                !is_first || will.iter().any(same)
            }
            // With what muster's is told besides, and without that where kubespray's variable is not set.
            ["forward", ..] => will.iter().any(|will| will.split_last() == Some((&"{", words.as_slice()))),
            // One server may have the zones of several.
            [zones @ .., "{"] => {
                let has_all = |will: &Vec<&str>| zones.iter().all(|zone| will.contains(zone));
                will.iter().filter(|will| will.last() == Some(&"{")).any(has_all)
            }
            _ => false,
        }
    };
    let texts = living.as_object().into_iter().flatten();
    let lost = texts.flat_map(|(name, text)| {
        let lines = compared::corefile(text.as_str().unwrap_or_default(), wanted, domain);
        let is_first = name != "Corefile-second";
        lines.into_iter().filter(|line| !is_kept(is_first, line)).collect::<Vec<_>>()
    });
    let mut lost: Vec<String> = lost.collect();
    lost.dedup();
    lost
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MUSTERS: &str = "cluster.local:53 in-addr.arpa:53 {\n  errors\n  cache {\n    success 9984 30\n  }\n  bind 169.254.25.10\n  \
                           forward . 10.233.0.3 {\n    force_tcp\n  }\n  prometheus 169.254.25.10:9253\n  health 169.254.25.10:9254\n}\n\
                           corp.example {\n  cache 30\n  forward . 192.0.2.53\n}\n192.0.2.1 git\n";

    /// kubespray gives CoreDNS `prefer_udp` without its variable, and the caches do without.
    #[test]
    fn where_names_are_passed_on_to_may_be_told_more_of() {
        let of_theirs = json!({ "Corefile": ".:53 {\n    errors\n    forward . /etc/resolv.conf\n}\n" });
        let musters = |servers: &str| {
            format!(".:53 {{\n  errors\n  forward . {servers} {{\n    prefer_udp\n  }}\n}}\n")
        };
        assert_eq!(lost(&of_theirs, &musters("/etc/resolv.conf"), "cluster.local"), Vec::<String>::new());
        assert_eq!(lost(&of_theirs, &musters("192.0.2.1"), "cluster.local"), ["forward . /etc/resolv.conf"]);
    }

    #[test]
    fn lines_of_the_caches_that_would_be_lost_are_told() {
        let zone = |name: &str, health: &str, more: &str| {
            format!(
                "{name}:53 {{\n    errors\n    cache {{\n        success 9984 30\n    }}\n    bind 169.254.25.10\n    forward . \
                 10.233.0.3 {{\n        force_tcp\n    }}\n    prometheus :{health}3\n    health 169.254.25.10:{health}4\n{more}}}\n"
            )
        };
        let usual = [zone("cluster.local", "925", ""), zone("in-addr.arpa", "925", "")].concat();
        let own = "corp.example {\n    log\n    cache 30\n    forward . 192.0.2.53\n}\n";
        let second = zone("cluster.local", "926", "");
        let told = |first: String, second: &str, hosts: &str| {
            lost(
                &json!({ "Corefile": first, "Corefile-second": second, "hosts": hosts }),
                MUSTERS,
                "cluster.local",
            )
        };
        assert_eq!(told([usual.as_str(), own].concat(), &second, "192.0.2.1  git\n"), [""; 0]);
        assert_eq!(told(zone("lab.example", "925", ""), "", ""), ["lab.example:53 {"]);
        assert_eq!(
            told(zone("cluster.local", "910", "    rewrite name a b\n"), "", "192.0.2.2 mirror"),
            ["prometheus :9103", "health 169.254.25.10:9104", "rewrite name a b", "192.0.2.2 mirror"]
        );
        assert_eq!(told(String::new(), "whoami\n", ""), ["whoami"]);
    }
}
