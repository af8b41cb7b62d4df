//! The machine at which somebody types is one of the cluster: `ansible_connection: local`.

use crate::fixture::{Lab, bundle, muster};

#[test]
#[ignore = "it takes three minutes; ./test --all"]
fn a_machine_sets_up_itself_and_another_one_and_takes_the_cluster_away() {
    let lab = Lab::up(124, &["-n", "2"]);
    let other = lab.address(2);
    let muster = muster().display().to_string();
    let bundle = bundle();
    let bring = |from: &str, to: &str| {
        let ended =
            lab.exec(&["sh", "-c", &format!("{from} | '{muster}' lab --name test124 ssh node1 -- '{to}'")]);
        assert_eq!(ended.code, 0, "{ended:#?}");
    };
    bring(&format!("cat '{muster}'"), "cat >/usr/local/bin/muster && chmod 755 /usr/local/bin/muster");
    bring(
        &format!("tar -C '{}' -c .", bundle.display()),
        "mkdir -p /root/.cache/muster/bundle && tar -C /root/.cache/muster/bundle -x",
    );
    // It logs in to the other one.
    lab.on("node1", "ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519");
    let key = lab.on("node1", "cat /root/.ssh/id_ed25519.pub");
    lab.on("node2", &format!("mkdir -p /root/.ssh && echo '{}' >>/root/.ssh/authorized_keys", key.trim()));
    let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\nnode2\n";
    let write = |folder: &str, first: &str| {
        let hosts = format!(
            "node1 ansible_connection=local {first}\nnode2 ansible_host={other} ip={other}\n{groups}"
        );
        lab.on(
            "node1",
            &format!(
                "mkdir -p /root/school/{folder} && printf '{}' >/root/school/{folder}/hosts.ini",
                hosts.replace('\n', "\\n")
            ),
        );
    };
    let here = |words: &str| lab.lab(&["ssh", "node1", "--", &format!("cd /root/school && muster {words}")]);
    let done = |words: &str| {
        let ended = here(words);
        assert_eq!(ended.code, 0, "{words}: {ended:#?}");
        ended
    };

    // As kubespray's inventory/local has it: without an address.
    write("inventory", "");
    done("setup-cluster");
    let nodes = done("kubectl get nodes --no-headers").out;
    assert_eq!(nodes.lines().filter(|line| line.contains(" Ready ")).count(), 2, "{nodes}");
    let again = done("setup-cluster");
    for node in ["node1", "node2"] {
        assert_eq!(again.recap(node, "changed"), 0, "{again:#?}");
    }
    done("verify");

    // An inventory that was written for another computer changes nothing here.
    write("others", "ansible_host=192.0.2.77");
    let refused = here("setup-cluster -i others/hosts.ini");
    assert_ne!(refused.code, 0, "{refused:#?}");
    assert!(refused.all().contains("this computer does not have its ansible_host"), "{refused:#?}");

    done("reset-cluster --yes");
    for node in ["node1", "node2"] {
        assert!(
            !lab.has(node, "/etc/kubernetes/kubelet.conf") && !lab.has(node, "/var/lib/etcd/member"),
            "{node}"
        );
    }
    assert!(
        lab.has("node1", "/root/school/inventory/hosts.ini") && lab.has("node1", "/usr/local/bin/muster")
    );
}
