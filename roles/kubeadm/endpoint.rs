//! The cluster goes over to a load balancer of somebody else's, or to an address that its control planes share, which the
//! certificates of all API servers know by now: it is told the address, then the kubeconfigs of each machine lead there, and the load balancers on the machines go.

use muster_engine::prelude::*;
use muster_inventory::some_names;

use super::{API_ENDPOINT, API_IS_UP, CONTROL_PLANE, config, growth, kubelet, reconfigure};
use crate::balancer::{self, External};
use crate::cluster::{self, Standing};
use crate::vip;

/// What the control plane that leads tells the others.
const IS_TOLD: &str = "the address of the API in the cluster";

/// The machine finds the API where it is to find it. Nothing is asked or done where it does so already.
pub(crate) async fn run(host: &Host) -> Result<()> {
    let known = cluster::may_set_up(host).await?;
    let is_plane = known.planes.iter().any(|plane| plane == host.name());
    if is_plane {
        vip::hold(host, &known).await?;
    }
    let Some(external) = cluster::goes_over(host, &known)? else {
        if known.leader() == Some(host.name()) {
            is_left(host, &known)?;
        }
        if is_plane && config::is_of_a_transition(host, &known)? {
            let config = config::in_the_end(host, &known).await?;
            host.step("Forget where the API was").ensure_all(config).await?;
        }
        vip::leads_elsewhere(host);
        return Ok(());
    };
    let leader = known.leader().unwrap_or(host.name());
    let leads = leader == host.name();
    if leads {
        for plane in &known.planes {
            host.needs_of_role(plane, CONTROL_PLANE, API_IS_UP).await?;
        }
        balancer::all_know_it(host, &known, &external).await?;
        if external.is_shared() {
            vip::is_shared(host, &known).await?;
        }
        balancer::answers(host, &known, &external).await?;
        growth::workers_are_through(host, &known).await;
        balancer::all_find_it(host, &known, &external).await?;
    } else {
        host.needs_of_role(leader, API_ENDPOINT, IS_TOLD).await?;
    }
    let endpoint = external.endpoint();
    let what = if external.is_shared() { "its own address" } else { "its load balancer" };
    let mut step = host.step(&format!("Find the API at {what}")).detached();
    if is_plane {
        step = step.ensure_all(config::in_the_end(host, &known).await?);
    }
    if leads {
        // Its own kubeconfig is moved when this is done.
        let is_told = sh(
            r#"while read -r key value; do
  if [ "$key $value" = "server: $1" ]; then exit 0; fi
done </etc/kubernetes/admin.conf
exit 1"#,
            [format!("https://{endpoint}")],
        );
        step = step.ensure(command("address of the API in the cluster", reconfigure::tell(), is_told));
    }
    step.ensure_all(balancer::moved_name(host, &known)?)
        .ensure(balancer::kubeconfigs(host, &known, &endpoint)?)
        .remove_all(balancer::left_over(host, &known, true)?)
        .ensure_all(balancer::former_names(host, &known)?)
        .ensure_all(kubelet::in_the_end(host, &known).await?)
        .await?;
    if leads {
        host.reached(IS_TOLD);
        host.tell(format!(
            "the machines of the cluster find the API at {endpoint} from now on, and so do new kubeconfigs"
        ));
    }
    vip::leads_elsewhere(host);
    Ok(())
}

/// Says why the cluster does not go over to its load balancer, where the run leaves machines out that would not know its name.
fn is_left(host: &Host, known: &Standing) -> Result<()> {
    let Some(external) = cluster::goes_over_with_all(host, known)? else { return Ok(()) };
    let left_out = external.passes_over(host, known);
    if !left_out.is_empty() {
        host.warn(format!(
            "all machines look for the API where they did ({}), because this run {}; to have the cluster go over to it: setup-cluster \
             without --limit and --tags",
            known.endpoint().unwrap_or_default(),
            what_is_left(&external, &left_out)
        ));
    }
    Ok(())
}

/// What a run does not do on machines that it leaves out, and that find the API at a load balancer only with it.
fn what_is_left(external: &External, left_out: &[String]) -> String {
    let (names, name) = (some_names(left_out), external.host());
    match external.line() {
        Some(_) => format!("gives {names} no line of /etc/hosts for {name}"),
        None => format!("does not take the former line of /etc/hosts for {name} from {names}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    #[test]
    fn it_is_said_whether_a_line_of_hosts_is_to_come_or_to_go() {
        let told = |balancer: &str| {
            let vars = format!("{balancer}apiserver_loadbalancer_domain_name: api.example.org\n");
            what_is_left(&External::of(&variables(&vars)).unwrap().unwrap(), &["w".to_owned()])
        };
        let at_address = "loadbalancer_apiserver: {address: 192.0.2.9, port: 8443}\n";
        assert_eq!(told(at_address), "gives w no line of /etc/hosts for api.example.org");
        let by_servers = "loadbalancer_apiserver: {port: 8443}\n";
        assert_eq!(
            told(by_servers),
            "does not take the former line of /etc/hosts for api.example.org from w"
        );
    }
}
