//! A cluster whose nodes wait for a cloud's controller: it comes to its end without one, and the controller (here somebody who takes the
//! taint away) lets pods in. In the same cluster: what Debian is told of upgrades that come by themselves, and the file of a proxy.

use std::fs;
use std::time::{Duration, Instant};

use crate::fixture::Lab;

const TAINT: &str = "node.cloudprovider.kubernetes.io/uninitialized";
const APT: &str = "/etc/apt/apt.conf.d/99-zz-kubernetes";

#[test]
#[ignore = "it takes three minutes; ./test --all"]
fn nodes_wait_for_a_clouds_controller_and_the_cluster_does_not() {
    let lab = Lab::up(75, &["-n", "1"]);
    let all = lab.inventory_of_one().join("group_vars/all.yml");
    let set_up = |text: &str| {
        fs::write(&all, text).unwrap();
        lab.muster(&["setup-cluster"])
    };
    let cloud = "cloud_provider: external\nexternal_cloud_provider: manual\nubuntu_kernel_unattended_upgrades_disabled: true\n\
                 ubuntu_stop_unattended_upgrades: true\n";
    let born = set_up(cloud);
    assert_eq!(born.code, 0, "{born:#?}");
    assert!(!born.all().contains("warning: inventory/group_vars"), "{born:#?}");
    let again = set_up(cloud);
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");

    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    let node = kubectl(&[
        "get",
        "node",
        "node1",
        "-o",
        "jsonpath={.spec.taints[*].key} {.status.addresses[*].address}",
    ]);
    assert!(node.contains(TAINT) && node.contains(&lab.address(1)), "{node}");
    let image = lab.agnhost();
    kubectl(&["run", "shop", &format!("--image={image}"), "--image-pull-policy=IfNotPresent", "--", "pause"]);
    let phase = || kubectl(&["get", "pod", "shop", "-o", "jsonpath={.status.phase}"]);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(phase(), "Pending");
    kubectl(&["taint", "node", "node1", &format!("{TAINT}-")]);
    let begun = Instant::now();
    while phase() != "Running" {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", kubectl(&["describe", "pod", "shop"]));
        std::thread::sleep(Duration::from_secs(1));
    }

    // apt itself says what it was told.
    let dump = lab.on("node1", "apt-config dump");
    for line in
        ["APT::Periodic::Unattended-Upgrade \"0\";", "Unattended-Upgrade::Package-Blacklist:: \"linux-\";"]
    {
        assert!(dump.contains(line), "{line}: {dump}");
    }

    // A file of certificates that is not there is told by the machine, whose containerd goes on; one that is there is containerd's.
    let proxy = "https_proxy: http://192.0.2.9:3128\nhttps_proxy_cert_file: /etc/ssl/proxy.pem\n";
    let missing = set_up(&format!("{cloud}{proxy}"));
    assert_eq!(missing.code, 2, "{missing:#?}");
    assert!(missing.all().contains("/etc/ssl/proxy.pem is not on this machine"), "{missing:#?}");
    assert_eq!(lab.on("node1", "systemctl is-active containerd").trim(), "active");
    lab.on(
        "node1",
        "cp /etc/ssl/certs/ca-certificates.crt /etc/ssl/proxy.pem 2>/dev/null || : >/etc/ssl/proxy.pem",
    );
    let told = set_up(&format!("{cloud}{proxy}"));
    assert_eq!(told.code, 0, "{told:#?}");
    let environment =
        "tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value containerd)/environ | grep SSL_CERT_FILE";
    assert_eq!(lab.on("node1", environment).trim(), "SSL_CERT_FILE=/etc/ssl/proxy.pem");

    // Without the variables the machine and its kubelet are as they were.
    let without = set_up("");
    assert_eq!(without.code, 0, "{without:#?}");
    assert!(!lab.has("node1", APT) && !lab.has("node1", "/etc/containerd/proxies.env"));
    lab.on("node1", "! grep -q cloud-provider /etc/systemd/system/kubelet.service");
    let again = set_up("");
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");
}
