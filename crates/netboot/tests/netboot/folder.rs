//! The folder that machines are served from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use muster_inventory::{GroupRules, Inventory, VarsBuilder};
use muster_netboot::{Change, Rendered, Settings, System};

use crate::fixture::{machines, read, rendered};
use crate::ignition::classroom;

const TWO: &str = "s4 mac_address=52:54:00:12:34:56\ns5 mac_address=\"52:54:00:12:34:57,52-54-00-12-34-58\"\n\
                   [all:vars]\nnetboot_url=http://192.0.2.1:8080/\n";

fn paths(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.path.to_str().unwrap()).collect()
}

fn make(dir: &Path, rendered: &Rendered) {
    rendered.changes(dir, true).unwrap().iter().for_each(|change| change.make(dir).unwrap());
}

#[test]
fn a_script_and_a_configuration_for_each_machine() {
    let dir = tempfile::tempdir().unwrap();
    let both = rendered(&read(&classroom()), TWO);
    let changes = both.changes(dir.path(), true).unwrap();
    assert_eq!(
        paths(&changes),
        [
            "boot.ipxe",
            "mac/52-54-00-12-34-56.ipxe",
            "mac/52-54-00-12-34-57.ipxe",
            "mac/52-54-00-12-34-58.ipxe",
            "name/s4.ipxe",
            "name/s5.ipxe",
            "unknown.ipxe",
            "ignition/s4.ign",
            "ignition/s5.ign",
        ]
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "looking writes nothing");
    // A run that was cut off anywhere is finished by the next one.
    for number in 0..changes.len() {
        let dir = tempfile::tempdir().unwrap();
        changes[..number].iter().for_each(|change| change.make(dir.path()).unwrap());
        assert_eq!(both.changes(dir.path(), true).unwrap(), changes[number..]);
    }
    make(dir.path(), &both);
    assert_eq!(both.changes(dir.path(), true).unwrap(), [], "a second time there is nothing to do");
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ignition"), mode("ignition/s4.ign"), mode("name/s4.ipxe")), (0o700, 0o644, 0o644));
    let scripts = ["boot.ipxe", "name/s4.ipxe", "mac/52-54-00-12-34-58.ipxe", "unknown.ipxe"];
    let text = |path: &str| format!("== {path}\n{}", fs::read_to_string(dir.path().join(path)).unwrap());
    insta::assert_snapshot!(scripts.map(text).join("\n"));
}

#[test]
fn a_configuration_keeps_the_mode_that_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &rendered(&read(&classroom()), TWO));
    let path = dir.path().join("ignition/s4.ign");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(&path, "other").unwrap();
    make(dir.path(), &rendered(&read(&classroom()), TWO));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn what_is_left_of_a_machine_that_is_no_more_goes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let config = read(&classroom());
    make(dir.path(), &rendered(&config, TWO));
    for (path, text) in
        [("name/own.ipxe", "#!ipxe\n# mine\n"), ("ignition/own.ign", "{}"), ("mac/README", "x")]
    {
        fs::write(dir.path().join(path), text).unwrap();
    }
    let one = rendered(
        &config,
        "s4 mac_address=52:54:00:12:34:57\n[all:vars]\nnetboot_url=http://192.0.2.1:8080\n",
    );
    let expected = [
        "mac/52-54-00-12-34-57.ipxe",
        "mac/52-54-00-12-34-56.ipxe",
        "mac/52-54-00-12-34-58.ipxe",
        "ignition/s5.ign",
        "name/s5.ipxe",
    ];
    let changes = one.changes(dir.path(), true).unwrap();
    assert_eq!(paths(&changes), expected);
    assert_eq!(
        paths(&one.changes(dir.path(), false).unwrap()),
        expected[..1],
        "of some machines nothing is removed"
    );
    make(dir.path(), &one);
    for path in ["name/own.ipxe", "ignition/own.ign", "mac/README", "name/s4.ipxe"] {
        assert!(dir.path().join(path).exists(), "{path}");
    }
    assert!(!dir.path().join("ignition/s5.ign").exists());
}

#[test]
fn what_was_not_made_for_this_project_is_not_overwritten() {
    let config = read(&classroom());
    let ours = rendered(&config, TWO);
    let theirs = Rendered::of(&config, "other", &machines(&config, TWO)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &theirs);
    assert_eq!(
        ours.changes(dir.path(), true).unwrap_err().to_string(),
        "boot.ipxe is there, and was not made for this project"
    );
    for (path, told) in
        [("name/s4.ipxe", "name/s4.ipxe is there"), ("ignition/s5.ign", "ignition/s5.ign is there")]
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "by hand").unwrap();
        let error = ours.changes(dir.path(), true).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn two_machines_with_one_network_card_are_refused() {
    let config = read(&classroom());
    let ini =
        "a mac_address=52:54:00:12:34:56\nb mac_address=5254.0012.3456\n[all:vars]\nnetboot_url=http://h\n";
    let told = Rendered::of(&config, "classroom", &machines(&config, ini)).unwrap_err().to_string();
    assert!(
        told.contains("hosts.ini:2:")
            && told.contains("b and a have the same mac_address, 52:54:00:12:34:56"),
        "{told}"
    );
}

#[test]
fn fedora_coreos_fetches_its_root_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let config = read("variant: fcos\nversion: 1.5.0\n");
    let ini = "s4\n[all:vars]\nnetboot_url=http://192.0.2.1\nnetboot_kernel=images/kernel\nnetboot_initrd=/images/initramfs.img\n\
               netboot_rootfs=https://example.org/rootfs.img\nnetboot_kernel_arguments=['console=ttyS0', 'quiet']\n";
    make(dir.path(), &rendered(&config, ini));
    let script = fs::read_to_string(dir.path().join("name/s4.ipxe")).unwrap();
    for line in [
        "kernel http://192.0.2.1/images/kernel initrd=main ignition.firstboot ignition.platform.id=metal \
         ignition.config.url=http://192.0.2.1/ignition/s4.ign coreos.live.rootfs_url=https://example.org/rootfs.img console=ttyS0 \
         quiet || goto failed\n",
        "initrd --name main http://192.0.2.1/images/initramfs.img || goto failed\n",
    ] {
        assert!(script.contains(line), "{script}");
    }
}

#[track_caller]
fn check_wrong(system: System, variables: &str, told: &str) {
    let inventory =
        Arc::new(Inventory::from_ini("hosts.ini", &format!("s4 {variables}\n"), GroupRules::new()).unwrap());
    let vars = VarsBuilder::new(inventory).build().unwrap();
    let error = Settings::read(&vars.host("s4").unwrap(), system).unwrap_err().to_string();
    assert!(error.contains(told), "{error}");
}

#[test]
fn variables_that_say_what_cannot_be() {
    let url = "netboot_url=http://192.0.2.1";
    check_wrong(System::Flatcar, "", "netboot_url of s4 is not set");
    check_wrong(System::Flatcar, "netboot_url=192.0.2.1", "no URL of HTTP");
    check_wrong(
        System::FedoraCoreOs,
        url,
        "netboot_kernel of s4 is not set: Fedora CoreOS has its version in the names",
    );
    let key = format!("{url} netboot_ssh_authorized_keys=\"['mine']\"");
    check_wrong(System::Flatcar, &key, "netboot_ssh_authorized_keys");
    check_wrong(System::Flatcar, &format!("{url} mac_address=52:54"), "hosts.ini:1:");
    check_wrong(
        System::Flatcar,
        &format!("{url} mac_address=52:54"),
        "s4: mac_address: \"52:54\" is no address",
    );
    check_wrong(System::Flatcar, &format!("{url} kube_override_hostname=a_b"), "no name for a machine");
    check_wrong(System::Flatcar, &format!("{url} netboot_kernel=../x"), "neither a URL nor a path");
    check_wrong(System::Flatcar, &format!("{url} netboot_kernel_arguments='a b'"), "not one argument");
}

#[test]
fn an_address_that_yaml_reads_as_a_number_is_still_one() {
    let text = "all:\n  hosts:\n    s4:\n      mac_address: 52:54:00:12:34:56\n      netboot_url: http://192.0.2.1\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts.yml");
    fs::write(&path, text).unwrap();
    let source = [muster_inventory::Source::Path(path)];
    let inventory = Arc::new(Inventory::load(&source, &muster_inventory::LoadOptions::default()).unwrap());
    let vars = VarsBuilder::new(inventory).build().unwrap();
    let settings = Settings::read(&vars.host("s4").unwrap(), System::Flatcar).unwrap();
    assert_eq!(settings.cards[0].0.to_string(), "52:54:00:12:34:56");
}
