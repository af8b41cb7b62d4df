//! What is wrong with machines is said, with the place and the remedy, and nothing is changed anywhere.

use std::fs;
use std::process::Command;

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

const SAID: &str = "said with the remedy, and nothing is changed anywhere";

/// Nothing of muster's is on the machine.
fn is_untouched(lab: &Lab, machine: &str) {
    for path in [
        "/var/lib/muster",
        "/etc/containerd",
        "/usr/local/bin/kubelet",
        "/etc/sysctl.d/99-zz-kubernetes.conf",
    ] {
        assert!(!lab.has(machine, path), "{machine} has {path}");
    }
}

fn says(ended: &Ended, words: &[&str]) {
    let all = ended.all();
    for word in words {
        assert!(all.contains(word), "no {word:?} in {all}");
    }
}

#[test]
fn what_preflight_finds_on_all_machines_is_one_table_and_nothing_is_changed() {
    let servers: Vec<String> = (1..=4).map(|n| format!("192.0.2.{n}")).collect();
    let mut options = vec!["--memory", "node2=512M"];
    options.extend(servers.iter().flat_map(|s| ["--nameserver", s]));
    let lab = Lab::up(233, &options);
    lab.on("node3", "systemd-run -q socat TCP-LISTEN:10250,fork /dev/null");
    let ended = lab.muster(&["setup-cluster", &lab.pattern(3)]);
    assert_eq!(ended.code, 3, "{ended:#?}");
    says(&ended, &["memory", "512 MB", "node2", "10250", "socat", "node3", "name servers"]);
    for machine in ["node1", "node2", "node3"] {
        is_untouched(&lab, machine);
    }
    held("machine unfit", "too little memory, a port in use, four name servers", 3, SAID);
}

#[test]
fn machines_that_cannot_be_worked_on_are_named_and_the_others_stay_untouched() {
    let lab = Lab::up(234, &["-n", "2"]);
    let pattern = lab.pattern(2);

    // A key that nobody knows.
    let key = lab.folder().join("stranger");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let refused = lab.muster(&["setup-cluster", "--private-key", key.to_str().unwrap(), &pattern]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    says(&refused, &["refused", "stranger"]);
    is_untouched(&lab, "node1");
    held("login refused", "a key that nobody knows", 1, SAID);
    // The inventory that was written names that key.
    fs::remove_dir_all(lab.folder().join("inventory")).unwrap();

    // A user without sudo.
    lab.on("node1", "useradd -m plain && cp -r /root/.ssh /home/plain/ && chown -R plain /home/plain/.ssh");
    lab.on("node2", "useradd -m plain && cp -r /root/.ssh /home/plain/ && chown -R plain /home/plain/.ssh");
    let no_sudo = lab.muster(&["setup-cluster", "-u", "plain", &pattern]);
    assert_ne!(no_sudo.code, 0, "{no_sudo:#?}");
    says(&no_sudo, &["plain cannot become root", "sudo"]);
    is_untouched(&lab, "node1");
    held("login refused", "a user without sudo", 1, SAID);

    // An inventory as one has it from kubespray.
    let hosts = lab.folder().join("cluster.ini").to_str().unwrap().to_owned();
    let (one, two) = (lab.address(1), lab.address(2));
    fs::write(
        &hosts,
        format!(
            "; comments of both kinds\n# are fine\n[all]\nnode1 ansible_host={one} ip={one}\nnode2 ansible_host={two}\n\
             [kube-master]\nnode1\n[etcd]\nnode1\n[kube-node]\nnode2\n[k8s-cluster:children]\nkube-master\nkube-node\n"
        ),
    )
    .unwrap();

    assert_eq!(lab.muster(&["preflight", "-i", &hosts]).code, 0);

    // Containers have the clock of the kernel they share: what tells the time on this one is an hour ahead.
    let date = r#"printf '#!/bin/sh\nexec /usr/bin/date -d "+1 hour" "$@"\n' >/usr/local/bin/date"#;
    lab.on("node2", &format!("{date} && chmod 755 /usr/local/bin/date"));
    let ahead = lab.muster(&["setup-cluster", "-i", &hosts]);
    assert_eq!(ahead.code, 3, "{ahead:#?}");
    says(&ahead, &["node2", "s ahead of this computer", "set the machine's clock"]);
    is_untouched(&lab, "node1");
    held("clock wrong", "`date` of a machine tells an hour later", 1, SAID);

    // Another machine under the same name: its key has changed.
    assert_eq!(lab.lab(&["reimage", "node2"]).code, 0);
    let changed = lab.muster(&["setup-cluster", "-i", &hosts]);
    assert_eq!(changed.code, 4, "{changed:#?}");
    says(&changed, &["node2", "known_hosts", "--reimaged node2"]);
    is_untouched(&lab, "node1");
    held("host key changed", "a machine is installed anew", 1, SAID);

    // A machine that is off.
    assert_eq!(lab.lab(&["stop", "node2"]).code, 0);
    let off = lab.muster(&["setup-cluster", "-i", &hosts]);
    assert_eq!(off.code, 4, "{off:#?}");
    says(&off, &["node2", "no answer", "again: muster lab --name test234 exec -- muster setup-cluster"]);
    assert_eq!(off.recap("node2", "unreachable"), 1);
    is_untouched(&lab, "node1");
    held("machine is off", "its container is stopped", 1, SAID);
}

#[test]
fn a_damaged_program_in_the_bundle_is_found_before_anything_is_changed() {
    let lab = Lab::up(235, &["-n", "1"]);
    // The last line of the list: `FOLDER: SIZE`.
    let listed = lab.muster(&["bundle", "list"]).out;
    let bundle = listed.trim_end().lines().last().and_then(|l| l.rsplit_once(": ")).map(|(folder, _)| folder);
    let copy = lab.folder().join("bundle");
    let copied =
        Command::new("cp").args(["-a", bundle.expect("the bundle's folder")]).arg(&copy).status().unwrap();
    assert!(copied.success());
    let file = fs::read_dir(copy.join("files"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.file_name().unwrap().to_str().unwrap().starts_with("runc"))
        .unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();

    let ended = lab.muster(&["setup-cluster", "--bundle", copy.to_str().unwrap(), &lab.address(1)]);
    assert_ne!(ended.code, 0, "{ended:#?}");
    says(&ended, &[file.to_str().unwrap(), "sha256", "muster bundle"]);
    is_untouched(&lab, "node1");
    held("wrong bytes", "one bit of a program in the bundle", 1, SAID);
}
