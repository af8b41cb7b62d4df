//! Where the machines find the API, when the machine that they found it at leaves; and their load balancers, when any control plane
//! does.

use muster_engine::prelude::*;

use crate::balancer;
use crate::cluster;

/// The kubeconfigs of a machine that stays lead to a control plane that stays. What is in the cluster (kube-proxy, flannel,
/// kubeadm's configuration) follows with the next setup-cluster, which finds the address in these.
pub(super) async fn run(host: &Host, leaving: &[String]) -> Result<()> {
    let known = cluster::known(host).await?;
    balancer::lead_away(host, &known, leaving).await?;
    let mut going = Vec::new();
    for name in leaving.iter().filter(|name| known.planes.contains(name)) {
        going.push(format!("https://{}", cluster::api_of(host, name)?));
    }
    let is_going = |server: &str| going.iter().any(|url| url == server);
    if !known.servers(host.name()).into_iter().any(is_going) {
        host.passed("the API is at no machine that leaves");
        return Ok(());
    }
    let staying: Vec<&str> =
        known.standing().into_iter().filter(|plane| !leaving.iter().any(|host| host == plane)).collect();
    // What a run that was cut off has begun with goes on.
    let chosen = staying.iter().flat_map(|plane| known.servers(plane)).find(|server| !is_going(server));
    let url = match (chosen, staying.first()) {
        (Some(url), _) => url.to_owned(),
        (None, Some(plane)) => format!("https://{}", cluster::api_of(host, plane)?),
        (None, None) => return Err(Failure::new("no control plane stays", "let another one join first")),
    };
    let args = std::iter::once(url.clone()).chain(going.iter().cloned());
    let moved = command(
        format!("address of the API: {url}"),
        sh(include_str!("api-address.sh"), args),
        sh(include_str!("api-address-is-good.sh"), going.iter().cloned()),
    );
    host.step("Find the API at another address").ensure(moved).await.map(drop)
}
