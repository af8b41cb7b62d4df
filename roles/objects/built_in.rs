//! What Kubernetes and kubeadm put into every cluster by themselves. Nobody's set may have it: it would be changed for everybody, and
//! go with the set.

use serde_json::Value;

use super::object::Id;

/// What the names of the API server's own roles begin with ("Default roles and role bindings" of Kubernetes' page on RBAC). Others
/// call theirs `system:` as well, as metrics-server and kube-vip do.
const ROLES_OF: [&str; 4] =
    ["system::", "system:aggregate-to-", "system:certificates.k8s.io:", "system:controller:"];

/// The API server's other roles, and their bindings.
const ROLES: [&str; 20] = [
    "system:auth-delegator",
    "system:basic-user",
    "system:coredns",
    "system:discovery",
    "system:heapster",
    "system:kube-aggregator",
    "system:kube-controller-manager",
    "system:kube-dns",
    "system:kube-scheduler",
    "system:kubelet-api-admin",
    "system:masters",
    "system:monitoring",
    "system:node",
    "system:node-bootstrapper",
    "system:node-problem-detector",
    "system:node-proxier",
    "system:persistent-volume-provisioner",
    "system:public-info-viewer",
    "system:service-account-issuer-discovery",
    "system:volume-scheduler",
];

/// The accounts of kube-controller-manager's controllers, which it makes (`--use-service-account-credentials`).
const CONTROLLERS: [&str; 34] = [
    "attachdetach-controller",
    "bootstrap-signer",
    "certificate-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "token-cleaner",
    "ttl-after-finished-controller",
    "ttl-controller",
];

/// Whose an object is that stays in the cluster when it leaves the user's own: what [`whose`] knows, and what Kubernetes would make
/// anew, so that tokens of the former one would be worth nothing.
pub(crate) fn stays(id: &Id) -> Option<&'static str> {
    let is_account = id.kind == "ServiceAccount" && id.name == "default";
    whose(id).or(is_account.then_some("that of each namespace"))
}

/// Whose an object is that every cluster has, by its name; `None` for all others.
pub(crate) fn whose(id: &Id) -> Option<&'static str> {
    const KUBERNETES: Option<&str> = Some("Kubernetes' own");
    const KUBEADM: Option<&str> = Some("kubeadm's");
    let kind = id.kind.split('.').next().unwrap_or_default();
    let namespace = if id.namespace.is_empty() { "default" } else { &id.namespace };
    match (kind, namespace, id.name.as_str()) {
        ("Namespace", _, "default" | "kube-system" | "kube-public" | "kube-node-lease")
        | ("Node", ..)
        | ("Service" | "Endpoints" | "EndpointSlice", "default", "kubernetes")
        | ("ConfigMap", _, "kube-root-ca.crt")
        | ("ConfigMap", "kube-system", "extension-apiserver-authentication")
        | ("ClusterRole" | "ClusterRoleBinding", _, "cluster-admin" | "admin" | "edit" | "view") => {
            KUBERNETES
        }
        ("ServiceAccount", "kube-system", name) if CONTROLLERS.contains(&name) => KUBERNETES,
        ("PriorityClass", _, name) if name.starts_with("system-") => KUBERNETES,
        ("ConfigMap", "kube-system", "kubeadm-config" | "kubelet-config" | "kube-proxy")
        | ("ConfigMap", "kube-public", "cluster-info")
        | ("DaemonSet" | "ServiceAccount", "kube-system", "kube-proxy") => KUBEADM,
        ("ConfigMap", "kube-system", name) if name.starts_with("muster-set-") => Some("muster's"),
        ("Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding", _, name) => {
            let of = |prefix: &str| name.starts_with(prefix);
            let is_kubernetes = ROLES.contains(&name) || ROLES_OF.into_iter().any(of);
            if is_kubernetes { KUBERNETES } else { KUBEADM.filter(|_| of("kubeadm:")) }
        }
        _ => None,
    }
}

/// The program of Kubernetes that has made an object that was found. The API server keeps book of who has set which field; what
/// a program says of an object's state tells nothing of who has made it.
pub(crate) fn maker(found: &Value) -> Option<&str> {
    let metadata = &found["metadata"];
    // By the API server itself, for what it serves and for whom first.
    if !metadata["labels"]["kube-aggregator.kubernetes.io/automanaged"].is_null()
        || !metadata["labels"]["kubernetes.io/bootstrapping"].is_null()
        || !metadata["annotations"]["apf.kubernetes.io/autoupdate-spec"].is_null()
    {
        return Some("kube-apiserver");
    }
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    let managers =
        entries.filter(|entry| entry["subresource"].is_null()).map(|entry| entry["manager"].as_str());
    managers.flatten().find(|manager| ["kubeadm", "kube-apiserver"].contains(manager))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_every_cluster_has_is_known_by_name() {
        let whose = |line: &str| whose(&Id::of_line(line).unwrap());
        for line in [
            "Namespace  default",
            "Node  node1",
            "Service  kubernetes",
            "ServiceAccount kube-system job-controller",
            "ClusterRole.rbac.authorization.k8s.io  system:node",
            "ClusterRoleBinding.rbac.authorization.k8s.io  cluster-admin",
        ] {
            assert_eq!(whose(line), Some("Kubernetes' own"), "{line}");
        }
        assert_eq!(whose("ConfigMap kube-system kubeadm-config"), Some("kubeadm's"));
        assert_eq!(
            whose("Role.rbac.authorization.k8s.io kube-system kubeadm:nodes-kubeadm-config"),
            Some("kubeadm's")
        );
        assert_eq!(whose("ConfigMap kube-system muster-set-traefik"), Some("muster's"));
        for line in [
            "Namespace  shop",
            "Service shop kubernetes",
            "ConfigMap shop kubeadm-config",
            "ServiceAccount shop my-controller",
            "ServiceAccount shop default",
            "ServiceAccount kube-system sealed-secrets-controller",
            "ClusterRole.rbac.authorization.k8s.io  system:metrics-server",
            "ClusterRole.rbac.authorization.k8s.io  system:aggregated-metrics-reader",
            "ClusterRole.rbac.authorization.k8s.io  system:kube-vip-role",
            "ClusterRoleBinding.rbac.authorization.k8s.io  system:kube-vip-binding",
            "Role.rbac.authorization.k8s.io shop admin",
            "ClusterRole.rbac.authorization.k8s.io  shop-admin",
        ] {
            assert_eq!(whose(line), None, "{line}");
        }
        let stays = |line: &str| stays(&Id::of_line(line).unwrap()).is_some();
        assert!(stays("ServiceAccount shop default") && stays("Namespace  default"));
        assert!(!stays("ServiceAccount shop seller"));
    }

    #[test]
    fn what_kubernetes_has_made_is_known_by_who_has_set_its_fields() {
        let by = |manager: &str, subresource: Value| {
            json!({ "metadata": { "managedFields": [
                { "manager": "kubectl", "operation": "Update" },
                { "manager": manager, "operation": "Update", "subresource": subresource },
            ] } })
        };
        assert_eq!(maker(&by("kubeadm", Value::Null)), Some("kubeadm"));
        assert_eq!(maker(&by("kube-apiserver", json!("status"))), None);
        assert_eq!(maker(&by("helm", Value::Null)), None);
        let made =
            json!({ "metadata": { "labels": { "kube-aggregator.kubernetes.io/automanaged": "onstart" } } });
        assert_eq!(maker(&made), Some("kube-apiserver"));
    }
}
