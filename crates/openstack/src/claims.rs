//! What Kubernetes has made in the cloud for the cluster: volumes of claims, and load balancers of services.
//!
//! Who makes them are programs in the cluster, which know it by a name that their users choose: cinder-csi (`--cluster`) and the
//! cloud controller manager (`--cluster-name`). Where that name is the cluster's identity, they are the cluster's for sure, and so are those
//! with its mark. The usual name, `kubernetes`, is that of many clusters of a project: then what is in sight of this cluster's machines
//! or network is told, and stays.

use serde_json::Value;

use crate::client::CloudError;
use crate::kind::Kind;
use crate::machines::Machines;
use crate::mark::Mark;
use crate::view::{Object, View};

/// The key of the metadata in which cinder-csi keeps the name of the cluster (cloud-provider-openstack, `pkg/csi/cinder`).
const CSI_CLUSTER: &str = "cinder.csi.openstack.org/cluster";
/// How the cloud controller manager calls load balancers: this, the cluster's name, and `_NAMESPACE_SERVICE`.
const SERVICE_PREFIX: &str = "kube_service_";

/// What was found of it.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// What is the cluster's for sure.
    pub(crate) ours: Vec<Object>,
    /// What may be, a line each.
    pub(crate) doubtful: Vec<String>,
}

impl Claims {
    /// Looks for it, in a cloud that has such services.
    ///
    /// # Errors
    /// A service refuses or does not answer.
    pub(crate) fn look(machines: &Machines<'_>, view: &View) -> Result<Self, CloudError> {
        let session = machines.session;
        let mark = &machines.mark;
        let ids = |kind| view.ours(kind, mark).into_iter().map(|object| object.id).collect::<Vec<_>>();
        let (servers, networks) = (ids(Kind::Server), ids(Kind::Network));
        let mut found = Self::default();
        for kind in [Kind::LoadBalancer, Kind::Volume] {
            let form = kind.form();
            if !session.has(form.service) {
                continue;
            }
            for body in session.list(form.service, form.list, form.many)? {
                let why = in_sight(kind, &body, &machines.cluster, &servers, &networks);
                let object = Object::of(kind, body, String::new());
                if is_ours(&object, mark) {
                    found.ours.push(object);
                } else if let Some(why) = why {
                    found.doubtful.push(format!("{} {why}", object.shown()));
                }
            }
        }
        Ok(found)
    }
}

/// Whether something is the cluster's for sure.
fn is_ours(object: &Object, mark: &Mark) -> bool {
    mark.part_of(&object.body).is_some()
        || object.body["metadata"][CSI_CLUSTER] == mark.id()
        || is_service_of(object.text("name"), mark.id())
}

fn is_service_of(name: &str, cluster: &str) -> bool {
    name.strip_prefix(SERVICE_PREFIX)
        .and_then(|rest| rest.strip_prefix(cluster))
        .is_some_and(|rest| rest.starts_with('_'))
}

/// Why something may be the cluster's.
fn in_sight(
    kind: Kind,
    body: &Value,
    cluster: &str,
    servers: &[String],
    networks: &[String],
) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if kind == Kind::Volume {
        let attached =
            body["attachments"].as_array().into_iter().flatten().map(|one| text(&one["server_id"]));
        let server = attached.into_iter().find(|server| servers.contains(server));
        let is_called_so = body["metadata"][CSI_CLUSTER] == cluster;
        return match server {
            Some(server) => Some(format!("is attached to the cluster's server {server}")),
            None => is_called_so.then(|| format!("is of a cluster that calls itself {cluster}")),
        };
    }
    if networks.contains(&text(&body["vip_network_id"])) {
        return Some("has its address in the cluster's network".to_owned());
    }
    let is_called_so = is_service_of(&text(&body["name"]), cluster);
    is_called_so.then(|| format!("is of a cluster that calls itself {cluster}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_carries_the_identity_is_the_clusters_for_sure() {
        let mark = Mark::new("1a2b");
        let ours = |kind, body| is_ours(&Object::of(kind, body, String::new()), &mark);
        assert!(ours(Kind::Volume, json!({"metadata": {CSI_CLUSTER: "1a2b"}})));
        assert!(ours(Kind::Volume, json!({"metadata": mark.metadata("data")})));
        assert!(ours(Kind::LoadBalancer, json!({"name": "kube_service_1a2b_default_web"})));
        assert!(ours(Kind::LoadBalancer, json!({"name": "web", "tags": [mark.tag()]})));
        for (kind, body) in [
            (Kind::Volume, json!({"metadata": {CSI_CLUSTER: "kubernetes"}})),
            (Kind::Volume, json!({"metadata": {CSI_CLUSTER: "1a2b3"}})),
            (Kind::LoadBalancer, json!({"name": "kube_service_1a2b3_default_web"})),
            (Kind::LoadBalancer, json!({"name": "kube_service_kubernetes_default_1a2b_"})),
        ] {
            assert!(!ours(kind, body.clone()), "{body}");
        }
    }

    #[test]
    fn what_is_at_the_clusters_machines_or_in_its_network_or_has_its_name_is_told() {
        let (servers, networks) = (vec!["s1".to_owned()], vec!["n1".to_owned()]);
        let why = |kind, body: Value| in_sight(kind, &body, "shop", &servers, &networks);
        let attached = json!({"attachments": [{"server_id": "s1"}], "metadata": {}});
        assert_eq!(why(Kind::Volume, attached).unwrap(), "is attached to the cluster's server s1");
        let named = json!({"attachments": [], "metadata": {CSI_CLUSTER: "shop"}});
        assert_eq!(why(Kind::Volume, named).unwrap(), "is of a cluster that calls itself shop");
        assert_eq!(why(Kind::Volume, json!({"attachments": [{"server_id": "s2"}]})), None);
        assert!(why(Kind::LoadBalancer, json!({"vip_network_id": "n1"})).is_some());
        assert!(why(Kind::LoadBalancer, json!({"name": "kube_service_shop_default_web"})).is_some());
        assert_eq!(why(Kind::LoadBalancer, json!({"name": "kube_service_shopping_default_web"})), None);
    }
}
