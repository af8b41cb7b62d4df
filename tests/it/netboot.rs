//! `muster netboot`: what machines boot with that have no disk, and their host keys, before a real sshd.

use std::fs;
use std::path::Path;
use std::process::Command;

use muster_testkit::fault_record::held;
use muster_testkit::sshd::{self, Sshd, generate_key, public_key};

use crate::fixture::{Test, muster};
use crate::machines;

const INVENTORY: &str = "s4 ansible_host=192.0.2.4 mac_address=52:54:00:12:34:56\ns5 ansible_host=192.0.2.5\n\
                         [all:vars]\nansible_user=admin\nansible_ssh_private_key_file=key\nnetboot_url=http://192.0.2.1:8080\n";

/// A classroom of two machines, with a configuration in the old format that has nobody's key.
fn classroom() -> Test {
    let test = muster()
        .file("inventory/hosts.ini", INVENTORY)
        .file("coreos.yml", "passwd:\n  users:\n    - name: admin\n      groups: [sudo, docker]\n");
    generate_key(&test.folder().join("key"), "ed25519", "");
    test
}

const RENDER: [&str; 5] = ["netboot", "render", "coreos.yml", "-o", "www"];

#[test]
fn each_machine_gets_a_configuration_and_a_script() {
    let test = classroom();
    let check = [&RENDER[..], &["--check", "--diff"]].concat();
    test.run(&check).code(0).nothing_written().stderr_has(&[
        "  www/ignition/s4.ign: new\n",
        "    +kernel http://192.0.2.1:8080/images/flatcar_production_pxe.vmlinuz initrd=main flatcar.first_boot=1 \
         ignition.config.url=http://192.0.2.1:8080/ignition/s4.ign || goto failed",
        "Flatcar for 2 machines: 7 files in www would change",
        "to have them keep theirs: muster netboot keys",
    ]);
    let ended = test.run(&RENDER).code(0);
    let ended = ended
        .stderr_has(&["s5 without a mac_address", "machines begin with http://192.0.2.1:8080/boot.ipxe"]);
    assert!(!ended.stderr.contains("ssh-ed25519"), "{}", ended.stderr);
    let text = fs::read_to_string(test.folder().join("www/ignition/s5.ign")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    // The key that muster logs in with is the one that is let in.
    let key = public_key(&test.folder().join("key"));
    let user = &json["passwd"]["users"][0];
    assert_eq!((&user["name"], &user["groups"][1]), (&"admin".into(), &"docker".into()));
    assert!(user["sshAuthorizedKeys"][0].as_str().unwrap().starts_with(&key), "{text}");
    assert_eq!(json["storage"]["files"][0]["contents"]["source"], "data:,s5%0A");
    test.run(&RENDER).code(0).nothing_written().stderr_has(&["nothing was changed"]);
    // One machine leaves the classroom.
    let one = INVENTORY.replace("s5 ansible_host=192.0.2.5\n", "");
    let test = test.file("inventory/hosts.ini", &one);
    test.run(&[&RENDER[..], &["--limit", "s4"]].concat()).code(0).nothing_written();
    test.run(&RENDER).code(0).stderr_has(&["www/name/s5.ipxe: removed", "www/ignition/s5.ign: removed"]);
}

#[test]
fn what_ignition_would_refuse_is_found_before_anything_is_written() {
    let test = classroom();
    let wrong = "variant: flatcar\nversion: 1.1.0\nstorage:\n  files:\n    - {path: etc/motd, mode: 644}\n";
    let test = test.file("coreos.yml", wrong);
    test.run(&RENDER).code(4).nothing_written().stderr_has(&[
        "error: coreos.yml:5:14: \"path\" of a file: \"etc/motd\" is a relative path",
        "coreos.yml:5:30: \"mode\" of a file: 644 is a decimal number",
    ]);
    let test = test.file("inventory/hosts.ini", "s4 ansible_user=admin\n").file("coreos.yml", "passwd: {}\n");
    test.run(&RENDER).code(4).nothing_written().stderr_has(&["netboot_url of s4 is not set"]);
    test.run(&[&RENDER[..], &["-e", "netboot_url=http://192.0.2.1"]].concat())
        .code(4)
        .nothing_written()
        .stderr_has(&["nobody could log in to s4 as admin"]);
}

#[test]
fn host_keys_stay_with_the_project_and_go_into_the_configurations() {
    let test = classroom();
    test.run(&["netboot", "keys", "--check"])
        .code(0)
        .nothing_written()
        .stderr_has(&["2 host keys would be made"]);
    let ended = test.run(&["netboot", "keys"]).code(0);
    let ended = ended.stdout_has(&["@cert-authority s4,192.0.2.4,s5,192.0.2.5 ssh-ed25519 AAAA"]);
    assert!(!(ended.stdout + &ended.stderr).contains("PRIVATE"));
    test.run(&["netboot", "keys"]).code(0).nothing_written();
    test.run(&RENDER).code(0);
    let configuration = || fs::read_to_string(test.folder().join("www/ignition/s4.ign")).unwrap();
    assert!(configuration().contains("/etc/ssh/ssh_host_ed25519_key-cert.pub"));
    test.run(&RENDER).code(0).nothing_written();
    // It is reached by another address: its certificate is not for that one.
    let test = test.file("inventory/hosts.ini", &INVENTORY.replace("192.0.2.4", "192.0.2.44"));
    test.run(&RENDER).code(1).nothing_written().stderr_has(&[
        "s4 cannot boot with a host key of this project: its certificate is for s4, 192.0.2.4",
        "hint: muster netboot keys",
    ]);
    test.run(&["netboot", "keys"]).code(0).stderr_has(&["s4: a new certificate for s4, 192.0.2.44"]);
    test.run(&RENDER).code(0).stderr_has(&["www/ignition/s4.ign: changed"]);
}

/// Has the server show a machine's host key of the project.
fn boot(sshd: &mut Sshd, test: &Test, machine: &str) {
    let shown = sshd.host_key("ed25519");
    for ending in ["", ".pub", "-cert.pub"] {
        let name = |path: &Path| format!("{}{ending}", path.display());
        let made = test.folder().join("inventory/credentials/ssh_hosts").join(machine);
        fs::copy(name(&made), name(&shown)).unwrap();
    }
    sshd.restart_with(&[&format!("HostCertificate {}-cert.pub", shown.display())]);
}

#[test]
fn a_machine_that_booted_anew_is_trusted_by_its_certificate_alone() {
    let mut sshd = Sshd::start();
    let test = machines::project(&sshd, muster());
    // The key of before is known.
    test.run(&["ping"]).code(0);
    let known_hosts = test.folder().join("known_hosts");
    let before = fs::read_to_string(&known_hosts).unwrap();
    let inventory = fs::read_to_string(test.folder().join("inventory/hosts.ini")).unwrap();
    let test =
        test.file("inventory/hosts.ini", &format!("{inventory}\n[others]\nnode2 ansible_host=127.0.0.2\n"));
    test.run(&["netboot", "keys", "--trust"]).code(0).stderr_has(&["known_hosts trusts the machines"]);
    test.run(&["netboot", "keys", "--trust"]).code(0).nothing_written();
    let trusting = fs::read_to_string(&known_hosts).unwrap();
    assert!(
        trusting.starts_with(&before) && trusting.lines().count() == before.lines().count() + 1,
        "{trusting}"
    );

    boot(&mut sshd, &test, "node1");
    test.run(&["ping", "node1"]).code(0).nothing_written();

    // Another machine of the classroom, which poses as this one.
    boot(&mut sshd, &test, "node2");
    test.run(&["ping", "node1"])
        .code(4)
        .nothing_written()
        .stdout_has(&["it is for node2, 127.0.0.2, not for 127.0.0.1"]);

    // A certificate that has ended.
    boot(&mut sshd, &test, "node1");
    let public = sshd.host_key("ed25519").with_extension("pub");
    let authority = test.folder().join("inventory/credentials/ssh_ca");
    let sign = |authority: &Path, extra: &[&str]| {
        sshd::run(
            Command::new("ssh-keygen")
                .arg("-qs")
                .arg(authority)
                .args(["-I", "x", "-h", "-n", "127.0.0.1"])
                .args(extra)
                .arg(&public),
        );
    };
    sign(&authority, &["-V", "20200101:20200102"]);
    sshd.restart_with(&[&format!("HostCertificate {}-cert.pub", sshd.host_key("ed25519").display())]);
    test.run(&["ping", "node1"]).code(4).nothing_written().stdout_has(&["it has expired"]);

    // One by an authority that nobody knows, on the machine's true key: a key that differs from the known one.
    let forger = test.folder().join("forger");
    generate_key(&forger, "ed25519", "");
    sign(&forger, &[]);
    sshd.restart_with(&[&format!("HostCertificate {}-cert.pub", sshd.host_key("ed25519").display())]);
    test.run(&["ping", "node1"]).code(4).nothing_written().stdout_has(&["its host key has changed"]);

    // A new key without any certificate, where none is known.
    fs::write(&known_hosts, trusting.lines().last().unwrap()).unwrap();
    sshd.reinstall();
    sshd.restart_with(&[]);
    test.run(&["ping", "node1"])
        .code(4)
        .nothing_written()
        .stdout_has(&["is not certified by the authority of"]);

    // A key that was lost, and is revoked.
    boot(&mut sshd, &test, "node1");
    let revoked = format!("{trusting}@revoked * {}\n", public_key(&sshd.host_key("ed25519")));
    fs::write(&known_hosts, revoked).unwrap();
    test.run(&["ping", "node1"]).code(4).nothing_written().stdout_has(&["its host key is revoked by"]);
    held(
        "a machine poses as another one",
        "sshd shows another machine's host certificate, an expired one, a forged one, none, a revoked key",
        5,
        "it is refused, and the reason is told",
    );
}
