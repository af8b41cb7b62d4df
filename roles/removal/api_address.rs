//! Where the machines find the API, when the machine that they found it at leaves; and their load balancers, when any control plane
//! does.

use muster_engine::prelude::*;

use crate::addresses::{access_ip_of, ip_of};
use crate::balancer::{self, External, told};
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
    // A name may lead to one of them, too: where no load balancer is, and variables give its address to the API.
    let external = External::wanted(host, &known)?;
    let address_at = |endpoint: &str| known.address_at(cluster::host_in(endpoint), external.as_ref());
    let by_name = known.endpoint().map(|endpoint| (endpoint, address_at(endpoint)));
    if let Some((endpoint, Some(address))) = by_name {
        let is_going = |name: &String| {
            let own = [ip_of(host, name), access_ip_of(host, name)];
            known.planes.contains(name) && own.into_iter().filter_map(Result::ok).any(|own| own == address)
        };
        let url = format!("https://{endpoint}");
        if !going.contains(&url) && leaving.iter().any(is_going) {
            going.push(url);
        }
    }
    if going.is_empty() {
        host.passed("the API is at no machine that leaves");
        return Ok(());
    }
    let is_going = |server: &str| going.iter().any(|url| url == server);
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
        told!(include_str!("api-address.sh"), args),
        told!(include_str!("api-address-is-good.sh"), going.iter().cloned()),
    );
    host.step("Find the API at another address").ensure(moved).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    #[test]
    fn a_kubelet_that_was_not_told_of_another_address_is_told_by_the_next_run() {
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let path = |name: &str| root.path().join(name).display().to_string();
            let run = |text: &str, systemctl: &str, words: &[&str]| {
                let text = format!(
                    "systemctl() {{ {systemctl}; }}\n{}{text}",
                    include_str!("../balancer/kubelet_is_told.sh")
                );
                let text = text.replace("/etc/kubernetes", root.path().to_str().unwrap());
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &text, "sh"]).args(words);
                command.output().unwrap().status.success()
            };
            let (going, staying) = ("https://192.0.2.4:6443", "https://192.0.2.5:6443");
            for name in ["kubelet.conf", "admin.conf"] {
                fs::write(path(name), format!("    server: {going}\n")).unwrap();
            }
            let is_good = || run(include_str!("api-address-is-good.sh"), "exit 9", &[going]);
            let moves = |systemctl| run(include_str!("api-address.sh"), systemctl, &[staying, going]);
            assert!(!is_good(), "{shell:?}");
            // Killed when it comes to the kubelet.
            assert!(!moves("exit 9"), "{shell:?}");
            assert!(fs::read_to_string(path("kubelet.conf")).unwrap().contains(staying), "{shell:?}");
            assert!(!is_good(), "it looks for the API where it was: {shell:?}");
            let restart = format!("echo \"$*\" >>{}", path("restarts"));
            assert!(moves(&restart) && is_good(), "{shell:?}");
            assert_eq!(fs::read_to_string(path("restarts")).unwrap(), "restart kubelet\n", "{shell:?}");
        }
    }
}
