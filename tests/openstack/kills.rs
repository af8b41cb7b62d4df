//! The program is killed at its requests, one by one; what it leaves is found.

use muster_testkit::fault_record::held;

use crate::fixture::{Test, some};
use crate::proxy::{At, Fault};

const CREATE: [&str; 3] = ["machines", "create", "shop"];
const DELETE: [&str; 4] = ["machines", "delete", "shop", "--yes"];

/// Creations that are killed at these requests. Every second one is followed by a `create`, after which machines run and nothing is
/// there twice; all are followed by a `delete`.
fn killed(test: &Test, kills: &[(usize, Fault)], complete: usize) {
    for (index, (number, fault)) in kills.iter().enumerate() {
        let ended = test.broken(&CREATE, At::Number(*number), *fault);
        assert_eq!(ended.code, None, "killed at {number}: {}{}", ended.stdout, ended.stderr);
        if index % 2 == 0 {
            test.run(&CREATE).code(0);
            let left = test.left();
            assert_eq!(left.len(), complete, "after {fault:?} at request {number}: {left:#?}");
        }
        test.delete();
    }
    held(
        "controller killed",
        "before and after requests that make something in OpenStack",
        kills.len(),
        "the same command makes what is missing and nothing twice; a deletion leaves nothing",
    );
}

#[test]
#[ignore = "the services of OpenStack are installed first; ./test --all"]
fn a_run_that_is_killed_while_it_makes_something_leaves_nothing_that_is_not_found() {
    let Some(test) = Test::begin() else { return };
    // A server, of which the run never hears.
    let ended = test.broken(&CREATE, At::First("POST /4/v2.1/servers"), Fault::KillAfter);
    assert_eq!(ended.code, None, "{}{}", ended.stdout, ended.stderr);
    test.run(&CREATE).code(0);
    let left = test.left();
    assert_eq!(left.iter().filter(|object| object.starts_with("servers")).count(), 2, "{left:#?}");
    test.delete();
}

#[test]
#[ignore = "minutes: requests of a creation, one after the other"]
fn a_creation_may_be_killed_at_each_request() {
    let Some(test) = Test::begin() else { return };
    test.declare_one_machine();
    test.run(&CREATE).code(0);
    let (numbers, complete) = (test.changing(), test.left().len());
    test.delete();
    let sides = |number: &usize| [(*number, Fault::KillBefore), (*number, Fault::KillAfter)];
    let kills = some(numbers.iter().flat_map(sides));
    killed(&test, &kills, complete);
    // Where nothing is changed, one kill is like the other.
    let looking = (1..=numbers[numbers.len() - 1]).filter(|number| !numbers.contains(number));
    for number in some(looking) {
        assert_eq!(test.broken(&CREATE, At::Number(number), Fault::KillBefore).code, None);
        test.delete();
    }
}

#[test]
#[ignore = "minutes: requests of a deletion, one after the other"]
fn a_deletion_may_be_killed_at_each_request() {
    let Some(test) = Test::begin() else { return };
    test.declare_one_machine();
    test.run(&CREATE).code(0);
    test.delete();
    let numbers = some(1..=test.services().proxy.log().len());
    for number in &numbers {
        test.run(&CREATE).code(0);
        let fault = if number % 2 == 0 { Fault::KillBefore } else { Fault::KillAfter };
        let ended = test.broken(&DELETE, At::Number(*number), fault);
        test.delete();
        // It may have come to its end with fewer requests, when servers end sooner.
        assert!(matches!(ended.code, None | Some(0)), "killed at {number}: {}{}", ended.stdout, ended.stderr);
    }
    let injected = "before or after requests of a deletion in OpenStack, one after the other";
    held("controller killed", injected, numbers.len(), "the next one leaves nothing");
}
