//! A cluster is kept well by the loop, and no person does anything: a kubelet that was stopped, a machine without power, one with a new
//! system, a control plane of three that is lost; and what holds the loop back.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab, Running, muster};

/// How many seconds a machine may be ill that has its system, and one that gets another one.
const ILL: u64 = 180;
const ANEW: u64 = 360;

fn inventory(lab: &Lab) {
    let hosts: String =
        (1..=5).map(|n| format!("node{n} ansible_host={0} ip={0}\n", lab.address(n))).collect();
    let planes = "node1\nnode2\nnode3\n";
    let groups = format!("[kube_control_plane]\n{planes}[etcd]\n{planes}[kube_node]\nnode4\nnode5\n");
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
}

/// The loop, with short pauses: what is seen here is what it does, not how long it waits.
fn start(lab: &Lab) -> Running {
    let options = "--every 5s --after 10s --pause 20s --boot-time 60s --drift-every 0 --may-reimage";
    let muster = muster();
    // What it says is more than a pipe holds that nobody reads.
    let command =
        format!("exec {} reconcile {options} --provider lab:test{NETWORK} >loop.log 2>&1", muster.display());
    let running = lab.start_command(&["sh", "-c", &command]);
    let said = || fs::read_to_string(lab.folder().join("loop.log")).unwrap_or_default();
    // From its first round on nobody else heals the cluster.
    for _ in 0..120 {
        if said().contains("all is well") {
            return running;
        }
        thread::sleep(Duration::from_secs(1));
    }
    panic!("the loop has made no round: {}", said());
}

const NETWORK: u8 = 131;

fn ready(lab: &Lab, node: &str) -> bool {
    let words = ["kubectl", "--request-timeout=5s", "get", "node", node, "--no-headers"];
    let asked = lab.muster(&words);
    asked.code == 0 && asked.out.split_whitespace().nth(1) == Some("Ready")
}

/// Something happens to a machine, and its node is Ready again without a person.
fn heals(lab: &Lab, node: &str, what: &str, within: u64, fault: impl FnOnce()) {
    let boot =
        |lab: &Lab| lab.lab(&["ssh", node, "--", "stat -c %Y /proc/1; systemctl is-active kubelet"]).out;
    let before = boot(lab);
    fault();
    let begun = Instant::now();
    // It has to be ill first.
    thread::sleep(Duration::from_secs(5));
    loop {
        let now = boot(lab);
        let is_up = now.contains("\nactive") && ready(lab, node);
        if is_up && begun.elapsed() > Duration::from_secs(20) {
            println!("{node}: {what}: healed after {:?} (was {before:?}, is {now:?})", begun.elapsed());
            break;
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(within), "{node}: {what}: still ill after {took:?}: {now}");
        thread::sleep(Duration::from_secs(2));
    }
    held(
        what,
        "on a node of a cluster that is watched",
        1,
        &format!("Ready again without a person within {within} s"),
    );
}

fn runs(lab: &Lab) -> usize {
    fs::read_dir(lab.folder().join("inventory/.muster/runs")).unwrap().count()
}

/// What the file of decisions says of a machine.
fn decided(lab: &Lab, machine: &str, what: &str) -> usize {
    let text = fs::read_to_string(lab.folder().join("inventory/.muster/reconcile.jsonl")).unwrap_or_default();
    let (machine, what) = (format!("\"machine\":\"{machine}\""), what.to_owned());
    text.lines().filter(|line| line.contains(&machine) && line.contains(&what)).count()
}

fn well(lab: &Lab) -> Ended {
    let mut last = lab.muster(&["reconcile", "--status"]);
    for _ in 0..60 {
        if last.code == 0 {
            return last;
        }
        thread::sleep(Duration::from_secs(2));
        last = lab.muster(&["reconcile", "--status"]);
    }
    panic!("it is not well: {last:#?}");
}

#[test]
#[ignore = "it takes fifteen minutes; ./test --all"]
fn a_cluster_of_five_is_kept_well_without_a_person() {
    let lab = Lab::up(NETWORK, &["-n", "5"]);
    inventory(&lab);
    let set_up = lab.muster(&["setup-cluster"]);
    assert_eq!(set_up.code, 0, "{set_up:#?}");

    // Where all is well a round is quick, changes nothing, and leaves no record of a run.
    let before = runs(&lab);
    let begun = Instant::now();
    let round = lab.muster(&["reconcile", "--drift-every", "0"]);
    println!("a round with nothing to do: {:?}", begun.elapsed());
    assert_eq!(round.code, 0, "{round:#?}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let drift = lab.muster(&["reconcile"]);
    assert_eq!((drift.code, runs(&lab)), (0, before), "{drift:#?}");

    let watch = start(&lab);
    well(&lab);
    let second = lab.muster(&["reconcile"]);
    assert!(second.code == 75 && second.err.contains("this cluster is healed by "), "{second:#?}");

    // Frozen, nothing is done.
    assert_eq!(lab.muster(&["reconcile", "--freeze", "exam until 14:00"]).code, 0);
    lab.on("node4", "systemctl disable --now -q kubelet");
    thread::sleep(Duration::from_secs(40));
    let frozen = lab.muster(&["reconcile", "--status"]);
    assert!(frozen.code == 1 && frozen.all().contains("frozen: exam until 14:00"), "{frozen:#?}");
    assert_eq!((runs(&lab), decided(&lab, "node4", "frozen: exam")), (before, 1));
    heals(&lab, "node4", "kubelet stopped", ILL, || {
        assert_eq!(lab.muster(&["reconcile", "--thaw"]).code, 0);
    });
    assert_eq!(
        (decided(&lab, "node4", "\"step\":\"set-up\",\"outcome\":\"done\""), runs(&lab)),
        (1, before + 1)
    );
    assert_eq!(lab.on("node4", "systemctl is-enabled kubelet").trim(), "enabled");
    well(&lab);

    heals(&lab, "node5", "machine off", ILL, || {
        assert_eq!(lab.lab(&["kill", "node5"]).code, 0);
    });
    well(&lab);
    assert_eq!(decided(&lab, "node5", "\"step\":\"power\",\"outcome\":\"done\""), 1);

    // A new system, of which nobody has told the loop: its key is not believed, so the provider puts another one there.
    heals(&lab, "node5", "machine installed anew", ANEW, || {
        assert_eq!(lab.lab(&["reimage", "node5"]).code, 0);
    });
    // Its node is Ready before the run has come to its end.
    well(&lab);
    assert!(decided(&lab, "node5", "\"step\":\"reimage\",\"outcome\":\"done\"") >= 1);
    assert!(decided(&lab, "node5", "\"step\":\"replace\",\"outcome\":\"done\"") >= 1);

    // The control plane that the cluster began with is lost, with its member of etcd.
    heals(&lab, "node1", "control plane of three lost", ILL, || {
        assert_eq!(lab.lab(&["kill", "node1"]).code, 0);
    });
    well(&lab);
    heals(&lab, "node1", "control plane of three installed anew", ANEW, || {
        assert_eq!(lab.lab(&["reimage", "node1"]).code, 0);
    });
    well(&lab);

    // Of two control planes that do not answer us none is switched off: they may be members that work. More than 40 % are none of
    // the loop's business.
    let before = runs(&lab);
    for machine in ["node2", "node4", "node5"] {
        assert_eq!(lab.lab(&["pause", machine]).code, 0);
    }
    thread::sleep(Duration::from_secs(60));
    let held_back = lab.muster(&["reconcile", "--status"]);
    assert!(held_back.code == 1 && held_back.all().contains("more than 40 %"), "{held_back:#?}");
    assert_eq!(runs(&lab), before);
    assert!(lab.lab(&["status"]).out.matches("paused").count() == 3, "{:#?}", lab.lab(&["status"]));
    for machine in ["node2", "node4", "node5"] {
        assert_eq!(lab.lab(&["unpause", machine]).code, 0);
    }
    well(&lab);
    held("network cut on the controller's side", "three of five machines are frozen", 1, "nothing is done");

    watch.signal("TERM");
    let ended = watch.end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    // Members of etcd that were frozen may still find each other: the first run waits for that.
    let first = lab.muster(&["setup-cluster"]);
    assert_eq!(first.code, 0, "{first:#?}");
    let again = lab.muster(&["setup-cluster"]);
    assert_eq!(again.code, 0, "{again:#?}");
    for host in ["node1", "node2", "node3", "node4", "node5"] {
        assert_eq!(again.recap(host, "changed"), 0, "{again:#?}");
    }
}

#[test]
#[ignore = "it takes some minutes; ./test --all"]
fn drift_is_mended_and_two_controllers_do_not_heal_one_cluster() {
    let lab = Lab::up(132, &["-n", "2"]);
    assert_eq!(lab.muster(&["setup-cluster", &lab.pattern(2)]).code, 0);
    let round = ["reconcile", "--after", "0s"];
    assert_eq!(lab.muster(&round).code, 0);

    lab.on("node2", "echo '# changed by hand' >>/etc/containerd/config.toml");
    let told = lab.muster(&[&round[..], &["--drift-every", "1s"]].concat());
    assert!(told.code == 1 && told.out.contains("config.toml"), "{told:#?}");
    assert!(!lab.on("node2", "cat /etc/containerd/config.toml").contains("by hand"), "{told:#?}");
    let again = lab.muster(&[&round[..], &["--drift-every", "1s"]].concat());
    assert_eq!(again.code, 0, "{again:#?}");

    // The same inventory in another place, as on another computer.
    let copy = lab.folder().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(lab.folder().join("inventory/hosts.ini"), copy.join("hosts.ini")).unwrap();
    lab.on("node2", "systemctl stop kubelet");
    let other = lab.muster(&[&round[..], &["--unhealthy-limit", "100%", "-i", "copy/hosts.ini"]].concat());
    assert!(other.code == 1 && other.out.contains(" heals this cluster"), "{other:#?}");
    assert_eq!(lab.on("node2", "systemctl is-active kubelet || true").trim(), "inactive");
    let ours = lab.muster(&[&round[..], &["--unhealthy-limit", "100%"]].concat());
    assert!(ours.out.contains("node2: set-up: done"), "{ours:#?}");
    assert_eq!(lab.on("node2", "systemctl is-active kubelet").trim(), "active");
    held(
        "two controllers",
        "two copies of one inventory",
        1,
        "the second one does nothing, and says who heals the cluster",
    );
}
