//! A run that was killed is finished by the same command.

use std::time::Duration;

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

const KILLED: &str = "the same command finishes; the next one changes nothing";

fn finish(lab: &Lab) -> Ended {
    let ended = lab.muster(&["setup-cluster"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let nodes = lab.muster(&["kubectl", "get", "nodes", "--no-headers"]);
    assert_eq!(nodes.out.lines().filter(|l| l.contains(" Ready ")).count(), 2, "{nodes:#?}");
    let again = lab.muster(&["setup-cluster"]);
    for host in ["node1", "node2"] {
        assert_eq!(again.recap(host, "changed"), 0, "{again:#?}");
    }
    ended
}

#[test]
fn a_run_killed_after_etcd_is_finished_by_the_same_command() {
    let lab = Lab::up(231, &["-n", "2"]);
    lab.setup_killed_at(&[&lab.pattern(2)], "etcd: done");
    assert!(!lab.has("node1", "/etc/kubernetes/admin.conf"), "it was killed too late for this test");
    finish(&lab);
    held("controller killed", "SIGKILL after etcd", 1, KILLED);
}

#[test]
fn a_run_killed_during_and_after_kubeadm_init_is_finished_by_the_same_command() {
    let lab = Lab::up(232, &["-n", "2"]);
    let pattern = lab.pattern(2);
    // kubeadm's own words, while it works.
    lab.setup_killed_at(&["-vvv", &pattern], "[control-plane] ");
    // The next run waits for it, and finds a control plane that stands.
    lab.setup_killed_at(&[], "the API server answers: ");
    finish(&lab);
    held("controller killed", "SIGKILL during kubeadm init, and after it", 2, KILLED);
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn a_run_killed_again_and_again_all_along_a_set_up_gets_to_its_end() {
    let lab = Lab::up(239, &["-n", "2"]);
    let pattern = lab.pattern(2);
    let mut kills = 0;
    loop {
        let machines = if kills == 0 { vec![pattern.as_str()] } else { Vec::new() };
        let mut run = lab.start(&[&["setup-cluster"], &machines[..]].concat());
        // Each run gets a little further than the one before: to its first change, and some moment after it.
        if !run.reaches(": changed ") {
            let ended = run.end();
            assert_eq!(ended.code, 0, "{ended:#?}");
            break;
        }
        std::thread::sleep(Duration::from_millis(kills * 37 % 100));
        run.signal("KILL");
        run.end();
        kills += 1;
        assert!(kills < 100, "it gets no further");
    }
    // A set-up of two machines has about twenty moments of which each is behind the one before; how many of them are met
    // depends on how steps of two machines fall together.
    assert!(kills >= 10, "killed {kills} times only");
    finish(&lab);
    held(
        "controller killed",
        "SIGKILL some moment after its first change, all along a set-up",
        kills as usize,
        KILLED,
    );
}
