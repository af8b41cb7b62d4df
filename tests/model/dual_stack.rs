//! A cluster with both families of addresses: it is born with them, and keeps them.

use crate::cluster::{address, content};
use crate::{GROUPS, IN_USE, World, simulated};

const BOTH: &str = "ipv6_stack=true";

/// The lines of the inventory for the machines, each with an address of IPv6.
fn hosts() -> String {
    (0..IN_USE).map(|n| format!("m{n} ip={} ip6=2001:db8::1{n}\n", address(&format!("m{n}")))).collect()
}

/// What keeps a run from going on, which then has changed nothing.
async fn refused(world: &World, run: u32, hosts: &str, set: &[&str]) -> String {
    world.inventory(hosts, GROUPS, set);
    let (_, ran, wrong) = world.calm(run).await;
    assert!(ran.changes.is_empty(), "{:?}", ran.changes);
    wrong.join("\n")
}

#[test]
fn a_cluster_is_born_with_both_families_and_keeps_them() {
    simulated(async {
        let world = World::new(&[]);
        world.inventory(&hosts(), GROUPS, &[BOTH]);
        let wrong = world.calm(1).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        for (n, machine) in world.machines[..IN_USE].iter().enumerate() {
            let flags = content(machine, "/var/lib/kubelet/kubeadm-flags.env");
            assert!(flags.contains(&format!("--node-ip=192.0.2.1{n},2001:db8::1{n}\"")), "{flags}");
            let parameters = content(machine, "/etc/sysctl.d/99-zz-kubernetes.conf");
            assert!(parameters.contains("\nnet.ipv6.conf.all.forwarding = 1\n"), "{parameters}");
        }
        let told = content(&world.machines[0], "/etc/kubernetes/kubeadm-config.yaml");
        assert!(told.contains("\n  podSubnet: 10.233.64.0/18,fd85:ee78:d8a6:8607::1:0000/112\n"), "{told}");
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);

        let said = refused(&world, 3, &hosts(), &[]).await;
        // Workers are held to it as well, which may come alone.
        assert_eq!(said.matches("false, but the cluster was begun with true").count(), IN_USE, "{said}");
        let other = [BOTH, "kube_pods_subnet_ipv6=fd00::/112"];
        let said = refused(&world, 4, &hosts(), &other).await;
        assert!(said.contains("but the cluster was begun with fd85:ee78:d8a6:8607::1:0000/112"), "{said}");
        let said = refused(&world, 5, &hosts(), &[BOTH, "kube_network_node_prefix_ipv6=119"]).await;
        assert!(said.contains("119, but the cluster was begun with 120"), "{said}");
        let said = refused(&world, 6, &hosts().replace("db8::12", "db8::99"), &[BOTH]).await;
        assert!(said.contains("2001:db8::99 of m2, which joined the cluster with 2001:db8::12"), "{said}");
    });
}
