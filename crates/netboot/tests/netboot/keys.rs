//! Host keys and the authority that certifies them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use muster_netboot::{KeyStore, LIFETIME, Made};

use crate::fixture::{machine, read};
use crate::ignition::classroom;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn a_machine_keeps_its_key_and_gets_a_new_certificate_when_it_needs_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::new(dir.path().join("credentials"));
    assert!(store.authority().unwrap().is_none());
    let authority = store.make_authority("classroom").unwrap();
    let (now, both) = (SystemTime::now(), names(&["s4", "10.146.225.4"]));
    let certify = |names: &[String], at| store.certify(&authority, "s4", names, at, false).unwrap();
    let key = |names: &[String], at| store.host_key(&authority, "s4", names, at).unwrap();

    assert_eq!(key(&both, now).unwrap_err(), "there is no host key yet");
    assert_eq!(store.certify(&authority, "s4", &both, now, true).unwrap(), Made::Key);
    assert!(!store.host_path("s4").exists(), "looking makes nothing");
    assert_eq!(certify(&both, now), Made::Key);
    let first = format!("{:?}", key(&both, now).unwrap());
    assert_eq!(certify(&both, now), Made::Nothing);

    // It is reached by another address, then time goes by.
    let moved = names(&["s4", "10.146.225.5"]);
    assert_eq!(key(&moved, now).unwrap_err(), "the certificate is for s4, 10.146.225.4");
    assert_eq!(certify(&moved, now), Made::Certificate("the certificate is for s4, 10.146.225.4".to_owned()));
    let late = now + LIFETIME - 99 * DAY;
    assert!(key(&moved, late).is_ok());
    assert_eq!(certify(&moved, late), Made::Certificate("the certificate before ends soon".to_owned()));
    assert_eq!(certify(&moved, late), Made::Nothing);
    assert_eq!(key(&moved, late + LIFETIME).unwrap_err(), "the certificate has ended");
    assert_eq!(format!("{:?}", key(&moved, late).unwrap()), first, "the key is the same all the time");

    // Another authority.
    fs::remove_file(store.authority_path()).unwrap();
    let other = store.make_authority("classroom").unwrap();
    let told = store.host_key(&other, "s4", &moved, now).unwrap().unwrap_err();
    assert_eq!(told, "the certificate is by another authority");
}

#[test]
fn keys_are_for_nobody_elses_eyes() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::new(dir.path().join("credentials"));
    let authority = store.make_authority("classroom").unwrap();
    store.certify(&authority, "s4", &names(&["s4"]), SystemTime::now(), false).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store.authority_path()), 0o600);
    assert_eq!(mode(&store.host_path("s4")), 0o600);
    assert_eq!(mode(store.host_path("s4").parent().unwrap()), 0o700);
    let key = store.host_key(&authority, "s4", &names(&["s4"]), SystemTime::now()).unwrap().unwrap();
    assert!(!format!("{key:?}").contains("PRIVATE"));

    fs::set_permissions(store.authority_path(), fs::Permissions::from_mode(0o644)).unwrap();
    let told = store.authority().err().unwrap().to_string();
    assert!(told.contains("others may read this private key (mode 0644)"), "{told}");
}

#[test]
fn openssh_reads_what_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::new(dir.path());
    let authority = store.make_authority("classroom").unwrap();
    store.certify(&authority, "s4", &names(&["s4", "192.0.2.4"]), SystemTime::now(), false).unwrap();
    let certificate = format!("{}-cert.pub", store.host_path("s4").display());
    let output = Command::new("ssh-keygen").args(["-L", "-f", &certificate]).output().expect("ssh-keygen");
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["host certificate", "Key ID: \"s4\"", "192.0.2.4"] {
        assert!(text.contains(word), "{text}");
    }
    let output =
        Command::new("ssh-keygen").arg("-yf").arg(store.host_path("s4")).output().expect("ssh-keygen");
    let public = fs::read_to_string(format!("{}.pub", store.host_path("s4").display())).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), public);
}

#[test]
fn a_machine_boots_with_its_key_and_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::new(dir.path());
    let authority = store.make_authority("classroom").unwrap();
    store.certify(&authority, "s4", &names(&["s4"]), SystemTime::now(), false).unwrap();
    let mut s4 = machine("s4");
    s4.host_key =
        Some(store.host_key(&authority, "s4", &names(&["s4"]), SystemTime::now()).unwrap().unwrap());
    let json = read(&classroom()).for_machine(&s4).unwrap();
    for path in [
        "ssh_host_ed25519_key\"",
        "ssh_host_ed25519_key.pub\"",
        "ssh_host_ed25519_key-cert.pub\"",
        "10-muster-host-key.conf\"",
    ] {
        assert!(json.contains(path), "{path}: {json}");
    }
    assert_eq!(json, read(&classroom()).for_machine(&s4).unwrap(), "each time the same");
    let line = authority.known_hosts_line(&names(&["s4", "192.0.2.4"]), "classroom").unwrap();
    assert!(
        line.starts_with("@cert-authority s4,192.0.2.4 ssh-ed25519 AAAA") && line.ends_with(" classroom"),
        "{line}"
    );
}
