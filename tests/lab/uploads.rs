//! A large file on its way to a machine that is lost in the middle.

use std::fs;
use std::process::Command;

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

const SIZE: u64 = 500_000_000;

/// Waits on the machine until so many bytes have arrived, then does what is said. `$size` is how many there are.
fn at(lab: &Lab, bytes: u64, then: &str) -> Ended {
    let program = format!(
        "part() {{ stat -c %s /var/lib/muster/incoming/*.part 2>/dev/null || echo 0; }}; \
         size=$(part); while [ $size -lt {bytes} ]; do sleep 0.05; size=$(part); done; {then}"
    );
    lab.lab(&["ssh", "node1", "--", &program])
}

/// How many bytes the machine's network card has received since it was switched on.
fn received(lab: &Lab) -> u64 {
    lab.on("node1", "cat /sys/class/net/eth0/statistics/rx_bytes").trim().parse().unwrap()
}

/// A number that was noted on the machine.
fn noted(lab: &Lab, name: &str) -> u64 {
    lab.on("node1", &format!("cat /var/{name}")).trim().parse().unwrap()
}

#[test]
fn an_upload_of_500_mb_goes_on_where_it_stopped() {
    let lab = Lab::up(253, &["-n", "1"]);
    let big = lab.folder().join("big");
    let made = Command::new("sh")
        .args(["-c", r#"head -c "$1" /dev/urandom >"$0" && sha256sum <"$0""#])
        .args([big.to_str().unwrap(), &SIZE.to_string()])
        .output()
        .unwrap();
    let sha256 = String::from_utf8(made.stdout).unwrap();
    fs::create_dir(lab.folder().join("inventory")).unwrap();
    let machine = format!("node1 ansible_host={} ansible_user=root\n", lab.address(1));
    fs::write(lab.folder().join("inventory/hosts.ini"), machine).unwrap();
    // 60 MB a second, so that there is a middle.
    let slow = "tc qdisc add dev eth0 root tbf rate 480mbit burst 1mb latency 100ms";
    assert_eq!(lab.exec(&slow.split(' ').collect::<Vec<_>>()).code, 0);

    // Every connection is cut, and the run goes on by itself; then the machine loses its power.
    let copy = lab.start(&["copy", "all", "big", "/var/big"]);
    at(&lab, 100_000_000, "echo $size >/var/cut; pkill -KILL -f '^sshd: root'");
    assert!(!lab.has("node1", "/var/big"), "half a file under its name");
    let note = "cat /sys/class/net/eth0/statistics/rx_bytes >/var/received; echo $size >/var/at";
    assert_eq!(at(&lab, 300_000_000, note).code, 0);
    assert_eq!(lab.lab(&["kill", "node1"]).code, 0);
    let cut = copy.end();
    assert_eq!(cut.code, 4, "{cut:#?}");
    assert!(cut.out.contains("; try 2 of 3 in ") && cut.out.contains(" of 500 MB are there"), "{cut:#?}");
    assert_eq!(lab.lab(&["start", "node1"]).code, 0);
    assert!(!lab.has("node1", "/var/big"), "half a file under its name");
    assert!(noted(&lab, "cut") < 300_000_000, "the cut came too late for this test");
    let twice = noted(&lab, "received").saturating_sub(noted(&lab, "at"));
    assert!(twice < SIZE / 10, "{twice} bytes more than the file had at that time");

    // The same command sends the rest, and nothing twice.
    let there: u64 = lab.on("node1", "stat -c %s /var/lib/muster/incoming/*.part").trim().parse().unwrap();
    let before = received(&lab);
    let copied = lab.muster(&["copy", "all", "big", "/var/big"]);
    assert_eq!(copied.code, 0, "{copied:#?}");
    let sent = received(&lab) - before;
    assert!(sent < SIZE - there + SIZE / 20, "{sent} bytes for the last {}", SIZE - there);
    assert_eq!(lab.on("node1", "sha256sum </var/big"), sha256);
    assert_eq!(lab.on("node1", "ls /var/lib/muster/incoming"), "", "leftovers");
    held(
        "connection cut",
        "sshd killed in an upload of 500 MB",
        1,
        "the run goes on at that byte, by the counters of the network card",
    );
    held(
        "machine loses power",
        "killed in an upload of 500 MB",
        1,
        "the next run goes on at that byte; no half file ever has its name; the sha256 is right",
    );
}
