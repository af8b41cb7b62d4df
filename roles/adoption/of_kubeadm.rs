//! What kubeadm (1.30 to 1.37, `phases/controlplane/manifests.go`) gives the programs of a control plane by itself.

use serde_json::Value;

/// Where a machine's API server is to be found.
pub(super) struct Own {
    pub(super) address: String,
    pub(super) port: u16,
}

/// The arguments that kubeadm gives a program by itself, in a cluster with this configuration. `is_structured`: a file will say who may do
/// what.
pub(super) fn arguments(
    program: &str,
    own: &Own,
    asked: &Value,
    is_structured: bool,
) -> Vec<(&'static str, String)> {
    let or = |path: &str, default: &str| {
        let text = asked.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.unwrap_or(default).to_owned()
    };
    let folder = or("/certificatesDir", "/etc/kubernetes/pki");
    let file = |name: &str| format!("{folder}/{name}");
    let (services, pods) = (or("/networking/serviceSubnet", "10.96.0.0/12"), or("/networking/podSubnet", ""));
    let issuer = format!("https://kubernetes.default.svc.{}", or("/networking/dnsDomain", "cluster.local"));
    let text = str::to_owned;
    let of_leader = |name: &str| {
        let conf = format!("/etc/kubernetes/{name}.conf");
        vec![
            ("bind-address", text("127.0.0.1")),
            ("leader-elect", text("true")),
            ("kubeconfig", conf.clone()),
            ("authentication-kubeconfig", conf.clone()),
            ("authorization-kubeconfig", conf),
        ]
    };
    match program {
        "kube-apiserver" => {
            let mut all = vec![
                ("advertise-address", own.address.clone()),
                ("secure-port", own.port.to_string()),
                ("enable-admission-plugins", text("NodeRestriction")),
                ("service-cluster-ip-range", services),
                ("service-account-key-file", file("sa.pub")),
                ("service-account-signing-key-file", file("sa.key")),
                ("service-account-issuer", issuer),
                ("client-ca-file", file("ca.crt")),
                ("tls-cert-file", file("apiserver.crt")),
                ("tls-private-key-file", file("apiserver.key")),
                ("kubelet-client-certificate", file("apiserver-kubelet-client.crt")),
                ("kubelet-client-key", file("apiserver-kubelet-client.key")),
                ("enable-bootstrap-token-auth", text("true")),
                ("allow-privileged", text("true")),
                ("kubelet-preferred-address-types", text("InternalIP,ExternalIP,Hostname")),
                ("requestheader-username-headers", text("X-Remote-User")),
                ("requestheader-group-headers", text("X-Remote-Group")),
                ("requestheader-extra-headers-prefix", text("X-Remote-Extra-")),
                ("requestheader-client-ca-file", file("front-proxy-ca.crt")),
                ("requestheader-allowed-names", text("front-proxy-client")),
                ("proxy-client-cert-file", file("front-proxy-client.crt")),
                ("proxy-client-key-file", file("front-proxy-client.key")),
            ];
            if !is_structured {
                all.push(("authorization-mode", text("Node,RBAC")));
            }
            all
        }
        "kube-controller-manager" => {
            let mut all = of_leader("controller-manager");
            all.extend([
                ("client-ca-file", file("ca.crt")),
                ("requestheader-client-ca-file", file("front-proxy-ca.crt")),
                ("root-ca-file", file("ca.crt")),
                ("service-account-private-key-file", file("sa.key")),
                ("cluster-signing-cert-file", file("ca.crt")),
                ("cluster-signing-key-file", file("ca.key")),
                ("use-service-account-credentials", text("true")),
                ("controllers", text("*,bootstrapsigner,tokencleaner")),
                ("cluster-name", or("/clusterName", "kubernetes")),
            ]);
            if !pods.is_empty() {
                all.extend([
                    ("allocate-node-cidrs", text("true")),
                    ("cluster-cidr", pods),
                    ("service-cluster-ip-range", services),
                ]);
            }
            all
        }
        _ => of_leader("scheduler"),
    }
}
