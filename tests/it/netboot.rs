//! `muster netboot`: what machines boot with that have no disk, and their host keys, before a real sshd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
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
    test.run(&RENDER)
        .code(4)
        .nothing_written()
        .stderr_has(&["netboot_url of any machine is not set", "below [all:vars]: netboot_url="]);
    test.run(&[&RENDER[..], &["-e", "netboot_url=http://192.0.2.1"]].concat())
        .code(4)
        .nothing_written()
        .stderr_has(&["s4: nobody could log in as admin"]);
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
        "s4 cannot boot with a host key of this project: the certificate is for s4, 192.0.2.4",
        "hint: muster netboot keys",
    ]);
    test.run(&["netboot", "keys"]).code(0).stderr_has(&["s4: a new certificate for s4, 192.0.2.44"]);
    test.run(&RENDER).code(0).stderr_has(&["www/ignition/s4.ign: changed"]);
}

#[test]
fn what_the_web_server_needs_besides_is_told() {
    let test = classroom();
    let image = "www/images/flatcar_production_pxe.vmlinuz";
    let release = "https://stable.release.flatcar-linux.net/amd64-usr/current/flatcar_production_pxe.vmlinuz";
    test.run(&RENDER).code(0).stderr_has(&[
        &format!("{image} is not there, and machines boot it; get it: curl -fL --create-dirs -o {image} {release}\n"),
        "you alone can read www/ignition, ",
        "www-data: setfacl -m u:www-data:rx www/ignition\n",
    ]);
    let mode = |path: &str| fs::metadata(test.folder().join(path)).unwrap().permissions().mode() & 0o777;
    let set_mode = |path: &str, mode| {
        fs::set_permissions(test.folder().join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    let modes = ["www", "www/mac", "www/boot.ipxe", "www/ignition", "www/ignition/s4.ign"].map(mode);
    assert_eq!(modes, [0o755, 0o755, 0o644, 0o700, 0o644]);
    // As an earlier muster made it.
    set_mode("www/ignition", 0o755);
    set_mode("www/ignition/s4.ign", 0o600);
    test.run(&RENDER)
        .code(0)
        .stderr_has(&["www-data: chmod 700 www/ignition && chmod 644 www/ignition/*.ign && setfacl"]);
    set_mode("www/ignition/s4.ign", 0o644);
    let test = test.file(image, "").file("www/images/flatcar_production_pxe_image.cpio.gz", "");
    let ended = test.run(&RENDER).code(0);
    assert!(!ended.stderr.contains("is not there") && !ended.stderr.contains("alone"), "{}", ended.stderr);
    // What is elsewhere is not looked for here.
    let elsewhere = ["-e", "netboot_kernel=https://example.org/k", "-e", "netboot_initrd=images/other"];
    let ended = test.run(&[&RENDER[..], &elsewhere].concat()).code(0);
    ended.stderr_has(&["www/images/other is not there"]);
    // The keys of the project are not served.
    for output in ["inventory", "."] {
        test.run(&["netboot", "render", "coreos.yml", "-o", output]).code(5).nothing_written().stderr_has(&[
            "holds the private keys of this project (inventory/credentials)",
            "hint: name a folder",
        ]);
    }
}

#[test]
fn what_is_wrong_for_several_machines_is_told_once_and_a_misspelt_variable_is_told() {
    let inventory = "s4 mac_adress=52:54:00:12:34:56\ns5\ns6\n[all:vars]\nansible_user=admin\n";
    let test = muster().file("inventory/hosts.ini", inventory).file("coreos.yml", "passwd: {}\n");
    let once = |ended: &str, text: &str| assert_eq!(ended.matches(text).count(), 1, "{ended}");
    let ended = test.run(&RENDER).code(4).nothing_written();
    once(&ended.stderr, "netboot_url of any machine is not set");
    once(&ended.stderr, "\"mac_adress\" is set but used by no role; did you mean \"mac_address\"?");
    let url = ["-e", "netboot_url=http://192.0.2.1"];
    let ended = test.run(&[&RENDER[..], &url].concat()).code(4).nothing_written();
    once(&ended.stderr, "s4-6: nobody could log in as admin");
    let ended = test.run(&[&RENDER[..], &url, &["-e", "netboot_kernel_arguments=a|b"]].concat()).code(4);
    once(&ended.stderr, "s4-6: netboot_kernel_arguments: ");
    // Machines that have no keys yet.
    let test = classroom();
    test.run(&["netboot", "keys"]).code(0);
    let new = format!("s6 ansible_host=192.0.2.6\ns7 ansible_host=192.0.2.7\n{INVENTORY}");
    let ended = test.file("inventory/hosts.ini", &new).run(&RENDER).code(1).nothing_written();
    ended.stderr_has(&["s6-7 cannot boot with a host key of this project: there is no host key yet"]);
}

#[test]
fn keys_without_their_authority_and_keys_that_cannot_be_read_are_told() {
    let test = classroom();
    test.run(&["netboot", "keys"]).code(0);
    let authority = test.folder().join("inventory/credentials/ssh_ca");
    let kept = fs::read(&authority).unwrap();
    fs::remove_file(&authority).unwrap();
    let remove = "rm -r inventory/credentials/ssh_ca.pub inventory/credentials/ssh_hosts && muster netboot keys --trust";
    for arguments in [&["netboot", "keys", "--check"][..], &["netboot", "keys"], &RENDER] {
        test.run(arguments).code(1).nothing_written().stderr_has(&[
            "inventory/credentials/ssh_ca is gone: the machines' host keys are certified by it",
            "hint: put it back from a backup",
            remove,
        ]);
    }
    let write = |text: &[u8], mode: u32| {
        fs::write(&authority, text).unwrap();
        fs::set_permissions(&authority, fs::Permissions::from_mode(mode)).unwrap();
    };
    let told =
        |text: &str| drop(test.run(&["netboot", "keys"]).code(1).nothing_written().stderr_has(&[text]));
    write(b"no key\n", 0o600);
    told("this is no private key as ssh-keygen writes it");
    write(&kept, 0o644);
    told("others may read this private key (mode 0644); if nobody has: chmod 600 ");
    fs::remove_file(&authority).unwrap();
    generate_key(&authority, "ed25519", "a passphrase");
    told("take it away: ssh-keygen -p -N '' -f ");
    write(&kept, 0o600);
    test.run(&["netboot", "keys"]).code(0).nothing_written();
}

#[test]
fn what_ignition_reads_is_no_configuration() {
    let test = classroom();
    test.run(&RENDER).code(0);
    test.run(&["netboot", "render", "www/ignition/s4.ign", "-o", "www"])
        .code(4)
        .nothing_written()
        .stderr_has(&["s4.ign:2:3: this is what Ignition reads", "name the configuration itself"]);
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
