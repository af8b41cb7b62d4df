//! What is made is what Ignition's specifications have, and nothing else.

use serde_json::Value;

use crate::fixture::{machine, read};
use crate::ignition::{DISKS, EVERYTHING, OLD, classroom};

/// The keys of Ignition's configurations 3.4.0, by the mapping that they are in (its docs/configuration-v3_4.md), and those that
/// 2.3.0 has besides. `*` stands for an item of a list.
const KEYS: &[(&str, &str)] = &[
    ("", "ignition passwd storage systemd kernelArguments networkd"),
    ("ignition", "version config timeouts security proxy"),
    ("ignition.config", "merge replace append"),
    ("ignition.config.append.*", "source verification"),
    ("ignition.timeouts", "httpResponseHeaders httpTotal"),
    ("ignition.security", "tls"),
    ("ignition.security.tls", "certificateAuthorities"),
    ("ignition.security.tls.certificateAuthorities.*", "source compression httpHeaders verification"),
    ("ignition.proxy", "httpProxy httpsProxy noProxy"),
    ("passwd", "users groups"),
    (
        "passwd.users.*",
        "name passwordHash sshAuthorizedKeys uid gecos homeDir noCreateHome primaryGroup groups noUserGroup noLogInit shell \
         shouldExist system",
    ),
    ("passwd.groups.*", "name gid passwordHash shouldExist system"),
    ("storage", "disks raid filesystems files directories links luks"),
    ("storage.disks.*", "device wipeTable partitions"),
    (
        "storage.disks.*.partitions.*",
        "label number sizeMiB startMiB typeGuid guid wipePartitionEntry shouldExist resize",
    ),
    ("storage.raid.*", "name level devices spares options"),
    ("storage.filesystems.*", "device format path wipeFilesystem label uuid options mountOptions name mount"),
    ("storage.filesystems.*.mount", "device format wipeFilesystem label uuid options"),
    ("storage.files.*", "path overwrite contents append mode user group filesystem"),
    ("storage.files.*.contents", "source compression httpHeaders verification"),
    ("storage.files.*.append.*", "source compression httpHeaders verification"),
    ("storage.directories.*", "path overwrite mode user group filesystem"),
    ("storage.links.*", "path overwrite target hard user group filesystem"),
    ("storage.luks.*", "name device keyFile label uuid options discard openOptions wipeVolume"),
    ("storage.luks.*.keyFile", "source compression httpHeaders verification"),
    ("systemd", "units"),
    ("systemd.units.*", "name enabled mask contents dropins enable"),
    ("systemd.units.*.dropins.*", "name contents"),
    ("networkd", "units"),
    ("networkd.units.*", "name contents dropins"),
];

/// Mappings that are the same wherever they are.
const ANYWHERE: &[(&str, &str)] =
    &[("user", "id name"), ("group", "id name"), ("verification", "hash"), ("httpHeaders.*", "name value")];

fn check(place: &str, value: &Value) {
    match value {
        Value::Null => panic!("{place} is null"),
        Value::Array(items) => {
            assert!(!items.is_empty(), "{place} is empty");
            items.iter().for_each(|item| check(&format!("{place}.*"), item));
        }
        Value::Object(entries) => {
            let known = KEYS
                .iter()
                .find(|(path, _)| *path == place)
                .or_else(|| ANYWHERE.iter().find(|(end, _)| place.ends_with(&format!(".{end}"))));
            let keys: Vec<&str> =
                known.unwrap_or_else(|| panic!("{place} is no mapping")).1.split_ascii_whitespace().collect();
            for (key, value) in entries {
                assert!(keys.contains(&key.as_str()), "{place} has no {key}");
                let below = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                check(&below, value);
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_is_one_of_ignitions() {
    for text in [&classroom(), EVERYTHING, DISKS, OLD] {
        let json = read(text).for_machine(&machine("s4")).unwrap();
        check("", &serde_json::from_str(&json).unwrap());
    }
}

#[test]
fn every_version_becomes_the_specification_that_is_its_own() {
    for (variant, version, spec) in [
        ("fcos", "1.1.0", "3.1.0"),
        ("fcos", "1.2.0", "3.2.0"),
        ("fcos", "1.3.0", "3.2.0"),
        ("fcos", "1.4.0", "3.3.0"),
        ("fcos", "1.5.0", "3.4.0"),
        ("fcos", "1.6.0", "3.5.0"),
        ("fcos", "1.7.0", "3.6.0"),
        ("flatcar", "1.0.0", "3.3.0"),
        ("flatcar", "1.1.0", "3.4.0"),
    ] {
        let config = read(&format!("variant: {variant}\nversion: {version}\n"));
        let json: Value = serde_json::from_str(&config.for_machine(&machine("s4")).unwrap()).unwrap();
        assert_eq!(json["ignition"]["version"], spec, "{variant} {version}");
    }
}
