//! A cluster goes to another version of Kubernetes, while an application and the API are asked.

use std::thread::sleep;
use std::time::Duration;

use crate::fixture::{Ended, Lab};

const FROM: &str = "kube_version=1.36.3";
const TO: &str = "1.37.2";

/// Answers with its name on every node, also beside those that are drained.
const APPLICATION: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  strategy: {rollingUpdate: {maxUnavailable: 0}}
  template:
    metadata: {labels: {app: app}}
    spec:
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: app}}}
      containers:
        - name: app
          image: registry.k8s.io/e2e-test-images/agnhost:2.63.0
          args: [netexec, --http-port=8080, --delay-shutdown=5]
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: default}
spec:
  clusterIP: 10.233.0.77
  selector: {app: app}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: app, namespace: default}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: app}}
"#;

/// Asks five times a second and notes when there was no answer: the application through its service, the API as the kubelet does.
const ASK: &str = r#"
ask_app() { timeout 2 bash -c 'exec 3<>/dev/tcp/10.233.0.77/80; printf "GET /hostname HTTP/1.0\r\n\r\n" >&3; grep -q "200 OK" <&3' 2>/dev/null; }
ask_api() { kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=2s get --raw /readyz >/dev/null 2>&1; }
for what in app api; do
  (while :; do ask_$what && echo ok || echo "failed $(date +%s)"; sleep 0.2; done >/run/asked.$what) &
done"#;

/// Whether the bundle has the other version. `./test --all` compiles it.
fn other_version_is_there(lab: &Lab) -> bool {
    let listed =
        lab.lab(&["exec", "--", crate::fixture::muster().to_str().unwrap(), "bundle", "list", "--versions"]);
    listed.out.lines().any(|line| line.starts_with(TO) && line.contains("amd64"))
}

fn changed(ended: &Ended, host: &str) -> u32 {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended.recap(host, "changed")
}

#[test]
#[ignore = "it takes minutes and a second version of Kubernetes; ./test --all"]
fn a_control_plane_and_a_worker_go_to_the_next_minor_version_under_an_application() {
    let lab = Lab::up(245, &["-n", "2"]);
    if !other_version_is_there(&lab) {
        eprintln!("skipped: the bundle has no Kubernetes {TO}; ./test --all compiles it");
        return;
    }
    let to = format!("kube_version={TO}");
    changed(&lab.muster(&["setup-cluster", &lab.pattern(2), "-e", FROM]), "node2");
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    std::fs::write(lab.folder().join("app.yml"), APPLICATION).unwrap();
    kubectl(&["apply", "-f", "app.yml"]);
    kubectl(&["rollout", "status", "deployment/app", "--timeout=60s"]);

    // setup-cluster keeps the version, and names what brings another one.
    let refused = lab.muster(&["setup-cluster", "-e", &to]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.out.contains("upgrade-cluster"), "{refused:#?}");
    // Neither back, nor past a version; nothing is changed.
    let pods = || kubectl(&["get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.uid}"]);
    let before = pods();
    let back = lab.muster(&["upgrade-cluster", "-e", "kube_version=1.35.4", "--offline"]);
    assert_ne!(back.code, 0, "{back:#?}");

    // A cluster that is not well is left as it is.
    lab.on("node2", "systemctl stop kubelet");
    kubectl(&["wait", "--for=condition=Ready=Unknown", "node/node2", "--timeout=90s"]);
    let unwell = lab.muster(&["upgrade-cluster", "-e", &to]);
    assert_eq!(unwell.code, 3, "{unwell:#?}");
    assert!(unwell.all().contains("the node node2 is not Ready"), "{unwell:#?}");
    lab.on("node2", "systemctl start kubelet");
    kubectl(&["wait", "--for=condition=Ready", "node/node2", "--timeout=90s"]);
    kubectl(&["rollout", "status", "deployment/app", "--timeout=60s"]);
    assert_eq!(pods(), before);

    lab.on(
        "node1",
        &format!("nohup setsid bash -c '{}' >/dev/null 2>&1 </dev/null", ASK.replace('\'', r"'\''")),
    );
    // It is killed while the control plane goes over; the same command finishes it.
    let mut run = lab.start(&["upgrade-cluster", "-vv", "--output", "plain", "-e", &to]);
    run.until("upgrade-control-plane: Upgrade the control plane");
    sleep(Duration::from_secs(5));
    run.signal("KILL");
    run.end();
    let done = lab.muster(&["upgrade-cluster", "-v", "-e", &to]);
    assert!(changed(&done, "node2") > 0, "{done:#?}");

    let versions = kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.kubeletVersion}"]);
    assert_eq!(versions, format!("v{TO} v{TO}"));
    let images =
        kubectl(&["-n", "kube-system", "get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}"]);
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        assert!(
            images.contains(&format!("{component}:v{TO}")) && !images.contains(&format!("{component}:v1.36")),
            "{images}"
        );
    }
    let failed = |what: &str| {
        lab.on("node1", &format!("grep -c failed /run/asked.{what} || :")).trim().parse::<u32>().unwrap()
    };
    let asked =
        |what: &str| lab.on("node1", &format!("wc -l </run/asked.{what}")).trim().parse::<u32>().unwrap();
    eprintln!(
        "application: {} of {} failed; API: {} of {}",
        failed("app"),
        asked("app"),
        failed("api"),
        asked("api")
    );
    assert!(asked("app") > 50 && failed("app") == 0);

    // Nobody has to do anything more, and the cluster keeps its version.
    for command in ["upgrade-cluster", "setup-cluster"] {
        let nothing = lab.muster(&[command, "-e", &to]);
        assert_eq!([changed(&nothing, "node1"), changed(&nothing, "node2")], [0, 0], "{nothing:#?}");
    }
    let back = lab.muster(&["upgrade-cluster", "-e", FROM]);
    assert_eq!(back.code, 3, "{back:#?}");
    assert!(back.out.contains("does not go back"), "{back:#?}");
}
