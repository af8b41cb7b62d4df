//! Network policies with flannel: denied and allowed between pods on the same node and on two, from outside, and after kube-router was
//! killed; and gone without a trace when they are switched off.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{Lab, bundle_has};

/// A server in the namespace `shop`, whose service has a port on each node; who asks it is in the same namespace, in another one, and on
/// either node.
const PODS: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: street, labels: {way: in}}}
---
{apiVersion: v1, kind: Service, metadata: {name: server, namespace: shop},
 spec: {type: NodePort, selector: {app: server}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: server, namespace: shop, labels: {app: server}},
 spec: {nodeName: node1, containers: [{name: a, image: IMAGE, args: [netexec, --http-port=8080]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: near, namespace: shop, labels: {app: client}},
 spec: {nodeName: node1, containers: [{name: a, image: IMAGE, args: [pause]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: far, namespace: shop, labels: {app: client}},
 spec: {nodeName: node2, containers: [{name: a, image: IMAGE, args: [pause]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: near, namespace: street},
 spec: {nodeName: node1, containers: [{name: a, image: IMAGE, args: [pause]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: far, namespace: street},
 spec: {nodeName: node2, containers: [{name: a, image: IMAGE, args: [pause]}]}}
"#;

/// Who asks: a namespace and a pod.
const CLIENTS: [(&str, &str); 4] = [("shop", "near"), ("shop", "far"), ("street", "near"), ("street", "far")];

/// A policy for the pods of a namespace.
fn policy(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: {namespace}}},\n spec: {spec}}}\n---\n"
    )
}

struct Shop<'l> {
    lab: &'l Lab,
    server: String,
}

impl Shop<'_> {
    fn kubectl(&self, words: &[&str]) -> String {
        let ended = self.lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{words:?}: {ended:#?}");
        ended.out
    }

    /// These policies, and no others, are in force.
    fn policies(&self, policies: &[String]) {
        for namespace in ["shop", "street"] {
            self.kubectl(&["-n", namespace, "delete", "networkpolicies", "--all"]);
        }
        if !policies.is_empty() {
            fs::write(self.lab.folder().join("policies.yaml"), policies.concat()).unwrap();
            self.kubectl(&["apply", "-f", "policies.yaml"]);
        }
    }

    /// Whether a client reaches the server now.
    fn is_reached_from(&self, (namespace, pod): (&str, &str)) -> bool {
        let ask = ["exec", pod, "--", "/agnhost", "connect", "--timeout=1s", &self.server];
        self.lab.muster(&[&["kubectl", "-n", namespace], &ask[..]].concat()).code == 0
    }

    /// Whether somebody outside of the cluster reaches it at its port of a node.
    fn is_reached_at(&self, node: u8) -> bool {
        let url = format!("http://{}:30080/echo?msg=hello", self.lab.address(node));
        self.lab.exec(&["curl", "-s", "-m", "2", &url]).out == "hello"
    }

    /// Who reaches the server, when that has become so; kube-router has seconds for it.
    fn is_reached(&self, from: [bool; 4], at: [bool; 2], why: &str) {
        let begun = Instant::now();
        loop {
            let seen = (
                CLIENTS.map(|client| self.is_reached_from(client)),
                [1, 2].map(|node| self.is_reached_at(node)),
            );
            if seen == (from, at) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{why}: {CLIENTS:?} and the nodes: {seen:?}");
            thread::sleep(Duration::from_secs(1));
        }
    }
}

/// What there is of kube-router in the kernel of a machine.
fn left(lab: &Lab, machine: &str) -> String {
    lab.on(
        machine,
        "{ iptables-save | grep -oE 'KUBE-(ROUTER|POD-FW|NWPLCY)-[A-Z0-9]*'; ipset list -n | grep -E '^KUBE-(SRC|DST)-'; } | sort -u",
    )
}

#[test]
fn policies_deny_and_allow_and_leave_no_trace() {
    if !bundle_has("kube-router") {
        eprintln!("skipped: the bundle has no kube-router (muster bundle build --with network-policies)");
        return;
    }
    // Its network is 10.146.112.0/24, in which the client outside of the cluster is, too.
    let lab = Lab::up(112, &["-n", "2"]);
    let setup = |value: &str, args: &[&str]| {
        let set = format!("network_policies_enabled={value}");
        let ended = lab.muster(&[&["setup-cluster", &lab.pattern(2), "-e", &set], args].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let unchanged = |value: &str| {
        let again = setup(value, &[]);
        assert_eq!(["node1", "node2"].map(|host| again.recap(host, "changed")), [0, 0], "{again:#?}");
    };
    setup("true", &[]);
    unchanged("true");
    let apps = lab.muster(&["apps", "-e", "network_policies_enabled=true"]);
    let told = |line: &&str| line.starts_with("network-policies") && line.contains("well");
    assert!(apps.out.lines().any(|line| told(&line)), "{apps:#?}");

    let pods = PODS.replace("IMAGE", &format!("\"{}\"", lab.agnhost()));
    fs::write(lab.folder().join("pods.yaml"), pods).unwrap();
    let mut shop = Shop { lab: &lab, server: String::new() };
    shop.kubectl(&["apply", "-f", "pods.yaml"]);
    for namespace in ["shop", "street"] {
        shop.kubectl(&["-n", namespace, "wait", "--for=condition=Ready", "--timeout=120s", "pod", "--all"]);
    }
    let server = shop.kubectl(&["-n", "shop", "get", "pod", "server", "-o", "jsonpath={.status.podIP}"]);
    shop.server = format!("{server}:8080");
    let (all, none) = ([true; 4], [false; 4]);
    shop.is_reached(all, [true; 2], "without a policy everything passes");

    let deny = policy("shop", "deny", "{podSelector: {}, policyTypes: [Ingress]}");
    shop.policies(std::slice::from_ref(&deny));
    shop.is_reached(none, [false; 2], "nothing passes");

    let from = |from: &str| {
        policy(
            "shop",
            "allow",
            &format!("{{podSelector: {{matchLabels: {{app: server}}}}, ingress: [{{from: [{from}]}}]}}"),
        )
    };
    shop.policies(&[deny.clone(), from("{podSelector: {matchLabels: {app: client}}}")]);
    shop.is_reached([true, true, false, false], [false; 2], "pods of the namespace by a label");
    shop.policies(&[deny.clone(), from("{namespaceSelector: {matchLabels: {way: in}}}")]);
    shop.is_reached([false, false, true, true], [false; 2], "pods of another namespace by its label");

    // The pods of a namespace stop sending, while answers still reach them.
    let silent = policy("street", "silent", "{podSelector: {}, policyTypes: [Egress]}");
    shop.policies(&[silent]);
    shop.is_reached([true, true, false, false], [true; 2], "who may not send does not");

    // From outside, at a port of a node: what another node hands on comes from that node's address in the network of pods.
    let outside = "{ipBlock: {cidr: 10.146.112.0/24}}";
    shop.policies(&[deny.clone(), from(outside)]);
    shop.is_reached(none, [true, false], "from outside, at the node of the pod");
    let part = shop.kubectl(&["get", "node", "node2", "-o", "jsonpath={.spec.podCIDR}"]);
    let handed_on = format!("{{ipBlock: {{cidr: {}/32}}}}", part.split('/').next().unwrap());
    shop.policies(&[deny.clone(), from(&format!("{outside}, {handed_on}"))]);
    shop.is_reached(none, [true; 2], "from outside, at either node");

    // While kube-router is away what was in force stays so; when it is back it knows of what has changed.
    shop.policies(&[deny.clone(), from("{podSelector: {matchLabels: {app: client}}}")]);
    shop.is_reached([true, true, false, false], [false; 2], "before kube-router is killed");
    lab.on("node1", "pkill -KILL -x kube-router");
    assert_eq!(CLIENTS.map(|client| shop.is_reached_from(client)), [true, true, false, false]);
    shop.policies(std::slice::from_ref(&deny));
    shop.is_reached(none, [false; 2], "after kube-router was killed");
    let daemons = ["-n", "network-policies", "rollout"];
    shop.kubectl(&[&daemons[..], &["restart", "daemonset/kube-router"]].concat());
    shop.kubectl(&[&daemons[..], &["status", "daemonset/kube-router", "--timeout=120s"]].concat());
    shop.is_reached(none, [false; 2], "after its pods were replaced");

    students_are_kept_apart(&lab);

    // Off again: everything passes, with the policies still there, and nothing of it is on the machines.
    for machine in ["node1", "node2"] {
        let there = left(&lab, machine);
        assert!(
            there.contains("KUBE-ROUTER-FORWARD") && there.contains("KUBE-NWPLCY-DEFAULT"),
            "{machine}: {there}"
        );
    }
    assert!(left(&lab, "node1").contains("KUBE-DST-"));
    setup("false", &[]);
    for machine in ["node1", "node2"] {
        assert_eq!(left(&lab, machine), "", "{machine}");
    }
    shop.is_reached(all, [true; 2], "policies have no effect any more");
    assert_eq!(shop.kubectl(&["get", "namespace", "network-policies", "--ignore-not-found"]), "");
    unchanged("false");

    // A reset takes them away, too.
    setup("true", &["--tags", "apps"]);
    shop.is_reached(none, [false; 2], "policies that were there are kept to");
    let reset = lab.muster(&["reset-cluster", "--yes"]);
    assert_eq!(reset.code, 0, "{reset:#?}");
    for machine in ["node1", "node2"] {
        assert_eq!(left(&lab, machine), "", "{machine}");
    }
}

/// A student's pod is reached by the own pods, and from outside at each node; not by those of another student.
fn students_are_kept_apart(lab: &Lab) {
    let made = lab.muster(&["students", "create", "anna", "jan", "-e", "network_policies_enabled=true"]);
    assert_eq!(made.code, 0, "{made:#?}");
    assert!(!made.all().contains("does not keep to network policies"), "{made:#?}");
    let as_student = |name: &str, words: &[&str]| {
        let config =
            lab.folder().join(Path::new("inventory/artifacts/students")).join(format!("{name}.conf"));
        lab.muster(&[&["kubectl", &format!("--kubeconfig={}", config.display())], words].concat())
    };
    let done = |name: &str, words: &[&str]| {
        let ended = as_student(name, words);
        assert_eq!(ended.code, 0, "{name} {words:?}: {ended:#?}");
        ended.out
    };
    let image = format!("--image={}", lab.agnhost());
    done("anna", &["run", "web", &image, "--port=8080", "--", "netexec", "--http-port=8080"]);
    done("anna", &["expose", "pod", "web", "--type=NodePort"]);
    for name in ["anna", "jan"] {
        done(name, &["run", "asks", &image, "--", "pause"]);
        done(name, &["wait", "--for=condition=Ready", "--timeout=120s", "pod", "--all"]);
    }
    let address = done("anna", &["get", "pod", "web", "-o", "jsonpath={.status.podIP}"]) + ":8080";
    let port = done("anna", &["get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"]);
    let begun = Instant::now();
    loop {
        let asks = |name: &str| {
            as_student(name, &["exec", "asks", "--", "/agnhost", "connect", "--timeout=1s", &address]).code
                == 0
        };
        let at = |node: u8| {
            let url = format!("http://{}:{port}/echo?msg=hello", lab.address(node));
            lab.exec(&["curl", "-s", "-m", "2", &url]).out == "hello"
        };
        let seen = (asks("anna"), asks("jan"), at(1), at(2));
        if seen == (true, false, true, true) {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the own pods, another student's, from outside: {seen:?}"
        );
        thread::sleep(Duration::from_secs(1));
    }
    let gone = lab.muster(&["students", "anna", "jan", "delete"]);
    assert_eq!(gone.code, 0, "{gone:#?}");
}
