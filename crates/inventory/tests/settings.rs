//! `ansible.cfg` and the environment.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use muster_inventory::{AnsibleSettings, config_paths};

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(text: &str, pairs: &[(&str, &str)]) -> AnsibleSettings {
    let path = Path::new("/srv/cluster/ansible.cfg");
    AnsibleSettings::read(Some((path, text)), &environment(pairs), Path::new("/home/me")).unwrap()
}

/// The file that kubespray ships.
const KUBESPRAY: &str = "[ssh_connection]
pipelining=True
ssh_args = -o ControlMaster=auto -o ControlPersist=30m -o ConnectionAttempts=100 -o UserKnownHostsFile=/dev/null
#control_path = ~/.ssh/ansible-%%r@%%h:%%p
retries = 2
[defaults]
force_valid_group_names = ignore
host_key_checking=False
gathering = smart
timeout = 300 ; seconds
stdout_callback = default
roles_path = roles:$VIRTUAL_ENV/usr/local/share/kubespray/roles
inventory_ignore_extensions = ~, .orig, .bak, .ini, .cfg, .retry, .pyc, .pyo, .creds, .gpg
private_key_file = keys/id
vault_password_file = ~/.vault
inventory = hosts.ini,
  more.ini
[inventory]
ignore_patterns = artifacts, credentials
[privilege_escalation]
become = yes
become_user = \"root\"
";

#[test]
fn the_file_of_kubespray_is_read() {
    let settings = read(KUBESPRAY, &[("HOME", "/home/me")]);
    assert_eq!(settings.timeout, Some(300));
    assert_eq!(settings.retries, Some(2));
    assert_eq!(settings.forks, None);
    assert_eq!(settings.host_key_checking, Some(false));
    assert_eq!(settings.r#become, Some(true));
    assert_eq!(settings.become_user.as_deref(), Some("root"));
    assert_eq!(settings.private_key_file, Some(PathBuf::from("/srv/cluster/keys/id")));
    assert_eq!(settings.vault_password_file, Some(PathBuf::from("/home/me/.vault")));
    assert_eq!(settings.inventory_ignore_patterns.unwrap(), ["artifacts", "credentials"]);
    assert_eq!(settings.inventory_ignore_extensions.unwrap().len(), 10);
    assert!(settings.ssh_args.unwrap().ends_with("UserKnownHostsFile=/dev/null"));
    assert_eq!(settings.warnings, []);
}

#[test]
fn the_environment_wins() {
    let settings = read(KUBESPRAY, &[("ANSIBLE_TIMEOUT", "7"), ("ANSIBLE_FORKS", "50"), ("NO_COLOR", "1")]);
    assert_eq!((settings.timeout, settings.forks, settings.no_color), (Some(7), Some(50), Some(true)));
}

#[test]
fn what_would_change_variables_is_told() {
    let settings = read("[defaults]\njinja2_native = yes\n", &[]);
    assert_eq!(settings.warnings.len(), 1);
    assert!(
        settings.warnings[0].to_string().starts_with("/srv/cluster/ansible.cfg:2:1: jinja2_native = yes")
    );
}

#[test]
fn hash_behaviour_is_followed() {
    assert!(read("\u{feff}[defaults]\nhash_behaviour = merge\n", &[]).merge_hashes);
    assert!(
        !read("[defaults]\nhash_behaviour = merge\n", &[("ANSIBLE_HASH_BEHAVIOUR", "replace")]).merge_hashes
    );
    assert!(!read("", &[]).merge_hashes);
}

#[test]
fn variables_of_the_environment_are_expanded_in_paths() {
    let text = "[defaults]\nprivate_key_file = $HOME/.ssh/${KEY}\nvault_password_file = ${NOWHERE}/$x.$\ninventory = $DIR/hosts\n";
    let settings = read(text, &[("HOME", "/home/me"), ("KEY", "id"), ("DIR", "/srv")]);
    assert_eq!(settings.private_key_file, Some(PathBuf::from("/home/me/.ssh/id")));
    assert_eq!(
        settings.vault_password_file,
        Some(PathBuf::from("/srv/cluster/${NOWHERE}/$x.$")),
        "as written"
    );
    assert_eq!(settings.inventory, ["/srv/hosts"]);
    let paths =
        config_paths(&environment(&[("ANSIBLE_CONFIG", "$DIR/a.cfg"), ("DIR", "/srv")]), Path::new("/"));
    assert_eq!(paths[0], Path::new("/srv/a.cfg"));
}

#[test]
fn wrong_values_are_told_with_their_place() {
    let path = Path::new("/srv/ansible.cfg");
    let wrong = |text: &str| {
        AnsibleSettings::read(Some((path, text)), &BTreeMap::new(), Path::new("/")).unwrap_err().to_string()
    };
    assert!(
        wrong("[defaults]\nforks = many\n")
            .contains("/srv/ansible.cfg:2:1: \"forks\" must be a whole number")
    );
    assert!(wrong("forks = 5\n").contains("before the first [section]"));
    assert!(wrong("[defaults]\nforks\n").contains("expected key = value"));
    let error = AnsibleSettings::read(None, &environment(&[("ANSIBLE_BECOME", "perhaps")]), Path::new("/"));
    assert!(error.unwrap_err().to_string().contains("\"ANSIBLE_BECOME\" must be true or false"));
}

#[test]
fn files_are_looked_for_in_order() {
    let found = config_paths(
        &environment(&[("HOME", "/home/me"), ("ANSIBLE_CONFIG", "x.cfg")]),
        Path::new("/project"),
    );
    let expected =
        ["/project/x.cfg", "/project/ansible.cfg", "/home/me/.ansible.cfg", "/etc/ansible/ansible.cfg"];
    assert_eq!(found, expected.map(PathBuf::from));
}
