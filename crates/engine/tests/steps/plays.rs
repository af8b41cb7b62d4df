//! Several hosts and the knobs of plays: who waits for whom, who stops, how many work at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use muster_engine::event::{Event, Events};
use muster_engine::play::Play;
use muster_engine::prelude::*;
use muster_engine::run::{Outcome, Role, Run};
use muster_engine::transport::{Exec, Exit, Transport, TransportError};
use muster_inventory::{GroupRules, Inventory, VarsBuilder};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::role;
use super::shell::Shell;

async fn work(host: &Host) -> Result<()> {
    host.query(sh0("true")).await.map(drop)
}

/// Hosts whose names begin with `bad` fail at it.
async fn risk(host: &Host) -> Result<()> {
    work(host).await?;
    if host.name().starts_with("bad") { Err(Failure::new("it broke", "")) } else { Ok(()) }
}

async fn provide(host: &Host) -> Result<()> {
    risk(host).await?;
    host.reached("the thing");
    Ok(())
}

/// Needs what the first host provides.
async fn need(host: &Host) -> Result<()> {
    let first = host.cluster().group("all").remove(0);
    host.needs(&first, "the thing").await
}

/// The other hosts.
fn others(host: &Host) -> Vec<String> {
    host.cluster().group("all").into_iter().filter(|other| other != host.name()).collect()
}

/// Needs what the role `provide` of the others brings about, in this run or in an earlier one.
async fn need_of_role(host: &Host) -> Result<()> {
    for other in others(host) {
        host.needs_of_role(&other, "provide", "the thing").await?;
    }
    Ok(())
}

/// Needs of the others what each has only when it has got it from the others.
async fn circle(host: &Host) -> Result<()> {
    work(host).await?;
    for other in others(host) {
        host.needs(&other, "the end").await?;
    }
    host.reached("the end");
    Ok(())
}

/// Needs everybody at the same place, as a comparison of machines does.
async fn meet(host: &Host) -> Result<()> {
    host.reached("the place");
    for other in host.cluster().group("all") {
        host.needs(&other, "the place").await?;
    }
    Ok(())
}

/// Does another step before it tells that what it waited for did not come.
async fn late(host: &Host) -> Result<()> {
    let [never, always] = ["false", "true"].map(|program| {
        host.wait(Wait::new(program, sh0(program), Duration::from_millis(10), Duration::ZERO))
    });
    let waited = never.await;
    always.await?;
    waited.map(drop)
}

/// Takes its time, with a program every now and then.
async fn linger(host: &Host) -> Result<()> {
    for _ in 0..50 {
        work(host).await?;
    }
    Ok(())
}

/// Has the last host do something.
async fn elsewhere(host: &Host) -> Result<()> {
    let last = host.cluster().group("all").pop().unwrap_or_default();
    work(&*host.cluster().host(&last)?).await
}

const ROLES: &[Role] = &[
    role("work", |h| work(h).boxed()),
    role("risk", |h| risk(h).boxed()),
    role("provide", |h| provide(h).boxed()),
    role("need", |h| need(h).boxed()),
    role("need-of-role", |h| need_of_role(h).boxed()),
    role("circle", |h| circle(h).boxed()),
    role("meet", |h| meet(h).boxed()),
    role("late", |h| late(h).boxed()),
    role("linger", |h| linger(h).boxed()),
    role("tidy", |h| work(h).boxed()),
    role("tidy-too", |h| work(h).boxed()),
    role("tidy-elsewhere", |h| elsewhere(h).boxed()),
    role("tidy-badly", |_| async { Err(Failure::new("it is still untidy", "")) }.boxed()),
];

/// This machine under some name, or one that is off. Everything takes it a moment.
struct Machine {
    shell: Shell,
    off: bool,
    /// After how many programs it does not answer any more.
    dies_after: usize,
    count: AtomicUsize,
    busy: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Machine {
    async fn exec(&self, exec: Exec) -> Result<Exit, TransportError> {
        if self.off || self.count.fetch_add(1, Ordering::SeqCst) >= self.dies_after {
            let (reason, remedy) = ("no answer".into(), "".into());
            return Err(TransportError::Unreachable { address: "off:22".into(), reason, remedy });
        }
        self.most.fetch_max(self.busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let exit = self.shell.exec(exec).await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        exit
    }
}

impl Transport for Machine {
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(self.exec(exec))
    }
}

pub(super) struct Ran {
    outcome: Outcome,
    pub(super) events: Vec<Event>,
    /// How many programs ran at once at most.
    most: usize,
}

impl Ran {
    /// `done`, or why not, of each host in order.
    pub(super) fn ends(&self) -> Vec<String> {
        let end = |failure: &Option<Failure>| failure.as_ref().map_or("done".into(), ToString::to_string);
        self.outcome.values().map(|host| end(&host.failure)).collect()
    }

    /// The roles that a host came to, in order; with ! those that it did not end.
    pub(super) fn roles(&self, of: &str) -> Vec<String> {
        let mut roles: Vec<String> = Vec::new();
        for event in &self.events {
            match event {
                Event::RoleStarted { host, role, .. } if host == of => roles.push(format!("{role}!")),
                Event::RoleEnded { host, role, .. } if host == of => {
                    *roles.last_mut().unwrap() = role.clone()
                }
                _ => {}
            }
        }
        roles
    }

    /// What was told beside the hosts' ends.
    fn warnings(&self) -> Vec<&str> {
        let told = self.events.iter().filter_map(|event| match event {
            Event::Warning { text, .. } => Some(text.as_str()),
            _ => None,
        });
        told.collect()
    }

    /// How many hosts were in a role at once at most.
    fn most_in(&self, wanted: &str) -> usize {
        let (mut now, mut most) = (0, 0);
        for event in &self.events {
            match event {
                Event::RoleStarted { role, .. } if role == wanted => now += 1,
                Event::RoleEnded { role, .. } if role == wanted => now -= 1,
                _ => {}
            }
            most = most.max(now);
        }
        most
    }
}

/// Runs plays on hosts; those whose names begin with `off` are off, and `dying` ones go off after a few programs.
async fn run(hosts: &[&str], plays: Value, forks: usize) -> Ran {
    run_until(hosts, plays, forks, CancellationToken::new()).await
}

/// The same until it is cancelled.
async fn run_until(hosts: &[&str], plays: Value, forks: usize, cancel: CancellationToken) -> Ran {
    run_plays(hosts, serde_json::from_value(plays).unwrap(), forks, cancel, false).await
}

/// The same of plays as they are.
pub(super) async fn run_plays(
    hosts: &[&str],
    plays: Vec<Play>,
    forks: usize,
    cancel: CancellationToken,
    check: bool,
) -> Ran {
    let inventory = Arc::new(Inventory::from_ini("test", &hosts.join("\n"), GroupRules::new()).unwrap());
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let connect = |name: &str| {
        let off = name.starts_with("off");
        let dies_after = if name.starts_with("dying") { 3 } else { usize::MAX };
        let (busy, most) = (busy.clone(), most.clone());
        let shell = Shell::new(&["dash"], Path::new("/nowhere"));
        Ok(Arc::new(Machine { shell, off, dies_after, count: AtomicUsize::new(0), busy, most })
            as Arc<dyn Transport>)
    };
    let (events, mut receiver) = Events::channel();
    let vars = VarsBuilder::new(inventory.clone()).build().unwrap();
    let run = Run {
        plays: &plays,
        roles: ROLES,
        forks,
        cancel,
        check,
        ..Run::new(inventory, vars, &connect, events)
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), run.execute()).await;
    let outcome = ended.expect("nobody waits for ever").unwrap();
    let events = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
    Ran { outcome, events, most: most.load(Ordering::SeqCst) }
}

fn play(name: &str, roles: &[&str], knobs: Value) -> Value {
    let mut play = json!({ "name": name, "hosts": "all", "roles": roles });
    play.as_object_mut().unwrap().extend(knobs.as_object().unwrap().clone());
    play
}

#[tokio::test]
async fn forks_are_how_many_programs_run_at_once() {
    let hosts = ["a", "b", "c", "d", "e"];
    let plays = || json!([play("p", &["work"], json!({}))]);
    for forks in [1, 2] {
        let most = run(&hosts, plays(), forks).await.most;
        assert!(most <= forks, "--forks {forks}: {most} at once");
    }
}

#[tokio::test]
async fn serial_is_how_many_hosts_are_in_a_play_at_once() {
    let hosts = ["a", "b", "c", "d", "e"];
    for (serial, most) in [(json!(2), 2), (json!("40%"), 2), (json!(1), 1)] {
        let ran = run(&hosts, json!([play("p", &["work"], json!({ "serial": serial }))]), 50).await;
        assert_eq!(ran.ends(), ["done"; 5]);
        assert!(ran.most_in("work") <= most, "serial: {serial}: {}", ran.most_in("work"));
    }
    let all = run(&hosts, json!([play("p", &["meet"], json!({}))]), 50).await;
    assert_eq!(all.ends(), ["done"; 5], "without it all are in a play at once");
}

#[tokio::test]
async fn what_breaks_a_whole_batch_is_not_done_to_the_next_one() {
    let plays = |size: usize| json!([play("p", &["risk"], json!({ "serial": size }))]);
    let stopped = |who: &str| format!("stopped, because {who} did not pass \"p\", one batch after the other");
    let ran = run(&["a", "bad1", "b", "c"], plays(1), 50).await;
    assert_eq!(ran.ends(), ["done".into(), "it broke".into(), stopped("bad1"), stopped("b")]);
    let ran = run(&["a", "bad1", "b", "c"], plays(2), 50).await;
    assert_eq!(ran.ends(), ["done", "it broke", "done", "done"], "one of two got through");
    let ran = run(&["off1", "b"], plays(1), 50).await;
    assert_eq!(ran.ends()[1], "done", "a machine that is off broke nothing");
}

#[tokio::test]
async fn a_play_with_more_failures_than_it_allows_ends_the_run_for_the_others() {
    let hosts = ["a", "b", "bad1", "off1"];
    let ends = async |limit: Value| {
        let first = play("first", &["risk"], json!({ "max_failures": limit }));
        run(&hosts, json!([first, play("second", &["work"], json!({ "wait_for_all": true }))]), 50)
            .await
            .ends()
    };
    for limit in [json!(2), json!("50%"), json!("100%"), Value::Null] {
        assert_eq!(ends(limit.clone()).await[..2], ["done", "done"], "max_failures: {limit}");
    }
    let told = |limit: &str| {
        format!("stopped, because bad1, off1 failed: 2 of 4 in \"first\", which allows {limit}")
    };
    assert_eq!(ends(json!(1)).await[..2], [told("1 (max_failures: 1)"), told("1 (max_failures: 1)")]);
    assert_eq!(ends(json!("49%")).await[0], told("1 (max_failures: 49%)"));
    let none = &ends(json!(0)).await[0];
    assert!(none.starts_with("stopped, ") && none.ends_with("which allows no failure"), "{none}");
}

#[tokio::test]
async fn a_later_play_that_cannot_come_about_stops_those_who_are_still_at_earlier_ones() {
    let plays = json!([
        play("look", &["work"], json!({ "any_errors_fatal": true, "max_failures": "50%" })),
        play("change", &["work"], json!({})),
        { "name": "lead", "hosts": "off1", "roles": ["work"], "max_failures": 0 },
    ]);
    let ran = run(&["a", "b", "off1"], plays, 50).await;
    let told = "stopped, because off1 failed: 1 of 1 in \"lead\", which allows no failure";
    assert_eq!(ran.ends()[..2], [told, told]);
    let roles = ran.events.iter().filter(|event| matches!(event, Event::RoleStarted { .. }));
    assert_eq!(roles.count(), 2, "both were looked at, and nothing else was begun");
}

#[tokio::test]
async fn where_everybody_must_pass_machines_that_are_off_may_be_left_out_and_failures_may_not() {
    let ends = async |hosts: &[&str], knobs: Value| {
        let looked = play("look", &["risk"], knobs);
        run(hosts, json!([looked, play("change", &["work"], json!({}))]), 50).await.ends()
    };
    let strict = json!({ "any_errors_fatal": true });
    let tolerant = json!({ "any_errors_fatal": true, "max_failures": "40%" });
    assert_eq!(ends(&["a", "b", "off1"], tolerant.clone()).await[..2], ["done", "done"]);
    assert!(ends(&["a", "off1"], tolerant.clone()).await[0].contains("1 of 2 in \"look\""));
    assert!(ends(&["a", "b", "off1"], strict).await[0].contains("which allows no failure"));
    let failed = ends(&["a", "b", "bad1"], tolerant).await;
    assert_eq!(failed[0], "stopped, because bad1 did not pass \"look\"");
}

#[tokio::test]
async fn what_another_host_provides_is_waited_for_unless_that_is_no_part_of_the_run() {
    let plays = |roles: &[&str]| {
        Value::from(roles.iter().map(|role| play(role, &[role], json!({}))).collect::<Vec<_>>())
    };
    assert_eq!(run(&["a", "b"], plays(&["provide", "need"]), 50).await.ends(), ["done", "done"]);
    assert_eq!(
        run(&["a", "b"], plays(&["need"]), 50).await.ends(),
        ["done", "done"],
        "an earlier run did it"
    );
    let ran = run(&["bad1", "b"], plays(&["provide", "need"]), 50).await;
    assert_eq!(ran.ends()[1], "needs the thing from bad1, which failed");
}

#[tokio::test]
async fn hosts_that_need_each_other_in_a_play_with_serial_are_told_and_do_not_wait_for_ever() {
    let ran = run(&["a", "b"], json!([play("p", &["meet"], json!({ "serial": 1 }))]), 50).await;
    assert_eq!(ran.ends()[0], "needs the place from b, which waits until a is through the play");
}

#[tokio::test]
async fn a_failure_is_told_of_its_own_step_or_of_none() {
    let ran = run(&["a"], json!([play("One", &["late"], json!({}))]), 5).await;
    let places = ran.events.iter().filter_map(|event| match event {
        Event::HostFailed { role, step, .. } => Some((role.as_deref(), step.as_deref())),
        _ => None,
    });
    assert_eq!(places.collect::<Vec<_>>(), [(Some("late"), None)]);
}

#[tokio::test]
async fn what_always_runs_runs_after_a_failure_which_stays_the_one_that_is_told() {
    let plays = || {
        json!([
            play("p", &["risk", "work"], json!({ "always": ["tidy", "tidy-badly", "tidy-too"] })),
            play("q", &["work"], json!({}))
        ])
    };
    let ran = run(&["a", "bad1", "off1"], plays(), 50).await;
    assert_eq!(ran.roles("bad1"), ["risk!", "tidy", "tidy-badly!", "tidy-too"]);
    assert_eq!(ran.roles("off1"), [""; 0]);
    assert_eq!(ran.ends()[1], "it broke");
    assert_eq!(ran.warnings(), ["tidy-badly, which always runs, failed as well: it is still untidy"]);
    let places = ran.events.iter().filter_map(|event| match event {
        Event::HostFailed { host, role, .. } if host == "bad1" => role.as_deref(),
        _ => None,
    });
    assert_eq!(places.collect::<Vec<_>>(), ["risk"]);
    // Where nothing failed before, its failure is the host's, and the next play does not begin.
    assert_eq!(ran.roles("a"), ["risk", "work", "tidy", "tidy-badly!", "tidy-too"]);
    assert_eq!(ran.ends()[0], "it is still untidy");
}

#[tokio::test]
async fn what_always_runs_runs_where_others_ended_the_run_and_only_where_the_play_was_begun() {
    // Both have begun before one of them goes off.
    let first = play("first", &["meet", "linger", "work"], json!({ "max_failures": 0, "always": ["tidy"] }));
    let second = play("second", &["work"], json!({ "always": ["tidy-too"] }));
    let ran = run(&["a", "dying1"], json!([first, second]), 50).await;
    assert!(ran.ends()[0].starts_with("stopped, because dying1 failed"), "{:?}", ran.ends());
    assert_eq!(ran.roles("a"), ["meet", "linger", "tidy"]);
    assert_eq!(ran.roles("dying1"), ["meet", "linger!"], "a machine that is off is not tidied");

    let first = play("first", &["meet", "linger"], json!({ "max_failures": 0 }));
    let second = play("second", &["work"], json!({ "always": ["tidy-too"] }));
    let ran = run(&["a", "dying1"], json!([first, second]), 50).await;
    assert_eq!(
        ran.roles("a"),
        ["meet", "linger"],
        "a play that was stopped before its first role was not begun"
    );

    let look = play("look", &["risk"], json!({ "any_errors_fatal": true, "always": ["tidy"] }));
    let change = play("change", &["work"], json!({ "always": ["tidy-too"] }));
    let ran = run(&["a", "bad1"], json!([look, change]), 50).await;
    assert_eq!(ran.roles("a"), ["risk", "tidy"]);
}

#[tokio::test]
async fn what_always_runs_runs_when_the_user_interrupts_and_nothing_else_does() {
    let cancel = CancellationToken::new();
    let plays = json!([
        play("p", &["linger", "work"], json!({ "always": ["tidy", "tidy-elsewhere"] })),
        play("q", &["work"], json!({}))
    ]);
    let interrupt = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    };
    // Also where it is another machine that does it.
    let (ran, ()) = tokio::join!(run_until(&["a", "b"], plays, 50, cancel.clone()), interrupt);
    assert_eq!(ran.roles("a"), ["linger!", "tidy", "tidy-elsewhere"]);
    assert_eq!(ran.ends(), ["stopped, because it was interrupted"; 2]);
}

#[tokio::test]
async fn who_waits_for_a_host_that_is_interrupted_is_interrupted_and_did_not_fail() {
    let cancel = CancellationToken::new();
    let plays = json!([
        play("p", &["linger", "provide"], json!({ "hosts": "a" })),
        play("q", &["need"], json!({ "hosts": "b" }))
    ]);
    let interrupt = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(run_until(&["a", "b"], plays, 50, cancel.clone()), interrupt);
    assert_eq!(ran.ends(), ["stopped, because it was interrupted"; 2]);
}

#[tokio::test]
async fn machines_that_may_be_off_are_passed_over_where_they_have_no_other_part() {
    let may = |plays: &[bool]| {
        let plays = plays.iter().map(|may| play("p", &["work"], json!({ "may_be_off": may })));
        json!(plays.collect::<Vec<_>>())
    };
    let ran = run(&["a", "off1"], may(&[true, true]), 50).await;
    assert_eq!((ran.ends(), ran.roles("off1").len()), (vec!["done".to_owned(); 2], 0));
    assert!(ran.warnings()[0].ends_with("it is passed over"), "{:?}", ran.warnings());
    assert_ne!(run(&["a", "off1"], may(&[true, false]), 50).await.ends()[1], "done");
}

#[tokio::test]
async fn what_no_role_of_the_run_brings_about_was_reached_before() {
    let ran = run(&["a", "b"], json!([play("p", &["need-of-role"], json!({}))]), 50).await;
    assert_eq!(ran.ends(), ["done", "done"]);
    let plays = json!([play("p", &["provide"], json!({})), play("q", &["need-of-role"], json!({}))]);
    assert_eq!(
        run(&["a", "bad"], plays, 50).await.ends(),
        ["needs the thing from bad, which failed", "it broke"]
    );
}

#[tokio::test]
async fn hosts_that_wait_for_each_other_do_not_wait_for_ever() {
    let ran = run(&["a", "b", "off"], json!([play("p", &["circle"], json!({}))]), 50).await;
    let ends = ran.ends();
    let told = |end: &String| {
        end.contains("and so does every host of this run for another one: none would ever go on")
    };
    assert!(ends[..2].iter().any(told), "{ends:?}");
    assert!(ends[..2].iter().all(|end| end != "done"), "{ends:?}");
}

#[tokio::test]
async fn the_next_batch_waits_for_what_always_runs() {
    let plays = json!([play("p", &["work"], json!({ "serial": 1, "always": ["linger"] }))]);
    let ran = run(&["a", "b"], plays, 50).await;
    assert_eq!((ran.ends(), ran.most_in("linger")), (vec!["done".to_owned(); 2], 1));
    let begins = ran.events.iter().filter_map(|event| match event {
        Event::RoleStarted { host, role, .. } => Some(format!("{host} {role}")),
        _ => None,
    });
    assert_eq!(begins.collect::<Vec<_>>(), ["a work", "a linger", "b work", "b linger"]);
}
