//! nodelocaldns: a DNS cache on each node. It is CoreDNS, at an address that every node has on an interface of its own.
//!
//! Pods are told of two servers, the cache and CoreDNS, and ask the second one where the first one does not answer. So names are found
//! whichever of kubelets and caches changes first, and by pods that were started while there was a cache that is gone; but these wait,
//! and are to be started anew. The address stays on a node when the cache is switched off, until a reset: the kernel says then
//! that nobody listens there, though only once a second (icmp(7), icmp_ratelimit).

use muster_engine::prelude::*;
use muster_inventory::HostVars;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalogue::image;
use crate::cluster;
use crate::common::cluster_vars;
use crate::objects::{self, ObjectSet, documents, name_by_digest};

/// The name of the set of its objects, of its unit and of its interface.
pub(crate) const NAME: &str = "nodelocaldns";

const UNIT: &str = "/etc/systemd/system/nodelocaldns.service";

#[derive(Deserialize)]
struct Vars {
    enable_nodelocaldns: bool,
    nodelocaldns_ip: String,
    dns_mode: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::MACHINES)];

impl Vars {
    fn is_wanted(&self) -> bool {
        self.enable_nodelocaldns && self.dns_mode != "none"
    }
}

/// The caches are there, or removed where they are not wanted any more.
pub(crate) async fn run(host: &Host) -> Result<()> {
    // Whichever control plane does it, the objects are the same: what they hold are the variables of one.
    let of = cluster::speaker_for_set_up(host).await?;
    let vars: Vars = of.vars()?;
    // Nobody asks the cluster where it is known that nothing is there.
    if !vars.is_wanted() && objects::is_there(host, NAME) == Some(false) {
        return Ok(());
    }
    let extra = json!({ "image": image(host, "coredns", &cluster_vars(host)?.kube_version)? });
    let objects = ObjectSet::of(NAME, objects(of.all_vars(), &extra)?)?.rolled_out();
    if vars.is_wanted() {
        return objects.ensure(host).await;
    }
    if objects::is_there(host, NAME) == Some(true) {
        let told = || async {
            host.warn(
                "pods that were started while each node had a DNS cache still ask it first, and wait for seconds at each name: start \
                 them anew, for example: muster kubectl -n NAMESPACE rollout restart deployment",
            );
            Ok(())
        };
        host.cluster().once("pods ask a cache that goes", told).await?;
    }
    objects.absent().ensure(host).await
}

/// The configuration and what reads it.
fn objects(vars: &HostVars, extra: &Value) -> Result<Vec<Value>> {
    let text = vars.render(include_str!("templates/nodelocaldns.yaml.j2"), "nodelocaldns.yaml.j2", extra)?;
    let mut objects = documents(NAME, &text)?;
    name_by_digest(&mut objects);
    Ok(objects)
}

/// What the caches are told: their Corefile, and the names of machines that they know; `None` where there are to be none.
pub(crate) async fn configuration(host: &Host) -> Result<Option<String>> {
    let of = cluster::speaker(host).await?;
    if !of.vars::<Vars>()?.is_wanted() {
        return Ok(None);
    }
    let objects = objects(of.all_vars(), &json!({ "image": "" }))?;
    let data = objects.iter().filter_map(|object| object["data"].as_object()).flat_map(|data| data.values());
    Ok(Some(data.filter_map(Value::as_str).map(|text| format!("{text}\n")).collect()))
}

/// The address of the cache on this machine, where there is to be one.
pub(crate) fn address(host: &Host) -> Result<Option<(File, Command)>> {
    let vars: Vars = host.vars()?;
    if !vars.is_wanted() {
        return Ok(None);
    }
    let unit = host.render(
        "nodelocaldns.service.j2",
        include_str!("templates/nodelocaldns.service.j2"),
        &json!({}),
    )?;
    let start = sh0("systemctl daemon-reload
systemctl enable -q nodelocaldns
systemctl restart nodelocaldns");
    let look = sh(
        r#"systemctl -q is-enabled nodelocaldns && ip -o -4 addr show dev nodelocaldns | grep -qF " $1/32 ""#,
        [&vars.nodelocaldns_ip],
    );
    let address = command(format!("the address {} of the DNS cache", vars.nodelocaldns_ip), start, look);
    Ok(Some((file(UNIT).content(unit), address)))
}

/// What it has on a machine.
pub(crate) fn owned() -> Resources {
    Resources::new().with(file(UNIT)).with(service(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn made(yaml: &str) -> Vec<Value> {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        objects(&vars, &json!({ "image": "coredns:1" })).unwrap()
    }

    fn corefile(yaml: &str) -> String {
        made(yaml)[0]["data"]["Corefile"].as_str().unwrap().to_owned()
    }

    #[test]
    fn another_configuration_makes_other_pods() {
        let read = |yaml: &str| {
            let [map, daemons] = made(yaml).try_into().unwrap();
            assert_eq!(
                daemons["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"],
                map["metadata"]["name"]
            );
            map["metadata"]["name"].as_str().unwrap().to_owned()
        };
        assert!(read("").starts_with("nodelocaldns-") && read("") == read("nodelocaldns_memory_limit: 1Gi"));
        assert_ne!(
            read(""),
            read("dns_etchosts: 192.0.2.1 a"),
            "those of before go on with what they have read"
        );
    }

    #[test]
    fn a_pod_asks_for_what_variables_say() {
        let [_, daemons] = made("nodelocaldns_cpu_requests: 7m\nnodelocaldns_memory_requests: 8Mi\nnodelocaldns_memory_limit: 9Mi")
            .try_into()
            .unwrap();
        let resources = &daemons["spec"]["template"]["spec"]["containers"][0]["resources"];
        assert_eq!(
            *resources,
            json!({ "requests": { "cpu": "7m", "memory": "8Mi" }, "limits": { "memory": "9Mi" } })
        );
    }

    #[test]
    fn names_of_the_cluster_are_asked_of_its_server_and_others_of_theirs() {
        let own = corefile("");
        assert!(own.starts_with("cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {\n"), "{own}");
        assert_eq!(own.matches("    bind 169.254.25.10\n").count(), 2);
        assert!(
            own.contains("    forward . 10.233.0.3 {\n        force_tcp\n")
                && own.contains("    forward . /etc/resolv.conf\n")
        );
        assert_eq!(
            own.matches("    health 169.254.25.10:9254\n").count(),
            1,
            "one server answers the kubelet"
        );
        let ports = corefile(
            "nodelocaldns_health_port: 9255\nnodelocaldns_prometheus_port: 9256\nnodelocaldns_additional_configs: whoami\n",
        );
        for part in ["    health 169.254.25.10:9255\n", ":9256\n", "whoami"] {
            assert!(ports.contains(part), "{part}: {ports}");
        }
        let zones = "upstream_dns_servers: [192.0.2.1, 192.0.2.2]\nnodelocaldns_ip: 169.254.1.1\nnodelocaldns_external_zones: \
                     [{zones: [corp.example, 'lab.example:1053'], nameservers: [192.0.2.53], cache: 5}]\n";
        let other = corefile(zones);
        assert!(
            other.contains("corp.example lab.example:1053 {\n    errors\n    cache 5\n    reload\n    loop\n    bind 169.254.1.1\n    forward . 192.0.2.53\n}\n"),
            "{other}"
        );
        assert!(other.contains("    forward . 192.0.2.1 192.0.2.2\n"), "{other}");
        // CoreDNS does not start with a time of nothing, which kubespray's sample has.
        let kept = corefile(&zones.replace("cache: 5", "cache: '0'"));
        assert!(kept.contains("lab.example:1053 {\n    errors\n    reload\n"), "{kept}");
    }

    #[test]
    fn pods_are_told_of_the_cache_and_then_of_who_answers_it() {
        let config = |yaml: &str| {
            let vars =
                variables(&format!("skydns_server: 10.233.0.3\nskydns_server_secondary: 10.233.0.4\n{yaml}"));
            let template = include_str!("../kubeadm/templates/kubelet-config.yaml.j2");
            let text = vars.render(template, "kubelet-config", &json!({})).unwrap();
            serde_saphyr::from_str::<Value>(&text).unwrap()["clusterDNS"].clone()
        };
        assert_eq!(config(""), json!(["10.233.0.3"]));
        assert_eq!(config("enable_nodelocaldns: true"), json!(["169.254.25.10", "10.233.0.3"]));
        assert_eq!(config("enable_nodelocaldns: 'yes'\ndns_mode: none"), json!(["10.233.0.3"]));
        let cached = |mode: &str| {
            let yaml = format!("enable_nodelocaldns: true\nskydns_server_secondary: 10.233.0.4\n{mode}");
            let text = corefile(&yaml);
            let asked = text.lines().find_map(|line| line.trim().strip_prefix("forward . "));
            (config(mode), config(&format!("enable_nodelocaldns: true\n{mode}")), asked.unwrap().to_owned())
        };
        let expected =
            (json!(["10.233.0.3"]), json!(["169.254.25.10", "10.233.0.3"]), "10.233.0.3 {".to_owned());
        assert_eq!(cached("dns_mode: coredns"), expected);
        let expected =
            (json!(["192.0.2.53"]), json!(["169.254.25.10", "192.0.2.53"]), "192.0.2.53 {".to_owned());
        assert_eq!(cached("dns_mode: manual\nmanual_dns_server: 192.0.2.53"), expected);
        let expected = (
            json!(["10.233.0.3", "10.233.0.4"]),
            json!(["169.254.25.10", "10.233.0.3", "10.233.0.4"]),
            "10.233.0.3 10.233.0.4 {".to_owned(),
        );
        assert_eq!(cached("dns_mode: coredns_dual"), expected);
    }
}
