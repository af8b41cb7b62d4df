//! An application that is asked while something happens to its cluster, and the API and a name beside it.

use std::fs;

use crate::fixture::Lab;

/// Answers with its name on every node, also beside those that are drained; a pod that goes answers for some seconds more, as one
/// does that is asked by others.
const APPLICATION: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: default}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: app}}
  strategy: {rollingUpdate: {maxUnavailable: 0}}
  template:
    metadata: {labels: {app: app}}
    spec:
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: app}}}
      containers:
        - name: app
          image: IMAGE
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
  minAvailable: LEAST
  selector: {matchLabels: {app: app}}
"#;

/// Asks five times a second and notes when there was no answer: the application through its service, the API for what the kubelet
/// asks for, and where it asks, and the DNS cache of the node for the address of the API (RFC 1035, over TCP; the answer's ANCOUNT is 1).
/// Its parameters are what is asked.
const ASK: &str = r#"
ask_app() { timeout 2 bash -c 'exec 3<>/dev/tcp/10.233.0.77/80; printf "GET /hostname HTTP/1.0\r\n\r\n" >&3; grep -q "200 OK" <&3' 2>/dev/null; }
ask_api() { kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=10s get --raw "/api/v1/nodes/$(hostname)" 2>&1 >/dev/null; }
ask_names() { timeout 2 bash -c 'exec 3<>/dev/tcp/169.254.25.10/53
  printf "\0\066\0\1\1\0\0\1\0\0\0\0\0\0\012kubernetes\7default\3svc\7cluster\5local\0\0\1\0\1" >&3
  [ "$(head -c 10 <&3 | tail -c 2 | od -An -tx1)" = " 00 01" ]' 2>/dev/null; }
for what; do
  (while :; do why=$(ask_$what) && echo ok || echo "failed $(date +%T)" $why; sleep 0.2; done >/run/asked.$what) &
done"#;

/// Who is asked.
pub(crate) const APP: &str = "app";
pub(crate) const API: &str = "api";
pub(crate) const NAMES: &str = "names";

/// The application runs in so many pods, of which so many at least have to be there.
pub(crate) fn deploy(lab: &Lab, replicas: u8, least: u8) {
    let text = APPLICATION.replace("REPLICAS", &replicas.to_string()).replace("LEAST", &least.to_string());
    let text = text.replace("IMAGE", &lab.agnhost());
    fs::write(lab.folder().join("app.yml"), text).unwrap();
    for words in [&["apply", "-f", "app.yml"][..], &["rollout", "status", "deployment/app", "--timeout=90s"]]
    {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
    }
}

/// From now on these are asked on a machine.
pub(crate) fn ask(lab: &Lab, machine: &str, what: &[&str]) {
    let script = ASK.replace('\'', r"'\''");
    lab.on(
        machine,
        &format!("nohup setsid bash -c '{script}' sh {} >/dev/null 2>&1 </dev/null", what.join(" ")),
    );
}

/// How often one of them was asked in vain on that machine, and how often it was asked.
pub(crate) fn in_vain(lab: &Lab, machine: &str, what: &str) -> (usize, usize) {
    let said = lab.on(machine, &format!("cat /run/asked.{what}"));
    let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("failed")).collect();
    eprintln!("{what}: {} of {} failed {failed:?}", failed.len(), said.lines().count());
    if !failed.is_empty() {
        let events = lab.muster(&["kubectl", "get", "events", "-A", "--sort-by=.lastTimestamp"]);
        eprintln!("{}", events.out);
    }
    (failed.len(), said.lines().count())
}

/// One of them was asked all the time, and never in vain.
pub(crate) fn always_answered(lab: &Lab, machine: &str, what: &str) {
    let (failed, asked) = in_vain(lab, machine, what);
    assert!(asked > 50 && failed == 0, "{what} was asked {asked} times, {failed} times in vain");
}
