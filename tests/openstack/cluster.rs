//! Plans of declared clusters, compared with servers of the real services; what would come after them needs a system inside.

use muster_openstack::{Clouds, Deletion, Machines, Mark, Session, Surroundings};

use crate::fixture::Test;

#[test]
#[ignore = "half a minute: a creation"]
fn a_plan_is_of_what_the_cloud_has_and_does_nothing() {
    let Some(test) = Test::begin() else { return };
    let plan = || test.run(&["cluster", "plan", "shop"]);
    plan().code(1).says("2 machines to be made");
    assert_eq!(test.left(), [""; 0], "it only looks");
    test.run(&["machines", "create", "shop"]).code(0);
    let all = test.left();
    plan().code(0).says("2 machines as declared");

    // Another flavor for the worker, and two more workers.
    let worker = "roles: [worker]\n    count: 1\n    flavor: small";
    test.declare(worker, "roles: [worker]\n    count: 3\n    flavor: medium");
    let changed = plan();
    changed.code(1).says("2 machines to be made, 1 machine to be replaced");
    for words in ["leaves when shop-worker-4 has joined", "its flavor is small, and medium is declared"] {
        assert!(changed.stdout.contains(words), "{words}: {}", changed.stdout);
    }
    test.declare(
        "roles: [worker]\n    count: 3\n    flavor: medium",
        "roles: [worker]\n    count: 0\n    flavor: small",
    );
    let fewer = plan();
    fewer.code(1).says("1 machine to be removed");
    assert!(fewer.stdout.contains("leaves, and is removed"), "{}", fewer.stdout);
    test.declare("image: debian-12\n    user_data", "image: debian-13\n    user_data");
    plan().code(4).says("the cloud has no image \"debian-13\"; did you mean \"debian-12\"?");
    assert_eq!((test.changing(), test.left()), (Vec::new(), all), "plans change nothing");
    test.declare("image: debian-13\n    user_data", "image: debian-12\n    user_data");

    // Nobody is there to type the name; then everything goes, and nothing else.
    test.run(&["cluster", "delete", "shop"]).code(5).says("there is no terminal to ask");
    test.run(&["cluster", "delete", "shop", "--what-if"]).code(0).says("12 objects of shop would be removed");
    test.run(&["cluster", "delete", "shop", "--yes"]).code(0).says("nothing is left of shop");
    assert_eq!(test.left(), [""; 0]);
    plan().code(1).says("1 machine to be made");
}

#[test]
#[ignore = "half a minute: a creation"]
fn one_machine_is_removed_with_its_port_and_address_and_nothing_else_is() {
    let Some(test) = Test::begin() else { return };
    test.run(&["machines", "create", "shop"]).code(0);
    let all = test.left();
    let id = test.read("clusters/shop/identity.yml");
    let id = id.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().trim_matches('"').to_owned();
    let variables = [
        ("OS_AUTH_URL", format!("http://127.0.0.1:{}", test.services().proxy.port)),
        ("OS_USERNAME", "demo".to_owned()),
        ("OS_PASSWORD", "demo".to_owned()),
        ("OS_PROJECT_NAME", "demo".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
    let surroundings = Surroundings { variables, home: None, here: test.path("") };
    test.services().proxy.reset(None);
    let session = Session::open(Clouds::read(surroundings).unwrap().choose(None).unwrap()).unwrap();
    let machines = Machines::new(&session, Mark::new(id), "shop", &|_: &str| ());
    let removed = Deletion::of(&machines, &["cp-1".to_owned()]).unwrap();
    assert_eq!(removed.objects().len(), 3, "{:?}", removed.objects());
    removed.perform().unwrap();
    let left = test.left();
    let gone: Vec<&String> = all.iter().filter(|object| !left.contains(object)).collect();
    let kinds = ["servers", "ports", "floatingips"];
    let of = |kind: &str| gone.iter().filter(|object| object.starts_with(kind)).count();
    assert_eq!((gone.len(), kinds.map(of)), (3, [1, 1, 1]), "{gone:#?}");
    // It was the only control plane: no new one takes its place beside machines of its cluster.
    test.run(&["cluster", "plan", "shop"]).code(4).says("all control planes of the cluster are gone");
    test.delete();
}
