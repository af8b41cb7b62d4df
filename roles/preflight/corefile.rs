//! What variables put into the configuration of CoreDNS, before any machine is asked. CoreDNS has no way to look at it alone; what it
//! does not take is seen when its new pods do not become ready. Here is found what would end in another place than meant.

use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Value};

use super::findings::problem;
use super::settings::{Setting, place};

/// Texts that are lines of a Corefile, and lists of such.
const TEXTS: [&str; 6] = [
    "coredns_additional_configs",
    "coredns_additional_error_config",
    "coredns_rewrite_block",
    "coredns_default_zone_cache_block",
    "coredns_kubernetes_extra_domains",
    "nodelocaldns_additional_configs",
];
const ZONES: [&str; 2] = ["coredns_external_zones", "nodelocaldns_external_zones"];

/// What is wrong with them.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let blocks =
        TEXTS.into_iter().filter_map(|name| {
            let setting = Setting::of(vars, name).filter(|setting| !is_whole(&setting.text))?;
            Some(setting.wrong(
                "as many { as }, each behind a blank or at the end of a line",
                format!("correct {name}"),
            ))
        });
    let zones = ZONES.into_iter().filter_map(|name| {
        let value = vars.get(name).ok().flatten()?;
        let entry = value.as_list()?.iter().find(|entry| !is_zone(entry))?;
        Some(problem(
            name,
            format!("{}{}", entry.to_json(), place(vars, name)),
            "zones and nameservers, each a list of texts without blanks; cache, a number; and rewrite, a list of texts",
            "write it as {zones: [corp.example], nameservers: [192.0.2.53]}",
        ))
    });
    blocks.chain(zones).collect()
}

/// Whether the words `{` and `}` of a text end what they begin (CoreDNS' manual: Corefile). Others are parts of words.
fn is_whole(text: &str) -> bool {
    let mut depth = 0;
    for line in text.lines() {
        for word in line.split_whitespace().take_while(|word| !word.starts_with('#')) {
            match word {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth < 0 {
                return false;
            }
        }
    }
    depth == 0
}

fn is_zone(entry: &Value) -> bool {
    let Some(map) = entry.as_map() else { return false };
    let word = |value: &Value| {
        value.as_str().is_some_and(|text| !text.is_empty() && !text.contains(char::is_whitespace))
    };
    let words = |name: &str| {
        map.get(name).and_then(Value::as_list).is_some_and(|list| !list.is_empty() && list.iter().all(word))
    };
    let line = |value: &Value| value.as_str().is_some_and(|text| !text.contains('\n') && is_whole(text));
    let known = map.iter().all(|(name, value)| match name.as_str() {
        "zones" | "nameservers" => true,
        "cache" => super::settings::integer(value).is_some(),
        "rewrite" => value.as_list().is_some_and(|list| list.iter().all(line)),
        _ => false,
    });
    known && words("zones") && words("nameservers")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{told, variables};
    use super::*;

    #[test]
    fn blocks_end_and_zones_have_servers() {
        let rows = [
            ("coredns_additional_configs: \"hosts {\\n  fallthrough\\n}\"", ""),
            ("coredns_rewrite_block: \"rewrite stop {\\n  name regex (.*)\\\\.a {1}.b\\n}\"", ""),
            (
                "coredns_default_zone_cache_block: 'cache 30 {'",
                "coredns_default_zone_cache_block: cache 30 { (vars.yml:1:35)",
            ),
            (
                "coredns_additional_configs: \"}\\nexample.org {\"",
                "coredns_additional_configs: }\nexample.org { (vars.yml:1:29)",
            ),
            (
                "coredns_external_zones: [{zones: [a.example], nameservers: [192.0.2.1], cache: '9', rewrite: [name a b]}]",
                "",
            ),
            (
                "coredns_external_zones: [{zones: [a.example]}]",
                "coredns_external_zones: {\"zones\":[\"a.example\"]} (vars.yml:1:25)",
            ),
            (
                "nodelocaldns_external_zones: [{zones: 'a', nameservers: [192.0.2.1]}]",
                "nodelocaldns_external_zones: {\"zones\":\"a\",\"nameservers\":[\"192.0.2.1\"]} (vars.yml:1:30)",
            ),
        ];
        for (yaml, expected) in rows {
            assert_eq!(check(&variables(yaml)).iter().map(told).collect::<Vec<_>>().join("; "), expected);
        }
    }
}
