//! How a control plane of kubeadm's counts in a run that adopts its cluster, and that no other run touches one that is half adopted.

use std::process::Command;

use super::identity::{Identity, LOOK, Stacked};
use super::standing::{Story, Wanted};
use super::tests::{authority, both, certificate, member, plane, standing, worker};

/// A control plane that kubeadm has made, with a static pod of etcd.
fn by_kubeadm() -> Identity {
    let stacked = Stacked {
        name: Some("node1".into()),
        peer_url: Some("https://192.0.2.11:2380".into()),
        version: Some("3.6.14".into()),
        authority: member(7, "").etcd.authority,
        authority_key: true,
    };
    let mut seen =
        Identity { settled: false, version: Some("1.36.3".into()), stacked: Some(stacked), ..plane(1) };
    seen.etcd.data = vec!["/var/lib/etcd".into()];
    seen
}

#[test]
fn a_control_plane_of_kubeadms_stands_only_in_a_run_that_adopts_it() {
    let refused = standing(&[("a", Some(by_kubeadm()))]).story("a").unwrap_err();
    assert!(
        refused.found.contains("no sign that muster has set it up")
            && refused.remedy.contains("muster adopt"),
        "{refused:?}"
    );
    let adopted = standing(&[("a", Some(by_kubeadm().if_adopted()))]);
    assert_eq!(adopted.story("a"), Ok(Story::Reconfigure));
    assert_eq!(adopted.etcd_member("a"), Some(("node1", "https://192.0.2.11:2380")));
    assert_eq!(adopted.etcd_authorities(), [("a", true)]);
    // Muster's own configuration has the last word where the member went over already.
    let mut half = by_kubeadm();
    half.etcd.name = Some("etcd1".into());
    assert_eq!(half.if_adopted().etcd.name.as_deref(), Some("etcd1"));
    // A worker does not become a control plane by that.
    assert!(!worker(1).if_adopted().stands());
}

#[test]
fn of_a_cluster_of_another_tool_s_that_alone_is_told() {
    let wanted = Wanted { node_name: "other".into(), control_plane: true, ..Wanted::default() };
    // Also where its authority is in another folder than the variables say.
    let elsewhere = Identity { ca: None, ca_key: false, ..by_kubeadm() };
    for seen in [by_kubeadm(), elsewhere] {
        let known = standing(&[("a", Some(seen.clone())), ("w", Some(worker(1)))]);
        for name in ["a", "w"] {
            for told in [known.problems(name, &wanted), known.problems_of_set_up(name, &wanted)] {
                assert!(told.len() == 1 && told[0].remedy.contains("muster adopt"), "{name}: {told:?}");
            }
        }
        let ours = [Identity { settled: true, ..seen.clone() }, Identity { begins: true, ..seen }];
        for seen in ours {
            assert_eq!(standing(&[("a", Some(seen))]).made_by_another(), None);
        }
    }
    assert_eq!(standing(&[("w", Some(worker(1)))]).made_by_another(), None);
    // A reset leaves it alone, but for one that muster has begun to take over; also where one that is silent may know better.
    let others = |all: &[(&str, Option<Identity>)]| standing(all).of_another_tool().is_some();
    assert!(others(&[("a", Some(by_kubeadm()))]));
    assert!(!others(&[("a", Some(Identity { adopts: true, ..by_kubeadm() }))]));
    assert!(others(&[("a", Some(by_kubeadm())), ("b", None)]));
    let ours = Identity { settled: true, ..by_kubeadm() };
    assert!(!others(&[("a", Some(ours)), ("b", None)]));
}

#[test]
fn where_a_control_plane_is_silent_nobody_says_that_another_tool_has_made_the_cluster() {
    let known = standing(&[("a", Some(by_kubeadm())), ("b", None), ("w", Some(worker(1)))]);
    let wanted = Wanted { node_name: "other".into(), ..Wanted::default() };
    for name in ["a", "w"] {
        let told = known.problems_of_set_up(name, &wanted);
        assert!(
            told.len() == 1 && told[0].remedy.contains("switch b on") && !told[0].remedy.contains("adopt"),
            "{name}: {told:?}"
        );
    }
}

#[test]
fn machines_of_two_clusters_are_told_before_an_adoption() {
    let other = Identity { settled: false, version: Some("1.36.3".into()), stacked: None, ..plane(2) };
    let known = standing(&[
        ("a", Some(by_kubeadm().if_adopted())),
        ("b", Some(other.if_adopted())),
        ("w", Some(worker(2))),
    ]);
    let of = |name: &str| known.is_anothers(name, name).unwrap_or_default();
    assert!(of("w").contains("belongs to another cluster") || of("a").contains("belongs to another cluster"));
    let wanted = Wanted { node_name: "a".into(), control_plane: true, adopts: true, ..Wanted::default() };
    let told = known.problems_of_set_up("a", &wanted);
    assert!(told.iter().any(|problem| problem.found.contains("machines of two clusters")), "{told:?}");
}

#[test]
fn what_is_half_adopted_is_left_to_the_adoption() {
    let half = Identity { adopts: true, ..worker(1) };
    let wanted = Wanted { node_name: "a".into(), etcd_data_dir: "/var/lib/etcd".into(), ..Wanted::default() };
    let known = standing(&[("a", both(plane(1), member(1, "a"))), ("w", Some(half))]);
    let problems = known.problems("a", &wanted);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].found.contains("begun on w") && problems[0].remedy.contains("muster adopt --apply"),
        "{problems:?}"
    );
    assert!(known.problems("a", &Wanted { adopts: true, ..wanted }).is_empty());
}

#[test]
fn every_shell_tells_of_a_static_pod_of_etcd_and_of_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let ca = certificate("etcd-ca", true);
    write("pki/etcd/ca.crt", &ca);
    write("pki/etcd/ca.key", "PRIVATE");
    write("data/member/wal/0.wal", "");
    write("var/lib/muster/adopted/begun", "");
    write(
        "etc/kubernetes/manifests/etcd.yaml",
        &format!(
            "spec:\n  containers:\n  - command:\n    - etcd\n    - --data-dir={root}/data\n    - --name=node1\n    - \
             --initial-advertise-peer-urls=https://192.0.2.11:2380\n    image: registry.k8s.io/etcd:3.6.14-0\n"
        ),
    );
    let program = ["/etc/kubernetes", "/var/lib/muster"];
    let program =
        program.iter().fold(LOOK.to_owned(), |all, path| all.replace(path, &format!("{root}{path}")));
    for shell in [&["dash"][..], &["bash", "--posix"]] {
        let mut sh = Command::new(shell[0]);
        let folders = [format!("{root}/pki"), "/nowhere".into(), "/nowhere".into()];
        let out = sh.args(&shell[1..]).args(["-euc", &program, "look"]).args(&folders).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(!text.contains("PRIVATE"), "{shell:?}: {text}");
        let seen = Identity::whole(&text).unwrap();
        let expected = Stacked {
            name: Some("node1".into()),
            peer_url: Some("https://192.0.2.11:2380".into()),
            version: Some("3.6.14".into()),
            authority: Some(authority(&ca)),
            authority_key: true,
        };
        assert_eq!((seen.stacked, seen.adopts), (Some(expected), true), "{shell:?}: {text}");
        assert_eq!(seen.etcd.data, [format!("{root}/data")], "{shell:?}: {text}");
    }
}
