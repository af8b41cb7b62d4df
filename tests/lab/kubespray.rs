//! An inventory of kubespray becomes a cluster.

use std::fs;
use std::path::Path;

use crate::fixture::{Lab, bundle_has};

#[test]
fn an_inventory_of_2017_becomes_a_cluster() {
    let lab = Lab::up(241, &[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventories/2017");
    for file in ["inventory.cfg", "group_vars/all.yml", "group_vars/k8s-cluster.yml"] {
        // The addresses of this lab, in place of those of the one that users start.
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let to = lab.folder().join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text.replace("10.146.225.", "10.146.241.")).unwrap();
    }
    // The inventory asks for Helm.
    let has_helm = bundle_has("helm");
    let helm = format!("helm_enabled={has_helm}");
    let setup = ["setup-cluster", "-i", "inventory.cfg", "-e", &helm];
    let first = lab.muster(&setup);
    assert_eq!(first.code, 0, "{first:#?}");
    for said in ["bootstrap_os is ignored", "kube_network_plugin: flannel (kubespray: calico)"] {
        assert!(first.all().contains(said), "no {said:?} in {first:#?}");
    }

    let nodes = lab.muster(&["kubectl", "-i", "inventory.cfg", "get", "nodes", "--no-headers"]);
    for name in ["s4", "s5", "s6"] {
        assert!(nodes.out.lines().any(|l| l.starts_with(name) && l.contains(" Ready ")), "{nodes:#?}");
    }
    assert!(lab.folder().join("artifacts/admin.conf").is_file(), "kubeconfig_localhost");
    assert_eq!(lab.has("node1", "/usr/local/bin/helm"), has_helm);
    assert!(!lab.folder().join("credentials").exists(), "a password that nobody needs was made");

    let second = lab.muster(&setup);
    assert_eq!(second.code, 0, "{second:#?}");
    for host in ["s4", "s5", "s6"] {
        assert_eq!(second.recap(host, "changed"), 0, "{second:#?}");
    }
}
