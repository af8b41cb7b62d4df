//! Names of the cluster on the machines: `resolvconf_mode`, with a plain resolv.conf and with systemd-resolved.

use std::process::Command;

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

/// A name server of the world outside, on node1 itself: CoreDNS of the cluster's image as a program of the machine. $1: its address.
const OUTSIDE: &str = r#"
mkdir -p /root/dns
cp "$(find /var/lib/containerd -path '*/fs/coredns' -type f | head -n 1)" /root/dns/coredns
printf '.:53 {\n  bind %s\n  hosts {\n    192.0.2.80 web.example.test\n  }\n}\n' "$1" >/root/dns/Corefile
systemd-run -q --unit outside /root/dns/coredns -conf /root/dns/Corefile
echo 'deb http://web.example.test/debian bookworm main' >/etc/apt/sources.list
for i in $(seq 30); do getent hosts web.example.test >/dev/null && exit 0; sleep 1; done
exit 1"#;

/// A CoreDNS of the cluster that says of this domain that it has no names.
const NO_NAMES: &str =
    r#"{"coredns_additional_configs": "template ANY ANY example.test {\n  rcode NXDOMAIN\n}"}"#;

const MODE: &str = "resolvconf_mode=host_resolvconf";

/// A cluster of node1, whose own name server knows a name of the world outside.
fn cluster(network: u8) -> Lab {
    let lab = Lab::up(network, &["-n", "1"]);
    let server = lab.address(1);
    // Its program comes with the cluster, which looks for names meanwhile.
    let set_up = lab.muster(&["setup-cluster", &lab.pattern(1)]);
    assert_eq!(set_up.code, 0, "{set_up:#?}");
    lab.on(
        "node1",
        &format!("printf 'nameserver {server}\\nsearch example.test\\n# mine\\n' >/etc/resolv.conf"),
    );
    lab.on("node1", &OUTSIDE.replace("\"$1\"", &server));
    lab
}

fn set_up(lab: &Lab, options: &[&str]) -> Ended {
    lab.muster(&[&["setup-cluster", &lab.pattern(1)], options].concat())
}

fn finds(lab: &Lab, name: &str) -> bool {
    lab.lab(&["ssh", "node1", "--", &format!("timeout 30 getent hosts {name}")]).code == 0
}

const API: &str = "kubernetes.default.svc.cluster.local";
const WEB: &str = "web.example.test";

/// CoreDNS, started anew, asks the machine's own servers and not itself.
fn coredns_does_not_ask_itself(lab: &Lab) {
    let config =
        lab.on("node1", "grep resolvConf /var/lib/kubelet/config.yaml; cat /var/lib/muster/resolv.conf");
    assert!(config.contains("resolvConf: /var/lib/muster/resolv.conf\n"), "{config}");
    assert!(config.contains("nameserver ") && !config.contains("nameserver 10.233.0.3"), "{config}");
    let kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system";
    lab.on(
        "node1",
        &format!(
            "{kubectl} delete pod -l k8s-app=kube-dns && {kubectl} rollout status --timeout=120s deployment coredns && \
             ! {kubectl} logs -l k8s-app=kube-dns | grep Loop"
        ),
    );
    assert!(finds(lab, API) && finds(lab, WEB));
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn machines_find_names_of_the_cluster_and_of_the_world_and_a_reset_brings_back_how_they_did() {
    let lab = cluster(79);
    let before = lab.on("node1", "cat /etc/resolv.conf");
    assert!(finds(&lab, WEB) && !finds(&lab, API));

    // A name that was found would be lost: everything is put back, and the run says so.
    let refused = set_up(&lab, &["-e", MODE, "-e", NO_NAMES]);
    assert_eq!(refused.code, 2, "{refused:#?}");
    for said in ["does not find all of these names", WEB] {
        assert!(refused.all().contains(said), "{said}: {refused:#?}");
    }
    assert_eq!(lab.on("node1", "cat /etc/resolv.conf"), before);
    held(
        "names of the outside lost",
        "a CoreDNS that denies a domain that the machine found",
        1,
        "resolv.conf is as before, and the run names the domain",
    );

    let on = set_up(&lab, &["-e", MODE]);
    assert_eq!(on.code, 0, "{on:#?}");
    assert!(finds(&lab, API) && finds(&lab, WEB));
    coredns_does_not_ask_itself(&lab);
    let again = set_up(&lab, &["-e", MODE]);
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");

    // The cluster's DNS is away: the machine's own server answers.
    let scale = |count: u8| {
        let words = ["kubectl", "-n", "kube-system", "scale", "deployment", "coredns", "--replicas"];
        let ended = lab.muster(&[&words[..], &[&count.to_string()]].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
    };
    scale(0);
    lab.on(
        "node1",
        "for i in $(seq 60); do pgrep -f '[c]oredns -conf /etc/coredns' || exit 0; sleep 1; done; exit 1",
    );
    assert!(finds(&lab, WEB));
    held("cluster's DNS away", "no pod of CoreDNS", 1, "the machine finds names by its own server");
    scale(1);

    // Switched off, and taken away with the cluster.
    let off = set_up(&lab, &[]);
    assert_eq!(off.code, 0, "{off:#?}");
    assert_eq!(
        lab.on("node1", "cat /etc/resolv.conf; grep resolvConf /var/lib/kubelet/config.yaml"),
        format!("{before}resolvConf: /etc/resolv.conf\n")
    );
    assert_eq!(set_up(&lab, &["-e", MODE]).code, 0);
    assert_ne!(lab.on("node1", "cat /etc/resolv.conf"), before);
    let reset = lab.muster(&["reset-cluster", "--yes"]);
    assert_eq!(reset.code, 0, "{reset:#?}");
    assert_eq!(lab.on("node1", "cat /etc/resolv.conf"), before);
    assert!(!lab.has("node1", "/var/lib/muster/resolv.conf"));
}

/// Debian's packages on node1, with all that they need; `false` where they are not to be had for the lab's Debian.
fn with_packages(lab: &Lab, packages: &[&str]) -> bool {
    std::fs::write(lab.folder().join("status"), lab.on("node1", "cat /var/lib/dpkg/status")).unwrap();
    // apt of this computer says what a machine with these packages lacks.
    let download = "mkdir -p debs/partial && apt-get -y --no-install-recommends --download-only -o Debug::NoLocking=1 \
        -o Dir::State::status=$PWD/status -o Dir::Cache::archives=$PWD/debs install \"$@\" >&2 && tar -cf debs.tar debs";
    let mut download_them = Command::new("sh");
    download_them.args(["-c", download, "sh"]).args(packages).current_dir(lab.folder());
    if !download_them.status().is_ok_and(|status| status.success()) {
        return false;
    }
    let copied = lab.muster(&["copy", "node1", "debs.tar", "/root/debs.tar"]);
    assert_eq!(copied.code, 0, "{copied:#?}");
    let install = "cd /root && tar -xf debs.tar && \
                   DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i debs/*.deb >/root/dpkg.log 2>&1";
    lab.lab(&["ssh", "node1", "--", install]).code == 0
}

/// A program that keeps the machine's name servers is told of the cluster's, keeps them when it writes the file anew, and knows none of
/// them after a reset.
struct Keeper<'k> {
    packages: &'k [&'k str],
    /// Brings it to work with the name server `$1`.
    start: &'k str,
    /// Makes it write the file anew.
    anew: &'k str,
    /// Where muster tells it.
    told: &'k [&'k str],
}

impl Keeper<'_> {
    fn is_told(&self, network: u8) {
        let lab = cluster(network);
        if !with_packages(&lab, self.packages) {
            eprintln!("skipped: {:?} for the lab's Debian are not to be had here", self.packages);
            return;
        }
        lab.on("node1", &self.start.replace("$1", &lab.address(1)));
        assert!(finds(&lab, WEB) && !finds(&lab, API), "{}", lab.on("node1", "cat /etc/resolv.conf"));
        let before = lab.on("node1", "cat /etc/resolv.conf");
        let on = set_up(&lab, &["-e", MODE]);
        assert_eq!(on.code, 0, "{on:#?}");
        for path in self.told {
            assert!(lab.on("node1", &format!("cat {path}")).contains("muster"), "{path}: {on:#?}");
        }
        let both = |when: &str| {
            let servers = lab.on("node1", "grep ^nameserver /etc/resolv.conf");
            assert!(servers.starts_with("nameserver 10.233.0.3\n"), "{when}: {servers}");
            assert!(finds(&lab, API) && finds(&lab, WEB), "{when}: {servers}");
        };
        both("told");
        coredns_does_not_ask_itself(&lab);
        lab.on("node1", self.anew);
        both("written anew");
        let again = set_up(&lab, &["-e", MODE]);
        assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");
        let reset = lab.muster(&["reset-cluster", "--yes"]);
        assert_eq!(reset.code, 0, "{reset:#?}");
        for path in self.told {
            assert_eq!(
                lab.on("node1", &format!("grep -c muster {path} || :")).trim().trim_start_matches('0'),
                "",
                "{path}"
            );
        }
        lab.on("node1", self.anew);
        assert_eq!(lab.on("node1", "cat /etc/resolv.conf"), before);
        assert!(finds(&lab, WEB) && !finds(&lab, API));
    }
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn network_manager_is_told_of_the_clusters_dns_and_of_nothing_after_a_reset() {
    Keeper {
        packages: &["network-manager"],
        start: "mkdir -p /etc/NetworkManager/conf.d && \
                printf '[keyfile]\nunmanaged-devices=interface-name:eth0\n' >/etc/NetworkManager/conf.d/10-eth0.conf && \
                systemctl restart NetworkManager && \
                nmcli connection add type bridge ifname office con-name office bridge.stp no ipv4.method manual \
                  ipv4.addresses 192.0.2.9/24 ipv4.dns $1 ipv4.dns-search example.test >/dev/null && \
                nmcli connection up office >/dev/null && sleep 2",
        anew: "nmcli connection down office >/dev/null && nmcli connection up office >/dev/null && sleep 2",
        told: &["/etc/NetworkManager/conf.d/zz-muster.conf"],
    }
    .is_told(81);
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn resolvconf_is_told_of_the_clusters_dns_and_of_nothing_after_a_reset() {
    Keeper {
        packages: &["resolvconf"],
        start: "ln -sf ../run/resolvconf/resolv.conf /etc/resolv.conf && systemctl restart resolvconf && \
                printf 'nameserver $1\nsearch example.test\n' | resolvconf -a eth0.office",
        anew: "resolvconf -u",
        told: &["/etc/resolvconf/resolv.conf.d/head", "/etc/resolvconf/resolv.conf.d/tail"],
    }
    .is_told(82);
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn a_client_of_dhcp_is_told_of_the_clusters_dns_and_of_nothing_after_a_reset() {
    Keeper {
        packages: &["isc-dhcp-client", "dnsmasq-base"],
        start: "ip netns add office && ip link add lan0 type veth peer name lan1 netns office && \
                ip -n office addr add 192.0.2.1/24 dev lan1 && ip -n office link set lan1 up && ip link set lan0 up && \
                systemd-run -q --unit dhcpd ip netns exec office dnsmasq -k --conf-file=/dev/null --port=0 --interface=lan1 \
                  --bind-interfaces --dhcp-range=192.0.2.50,192.0.2.60,2m --dhcp-option=3 --dhcp-option=6,$1 \
                  --domain=example.test && sleep 1 && dhclient -1 lan0",
        // A lease is renewed after the half of its time, by the client that runs.
        anew: "sleep 75",
        told: &["/etc/dhcp/dhclient-enter-hooks.d/zz-muster"],
    }
    .is_told(83);
}

/// Debian's package of systemd-resolved on node1, at work with a server of its interface; `false` where it is not to be had.
fn with_resolved(lab: &Lab) -> bool {
    let start = format!(
        "rm -f /etc/systemd/system/systemd-resolved.service && systemctl daemon-reload && \
         ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf && \
         systemctl restart systemd-resolved && resolvectl dns eth0 {} && resolvectl domain eth0 example.test",
        lab.address(1)
    );
    with_packages(lab, &["systemd-resolved"]) && lab.lab(&["ssh", "node1", "--", &start]).code == 0
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn systemd_resolved_is_told_of_the_clusters_dns_and_of_nothing_after_a_reset() {
    let lab = cluster(80);
    if !with_resolved(&lab) {
        eprintln!("skipped: systemd-resolved for the lab's Debian is not to be had here");
        return;
    }
    assert!(finds(&lab, WEB) && !finds(&lab, API));
    let on = set_up(&lab, &["-e", MODE]);
    assert_eq!(on.code, 0, "{on:#?}");
    let drop_in = "/etc/systemd/resolved.conf.d/zz-muster.conf";
    assert!(lab.on("node1", &format!("cat {drop_in}")).contains("\nDNS=10.233.0.3\n"));
    assert!(finds(&lab, API) && finds(&lab, WEB));
    coredns_does_not_ask_itself(&lab);
    let again = set_up(&lab, &["-e", MODE]);
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");
    let reset = lab.muster(&["reset-cluster", "--yes"]);
    assert_eq!(reset.code, 0, "{reset:#?}");
    assert!(!lab.has("node1", drop_in) && !lab.has("node1", "/var/lib/muster/resolv.conf"));
    assert!(finds(&lab, WEB) && !finds(&lab, API));
}
