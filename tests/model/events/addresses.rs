//! Machines whose addresses nobody has written down: their facts say them.

use crate::cluster::{address, content, write};
use crate::{IN_USE, World, simulated};

const GROUPS: &str = "[etcd]\nm[0:1]\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";

impl World {
    /// A machine has its address at the interface of its default route, and another one beside.
    fn has_interfaces(&self, number: usize) {
        let machine = &self.machines[number];
        let own = address(&machine.name);
        let addresses = format!(
            "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet 10.0.2.15/24 scope global eth0\n\
             3: eth1    inet {own}/24 scope global eth1\n"
        );
        let routes = "10.0.2.0/24 dev eth0 src 10.0.2.15\ndefault via 192.0.2.1 dev eth1\n";
        for (path, text) in [("/proc/net/ip-addr", addresses.as_str()), ("/proc/net/ip-route", routes)] {
            write(&mut machine.state().kept.disk, path, text, 0o444);
        }
    }
}

#[test]
fn where_no_address_is_written_machines_have_that_of_their_default_route() {
    simulated(async {
        let world = World::new(&[]);
        (0..IN_USE).for_each(|number| world.has_interfaces(number));
        let hosts = "m0 ansible_host=203.0.113.10\nm1 ip=\"{{ ansible_default_ipv4.address }}\"\nm2 ansible_host=203.0.113.12\n";
        world.inventory(hosts, GROUPS, &[]);
        let wrong = world.calm(1).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        for number in 0..IN_USE {
            let own = address(&format!("m{number}"));
            let flags = content(&world.machines[number], "/var/lib/kubelet/kubeadm-flags.env");
            assert!(flags.contains(&format!("--node-ip={own}\"")), "{flags}");
        }
        let names = world.cluster.state().names.clone();
        for name in ["192.0.2.10", "203.0.113.10", "192.0.2.11"] {
            assert!(names.contains(&format!("\"{name}\"")), "{names}");
        }
        let members: Vec<String> = world.cluster.member_names().into_iter().map(|(url, _)| url).collect();
        assert_eq!(members, ["https://192.0.2.10:2380", "https://192.0.2.11:2380"]);
        // Those that take no part have the addresses that they have joined with.
        for only in ["", "m2", "m1"] {
            world.limit.lock().unwrap().clear();
            if !only.is_empty() {
                world.only(only);
            }
            let (_, ran, wrong) = world.calm(2).await;
            assert!(wrong.is_empty() && ran.changes.is_empty(), "{only}: {wrong:?} {:?}", ran.changes);
        }
    });
}
