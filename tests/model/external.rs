//! A cluster of model machines goes over to a load balancer in front of its API servers, and back.

use muster_roles::Removal;
use muster_testkit::fault_record::held;

use crate::cluster::{Cluster, address, content, write};
use crate::events::after;
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::upgrade::MANIFEST;
use crate::{IN_USE, World, hosts, simulated};

/// Where the load balancer is, or the address that control planes share: it leads to all API servers that there are.
pub(crate) const URL: &str = "https://192.0.2.200:6443";
const VARIABLE: &str = r#"{"loadbalancer_apiserver": {"address": "192.0.2.200", "port": 6443}}"#;

/// Two control planes and a worker.
pub(crate) const GROUPS: &str = "[etcd]\nm0\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";

impl Cluster {
    /// Somebody looks for the API at the load balancer: every API server may be the one that answers.
    pub(crate) fn is_known_to_all(&self) {
        let mut state = self.state();
        let planes: Vec<String> = state
            .nodes
            .values()
            .filter(|node| !content(node, MANIFEST).is_empty())
            .map(|node| node.name.clone())
            .collect();
        for plane in planes {
            if !state.certificates.get(&plane).is_some_and(|names| names.contains("192.0.2.200")) {
                state.wrong.push(format!("somebody is led to the load balancer, and the certificate of {plane} does not have its address"));
            }
        }
    }
}

/// What leads elsewhere than to this URL, and which load balancers of the machines' own are there that are not to be, or the other
/// way round.
fn elsewhere(world: &World, url: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for machine in &world.machines[..IN_USE] {
        let own = format!("https://{}:6443", address(&machine.name));
        for conf in ["admin.conf", "kubelet.conf"] {
            let text = content(machine, &format!("/etc/kubernetes/{conf}"));
            let server = text.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap_or(url);
            if server != url && !(conf == "kubelet.conf" && server == own) {
                wrong.push(format!("{}: {conf} leads to {server}", machine.name));
            }
        }
        let config = content(machine, "/etc/kubernetes/kubeadm-config.yaml");
        if !config.is_empty() && config.contains("192.0.2.200") != (url == URL) {
            wrong.push(format!("{}: the configuration is another one", machine.name));
        }
    }
    let has_one = !content(&world.machines[2], "/etc/kubernetes/api-balancer/haproxy.cfg").is_empty();
    if has_one == (url == URL) {
        wrong.push(format!("the worker has a load balancer: {has_one}"));
    }
    let state = world.cluster.state();
    for told in [&state.endpoint, &state.info] {
        if format!("https://{told}") != url {
            wrong.push(format!("the cluster says {told}"));
        }
    }
    wrong
}

/// A cluster with the variables `from` gets those of `to`: its API is at this URL then. What else is wrong is found by `look` after the
/// disturbed run, and when it is through.
pub(crate) fn goes_over(
    name: &str,
    from: &[&str],
    to: &[&str],
    url: &str,
    look: impl Fn(&World, bool) -> Vec<String> + Sync,
) {
    let kills = killed_everywhere(name, At::OneSide, |kill: Option<Kill>| {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(IN_USE), GROUPS, from);
            let mut wrong = world.calm(1).await.2;
            let identity = world.cluster.identity();
            world.inventory(&hosts(IN_USE), GROUPS, to);
            let (exchanges, more) = world.disturbed(kill).await;
            wrong.extend(more);
            wrong.extend(look(&world, false));
            wrong.extend(world.calm(3).await.2);
            wrong.extend(elsewhere(&world, url));
            wrong.extend(look(&world, true));
            wrong.extend(world.not_settled(&identity, 4).await);
            (exchanges, wrong)
        })
    });
    held(
        name,
        "on model machines, the controller killed at every exchange",
        kills,
        "the same command finishes; nobody is led there before all certificates have its address",
    );
}

#[test]
fn a_cluster_goes_over_to_a_load_balancer() {
    goes_over(
        "the cluster goes over to a load balancer of somebody else's",
        &[],
        &[VARIABLE],
        URL,
        |_, _| Vec::new(),
    );
}

#[test]
fn a_cluster_that_began_with_a_load_balancer_goes_back() {
    let local = "https://127.0.0.1:6443";
    goes_over("the cluster leaves a load balancer of somebody else's", &[VARIABLE], &[], local, |_, _| {
        Vec::new()
    });
}

#[test]
fn nothing_is_changed_where_the_load_balancer_leads_nowhere() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        let elsewhere = VARIABLE.replace("6443", "9443");
        world.inventory(&hosts(IN_USE), GROUPS, &[&elsewhere]);
        // preflight, which is no part of the model, asks the same before any other role.
        *world.roles.lock().unwrap() = vec!["control-plane".to_owned(), "api-endpoint".to_owned()];
        let before = world.cluster.seen();
        let refused = world.refused().await;
        assert!(
            refused[0].starts_with("m0: loadbalancer_apiserver: at https://192.0.2.200:9443"),
            "{refused:?}"
        );
        assert_eq!(world.cluster.seen(), before);
        assert!(world.cluster.state().endpoint == "127.0.0.1:6443");
        // A control plane that takes no part keeps the certificate that it has.
        world.inventory(&hosts(IN_USE), GROUPS, &[VARIABLE]);
        *world.limit.lock().unwrap() = vec!["m0".to_owned(), "m2".to_owned()];
        let refused = world.refused().await;
        assert!(
            refused.iter().any(|said| said.contains("of the API server of m1 is not known")),
            "{refused:?}"
        );
        assert!(world.cluster.state().endpoint == "127.0.0.1:6443");
    });
}

#[test]
fn a_cluster_goes_over_to_a_name_when_all_its_machines_may_know_it() {
    let named = VARIABLE.replace("}}", r#"}, "apiserver_loadbalancer_domain_name": "api.example.org"}"#);
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        world.inventory(&hosts(IN_USE), GROUPS, &[&named]);
        *world.limit.lock().unwrap() = vec!["m0".to_owned(), "m1".to_owned()];
        let (_, ran, wrong) = world.calm(2).await;
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(world.cluster.state().endpoint, "127.0.0.1:6443");
        let left = "this run gives m2 no line of /etc/hosts for api.example.org";
        assert!(ran.warnings.iter().any(|text| text.contains(left)), "{:?}", ran.warnings);
        // One that is off is told of, and follows.
        world.limit.lock().unwrap().clear();
        world.cluster.switch_off("m2");
        let (_, ran, _) = world.calm(3).await;
        assert_eq!(world.cluster.state().endpoint, "api.example.org:6443");
        let off = "until setup-cluster has given it a line of /etc/hosts for api.example.org";
        assert!(
            ran.warnings.iter().any(|text| text.starts_with("m2 ") && text.contains(off)),
            "{:?}",
            ran.warnings
        );
        world.cluster.switch_on("m2");
        assert_eq!(world.calm(4).await.2, Vec::<String>::new());
        let led = content(&world.machines[2], "/etc/kubernetes/kubelet.conf");
        assert!(led.contains("server: https://api.example.org:6443\n"), "{led}");
    });
}

#[test]
fn a_name_that_leads_to_a_control_plane_which_leaves_is_looked_for_no_more() {
    let groups = "[etcd]\nm2\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";
    let named = VARIABLE
        .replace("}}", r#"}, "apiserver_loadbalancer_domain_name": "api.example.org"}"#)
        .replace("192.0.2.200", &address("m0"));
    simulated(async {
        let world = World::new(&[]);
        world.inventory(&hosts(IN_USE), groups, &[&named]);
        assert_eq!(world.calm(1).await.2, Vec::<String>::new());
        let led = || content(&world.machines[2], "/etc/kubernetes/kubelet.conf");
        assert!(led().contains("server: https://api.example.org:6443\n"), "{}", led());
        *world.removal.lock().unwrap() = Some(Removal { hosts: vec!["m0".to_owned()], come_back: false });
        assert_eq!(world.calm(2).await.2, Vec::<String>::new());
        assert!(led().contains(&format!("server: https://{}:6443\n", address("m1"))), "{}", led());
    });
}

#[test]
fn a_former_line_of_one_control_plane_does_not_say_where_the_api_is_when_one_leaves() {
    let groups = "[etcd]\nm2\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";
    let named = VARIABLE.replace("}}", r#"}, "apiserver_loadbalancer_domain_name": "api.example.org"}"#);
    let by_name = "https://api.example.org:6443";
    let [of_m0, of_m1] = ["m0", "m1"].map(address);
    let at_m0 = format!("https://{of_m0}:6443");
    // Where the name leads; where m0, which comes first, still has it; who leaves; and where the worker finds the API then.
    for (here, former, leaves, led) in [
        (of_m1.as_str(), "192.0.2.199", "m1", at_m0.as_str()),
        ("192.0.2.200", of_m0.as_str(), "m0", by_name),
    ] {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(IN_USE), groups, &[&named.replace("192.0.2.200", here)]);
            assert_eq!(world.calm(1).await.2, Vec::<String>::new());
            let lines = content(&world.machines[0], "/etc/hosts");
            let stale =
                lines.replace(&format!("{here} api.example.org"), &format!("{former} api.example.org"));
            assert_ne!(stale, lines);
            write(&mut world.machines[0].state().kept.disk, "/etc/hosts", &stale, 0o644);
            *world.removal.lock().unwrap() =
                Some(Removal { hosts: vec![leaves.to_owned()], come_back: false });
            assert_eq!(world.calm(2).await.2, Vec::<String>::new());
            let config = content(&world.machines[2], "/etc/kubernetes/kubelet.conf");
            assert!(config.contains(&format!("server: {led}\n")), "{leaves}: {config}");
        });
    }
}

#[test]
fn a_former_line_of_one_control_plane_leads_nobody_else_back() {
    let named = VARIABLE.replace("}}", r#"}, "apiserver_loadbalancer_domain_name": "api.example.org"}"#);
    simulated(async {
        let world = World::new(&[]);
        world.inventory(&hosts(IN_USE), GROUPS, &[&named]);
        assert_eq!(world.calm(1).await.2, Vec::<String>::new());
        let lines = || {
            world.machines[..IN_USE].iter().map(|machine| {
                let hosts = content(machine, "/etc/hosts");
                let line = hosts.lines().find(|line| line.contains("api.example.org")).unwrap_or_default();
                line.split(' ').next().unwrap_or_default().to_owned()
            })
        };
        let here: Vec<String> = lines().collect();
        assert!(here.iter().all(|address| address == "192.0.2.200"), "{here:?}");
        // It had no part in a run that brought the others to this address.
        let former = content(&world.machines[0], "/etc/hosts").replace("192.0.2.200", "192.0.2.199");
        write(&mut world.machines[0].state().kept.disk, "/etc/hosts", &former, 0o644);
        *world.roles.lock().unwrap() = vec!["kubelet".to_owned()];
        assert_eq!(world.calm(2).await.2, Vec::<String>::new());
        assert_eq!(lines().collect::<Vec<_>>()[1..], here[1..]);
        world.roles.lock().unwrap().clear();
        assert_eq!(world.calm(3).await.2, Vec::<String>::new());
        assert_eq!(lines().collect::<Vec<_>>(), here);
    });
}
