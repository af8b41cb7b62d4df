//! The program is killed, cut off and refused at its requests, one by one; what it leaves is found.

use crate::fixture::Test;
use crate::proxy::Fault;

const CREATE: [&str; 3] = ["machines", "create", "shop"];
const DELETE: [&str; 4] = ["machines", "delete", "shop", "--yes"];

/// The numbers of the requests that change something, of a run that is not disturbed.
fn changing(test: &Test) -> Vec<usize> {
    let log = test.services().proxy.log();
    let is_changing = |request: &str| !request.starts_with("GET") && !request.ends_with("/v3/auth/tokens");
    (1..=log.len()).filter(|number| is_changing(&log[number - 1])).collect()
}

/// Each kill is followed by a `create`, after which machines run and nothing is there twice, or by a `delete` at once.
fn killed(test: &Test, numbers: &[usize], complete: usize) {
    for (index, number) in numbers.iter().enumerate() {
        for fault in [Fault::KillBefore, Fault::KillAfter] {
            let ended = test.run_with(&CREATE, Some((*number, fault)), &[]);
            assert_eq!(ended.code, None, "killed at {number}: {}{}", ended.stdout, ended.stderr);
            if index % 2 == 0 {
                test.run(&CREATE).code(0);
                assert_eq!(
                    test.left().len(),
                    complete,
                    "after {fault:?} at request {number}: {:#?}",
                    test.left()
                );
            }
            test.delete();
        }
    }
}

#[test]
fn a_run_that_is_killed_while_it_makes_something_leaves_nothing_that_is_not_found() {
    let Some(test) = Test::begin() else { return };
    test.run(&CREATE).code(0);
    let numbers = changing(&test);
    let complete = test.left().len();
    test.delete();
    // The last one, which makes a server.
    killed(&test, &numbers[numbers.len() - 1..], complete);
}

#[test]
#[ignore = "minutes: each request of a creation and of a deletion"]
fn a_run_may_be_killed_at_each_request() {
    let Some(test) = Test::begin() else { return };
    test.run(&CREATE).code(0);
    let requests = test.services().proxy.log().len();
    let complete = test.left().len();
    test.delete();
    let all: Vec<usize> = (1..=requests).collect();
    killed(&test, &all, complete);
    // A deletion that is killed is finished by the next one.
    for number in 1.. {
        test.run(&CREATE).code(0);
        let fault = if number % 2 == 0 { Fault::KillBefore } else { Fault::KillAfter };
        let ended = test.run_with(&DELETE, Some((number, fault)), &[]);
        test.delete();
        if ended.code == Some(0) {
            break;
        }
    }
}

#[test]
#[ignore = "a minute: three creations"]
fn an_answer_that_is_lost_makes_nothing_twice_and_a_login_that_runs_out_is_renewed() {
    let Some(test) = Test::begin() else { return };
    test.run(&CREATE).code(0);
    let numbers = changing(&test);
    let complete = test.left().len();
    test.delete();
    let server = numbers[numbers.len() - 1];
    for (number, fault) in
        [(server, Fault::Cut), (numbers[1], Fault::Status(503)), (numbers[0], Fault::TokenGone)]
    {
        test.run_with(&CREATE, Some((number, fault)), &[]).code(0);
        assert_eq!(test.left().len(), complete, "{fault:?} at request {number}");
        test.delete();
    }
}
