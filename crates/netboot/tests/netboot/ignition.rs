//! What becomes of configurations.

use muster_netboot::{Config, LocalFiles, System};

use crate::fixture::{KEY, OTHER_KEY, machine, read};

/// The classroom of diskless machines: an administrator and the keys of three people, in the old format.
pub(crate) fn classroom() -> String {
    format!(
        "passwd:\n  users:\n    - name: admin\n      groups: [sudo, docker]\n      ssh_authorized_keys:\n        - {KEY} ato\n        \
         - {OTHER_KEY} nazarewk\n"
    )
}

#[test]
fn the_classroom_in_the_old_format() {
    let config = read(&classroom());
    assert_eq!(config.system, System::Flatcar);
    insta::assert_snapshot!(config.for_machine(&machine("s4")).unwrap());
}

/// All that a configuration for one system may say, but disks.
pub(crate) const EVERYTHING: &str = r#"
variant: flatcar
version: 1.1.0
ignition:
  timeouts: {http_response_headers: 20, http_total: 600}
  security:
    tls:
      certificate_authorities:
        - inline: "-----BEGIN CERTIFICATE-----"
  proxy: {http_proxy: "http://192.0.2.1:3128", no_proxy: [localhost, 192.0.2.0/24]}
passwd:
  users:
    - name: admin
      uid: 1001
      groups: [sudo]
      password_hash: $y$j9T$salt$hash
      home_dir: /home/admin
      shell: /bin/bash
  groups:
    - {name: lab, gid: 2000}
storage:
  directories:
    - {path: /opt/bin, mode: 0755}
  files:
    - path: /etc/motd
      mode: 0644
      overwrite: yes
      contents:
        inline: |
          Laboratory 225
    - path: /opt/bin/tool
      mode: 493
      user: {name: root}
      group: {id: 0}
      contents:
        source: http://192.0.2.1/tool
        http_headers: [{name: Accept, value: application/octet-stream}]
        verification: {hash: sha256-0000000000000000000000000000000000000000000000000000000000000000}
    - path: /etc/hosts
      append: [{inline: "192.0.2.1 desk\n"}]
  links:
    - {path: /etc/localtime, target: ../usr/share/zoneinfo/Europe/Warsaw, overwrite: true}
systemd:
  units:
    - {name: locksmithd.service, mask: true}
    - name: hello.service
      enabled: true
      contents: |
        [Service]
        Type=oneshot
        ExecStart=/bin/echo \
          hello
        [Install]
        WantedBy=multi-user.target
    - name: containerd.service
      dropins:
        - {name: 10-proxy.conf, contents: "[Service]\nEnvironment=HTTP_PROXY=http://192.0.2.1:3128\n"}
"#;

#[test]
fn everything_that_a_machine_without_a_disk_needs() {
    insta::assert_snapshot!(read(EVERYTHING).for_machine(&machine("s4")).unwrap());
}

/// Disks of machines that have some, passed on as they are.
pub(crate) const DISKS: &str = r#"
variant: fcos
version: 1.5.0
storage:
  disks:
    - device: /dev/vda
      wipe_table: true
      partitions:
        - {label: data, number: 1, size_mib: 1024, start_mib: 1, type_guid: 0FC63DAF-8483-4772-8E79-3D69D8477DE4}
        - {number: 2, should_exist: false, wipe_partition_entry: true}
    - {device: /dev/vdb}
  raid:
    - {name: two, level: raid1, devices: [/dev/vdc, /dev/vdd], spares: 1}
  luks:
    - {name: secret, device: /dev/vdb, key_file: {inline: abc}, discard: true}
  filesystems:
    - {device: /dev/disk/by-partlabel/data, format: xfs, path: /var/lib/my-data, label: data, with_mount_unit: true, mount_options: [noatime]}
    - {device: /dev/vde, format: swap, with_mount_unit: true}
"#;

#[test]
fn disks_are_passed_on() {
    insta::assert_snapshot!(read(DISKS).for_machine(&machine("s4")).unwrap());
}

/// The parts of the old format that are written in other words.
pub(crate) const OLD: &str = r#"
ignition:
  config:
    append:
      - source: http://192.0.2.1/more.ign
        verification: {hash: {function: sha512, sum: 00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000}}
storage:
  disks:
    - device: /dev/sda
      partitions: [{label: data, number: 1, size: 2GiB, start: 1MiB, type_guid: linux_filesystem_data}]
  filesystems:
    - {name: data, mount: {device: /dev/sda1, format: ext4, wipe_filesystem: true, label: data}}
  files:
    - {path: /etc/a, contents: {inline: "a\n"}}
    - {path: /b, filesystem: data, mode: 0600, contents: {remote: {url: "https://192.0.2.1/b", compression: gzip}}}
    - {path: /etc/c, append: true, contents: {inline: c}}
    - {path: /etc/empty}
  directories: [{path: /opt/x}]
  links: [{path: /etc/l, target: /etc/a}]
systemd:
  units: [{name: docker.service, enable: true}]
networkd:
  units:
    - {name: 00-lan.network, contents: "[Match]\nName=eth0\n[Network]\nDHCP=yes\n"}
"#;

#[test]
fn the_old_format_says_some_things_in_other_words() {
    insta::assert_snapshot!(read(OLD).for_machine(&machine("s4")).unwrap());
}

#[test]
fn local_files_and_trees_are_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("keys", format!("# ours\n{KEY}\n\n{OTHER_KEY} b\n")),
        ("hello.service", "[Service]\nExecStart=/bin/true\n".to_owned()),
        ("motd", "żółw\n".to_owned()),
        ("tree/etc/one", "1".to_owned()),
        ("tree/opt/bin/run", "#!/bin/sh\n".to_owned()),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    use std::os::unix::fs::PermissionsExt;
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path().join("tree/opt/bin/run"), executable).unwrap();
    std::os::unix::fs::symlink("one", dir.path().join("tree/etc/two")).unwrap();
    let text = "variant: fcos\nversion: 1.5.0\npasswd: {users: [{name: admin, ssh_authorized_keys_local: [keys]}]}\n\
                storage: {trees: [{local: tree}], files: [{path: /etc/motd, contents: {local: motd}}, {path: /etc/one, mode: 0600}]}\n\
                systemd: {units: [{name: hello.service, contents_local: hello.service}]}\n";
    let files = LocalFiles { dir: Some(dir.path().to_owned()) };
    let config = Config::read("pc.yml", text, &files).unwrap();
    insta::assert_snapshot!(config.for_machine(&machine("s4")).unwrap());
    let told = Config::read("pc.yml", text, &LocalFiles::default()).unwrap_err().to_string();
    assert!(
        told.contains("pc.yml:3:60: \"keys\" is a local file, and the folder of local files was not named"),
        "{told}"
    );
}

#[test]
fn what_is_each_machines_own_is_not_for_the_configuration_to_say() {
    let write =
        |path: &str| format!("variant: fcos\nversion: 1.5.0\nstorage:\n  files: [{{path: {path}}}]\n");
    let told = read(&write("/etc/hostname")).for_machine(&machine("s4")).unwrap_err().to_string();
    assert!(told.starts_with("pc.yml:4:11: muster writes /etc/hostname itself"), "{told}");
    let linked = "variant: fcos\nversion: 1.5.0\nstorage: {links: [{path: /etc, target: /var/etc}]}\n";
    let told = read(linked).for_machine(&machine("s4")).unwrap_err().to_string();
    assert!(told.contains("muster writes /etc/hostname itself"), "{told}");
}

#[test]
fn whoever_logs_in_can() {
    let users =
        |users: &str| read(&format!("variant: flatcar\nversion: 1.1.0\npasswd: {{users: [{users}]}}\n"));
    // The key of the inventory is there already, with another comment.
    let json =
        users(&format!("{{name: admin, ssh_authorized_keys: [\"{KEY} ato\"]}}")).for_machine(&machine("s4"));
    assert_eq!(json.unwrap().matches("ssh-ed25519").count(), 1);
    // A user that the configuration does not know becomes root by sudo; the images' own stays as it is.
    let new = users("").for_machine(&machine("s4")).unwrap();
    assert!(new.contains("\"sudo\"") && new.contains("\"admin\""), "{new}");
    let mut core = machine("s4");
    core.user = "core".to_owned();
    assert!(!users("").for_machine(&core).unwrap().contains("sudo"));
    // Nobody could.
    let mut nobody = machine("s4");
    nobody.keys.clear();
    let told = users("{name: admin}").for_machine(&nobody).unwrap_err().to_string();
    assert!(told.starts_with("pc.yml:3:18: s4: nobody could log in as admin"), "{told}");
    let password = users("{name: admin, password_hash: $y$x}");
    assert!(password.for_machine(&nobody).is_ok());
    let told =
        users("{name: admin, should_exist: false}").for_machine(&machine("s4")).unwrap_err().to_string();
    assert!(told.contains("this takes admin away"), "{told}");
}

#[test]
fn what_is_written_once_may_be_used_twice() {
    let text = "variant: fcos\nversion: 1.5.0\nstorage:\n  files:\n    - &motd {path: /etc/motd, mode: 0600, contents: {inline: a}}\n    \
                - {<<: *motd, path: /etc/issue}\nsystemd: {units: [{name: a.service, mask: yes, contents: \"\"}]}\n";
    let json = read(text).for_machine(&machine("s4")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let files = &json["storage"]["files"];
    assert_eq!((&files[0]["path"], &files[1]["path"]), (&"/etc/motd".into(), &"/etc/issue".into()));
    assert_eq!((&files[1]["mode"], &files[1]["contents"]["source"]), (&384.into(), &"data:,a".into()));
    // A byte order mark, as editors of Windows write it, is no mistake.
    read(&format!("\u{feff}{text}"));
}
