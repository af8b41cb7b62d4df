//! Two controllers at once, on a machine whose connection breaks meanwhile.

use muster_testkit::fault_record::held;

use crate::fixture::Lab;

#[test]
fn of_two_controllers_one_changes_a_machine() {
    let lab = Lab::up(251, &["-n", "1"]);
    let setup = ["setup-cluster", "--output", "plain"];

    let mut first = lab.start(&[&setup[..], &[&lab.address(1)]].concat());
    first.until("bootstrap-os: done");
    let second = lab.muster(&setup);
    assert_eq!(second.code, 75, "{second:#?}");
    for told in
        ["✘ node1\n  locked by root@", " (pid ", ") with muster setup-cluster, since ", "--lock-timeout"]
    {
        assert!(second.out.contains(told), "no {told:?} in {second:#?}");
    }
    held(
        "two controllers",
        "two runs on one machine",
        1,
        "the second is told who, where and since when, and ends with 75",
    );

    // The first one falls asleep. Another one waits until its lock has ended, and makes the cluster; its own connections
    // are cut in the middle of kubeadm init.
    first.signal("STOP");
    let mut next = lab.start(&[&setup[..], &["-vvv", "--lock-timeout", "300"]].concat());
    next.until("took over the lock of root@");
    next.until("[control-plane] ");
    lab.lab(&["ssh", "node1", "--", "pkill -KILL -f '^sshd: root'"]);
    next.until("try 2 of 6");
    let next = next.end();
    assert_eq!(next.code, 0, "{next:#?}");
    let jobs = lab.on(
        "node1",
        "journalctl -o cat | grep -o 'Started .*/var/lib/muster/jobs/[^/]*' | sed 's/.*jobs.//'",
    );
    let mut once: Vec<_> = jobs.lines().collect();
    once.sort_unstable();
    once.dedup();
    assert!(!once.is_empty() && once.len() == jobs.lines().count(), "started twice: {jobs}");
    held(
        "connection cut",
        "sshd killed in the middle of kubeadm init",
        1,
        "the run finds it again and finishes; by systemd's journal it was started once",
    );

    // It wakes up, and does nothing more.
    lab.on("node1", "touch /run/awake");
    first.signal("CONT");
    let first = first.end();
    assert_eq!(first.code, 75, "{first:#?}");
    assert!(first.out.contains("this run's lock is lost to root@"), "{first:#?}");
    assert!(first.out.contains("nothing more was changed here"), "{first:#?}");
    let changed = "find /etc /opt /usr /var/lib/muster -cnewer /run/awake ! -path '/var/lib/muster/lock*'";
    assert_eq!(lab.on("node1", changed), "");
    held(
        "controller stopped",
        "SIGSTOP for longer than its lock lives, in the middle of a run",
        1,
        "another run takes the lock over and finishes; the first one changes nothing more, and says so",
    );

    // One waits until the other has ended.
    let mut first = lab.start(&[&setup[..], &["-v"]].concat());
    first.until("connected in");
    first.signal("STOP");
    let mut second = lab.start(&["setup-cluster", "--output", "jsonl", "--lock-timeout", "300"]);
    second.until("\"event\":\"waiting\"");
    first.signal("CONT");
    let (first, second) = (first.end(), second.end());
    assert_eq!(
        (first.code, first.recap("node1", "changed"), second.code),
        (0, 0, 0),
        "{first:#?} {second:#?}"
    );
    held("two controllers", "a second run with --lock-timeout", 1, "it waits, and then goes on");
}
