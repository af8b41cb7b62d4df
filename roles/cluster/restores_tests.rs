//! What follows from restores of etcd that machines have gone through.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::restores::MemberList;
use super::standing::{Standing, Wanted};
use super::tests::{member, standing, worker};

#[test]
fn while_a_restore_of_etcd_is_not_finished_nothing_else_is_done() {
    let mut seen = member(1, "etcd1");
    seen.etcd.restoring = Some("restored-1 ab12 7 saved".into());
    seen.etcd.restore_begun = true;
    let standing = standing(&[("a", Some(seen)), ("w", Some(worker(1)))]);
    let wanted = Wanted { etcd: true, etcd_data_dir: "/var/lib/etcd".into(), ..Wanted::default() };
    for name in ["a", "w"] {
        let found: Vec<String> =
            standing.problems(name, &wanted).into_iter().map(|problem| problem.found).collect();
        assert!(
            found.contains(&"a restore of etcd was begun on a and did not come to its end".to_owned()),
            "{found:?}"
        );
    }
    assert!(standing.misfits("a", &wanted).iter().all(|problem| !problem.found.contains("restore")));
}

#[test]
fn a_restore_of_etcd_that_was_only_prepared_is_none() {
    let marked = || {
        let mut seen = member(1, "etcd1");
        seen.etcd.restoring = Some("restored-1 ab12 7 saved".into());
        seen
    };
    let nobody = BTreeSet::new();
    assert_eq!(standing(&[("a", Some(marked()))]).begun_restore(&nobody), None);
    // A control plane was stopped already.
    let mut stopped = member(1, "etcd2");
    stopped.etcd.restore_begun = true;
    assert_eq!(standing(&[("a", Some(marked())), ("b", Some(stopped))]).begun_restore(&nobody), Some("a"));
    // One that cannot be asked may have been, unless it is lost.
    let one_is_off = standing(&[("a", Some(marked())), ("b", None)]);
    assert_eq!(one_is_off.begun_restore(&nobody), Some("a"));
    assert_eq!(one_is_off.begun_restore(&["b".to_owned()].into()), None);
}

#[test]
fn a_machine_that_is_off_does_not_make_a_restore_of_one_that_was_only_prepared() {
    let nobody = BTreeSet::new();
    let marked = |begun: bool| {
        let mut seen = member(1, "etcd1");
        seen.etcd.restoring = Some("restored-1 ab12 7 saved".into());
        seen.etcd.restore_begun = begun;
        Some(seen)
    };
    let is_off = |begun| standing(&[("a", marked(begun)), ("b", marked(false)), ("c", None)]);
    assert!(is_off(false).needs_lists());
    assert!(!standing(&[("a", marked(false)), ("b", marked(false))]).needs_lists());
    // Without a majority of its own etcd may have stopped for it where nobody answers.
    let mut machines = is_off(false);
    lists(&mut machines, "b", false, &[0, 1, 2]);
    assert_eq!(machines.begun_restore(&nobody), Some("a"));
    lists(&mut machines, "b", true, &[0, 1, 2]);
    assert_eq!(machines.begun_restore(&nobody), None);
    assert!(machines.unfinished_restore().is_none());
    // One that was stopped says so, whatever etcd can do without it.
    let mut machines = is_off(true);
    lists(&mut machines, "b", true, &[0, 1, 2]);
    assert_eq!(machines.begun_restore(&nobody), Some("a"));
}

#[test]
fn a_restore_does_not_begin_without_a_machine_that_it_would_stop() {
    let of = |machines: &Standing, without: &[&str]| -> Vec<(String, String)> {
        let without = without.iter().map(|host| (*host).to_owned()).collect();
        machines.missing_for_restore(&without).into_iter().map(|p| (p.found, p.remedy)).collect()
    };
    // A control plane, be it a member or not.
    let machines = standing(&[("a", Some(member(1, "etcd1"))), ("b", None)]);
    let told = of(&machines, &[]);
    assert!(
        told.len() == 1
            && told[0].0 == "b could not be asked (no answer)"
            && told[0].1.ends_with("muster remove-node b"),
        "{told:?}"
    );
    assert!(of(&machines, &["b"]).is_empty());
    // A worker begins its pods anew later.
    assert!(of(&standing(&[("w", None)]), &[]).is_empty());
    // Nothing else is possible in the middle of a restore.
    let mut stopped = member(1, "etcd1");
    stopped.etcd.restoring = Some("restored-1 ab12 7 saved".into());
    stopped.etcd.restore_begun = true;
    let told = of(&standing(&[("a", Some(stopped)), ("c", None)]), &[]);
    assert!(told[0].1.ends_with("take it out of the inventory"), "{told:?}");
}

#[test]
fn data_beside_which_a_restore_was_only_prepared_may_be_from_before_another_one() {
    let mut machines = restored([Some("1-1"), None]);
    lists(&mut machines, "a", true, &[0]);
    let mut seen = member(1, "etcd1");
    seen.etcd.peer_url = Some("https://192.0.2.1:2380".into());
    seen.etcd.restoring = Some("restored-1-5-ab12cd34 ab12 7 saved".into());
    machines.machines.insert("b".into(), Ok(Arc::new(seen)));
    assert_eq!(judged(&machines), "-o");
}

/// Members a, b, ..., with the lines of the restores that they have gone through.
fn restored<const N: usize>(lines: [Option<&str>; N]) -> Standing {
    let member = |(number, line): (usize, Option<&str>)| {
        let mut seen = member(1, "etcd1");
        seen.etcd.restored = line.map(|line| format!("restored-{line}-ab12cd34 ab12 7 saved"));
        seen.etcd.peer_url = Some(format!("https://192.0.2.{number}:2380"));
        (["a", "b", "c"][number], Some(seen))
    };
    standing(&lines.into_iter().enumerate().map(member).collect::<Vec<_>>())
}

/// Says whom a member lists, by number.
fn lists(machines: &mut Standing, name: &str, has_majority: bool, members: &[usize]) {
    let urls: Vec<String> = members.iter().map(|number| format!("https://192.0.2.{number}:2380")).collect();
    machines.lists.insert(name.into(), MemberList { voters: urls.clone(), urls, has_majority });
}

/// What is found wrong with each one's data: `-` nothing, `o` outdated, `?` nobody can tell.
fn judged(machines: &Standing) -> String {
    let wanted = Wanted { etcd: true, etcd_data_dir: "/var/lib/etcd".into(), ..Wanted::default() };
    let of = |name: &String| {
        let found: String = machines.misfits(name, &wanted).into_iter().map(|p| p.found).collect();
        if found.contains("from before") {
            'o'
        } else if found.contains("has no note") {
            '?'
        } else {
            '-'
        }
    };
    machines.with_data().map(|(name, _)| of(&name.to_owned())).collect()
}

#[test]
fn data_from_before_a_restore_does_not_come_back() {
    for (lines, expected) in [
        ([None, None], "--"),
        ([Some("7-1"), Some("7-1")], "--"),
        ([Some("2-1"), Some("1-1")], "-o"),
        // It was never restored, and nobody says whether it joined after the other one was.
        ([Some("1-1"), None], "-?"),
    ] {
        assert_eq!(judged(&restored(lines)), expected, "{lines:?}");
    }
    // An older muster had seconds there.
    assert_eq!(restored([Some("1790000000"), None]).generation(), 1_790_000_000);
}

#[test]
fn data_from_before_a_restore_keeps_no_machine_from_being_stopped_that_is_given_up() {
    let mut machines = restored([Some("1-1"), None]);
    let refused = |machines: &Standing, name: &str| {
        machines.not_to_be_fenced(name, name).map(|problem| problem.found).unwrap_or_default()
    };
    assert_eq!((judged(&machines).as_str(), refused(&machines, "b")), ("-?", String::new()));
    lists(&mut machines, "a", false, &[0]);
    assert_eq!((judged(&machines).as_str(), refused(&machines, "b")), ("-o", String::new()));
    // But not what is another cluster's, nor what nobody has seen.
    let others = standing(&[
        ("a", Some(member(1, "etcd1"))),
        ("b", Some(member(2, "etcd2"))),
        ("c", None),
        ("w", Some(worker(1))),
    ]);
    assert_eq!(refused(&others, "b"), "b holds etcd of another cluster");
    assert_eq!(refused(&others, "c"), "which cluster c is in is not known (no answer)");
    assert_eq!(refused(&others, "w"), "the machine at the address of w is the node a");
}

#[test]
fn etcd_itself_says_whose_data_is_the_clusters() {
    // A member that joined through an older muster, which left no note, or was restored by a clock that was wrong.
    for own in [None, Some("1-1")] {
        let mut machines = restored([Some("2-1"), own]);
        assert!(machines.restores_differ());
        lists(&mut machines, "a", true, &[0, 1]);
        assert_eq!((judged(&machines).as_str(), machines.was_left_behind("b")), ("--", false));
        assert_eq!(machines.restore_to_note("b"), Some("restored-2-1-ab12cd34 ab12 7 saved"));
        lists(&mut machines, "a", true, &[0]);
        assert_eq!((judged(&machines).as_str(), machines.was_left_behind("b")), ("-o", true));
        assert_eq!(machines.restore_to_note("b"), None);
        // Without a majority its word is taken, but not for taking anything away.
        lists(&mut machines, "a", false, &[0]);
        assert_eq!((judged(&machines).as_str(), machines.was_left_behind("b")), ("-o", false));
        lists(&mut machines, "a", false, &[0, 1]);
        assert_eq!(judged(&machines), "--");
    }
    // The one that was given up knows of more restores than those that went on.
    let mut machines = restored([None, Some("9-1")]);
    lists(&mut machines, "a", true, &[0]);
    assert_eq!(judged(&machines), "-o");
    // It works with others, whatever a lonely one says.
    let mut machines = restored([Some("9-1"), Some("1-1"), Some("1-1")]);
    lists(&mut machines, "a", false, &[0]);
    lists(&mut machines, "b", true, &[1, 2]);
    lists(&mut machines, "c", true, &[1, 2]);
    assert_eq!(judged(&machines), "o--");
    assert!(!restored([Some("1-1"), Some("1-1")]).restores_differ());
}
