//! Whose a machine is while authorities are rotated, when machines trust one of them, or both.

use std::process::Command;
use std::sync::Arc;

use super::identity::{Identity, Kubeconfig, LOOK};
use super::standing::{Standing, Wanted};
use super::tests::{authority, certificate};

/// A machine that trusts these authorities; a control plane where it is one.
fn machine(authorities: &str, is_plane: bool) -> Identity {
    let lines: String = authorities.chars().map(|number| format!("ca AAA{number}\n")).collect();
    let authority = Identity::parse(&lines).ca;
    let conf = || Some(Kubeconfig { server: "https://192.0.2.10:6443".into(), authority });
    let mut identity = Identity { kubelet: conf(), node: Some("a".into()), ..Identity::default() };
    if is_plane {
        identity = Identity { admin: conf(), ca: authority, ca_key: true, settled: true, ..identity };
        identity.etcd.data = vec!["/var/lib/etcd".into()];
        identity.etcd.authority = authority;
    }
    identity
}

/// Control planes a and b that are members of etcd, and a worker w.
fn standing(a: &str, b: &str, w: &str) -> Standing {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let seen =
        |name: &str, authorities, is_plane| (name.to_owned(), Ok(Arc::new(machine(authorities, is_plane))));
    Standing {
        planes: names(&["a", "b"]),
        members: names(&["a", "b"]),
        in_run: names(&["a", "b", "w"]),
        machines: [seen("a", a, true), seen("b", b, true), seen("w", w, false)].into(),
        ..Standing::default()
    }
}

#[test]
fn machines_that_trust_one_authority_of_two_are_of_the_same_cluster() {
    let wanted = Wanted { node_name: "a".into(), etcd_data_dir: "/var/lib/etcd".into(), ..Wanted::default() };
    let found = |a: &str, b: &str, w: &str| -> Vec<String> {
        let standing = standing(a, b, w);
        ["a", "w"]
            .iter()
            .flat_map(|name| standing.problems(name, &wanted))
            .map(|problem| problem.found)
            .collect()
    };
    // The old one is 1, the new one 2; who signs comes first.
    for (a, b, w) in
        [("12", "1", "1"), ("12", "12", "1"), ("21", "12", "12"), ("2", "21", "21"), ("2", "2", "21")]
    {
        assert_eq!(found(a, b, w), [""; 0], "{a} {b} {w}");
        assert_eq!(standing(a, b, w).is_ours("w"), Some(true));
        assert_eq!(standing(a, b, w).is_anothers("w", "a"), None);
    }
    assert!(
        found("2", "2", "1")[0].contains("w belongs to another cluster"),
        "it never heard of the new one"
    );
    assert!(found("12", "3", "1")[0].contains("machines of two clusters"));
    assert!(found("12", "12", "34")[0].contains("w belongs to another cluster"));
}

#[test]
fn nobody_is_set_up_while_authorities_are_rotated() {
    let wanted = Wanted { node_name: "a".into(), etcd_data_dir: "/var/lib/etcd".into(), ..Wanted::default() };
    let mut standing = standing("12", "1", "1");
    let mut b = machine("1", true);
    b.rotates = true;
    standing.machines.insert("b".into(), Ok(Arc::new(b)));
    let refused = |name: &str| {
        let problems = standing.problems_of_set_up(name, &wanted);
        problems.into_iter().any(|problem| problem.remedy.contains("muster certs renew --ca"))
    };
    assert!(refused("a") && refused("w"));
    assert!(standing.problems("w", &wanted).is_empty(), "machines may leave, and the rotation go on");
}

#[test]
fn every_shell_tells_both_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (certificate("kubernetes", true), certificate("kubernetes", true));
    std::fs::create_dir_all(folder.path().join("ssl")).unwrap();
    std::fs::write(folder.path().join("ssl/ca.crt"), format!("{new}{old}")).unwrap();
    // Of a file that is no authority's only the first one counts.
    std::fs::write(folder.path().join("ssl/apiserver.crt"), format!("{new}{old}")).unwrap();
    for shell in [["dash"].as_slice(), &["bash", "--posix"], &["busybox", "sh"]] {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-c", LOOK, "sh", "ssl", "etcd", "data"]).current_dir(folder.path());
        let Ok(output) = command.output() else { continue };
        let seen = Identity::whole(&String::from_utf8_lossy(&output.stdout)).unwrap();
        let ca = seen.ca.unwrap();
        assert!(ca.is_same_as(authority(&old)) && ca.is_same_as(authority(&new)), "{shell:?}");
        assert!(!ca.is_same_as(authority(&certificate("kubernetes", true))), "{shell:?}");
        let files: Vec<_> = seen.certificates.iter().map(|certificate| certificate.file()).collect();
        assert_eq!(files, ["ca.crt", "ca.crt", "apiserver.crt"], "{shell:?}");
        assert!(!seen.rotates);
    }
}
