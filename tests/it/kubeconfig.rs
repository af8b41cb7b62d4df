//! `muster kubeconfig`: the cluster in the user's own kubeconfig.

use crate::fixture::{Test, muster};

const ADMIN: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: kubernetes\n  cluster: {server: \"https://192.0.2.11:6443\", certificate-authority-data: Q0E=}\nusers:\n- name: kubernetes-admin\n  user: {client-key-data: S0VZ}\ncontexts: []\n";

/// A certificate that ended with the year 2020, as it stands in a kubeconfig.
const ENDED: &str = concat!(
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJIRENCeEFJQkFUQUtCZ2dxaGtqT1BRUURBakFiTVJrd0Z3WURWUVFEREJCcmRXSmxjbT",
    "VsZEdWekxXRmsKYldsdU1CNFhEVEl3TURFd01UQXdNREF3TUZvWERUSXhNREV3TVRBd01EQXdNRm93R3pFWk1CY0dBMVVFQXd3UQphM1ZpWlhK",
    "dVpYUmxjeTFoWkcxcGJqQlpNQk1HQnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VIQTBJQUJGRmQ4Q2JGClR0UU5HNVY5d0thZlptT1Z3OG9WakJzM0",
    "IyYi9Jd2RLd0FNQXhvd3NzeEIyYmV0QkVVYlZqUW1MY0h2dDd5WEcKZGFSOE0wMkU3VmhpNS93d0NnWUlLb1pJemowRUF3SURSd0F3UkFJZ0kv",
    "Z0JrRVVIUzA5Vkd3SFJSdXVlNGNvdQpwU0Q5THFNcTRucnJHZlNZeThFQ0lFT0E3cEsvQk0rcUlTL1FKNGE4Y3pJeFR0Zkl5RTNEcGRnUjU5OT",
    "dXRHNYCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K",
);

fn project() -> Test {
    muster()
        .file("inventory/hosts.ini", "[kube_control_plane]\nnode1 ansible_host=127.0.0.1 ansible_port=1\n")
        .file("inventory/artifacts/admin.conf", ADMIN)
}

#[test]
fn it_is_printed_merged_and_removed() {
    let test = project();
    assert_eq!(test.run(&["kubeconfig"]).code(0).stdout, ADMIN);
    let own = test.folder().join("own");
    let merge = ["kubeconfig", "--merge", "--into", "own", "--name", "class"];
    test.run(&[&merge[..], &["--check"]].concat())
        .code(0)
        .nothing_written()
        .stderr_has(&["would be put into"]);
    let merged = test.run(&merge).code(0);
    merged.stderr_has(&["the context class is in", "no control plane answers, so it is not known whether"]);
    let text = std::fs::read_to_string(&own).unwrap();
    assert!(text.contains("current-context: class") && text.contains("user: class-admin"), "{text}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    test.run(&merge).code(0).nothing_written().stderr_has(&["nothing was changed"]);
    // Its mode stays; and only root could change that of somebody else, whom it would lock out.
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o640)).unwrap();
    let other = ["kubeconfig", "--merge", "--into", "own", "--name", "other"];
    test.run(&other).code(0);
    assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    let owner = std::os::unix::fs::MetadataExt::uid(&own.metadata().unwrap());
    if std::os::unix::fs::chown(&own, Some(65_534), None).is_ok() {
        test.run(&merge).code(1).nothing_written().stderr_has(&["own is somebody else's (user 65534)"]);
        std::os::unix::fs::chown(&own, Some(owner), None).unwrap();
    }
    test.run(&["kubeconfig", "--remove", "--into", "own", "--name", "other"]).code(0);
    test.run(&merge).code(0);
    test.run(&["kubeconfig", "--remove", "--into", "own", "--name", "class"])
        .code(0)
        .stderr_has(&["the context class is gone from", "kubectl uses none now"]);
    assert!(!std::fs::read_to_string(&own).unwrap().contains("class"));
    assert!(!test.folder().join("own.lock").exists());
}

#[test]
fn it_goes_where_kubectl_would_write_and_is_named_by_the_folder() {
    let test = project().set("KUBECONFIG", "first:second");
    test.run(&["kubeconfig", "--merge"]).code(0).stderr_has(&["the context project is in", "first"]);
    let test = muster()
        .file(
            "inventory/mine/hosts.ini",
            "[kube_control_plane]\nnode1 ansible_host=127.0.0.1 ansible_port=1\n",
        )
        .file("inventory/mine/artifacts/admin.conf", ADMIN);
    test.run(&["kubeconfig", "--merge", "-i", "inventory/mine/hosts.ini"])
        .code(0)
        .stderr_has(&["the context mine is in ", "/home/.kube/config"]);
}

#[test]
fn what_is_in_the_way_is_told_and_nothing_is_changed() {
    let merge = ["kubeconfig", "--merge", "--into", "own", "--name", "class"];
    project()
        .file("own", "clusters: [\n")
        .run(&merge)
        .code(1)
        .nothing_written()
        .stderr_has(&["own is no kubeconfig that can be changed"]);
    project()
        .file("own", "clusters: [{name: class, cluster: {server: \"https://192.0.2.99\"}}]\n")
        .run(&merge)
        .code(1)
        .nothing_written()
        .stderr_has(&["a cluster at \"https://192.0.2.99\" under the name class", "--name class-2"]);
    project()
        .file("own.lock", "")
        .run(&merge)
        .code(1)
        .nothing_written()
        .stderr_has(&["own.lock is there: kubectl or another muster is changing own"]);
    project().run(&["kubeconfig", "--check"]).code(5).stderr_has(&["need --merge or --remove"]);
}

#[test]
fn one_that_lets_nobody_in_any_more_is_asked_for_anew() {
    let admin =
        ADMIN.replace("user: {", &format!("user:\n    client-certificate-data: {ENDED}\n  other: {{"));
    let test = project().file("inventory/artifacts/admin.conf", &admin);
    // No control plane answers.
    let printed = test.run(&["kubeconfig"]).code(0).nothing_written();
    assert_eq!(printed.stdout, admin);
    printed.stderr_has(&[
        "inventory/artifacts/admin.conf has ended",
        "asking node1 for admin.conf",
        "it stays",
    ]);
}
