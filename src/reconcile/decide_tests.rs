//! The rules, each by what would be done without it.

use super::decide::*;

const NOW: u64 = 100_000;

fn rules() -> Rules {
    Rules {
        unhealthy_limit: 40,
        after: 30,
        boot_time: 300,
        tries: 8,
        pause: 60,
        has_provider: true,
        may_reimage: false,
        may_apply: true,
    }
}

fn unwell() -> Trouble {
    Trouble::Unwell("kubelet is inactive".into())
}

fn silent() -> Trouble {
    Trouble::Silent("no answer".into())
}

fn untrusted() -> Trouble {
    Trouble::Untrusted("another key".into())
}

/// Three control planes with etcd, and three workers, of which some are ill for long.
struct World {
    seen: Seen,
    cases: Cases,
    rules: Rules,
}

impl World {
    fn new(ill: &[(&str, Trouble)]) -> Self {
        let machine = |name: &str| Machine {
            name: name.into(),
            is_plane: name.starts_with('p'),
            is_member: name.starts_with('p'),
            trouble: ill.iter().find(|(of, _)| *of == name).map(|(_, trouble)| trouble.clone()),
            power: Power::Unknown,
            is_here: false,
        };
        let seen = Seen {
            at: NOW,
            machines: ["p1", "p2", "p3", "w1", "w2", "w3"].map(machine).into(),
            ..Seen::default()
        };
        let case = |machine: &Machine| {
            let trouble = machine.trouble.as_ref().map(Trouble::to_string);
            (machine.name.clone(), Case { trouble, since: NOW - 3600, ..Case::default() })
        };
        let cases = seen.machines.iter().map(case).collect();
        Self { seen, cases, rules: rules() }
    }

    fn machine(&mut self, name: &str) -> &mut Machine {
        self.seen.machines.iter_mut().find(|machine| machine.name == name).unwrap()
    }

    fn case(&mut self, name: &str) -> &mut Case {
        self.cases.get_mut(name).unwrap()
    }

    /// It was tried so long ago, the last one last, and the pause after it is over.
    fn tried(mut self, name: &str, steps: &[Step]) -> Self {
        let tries = steps.iter().map(|step| Try { step: *step, at: NOW - 2000, outcome: "done".into() });
        self.case(name).tries = tries.collect();
        self
    }

    fn decisions(&self) -> Vec<Decision> {
        decide(&self.seen, &self.cases, &self.rules)
    }

    /// What is decided about a machine, with the reason.
    fn about(&self, name: &str) -> (Verdict, String) {
        let decision = self.decisions().into_iter().find(|decision| decision.machine == name).unwrap();
        (decision.verdict, decision.reason)
    }

    fn verdict(&self, name: &str) -> Verdict {
        self.about(name).0
    }
}

#[test]
fn a_cluster_that_is_well_is_left_alone() {
    assert!(World::new(&[]).decisions().iter().all(|decision| decision.verdict == Verdict::Well));
}

#[test]
fn a_declaration_comes_before_machines_that_are_ill_where_it_may_be_applied() {
    let mut world = World::new(&[("w1", unwell())]);
    world.seen.declared = Some("it was changed".into());
    world.seen.drift = vec!["w2: a file".into()];
    world.cases.insert(CLUSTER.into(), Case { since: NOW - 3600, ..Case::default() });
    assert_eq!(world.about(CLUSTER), (Verdict::Do(Step::Apply), "it was changed".into()));
    assert_eq!(world.about("w1"), (Verdict::Wait(None), format!("{CLUSTER} comes first")));
    let of_cluster = |world: &World| world.decisions().iter().filter(|of| of.machine == CLUSTER).count();
    assert_eq!(of_cluster(&world), 1);
    // What fails again and again keeps nobody from healing machines.
    let tried = World { seen: world.seen.clone(), ..World::new(&[("w1", unwell())]) };
    let mut tried = World { cases: world.cases.clone(), ..tried }.tried(CLUSTER, &[Step::Apply; 8]);
    assert_eq!((tried.verdict(CLUSTER), tried.verdict("w1")), (Verdict::Person, Verdict::Do(Step::SetUp)));
    // Nor does one that a person is to apply.
    tried.case(CLUSTER).tries.clear();
    tried.rules.may_apply = false;
    assert_eq!((tried.verdict(CLUSTER), tried.verdict("w1")), (Verdict::Person, Verdict::Do(Step::SetUp)));
    // Where many are ill, or somebody has said so, it waits.
    world.seen.frozen = Some("exam".into());
    assert_eq!((world.verdict(CLUSTER), of_cluster(&world)), (Verdict::Wait(None), 1));
}

#[test]
fn a_declaration_is_remembered_as_what_is_wrong_with_the_cluster_until_it_was_applied() {
    let mut world = World::new(&[]);
    world.seen.declared = Some("it was changed".into());
    remember(&mut world.cases, &world.seen);
    let case = world.case(CLUSTER).clone();
    assert_eq!((case.trouble.as_deref(), case.since), (Some("it was changed"), NOW));
    assert_eq!(world.verdict(CLUSTER), Verdict::Wait(Some(NOW + 30)), "it may be edited bit by bit");
    world.seen.declared = None;
    remember(&mut world.cases, &world.seen);
    assert_eq!(world.case(CLUSTER).trouble, None);
}

#[test]
fn the_mildest_step_comes_first_and_a_stronger_one_after_two_tries() {
    use Step::{Power as Cycle, Reimage, SetUp};
    let mut rules = rules();
    let next = |rules: &Rules, tried: &[Step]| {
        let world = World { rules: rules.clone(), ..World::new(&[("w1", unwell())]).tried("w1", tried) };
        world.verdict("w1")
    };
    assert_eq!(next(&rules, &[]), Verdict::Do(SetUp));
    assert_eq!(next(&rules, &[SetUp]), Verdict::Do(SetUp));
    assert_eq!(next(&rules, &[SetUp, SetUp]), Verdict::Do(Cycle));
    // A new system only where that is allowed.
    assert_eq!(next(&rules, &[SetUp, SetUp, Cycle, Cycle]), Verdict::Do(SetUp));
    rules.may_reimage = true;
    assert_eq!(next(&rules, &[SetUp, SetUp, Cycle, Cycle]), Verdict::Do(Reimage));
    // This computer is not switched off by what runs on it.
    let mut here = World { rules: rules.clone(), ..World::new(&[("w1", unwell())]) };
    here = here.tried("w1", &[SetUp, SetUp]);
    here.machine("w1").is_here = true;
    assert_eq!(here.verdict("w1"), Verdict::Do(SetUp));
    // And only by a provider.
    rules.has_provider = false;
    assert_eq!(next(&rules, &[SetUp, SetUp]), Verdict::Do(SetUp));
}

#[test]
fn a_silent_machine_is_switched_on_at_once_and_one_that_may_be_starting_is_waited_for() {
    let mut world = World::new(&[("w1", silent())]);
    assert_eq!(world.verdict("w1"), Verdict::Do(Step::Power));
    world.case("w1").since = NOW - 60;
    assert_eq!(world.verdict("w1"), Verdict::Wait(Some(NOW - 60 + 300)));
    // The same after what was done to it.
    let mut after = World::new(&[("w1", silent())]);
    after.case("w1").tries = vec![Try { step: Step::Power, at: NOW - 100, outcome: "done".into() }];
    assert_eq!(after.verdict("w1"), Verdict::Wait(Some(NOW - 100 + 300)));
    world.machine("w1").power = Power::Off;
    assert_eq!(world.verdict("w1"), Verdict::Do(Step::Power));
    // Without a provider a person is told what to do.
    world.rules.has_provider = false;
    let (verdict, reason) = world.about("w1");
    assert_eq!(verdict, Verdict::Person);
    assert!(reason.contains("muster remove-node w1"), "{reason}");
}

#[test]
fn a_new_host_key_is_believed_only_after_our_own_new_system() {
    let mut world = World::new(&[("w1", untrusted())]);
    let (verdict, reason) = world.about("w1");
    assert_eq!(verdict, Verdict::Person);
    assert!(reason.contains("muster replace-node w1"), "{reason}");
    // The provider's new system makes it known again what is there.
    world.rules.may_reimage = true;
    assert_eq!(world.verdict("w1"), Verdict::Do(Step::Reimage));
    world.case("w1").reimaged = true;
    assert_eq!(world.verdict("w1"), Verdict::Do(Step::Replace));
}

#[test]
fn a_bare_machine_takes_its_place_and_one_that_nobody_can_log_in_to_is_for_a_person() {
    assert_eq!(World::new(&[("w1", Trouble::Bare)]).verdict("w1"), Verdict::Do(Step::Replace));
    assert_eq!(World::new(&[("w1", Trouble::Closed("refused".into()))]).verdict("w1"), Verdict::Person);
}

#[test]
fn nothing_is_done_where_many_are_ill() {
    let two = [("w1", unwell()), ("w2", unwell())];
    assert_eq!(World::new(&two).verdict("w1"), Verdict::Do(Step::SetUp));
    let three = [("w1", unwell()), ("w2", silent()), ("w3", silent())];
    let mut world = World::new(&three);
    assert!(world.decisions().iter().all(|decision| !matches!(decision.verdict, Verdict::Do(_))));
    let (verdict, reason) = world.about("w1");
    assert_eq!(verdict, Verdict::Person);
    assert!(reason.contains("ill are 3 of 6 machines, more than 40 %"), "{reason}");
    world.rules.unhealthy_limit = 50;
    assert_eq!(world.verdict("w1"), Verdict::Do(Step::SetUp));
}

#[test]
fn nothing_is_done_while_it_is_frozen_or_somebody_else_is_at_work() {
    let held = |change: fn(&mut Seen), told: &str| {
        let mut world = World::new(&[("w1", unwell())]);
        world.seen.drift = vec!["w2: file /a".into()];
        world.cases.insert(CLUSTER.into(), Case::default());
        change(&mut world.seen);
        for name in ["w1", CLUSTER] {
            let (verdict, reason) = world.about(name);
            assert_eq!(verdict, Verdict::Wait(None), "{told}");
            assert!(reason.contains(told), "{reason}");
        }
    };
    held(|seen| seen.frozen = Some("exam until 14:00".into()), "frozen: exam until 14:00");
    held(|seen| seen.healer = Some("bob@desk in /x".into()), "bob@desk in /x heals this cluster");
    held(
        |seen| seen.at_work = Some("ada with upgrade-cluster on w1".into()),
        "ada with upgrade-cluster on w1",
    );
}

#[test]
fn something_has_to_last_tries_have_pauses_and_an_end() {
    let mut world = World::new(&[("w1", unwell())]);
    world.case("w1").since = NOW - 29;
    assert_eq!(world.verdict("w1"), Verdict::Wait(Some(NOW + 1)));
    world.case("w1").since = NOW - 30;
    assert_eq!(world.verdict("w1"), Verdict::Do(Step::SetUp));
    world.case("w1").next = NOW + 1;
    assert_eq!(world.verdict("w1"), Verdict::Wait(Some(NOW + 1)));
    let world = World::new(&[("w1", unwell())]).tried("w1", &[Step::SetUp; 8]);
    let (verdict, reason) = world.about("w1");
    assert_eq!((verdict, reason.as_str()), (Verdict::Person, "tried 8 times, set-up last: done"));
}

#[test]
fn pauses_double_up_to_half_an_hour() {
    let mut case = Case::default();
    let mut pause = || {
        remember_try(&mut case, Step::SetUp, NOW, Err("exit code 2".into()), &rules());
        case.next - NOW
    };
    assert_eq!(
        [pause(), pause(), pause(), pause(), pause(), pause(), pause()],
        [60, 120, 240, 480, 960, 1800, 1800]
    );
}

#[test]
fn only_one_thing_is_done_and_what_carries_the_cluster_comes_first() {
    let world = World::new(&[("w1", unwell()), ("p2", unwell())]);
    assert_eq!((world.verdict("p2"), world.verdict("w1")), (Verdict::Do(Step::SetUp), Verdict::Wait(None)));
    // Then who was cared for least.
    let world = World::new(&[("w1", unwell()), ("w2", unwell())]).tried("w1", &[Step::SetUp]);
    assert_eq!((world.verdict("w1"), world.verdict("w2")), (Verdict::Wait(None), Verdict::Do(Step::SetUp)));
    // Who has to wait holds up nobody.
    let mut world = World::new(&[("w1", unwell()), ("w2", unwell())]);
    world.case("w1").next = NOW + 60;
    assert_eq!(world.verdict("w2"), Verdict::Do(Step::SetUp));
}

#[test]
fn etcd_keeps_its_majority() {
    // Of three members two are well without it.
    assert_eq!(World::new(&[("p1", silent())]).verdict("p1"), Verdict::Do(Step::Power));
    assert_eq!(World::new(&[("p1", Trouble::Bare)]).verdict("p1"), Verdict::Do(Step::Replace));
    // What does not answer us may still be a member that works.
    let mut world = World::new(&[("p1", silent()), ("p2", silent())]);
    for name in ["p1", "p2"] {
        let (verdict, reason) = world.about(name);
        assert_eq!(verdict, Verdict::Person);
        assert!(reason.contains("without it etcd would have no majority of its 3 members"), "{reason}");
    }
    // One that is off is no member that works, and to start what does not run takes nothing away.
    world.machine("p2").power = Power::Off;
    assert_eq!(world.verdict("p2"), Verdict::Do(Step::Power));
    world.machine("p1").trouble = Some(unwell());
    world.machine("p2").power = Power::Unknown;
    assert_eq!(world.verdict("p1"), Verdict::Do(Step::SetUp));
}

#[test]
fn a_control_plane_stays_and_one_comes_back_before_the_next_one() {
    let mut world = World::new(&[("p1", silent())]);
    for name in ["p2", "p3"] {
        world.machine(name).is_plane = false;
    }
    let (verdict, reason) = world.about("p1");
    assert_eq!(verdict, Verdict::Person);
    assert!(reason.contains("no other control plane is well"), "{reason}");

    // Of two control planes without a member of etcd the other one is still starting.
    let mut world = World::new(&[("p1", silent()), ("p2", silent())]);
    for name in ["p1", "p2", "p3"] {
        world.machine(name).is_member = false;
    }
    world.case("p1").next = NOW + 60;
    let (verdict, reason) = world.about("p2");
    assert_eq!(verdict, Verdict::Wait(None));
    assert!(reason.contains("p1 comes back first"), "{reason}");
}

#[test]
fn drift_comes_last() {
    let mut world = World::new(&[]);
    world.seen.drift = vec!["w2: file /etc/containerd/config.toml".into()];
    world.cases.insert(CLUSTER.into(), Case { since: NOW - 60, ..Case::default() });
    assert_eq!(world.verdict(CLUSTER), Verdict::Do(Step::SetUp));
    world.machine("w1").trouble = Some(unwell());
    assert_eq!(
        (world.verdict("w1"), world.verdict(CLUSTER)),
        (Verdict::Do(Step::SetUp), Verdict::Wait(None))
    );
    let mut again = World { cases: Cases::new(), ..World::new(&[]) };
    again.seen.drift = vec!["w2: file /a".into()];
    let tries = vec![Try { step: Step::SetUp, at: NOW, outcome: "done".into() }; 8];
    again.cases.insert(CLUSTER.into(), Case { since: NOW - 60, tries, ..Case::default() });
    assert_eq!(again.verdict(CLUSTER), Verdict::Person);
}

#[test]
fn what_was_tried_is_forgotten_only_after_a_machine_was_well_for_long() {
    let World { mut seen, mut cases, .. } = World::new(&[("w1", unwell())]).tried("w1", &[Step::SetUp]);
    let mut at = |time: u64, trouble: Option<Trouble>| {
        seen.at = time;
        seen.machines[3].trouble = trouble;
        remember(&mut cases, &seen);
        cases["w1"].clone()
    };
    let ill = at(NOW, Some(silent()));
    assert_eq!((ill.since, ill.trouble.as_deref()), (NOW - 3600, Some("no answer")), "it is still ill");
    assert_eq!(at(NOW + 10, None).since, NOW + 10);
    assert_eq!(at(NOW + 300, None).tries.len(), 1);
    let again = at(NOW + 400, Some(unwell()));
    assert_eq!((again.since, again.tries.len()), (NOW + 400, 1), "it was not healed");
    at(NOW + 500, None);
    assert_eq!(at(NOW + 1099, None).tries.len(), 1);
    assert_eq!(at(NOW + 1100, None).tries.len(), 0);
    seen.machines.retain(|machine| machine.name != "w1");
    remember(&mut cases, &seen);
    assert!(!cases.contains_key("w1") && cases.contains_key(CLUSTER), "it is not in the inventory any more");
}

#[test]
fn that_a_machine_was_given_a_new_system_is_known_until_it_has_taken_its_place() {
    let mut case = Case { trouble: Some("no answer".into()), ..Case::default() };
    remember_try(&mut case, Step::Reimage, NOW, Err("no image".into()), &rules());
    assert!(!case.reimaged, "a provider that has failed proves no key");
    remember_try(&mut case, Step::Reimage, NOW, Ok(()), &rules());
    assert_eq!((case.reimaged, case.next), (true, NOW), "its next step is due as soon as it answers");
    remember_try(&mut case, Step::Replace, NOW, Err("exit code 2".into()), &rules());
    assert!(case.reimaged);
    remember_try(&mut case, Step::Replace, NOW, Ok(()), &rules());
    assert!(!case.reimaged);
    // One that is well has its place.
    let World { seen, mut cases, .. } = World::new(&[]);
    cases.get_mut("w1").unwrap().reimaged = true;
    remember(&mut cases, &seen);
    assert!(!cases["w1"].reimaged);
}
