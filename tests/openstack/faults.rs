//! Services that fail, answer late, lie, or refuse in the middle of a run.

use muster_testkit::fault_record::held;
use serde_json::json;

use crate::fixture::{Test, some};
use crate::proxy::{At, Fault};
use crate::services::{NEUTRON, NOVA};

const CREATE: [&str; 3] = ["machines", "create", "shop"];
const DELETE: [&str; 4] = ["machines", "delete", "shop", "--yes"];

#[test]
#[ignore = "the services of OpenStack are installed first; ./test --all"]
fn a_service_that_fails_once_is_asked_again() {
    let Some(test) = Test::begin() else { return };
    // A creation that ends when everything has been looked at.
    test.declare("image: debian-12", "image: debian-13");
    for (request, fault) in [
        ("POST /v3/auth/tokens", Fault::Status(503)),
        ("GET /1/v2/images", Fault::Status(500)),
        ("GET /3/v2.0/ports", Fault::Cut),
        ("GET /4/v2.1/flavors", Fault::Status(504)),
        ("GET /4/v2.1/servers/detail", Fault::TokenGone),
        ("GET /3/v2.0/networks", Fault::Status(429)),
    ] {
        test.broken(&CREATE, At::First(request), fault).code(4).says("did you mean \"debian-12\"?");
        let log = test.services().proxy.log();
        let asked = log.iter().filter(|other| other.starts_with(request)).count();
        assert!(asked > 1, "{request} is asked again: {log:#?}");
    }
    let ended = test.broken(&CREATE, At::Each("GET /1/v2/images"), Fault::Status(503));
    ended.code(1).says("/v2/images?").says("the service answered 503: it does not say why");
    assert_eq!(test.left(), [""; 0]);
}

#[test]
#[ignore = "a minute: creations that are refused, and one that is not"]
fn what_is_refused_in_the_middle_is_told_and_the_run_after_it_goes_on() {
    let Some(test) = Test::begin() else { return };
    let admin = test.services().login("admin");
    let quota = |service: u16, what: &str, most: i32| {
        let (path, key) = match service {
            NOVA => ("/os-quota-sets", "quota_set"),
            _ => ("/quotas", "quota"),
        };
        let path = format!("{path}/{}", test.login().project);
        admin.ask(service, "PUT", &path, Some(json!({key: {what: most}})));
    };
    let refused = |service: u16, what: &str, most: i32| {
        quota(service, what, most);
        let ended = test.run(&CREATE);
        quota(service, what, 100);
        ended
    };
    for (service, what, most) in [
        (NEUTRON, "security_group", 2),
        (NEUTRON, "port", 1),
        (NEUTRON, "floatingip", 0),
        (NOVA, "key_pairs", 0),
    ] {
        refused(service, what, most)
            .code(1)
            .says("could not be made")
            .says("hint: have the project's quota raised");
        test.delete();
    }
    // nova refuses the second server at once, or, where both were asked for at the same moment, when it is to be built.
    refused(NOVA, "instances", 1).code(1).says("Quota exceeded for instances");
    // Other refusals, which these services do not have.
    let post = At::First("POST /4/v2.1/servers");
    test.broken(&CREATE, post, Fault::Status(413))
        .code(1)
        .says("(413)")
        .says("hint: have the project's quota");
    test.broken(&CREATE, post, Fault::Status(403)).code(1).says("was refused (403)");
    test.broken(&CREATE, At::Each("POST /4/v2.1/servers"), Fault::Status(503))
        .code(1)
        .says("the service answered 503")
        .says("hint: run the same command again");
    test.run(&CREATE).code(0);
    test.delete();
}

#[test]
#[ignore = "minutes: a creation for each request that changes something"]
fn an_answer_that_is_lost_makes_nothing_twice() {
    let Some(test) = Test::begin() else { return };
    test.declare_one_machine();
    test.run(&CREATE).code(0);
    let (numbers, complete) = (some(test.changing()), test.left().len());
    test.delete();
    let faults = [Fault::Cut, Fault::Status(503), Fault::Cut, Fault::TokenGone];
    for (number, fault) in numbers.iter().zip(faults.iter().cycle()) {
        test.broken(&CREATE, At::Number(*number), *fault).code(0);
        let left = test.left();
        assert_eq!(left.len(), complete, "{fault:?} at request {number}: {left:#?}");
        test.delete();
    }
    let injected =
        "lost answers, 503 and logins that ran out, at each request that makes something in OpenStack";
    held("service broken", injected, numbers.len(), "the run goes on, and makes nothing twice");
}

#[test]
#[ignore = "two minutes: nobody waits for an answer for less"]
fn an_answer_that_never_comes_is_given_up() {
    let Some(test) = Test::begin() else { return };
    test.broken(&CREATE, At::First("POST /3/v2.0/ports"), Fault::Silence)
        .code(0)
        .says("looking whether it was made");
    test.delete();
}

#[test]
#[ignore = "a minute: three creations"]
fn a_machine_that_never_ran_is_made_anew() {
    let Some(test) = Test::begin() else { return };
    let admin = test.services().login("admin");
    let huge = json!({"flavor": {"name": "huge", "vcpus": 1, "ram": 512, "disk": 100000}});
    let flavor = admin.ask(NOVA, "POST", "/flavors", Some(huge))["flavor"]["id"].clone();
    test.declare(
        "count: 1\n    flavor: small\n    image: debian-12\n    user",
        "count: 1\n    flavor: huge\n    image: debian-12\n    user",
    );
    let no_room = "the machine shop-worker-1 does not run, but is ERROR: No valid host was found";
    test.run(&CREATE).code(1).says(no_room).says("it makes anew those that never ran");
    let complete = test.left().len();
    test.run(&["machines", "list", "shop"]).code(1);
    test.run(&CREATE).code(1).says("never ran: made anew").says(no_room);
    test.declare("flavor: huge", "flavor: small");
    test.run(&CREATE).code(0);
    assert_eq!(test.left().len(), complete, "nothing is there twice");
    // One that ran is kept, whatever has become of it.
    let server = test.login().ask(NOVA, "GET", "/servers?name=shop-cp-1", None)["servers"][0]["id"].clone();
    let path = format!("/servers/{}/action", server.as_str().unwrap());
    admin.ask(NOVA, "POST", &path, Some(json!({"os-resetState": {"state": "error"}})));
    test.run(&CREATE).code(1).says("the machine shop-cp-1 does not run, but is ERROR");
    let again = test.login().ask(NOVA, "GET", "/servers?name=shop-cp-1", None)["servers"][0]["id"].clone();
    assert_eq!(again, server);
    test.delete();
    admin.ask(NOVA, "DELETE", &format!("/flavors/{}", flavor.as_str().unwrap()), None);
}

#[test]
#[ignore = "a minute: two creations"]
fn a_deletion_goes_on_after_conflicts_and_says_what_it_could_not_remove() {
    let Some(test) = Test::begin() else { return };
    test.run(&CREATE).code(0);
    let network = "DELETE /3/v2.0/networks";
    test.broken(&DELETE, At::Each(network), Fault::Status(403))
        .code(1)
        .says("network shop (")
        .says("could not be removed")
        .says("hint: run the same command again");
    let left = test.left();
    assert!(left.iter().all(|object| object.starts_with("networks shop")), "{left:#?}");
    test.broken(&DELETE, At::First(network), Fault::Status(409)).code(0);
    assert_eq!(test.left(), [""; 0]);
    // A lost answer: the second request finds nothing.
    test.run(&CREATE).code(0);
    test.broken(&DELETE, At::First("DELETE /3/v2.0/routers"), Fault::Cut).code(0);
    assert_eq!(test.left(), [""; 0]);
}
