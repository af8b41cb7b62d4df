//! What of static pods is told, and what is not.

use super::*;

const NOTHING: [(String, String); 0] = [];

fn own() -> Own {
    Own { address: "192.0.2.4".into(), port: 6443 }
}

/// kubeadm's configuration of a cluster that `kubeadm init` has made.
fn asked() -> Value {
    json!({
        "certificatesDir": "/etc/kubernetes/pki",
        "clusterName": "kubernetes",
        "networking": { "dnsDomain": "cluster.local", "serviceSubnet": "10.96.0.0/12", "podSubnet": "10.244.0.0/16" },
    })
}

/// A manifest as kubeadm writes it, with arguments as they stand there; `more` stands behind the container's mounts, of which the last
/// is of a volume `extra`.
fn manifest(program: &str, arguments: &[&str], more: &str) -> String {
    let by_kubeadm = of_kubeadm::arguments(program, &own(), &asked(), false);
    let is_given = |name: &str| arguments.iter().any(|line| line.contains(&format!("--{name}=")));
    let by_kubeadm: Vec<String> = by_kubeadm
        .iter()
        .filter(|(name, _)| !is_given(name))
        .map(|(name, value)| format!("    - --{name}={value}\n"))
        .collect();
    let given: String = arguments.iter().map(|line| format!("    - {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {program}\n  namespace: kube-system\nspec:\n  containers:\n  - command:\n    - {program}\n\
         {}{given}    image: registry.k8s.io/{program}:v1.36.3\n    imagePullPolicy: IfNotPresent\n    livenessProbe: {{}}\n    name: {program}\n\
         \x20   resources:\n      requests:\n        cpu: 250m\n    volumeMounts:\n    - mountPath: /etc/ssl/certs\n      name: ca-certs\n      readOnly: true\n\
         \x20   - mountPath: /etc/kubernetes/pki\n      name: k8s-certs\n      readOnly: true\n{more}  hostNetwork: true\n  priority: 2000001000\n\
         \x20 priorityClassName: system-node-critical\n  securityContext:\n    seccompProfile:\n      type: RuntimeDefault\n  volumes:\n\
         \x20 - hostPath:\n      path: /etc/ssl/certs\n      type: DirectoryOrCreate\n    name: ca-certs\n\
         \x20 - hostPath:\n      path: /etc/kubernetes/pki\n      type: DirectoryOrCreate\n    name: k8s-certs\n\
         \x20 - hostPath:\n      path: /etc/audit\n      type: Directory\n    name: extra\nstatus: {{}}\n",
        by_kubeadm.concat()
    )
}

fn lost(program: &str, manifest: &str, wanted: &Value, patches: &Value) -> Vec<(String, String)> {
    let problems = StaticPod::parse(program, manifest).unwrap().problems(&own(), &asked(), wanted, patches);
    problems.into_iter().map(|problem| (problem.found, problem.remedy)).collect()
}

/// Of an API server with these arguments.
fn of(arguments: &[&str], wanted: Value, patches: Value) -> Vec<(String, String)> {
    lost("kube-apiserver", &manifest("kube-apiserver", arguments, ""), &wanted, &patches)
}

#[test]
fn what_kubeadm_writes_by_itself_is_not_lost() {
    for program in &PROGRAMS {
        let has = manifest(program.name, &[], "");
        assert_eq!(lost(program.name, &has, &json!({}), &json!(null)), NOTHING, "{}", program.name);
    }
    let stacked = ["--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt"];
    assert_eq!(of(&stacked, json!({}), json!(null)), NOTHING);
    assert!(StaticPod::parse("kube-apiserver", "spec: [").is_err());
    assert!(StaticPod::parse("kube-apiserver", "spec: {containers: []}").is_err());
}

#[test]
fn values_that_only_a_manifest_has_are_told_with_the_variable() {
    for (line, found) in [
        (
            "--service-account-issuer=https://own.example",
            "kube-apiserver runs with --service-account-issuer=https://own.example, kubeadm gives \
             https://kubernetes.default.svc.cluster.local",
        ),
        (
            "--authorization-mode=Node,RBAC,Webhook",
            "kube-apiserver runs with --authorization-mode=Node,RBAC,Webhook, kubeadm gives Node,RBAC",
        ),
        // A value that ends in a colon is quoted by whoever writes YAML.
        (
            "'--oidc-username-prefix=oidc:'",
            "kube-apiserver runs with --oidc-username-prefix=oidc:, none in the inventory",
        ),
        ("\"--v=4\"", "kube-apiserver runs with --v=4, none in the inventory"),
    ] {
        let told = of(&[line], json!({}), json!(null));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, found);
        assert!(told[0].1.starts_with("add to kube_kubeadm_apiserver_extra_args: {"), "{told:?}");
    }
    let with = |value: &str| json!({ "apiServer": { "extraArgs": [{ "name": "oidc-username-prefix", "value": value }] } });
    assert_eq!(of(&["'--oidc-username-prefix=oidc:'"], with("oidc:"), json!(null)), NOTHING);
    assert_eq!(of(&["'--oidc-username-prefix=oidc:'"], with("-"), json!(null)).len(), 1);
    let manager = manifest("kube-controller-manager", &["--bind-address=0.0.0.0"], "");
    let told = lost("kube-controller-manager", &manager, &json!({}), &json!(null));
    assert!(told.len() == 1 && told[0].1.contains("{bind-address: \"0.0.0.0\"}"), "{told:?}");
}

#[test]
fn an_argument_that_is_not_there_any_more_is_told() {
    let has = manifest("kube-apiserver", &[], "").replace("    - --enable-bootstrap-token-auth=true\n", "");
    let told = lost("kube-apiserver", &has, &json!({}), &json!(null));
    assert!(told.len() == 1 && told[0].0.contains("runs without --enable-bootstrap-token-auth"), "{told:?}");
    // Another file says who may do what.
    let has = manifest("kube-apiserver", &["--authorization-config=/a"], "")
        .replace("    - --authorization-mode=Node,RBAC\n", "");
    let will = json!({ "apiServer": { "extraArgs": { "authorization-config": "/a" } } });
    assert_eq!(lost("kube-apiserver", &has, &will, &json!(null)), NOTHING);
}

#[test]
fn an_argument_that_is_given_twice_is_kept_by_a_patch() {
    let issuers = ["https://kubernetes.default.svc.cluster.local", "https://former.example"];
    let lines = issuers.map(|issuer| format!("--service-account-issuer={issuer}"));
    let lines = [lines[0].as_str(), lines[1].as_str()];
    let told = of(&lines, json!({}), json!(null));
    assert_eq!(told.len(), 1, "{told:?}");
    let line = "{target: kube-apiserver, type: json, patch: [{op: add, path: /spec/containers/0/command/-, value: \
                \"--service-account-issuer=https://former.example\"}]}";
    assert_eq!(told[0].1, format!("add to kubeadm_patches: {line}"));
    // What is told is what keeps it.
    let patches = json!([serde_saphyr::from_str::<Value>(line).unwrap()]);
    assert_eq!(of(&lines, json!({}), patches), NOTHING);
}

#[test]
fn files_that_a_program_would_not_see_any_more_are_told() {
    let mount = "    - mountPath: /var/audit\n      name: extra\n";
    let has = manifest("kube-apiserver", &[], mount);
    let told = lost("kube-apiserver", &has, &json!({}), &json!(null));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        told[0].0,
        "kube-apiserver sees /etc/audit of the machine as /var/audit, and would not any more"
    );
    let line =
        "{name: extra, hostPath: /etc/audit, mountPath: /var/audit, readOnly: false, pathType: Directory}";
    assert!(told[0].1.starts_with(&format!("add to apiserver_extra_volumes: {line};")), "{told:?}");
    let volume: Value = serde_saphyr::from_str(line).unwrap();
    let wanted = |volume: &Value| json!({ "apiServer": { "extraVolumes": [volume] } });
    assert_eq!(lost("kube-apiserver", &has, &wanted(&volume), &json!(null)), NOTHING);
    let mut read_only = volume;
    read_only["readOnly"] = json!(true);
    assert_eq!(lost("kube-apiserver", &has, &wanted(&read_only), &json!(null)).len(), 1);
}

#[test]
fn the_environment_and_what_else_stands_in_a_pod_are_told() {
    let has = manifest(
        "kube-apiserver",
        &[],
        "    env:\n    - name: HTTPS_PROXY\n      value: http://me:word@192.0.2.9:3128\n",
    );
    let told = lost("kube-apiserver", &has, &json!({}), &json!(null));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0.contains("HTTPS_PROXY") && told[0].1.contains("kubeadm_patches"), "{told:?}");
    assert!(!told[0].0.contains("word") && !told[0].1.contains("me:word"), "{told:?}");
    let env = json!([{ "name": "HTTPS_PROXY", "value": "http://me:word@192.0.2.9:3128" }]);
    let patch = json!({ "spec": { "containers": [{ "name": "kube-apiserver", "env": env }] } });
    let patches = |target: &str| json!([{ "target": target, "patch": patch }]);
    assert_eq!(lost("kube-apiserver", &has, &json!({}), &patches("kube-apiserver")), NOTHING);
    assert_eq!(lost("kube-apiserver", &has, &json!({}), &patches("kube-scheduler")).len(), 1);
    for (old, new, found) in [
        ("spec:\n", "spec:\n  hostAliases: [{ip: 192.0.2.9, hostnames: [sso]}]\n", "hostAliases in its pod"),
        ("  containers:\n", "  containers:\n  - name: kms\n    image: kms\n", "the container kms beside it"),
        (
            "    livenessProbe: {}\n",
            "    livenessProbe: {}\n    workingDir: /a\n",
            "workingDir in its container",
        ),
    ] {
        let has = manifest("kube-apiserver", &[], "").replacen(old, new, 1);
        let told = lost("kube-apiserver", &has, &json!({}), &json!(null));
        assert!(told.len() == 1 && told[0].0.contains(found), "{found}: {told:?}");
    }
}

#[test]
fn what_kubespray_writes_down_needlessly_is_not_lost() {
    let of = |program: &str, arguments: &[&str], will: Value| {
        let has = manifest(program, arguments, "");
        let told = lost(program, &has, &will, &json!(null));
        told.into_iter().map(|(found, _)| found).collect::<Vec<_>>()
    };
    let api_server =
        ["--anonymous-auth=True", "'--bind-address=::'", "--apiserver-count=1", "--profiling=False"];
    assert_eq!(
        of("kube-apiserver", &api_server, json!({})),
        ["kube-apiserver runs with --profiling=False, none in the inventory"]
    );
    let not = json!({ "apiServer": { "extraArgs": [{ "name": "profiling", "value": "false" }] } });
    assert_eq!(of("kube-apiserver", &api_server, not), Vec::<String>::new());
    let manager =
        ["'--bind-address=::'", "--node-cidr-mask-size-ipv4=24", "--terminated-pod-gc-threshold=12500"];
    assert_eq!(
        of("kube-controller-manager", &manager, json!({})),
        ["kube-controller-manager runs with --bind-address=::, kubeadm gives 127.0.0.1"]
    );
    let scheduler = ["--config=/etc/kubernetes/kubescheduler-config.yaml"];
    let path = "/etc/kubernetes/kubescheduler-config.yaml";
    let has =
        manifest("kube-scheduler", &scheduler, &format!("    - mountPath: {path}\n      name: extra\n"));
    let has = has.replace("path: /etc/audit", &format!("path: {path}"));
    assert_eq!(lost("kube-scheduler", &has, &json!({}), &json!(null)), NOTHING);
}

#[test]
fn etcd_may_be_told_by_its_environment() {
    let pod = "spec: {containers: [{name: etcd, command: [etcd, --name=a], env: [{name: ETCD_QUOTA_BACKEND_BYTES, value: '9'}]}]}";
    let pod = StaticPod::parse("etcd", pod).unwrap().with_environment();
    let all: Vec<_> = pod.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(all, ["name=a", "quota-backend-bytes=9"]);
    assert!(pod.problems(&own(), &asked(), &json!({}), &json!(null)).is_empty());
}
