use super::*;

fn read(lines: &[&str]) -> Result<Timeline, String> {
    Timeline::read(lines.join("\n").as_bytes(), "run.jsonl").map_err(|error| error.to_string())
}

/// A run of two hosts: one waits for the other, which fails.
const RUN: [&str; 14] = [
    r#"{"v":1,"t":0.0,"event":"run_started","hosts":["node1","node2"],"plays":["p"],"check":false}"#,
    r#"{"v":1,"t":0.3,"event":"connected","host":"node1","elapsed":0.3}"#,
    r#"{"v":1,"t":0.4,"event":"connected","host":"node2","elapsed":0.4}"#,
    r#"{"v":1,"t":0.5,"event":"role_started","host":"node1","play":"p","role":"etcd"}"#,
    r#"{"v":1,"t":0.5,"event":"step_started","host":"node1","role":"etcd","step":"Start etcd"}"#,
    r#"{"v":1,"t":0.5,"event":"role_started","host":"node2","play":"p","role":"kubeadm"}"#,
    r#"{"v":1,"t":1.5,"event":"waiting","host":"node2","what":"node1: etcd","elapsed":1.0}"#,
    r#"{"v":1,"t":2.5,"event":"waiting","host":"node2","what":"node1: etcd","elapsed":2.0}"#,
    r#"{"v":1,"t":2.7,"event":"step_ended","host":"node1","role":"etcd","step":"Start etcd","counts":{"ok":3,"changed":2,"skipped":0},"changes":[],"exchanges":2,"elapsed":2.2}"#,
    r#"{"v":1,"t":2.8,"event":"role_ended","host":"node1","role":"etcd","counts":{"ok":3,"changed":2,"skipped":0},"elapsed":2.3}"#,
    r#"{"v":1,"t":2.8,"event":"host_done","host":"node1"}"#,
    r#"{"v":1,"t":3.0,"event":"host_failed","host":"node2","role":"kubeadm","step":"Join","failure":{"message":"a <b>bold</b> word\u001b[2J","unreachable":false,"remedy":"type \"x\"","output":null}}"#,
    r#"{"v":1,"t":3.0,"event":"something_new","host":"node2"}"#,
    r#"{"v":1,"t":4.0,"event":"run_ended","elapsed":4.0}"#,
];

#[test]
fn a_wait_lasts_until_something_else_happens_to_the_host() {
    let timeline = read(&RUN).unwrap();
    let [wait] = timeline.hosts["node2"].waits.as_slice() else { panic!("{timeline:?}") };
    assert_eq!((wait.begin, wait.end, wait.what.as_str()), (0.5, 3.0, "node1: etcd"));
    let lane = &timeline.hosts["node1"];
    assert_eq!((lane.steps[0].span.begin, lane.steps[0].span.end), (0.5, Some(2.7)));
    assert_eq!((lane.roles[0].end, lane.roles[0].changed), (Some(2.8), 2));
    assert!(timeline.ended && timeline.roles == ["etcd", "kubeadm"]);
}

#[test]
fn what_is_done_on_the_controller_ends_without_having_begun() {
    let ended = r#"{"v":1,"t":9.0,"event":"step_ended","host":"node1","role":"kubeconfig","step":"on this side","counts":{"ok":1,"changed":1,"skipped":0},"changes":[],"exchanges":0,"elapsed":0.25}"#;
    let timeline = read(&[RUN[0], ended]).unwrap();
    let span = &timeline.hosts["node1"].steps[0].span;
    assert_eq!((span.begin, span.end, span.changed), (8.75, Some(9.0), 1));
}

#[test]
fn the_page_shows_every_host_and_role_and_marks_failures_in_words() {
    let page = page(&read(&RUN).unwrap(), "run.jsonl");
    let summary = "<p>2 hosts · 4.0s · 2 changed · <strong class=\"bad\">✘ 1 failed</strong></p>";
    assert!(page.contains(summary), "{page}");
    for part in [
        "node1: etcd: Start etcd, 2.2s, 2 changed, 2 exchanges",
        "node2: waited 2.5s for node1: etcd",
        "<span>✘ failed in kubeadm: Join</span>",
        "node2: failed in kubeadm: Join: a &lt;b&gt;",
        "<b>2</b> kubeadm",
        "<div class=\"name\" title=\"node2: failed after 3.0s\">✘ node2</div>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn the_page_needs_nothing_else_and_what_machines_say_stays_text() {
    let page = page(&read(&RUN).unwrap(), "</title><script>");
    assert!(page.contains("a &lt;b&gt;bold&lt;/b&gt; word\\u{1b}[2J"), "{page}");
    assert!(page.contains("type &quot;x&quot;"), "{page}");
    assert_eq!(page.matches("<script").count(), 1, "only its own");
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_killed_run_is_shown_as_far_as_it_came() {
    let cut = &RUN[7][..40];
    let timeline = read(&[RUN[0], RUN[1], RUN[3], RUN[4], cut]).unwrap();
    let page = page(&timeline, "run.jsonl");
    assert!(page.contains("the run did not come to its end"));
    assert!(page.contains("node1: etcd: Start etcd, 0.00s, not finished"), "{page}");
    let broken = read(&[RUN[0], cut, RUN[1]]).unwrap_err();
    assert!(broken.starts_with("error: run.jsonl:2: this is no event of a run: EOF"), "{broken}");
}

#[test]
fn what_is_no_run_is_refused_with_the_place() {
    let other = |lines: &[&str]| read(lines).unwrap_err();
    assert!(other(&["node1 | ok"]).starts_with("error: run.jsonl:1: this is no event of a run: expected"));
    assert!(other(&[]).starts_with("error: run.jsonl: there is no run in it\nhint: "));
    let newer = other(&[r#"{"v":2,"t":0.0,"event":"run_started"}"#]);
    assert!(
        newer.contains("run.jsonl:1: events of version 2 were found; this muster reads version 1"),
        "{newer}"
    );
}

#[test]
fn of_several_runs_the_last_one_is_shown_from_its_own_beginning() {
    let command = r#"{"v":1,"t":0.0,"event":"command","command":"muster apply -e a=<b>","time":"2026-11-21T12:00:00Z"}"#;
    let later = RUN.map(|line| line.replace(r#""t":"#, r#""t":10"#));
    let lines =
        [&[command, RUN[0], RUN[1], RUN[3]], later.each_ref().map(String::as_str).as_slice()].concat();
    let timeline = read(&lines).unwrap();
    let roles = &timeline.hosts["node1"].roles;
    assert_eq!((roles.len(), roles[0].end.map(|end| format!("{end:.1}"))), (1, Some("2.8".to_owned())));
    let page = page(&timeline, "run.jsonl");
    assert!(page.contains("<code>muster apply -e a=&lt;b&gt;</code> 2026-11-21T12:00:00Z"), "{page}");
    assert!(page.contains("2 hosts · 4.0s"), "{page}");
}

#[test]
fn who_was_stopped_because_of_others_did_not_fail() {
    let stopped = RUN[11].replace(r#""unreachable":false"#, r#""unreachable":false,"stopped":true"#);
    let page = page(&read(&[RUN[0], RUN[5], &stopped]).unwrap(), "run.jsonl");
    assert!(page.contains("✘ 1 stopped") && !page.contains("✘ 1 failed"), "{page}");
}

#[test]
fn moments_on_the_axis_are_round_and_a_handful() {
    let labels = |end| super::page::ticks(end).into_iter().map(super::page::tick_label).collect::<Vec<_>>();
    assert_eq!(labels(83.6), ["0 s", "15 s", "30 s", "45 s", "1:00", "1:15"]);
    assert_eq!(labels(2.0), ["0 s", "0.5 s", "1 s", "1.5 s", "2 s"]);
    assert_eq!(labels(900.0), ["0 s", "2:00", "4:00", "6:00", "8:00", "10:00", "12:00", "14:00"]);
}
