//! calico's objects for variables as users write them, made of a manifest with upstream's shape: what is changed, and what stays.

use muster_artifacts::Arch;
use serde_json::json;

use super::*;
use crate::catalogue::CATALOGUE;
use crate::preflight::fixture::variables;

/// What of upstream's manifest the role changes, and an object that it leaves alone.
fn upstream() -> String {
    let node = json!({
        "name": "calico-node",
        "image": "quay.io/calico/node:v0.0.1",
        "env": [
            { "name": "DATASTORE_TYPE", "value": "kubernetes" },
            { "name": "FELIX_TYPHAK8SSERVICENAME", "valueFrom": { "configMapKeyRef": {} } },
            { "name": "CLUSTER_TYPE", "value": "k8s,bgp" },
            { "name": "CALICO_IPV4POOL_IPIP", "value": "Always" },
            { "name": "CALICO_IPV4POOL_VXLAN", "value": "Never" },
            { "name": "CALICO_IPV6POOL_VXLAN", "value": "Never" },
            { "name": "FELIX_DEFAULTENDPOINTTOHOSTACTION", "value": "ACCEPT" },
        ],
        "livenessProbe": { "exec": { "command": ["/bin/calico-node", "-felix-live", "-bird-live"] } },
        "readinessProbe": { "exec": { "command": ["/bin/calico-node", "-felix-ready", "-bird-ready"] } },
    });
    let initial = ["upgrade-ipam", "install-cni"]
        .map(|name| json!({ "name": name, "image": "docker.io/calico/cni:v0.0.1", "env": [] }));
    let network = "{\"name\": \"k8s-pod-network\", \"plugins\": [{\"type\": \"calico\", \"log_file_path\": \"/x\", \
                   \"mtu\": __CNI_MTU__, \"nodename\": \"__KUBERNETES_NODE_NAME__\", \"ipam\": {\"type\": \"calico-ipam\"}}]}";
    let pods = |kind: &str, name: &str, spec: Value| {
        let metadata = json!({ "name": name, "namespace": "kube-system" });
        json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": { "replicas": 1, "template": { "spec": spec } } })
    };
    let typha = json!({ "containers": [{ "name": "calico-typha", "image": "quay.io/calico/typha:v0.0.1", "env": [] }] });
    let controllers = json!({ "containers": [{ "name": "calico-kube-controllers", "image": "quay.io/calico/kube-controllers:v0.0.1" }] });
    let documents = [
        json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "ippools.crd.projectcalico.org" } }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "calico-config", "namespace": "kube-system" },
            "data": { "typha_service_name": "calico-typha", "calico_backend": "bird", "veth_mtu": "0", "cni_network_config": network } }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "calico-typha", "namespace": "kube-system" } }),
        pods(
            "DaemonSet",
            "calico-node",
            json!({ "hostNetwork": true, "initContainers": initial, "containers": [node] }),
        ),
        pods("Deployment", "calico-kube-controllers", controllers),
        pods("Deployment", "calico-typha", typha),
    ];
    documents.iter().map(|document| format!("---\n{document}\n")).collect()
}

/// All objects but the definitions, by kind and name.
fn objects(yaml: &str) -> BTreeMap<String, Value> {
    let vars = variables(&format!("kube_network_plugin: calico\nskydns_server: 10.233.0.3\n{yaml}"));
    let (cluster, vars): (ClusterVars, Vars) = (vars.deserialize().unwrap(), vars.deserialize().unwrap());
    let release = CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).unwrap();
    let images =
        IMAGES.into_iter().map(|name| (name, release.image(name).unwrap().reference.to_string())).collect();
    let manifest = patch::patched(&upstream(), &vars, &images).unwrap();
    assert_eq!(manifest.definitions.len(), 1);
    let all = manifest.objects.into_iter().chain(resources::of(&vars, &cluster));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.map(|object| (format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"])), object))
        .collect()
}

/// The container of calico-node, and its environment.
fn node(yaml: &str) -> (Value, BTreeMap<String, String>) {
    let node = objects(yaml)["DaemonSet calico-node"]["spec"]["template"]["spec"]["containers"][0].clone();
    let pair = |variable: &Value| {
        Some((
            variable["name"].as_str()?.to_owned(),
            variable["value"].as_str().unwrap_or("from elsewhere").to_owned(),
        ))
    };
    let environment = node["env"].as_array().unwrap().iter().filter_map(pair).collect();
    (node, environment)
}

#[test]
fn the_sample_of_kubespray_is_vxlan_with_its_pool() {
    // What inventory/sample/group_vars/k8s_cluster/k8s-net-calico.yml of v2.31.0 sets.
    let all = objects("calico_cni_name: k8s-pod-network\ncalico_pool_blocksize: 26\n");
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    let expected = [
        "ConfigMap calico-config",
        "DaemonSet calico-node",
        "Deployment calico-kube-controllers",
        "FelixConfiguration default",
        "IPAMConfig default",
        "IPPool default-pool",
    ];
    assert_eq!(names, expected, "no typha, and no BGP");
    let pool = json!({
        "cidr": "10.233.64.0/18", "blockSize": 26, "ipipMode": "Never", "vxlanMode": "Always", "natOutgoing": true,
        "nodeSelector": "all()", "allowedUses": ["Workload", "Tunnel"],
    });
    assert_eq!(all["IPPool default-pool"]["spec"], pool);
    let felix = &all["FelixConfiguration default"]["spec"];
    assert_eq!(
        (&felix["vxlanPort"], &felix["vxlanVNI"], &felix["ipipEnabled"]),
        (&json!(4789), &json!(4096), &json!(false))
    );
    let data = &all["ConfigMap calico-config"]["data"];
    assert_eq!(
        (&data["calico_backend"], &data["veth_mtu"], &data["typha_service_name"]),
        (&json!("vxlan"), &json!("0"), &json!("none"))
    );
    let network: Value = serde_json::from_str(data["cni_network_config"].as_str().unwrap()).unwrap();
    let plugin = &network["plugins"][0];
    assert_eq!((&plugin["mtu"], &plugin["nodename"]), (&json!(0), &json!("__KUBERNETES_NODE_NAME__")));
    assert_eq!(plugin["log_file_path"], "/var/log/calico/cni/cni.log");

    let pod = &all["DaemonSet calico-node"]["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true, "what is not changed stays");
    assert_eq!(pod["initContainers"][1]["image"], "quay.io/calico/cni:v3.31.7");
    assert_eq!(
        pod["initContainers"][1]["env"],
        json!([{ "name": "SKIP_CNI_BINARIES", "value": "bridge,host-local,loopback,portmap,bandwidth,firewall,tuning,flannel" }])
    );
    let (node, environment) = node("");
    assert_eq!(node["image"], "quay.io/calico/node:v3.31.7");
    assert_eq!(node["livenessProbe"]["exec"]["command"], json!(["/bin/calico-node", "-felix-live"]));
    assert_eq!(node["readinessProbe"]["exec"]["command"], json!(["/bin/calico-node", "-felix-ready"]));
    assert_eq!(node["resources"]["limits"], json!({ "memory": "500M" }));
    let expected = [
        ("CALICO_STARTUP_LOGLEVEL", "error"),
        ("CLUSTER_TYPE", "k8s"),
        ("DATASTORE_TYPE", "kubernetes"),
        ("FELIX_DEFAULTENDPOINTTOHOSTACTION", "RETURN"),
        ("FELIX_IGNORELOOSERPF", "false"),
        ("IP_AUTODETECTION_METHOD", "kubernetes-internal-ip"),
        ("NO_DEFAULT_POOLS", "true"),
    ];
    assert_eq!(environment, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn what_users_ask_for_reaches_the_objects() {
    let bird = "calico_network_backend: bird\ncalico_vxlan_mode: Never\ncalico_ipip_mode: CrossSubnet\nglobal_as_num: '64600'\n\
                calico_advertise_cluster_ips: true\ncalico_advertise_service_external_ips: [192.0.2.0/24]\n";
    let all = objects(bird);
    let bgp = &all["BGPConfiguration default"]["spec"];
    assert_eq!((&bgp["asNumber"], &bgp["nodeToNodeMeshEnabled"]), (&json!(64600), &json!(true)));
    assert_eq!(bgp["serviceClusterIPs"], json!([{ "cidr": "10.233.0.0/18" }]));
    assert_eq!(bgp["serviceExternalIPs"], json!([{ "cidr": "192.0.2.0/24" }]));
    assert_eq!(all["IPPool default-pool"]["spec"]["ipipMode"], "CrossSubnet");
    let (container, environment) = node(bird);
    assert_eq!(container["livenessProbe"]["exec"]["command"][2], "-bird-live");
    assert_eq!(environment["CLUSTER_TYPE"], "k8s,bgp");

    let typha = objects("typha_enabled: true\ntypha_replicas: 3\n");
    let upstream = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "calico-typha", "namespace": "kube-system" } });
    assert_eq!(typha["Service calico-typha"], upstream, "an object that is not named stays as it is");
    let deployment = &typha["Deployment calico-typha"]["spec"];
    assert_eq!(deployment["replicas"], 3);
    assert_eq!(deployment["template"]["spec"]["containers"][0]["image"], "quay.io/calico/typha:v3.31.7");
    assert_eq!(typha["ConfigMap calico-config"]["data"]["typha_service_name"], "calico-typha");
    assert!(node("typha_enabled: true").1.contains_key("FELIX_TYPHAK8SSERVICENAME"));

    // As kubespray's samples have it: undefined or empty.
    assert_eq!(objects("calico_mtu: ''\ncalico_veth_mtu: ''"), objects(""));

    let small = "calico_mtu: 1440\ncalico_veth_mtu: 1400\ncalico_ipam_host_local: true\ncalico_cni_log_file_path: false\n\
                 calico_allow_ip_forwarding: true\ncalico_ip_auto_method: interface=eth1\ncalico_node_extra_envs: {FELIX_X: 3}\n\
                 kube_proxy_mode: ipvs\ncalico_pool_cidr: 10.233.64.0/20\nnat_outgoing: false\n";
    let all = objects(small);
    let data = &all["ConfigMap calico-config"]["data"];
    assert_eq!(data["veth_mtu"], "1400");
    let network: Value = serde_json::from_str(data["cni_network_config"].as_str().unwrap()).unwrap();
    let plugin = &network["plugins"][0];
    assert_eq!(plugin["ipam"], json!({ "type": "host-local", "subnet": "usePodCidr" }));
    assert_eq!((&plugin["mtu"], plugin.get("log_file_path")), (&json!(1400), None));
    assert_eq!(plugin["container_settings"]["allow_ip_forwarding"], true);
    let pool = &all["IPPool default-pool"]["spec"];
    assert_eq!((&pool["cidr"], &pool["natOutgoing"]), (&json!("10.233.64.0/20"), &json!(false)));
    let initial =
        all["DaemonSet calico-node"]["spec"]["template"]["spec"]["initContainers"].as_array().unwrap();
    assert_eq!(initial.len(), 1, "addresses of calico's own blocks need no upgrade");
    let environment = node(small).1;
    let typha = |yaml: &str| {
        let all = objects(&format!("typha_enabled: true\n{yaml}"));
        all["Deployment calico-typha"]["spec"]["template"]["spec"]["containers"][0]["env"].clone()
    };
    let parts = json!({ "name": "USE_POD_CIDR", "value": "true" });
    assert!(
        typha(small).as_array().unwrap().contains(&parts) && !typha("").as_array().unwrap().contains(&parts)
    );
    for (name, value) in [
        ("USE_POD_CIDR", "true"),
        ("IP_AUTODETECTION_METHOD", "interface=eth1"),
        ("FELIX_X", "3"),
        ("FELIX_KUBENODEPORTRANGES", "30000:32767"),
    ] {
        assert_eq!(environment[name], value, "{name}");
    }
}

#[test]
fn what_calico_node_reads_when_it_begins_begins_it_anew_where_that_changes() {
    let template = |yaml: &str| {
        objects(yaml)["DaemonSet calico-node"]["spec"]["template"]["metadata"]["annotations"].clone()
    };
    let usual = template("");
    assert_eq!(usual, template("calico_vxlan_vni: 7"), "felix reads its own objects at any time");
    for yaml in [
        "calico_mtu: 1440",
        "calico_veth_mtu: 1440",
        "calico_cni_name: other",
        "calico_cni_log_file_path: false",
        "calico_allow_ip_forwarding: true",
        "calico_network_backend: none",
    ] {
        assert_ne!(template(yaml), usual, "{yaml}");
    }
    let scraped = template("calico_felix_prometheusmetricsenabled: true");
    assert_eq!(scraped["prometheus.io/scrape"], "true");
    assert_eq!(scraped["muster/calico-config"], usual["muster/calico-config"]);
}

#[test]
fn a_second_family_has_a_pool_and_an_address_of_each_pod() {
    let both = "ipv6_stack: true\n";
    let (one, all) = (objects(""), objects(both));
    assert!(!one.contains_key("IPPool default-pool-ipv6"));
    let differ: Vec<&String> = all.keys().filter(|name| one.get(*name) != all.get(*name)).collect();
    assert_eq!(differ, ["ConfigMap calico-config", "DaemonSet calico-node", "IPPool default-pool-ipv6"]);
    let pool = json!({
        "cidr": "fd85:ee78:d8a6:8607::1:0000/112", "blockSize": 122, "ipipMode": "Never", "vxlanMode": "Always", "natOutgoing": false,
        "nodeSelector": "all()", "allowedUses": ["Workload", "Tunnel"],
    });
    assert_eq!(all["IPPool default-pool-ipv6"]["spec"], pool);
    let mut environment = node(both).1;
    for (name, value) in [
        ("FELIX_IPV6SUPPORT", "true"),
        ("IP6", "autodetect"),
        ("IP6_AUTODETECTION_METHOD", "kubernetes-internal-ip"),
    ] {
        assert_eq!(environment.remove(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(environment, node("").1);
    let ipam = |yaml: &str| {
        let data = objects(yaml)["ConfigMap calico-config"]["data"]["cni_network_config"].clone();
        let network: Value = serde_json::from_str(data.as_str().unwrap()).unwrap();
        network["plugins"][0]["ipam"].clone()
    };
    assert_eq!(ipam(""), json!({ "type": "calico-ipam" }));
    assert_eq!(ipam(both), json!({ "type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true" }));
    let ranges = json!([[{ "subnet": "usePodCidr" }], [{ "subnet": "usePodCidrIPv6" }]]);
    let of_nodes = format!("{both}calico_ipam_host_local: true\n");
    assert_eq!(ipam(&of_nodes), json!({ "type": "host-local", "ranges": ranges }));

    let own = format!(
        "{both}calico_network_backend: bird\ncalico_vxlan_mode: Never\ncalico_vxlan_mode_ipv6: CrossSubnet\nnat_outgoing_ipv6: true\n\
         calico_pool_cidr_ipv6: fd85:ee78:d8a6:8607::1:8000/113\ncalico_pool_blocksize_ipv6: 120\ncalico_pool_name: own\n\
         calico_ip6_auto_method: interface=eth1\ncalico_advertise_cluster_ips: true\n"
    );
    let all = objects(&own);
    let pool = &all["IPPool own-ipv6"]["spec"];
    assert_eq!(
        [&pool["cidr"], &pool["blockSize"], &pool["vxlanMode"], &pool["natOutgoing"]],
        [&json!("fd85:ee78:d8a6:8607::1:8000/113"), &json!(120), &json!("CrossSubnet"), &json!(true)]
    );
    // One of the two is wrapped.
    assert_eq!(all["FelixConfiguration default"]["spec"]["vxlanEnabled"], true);
    assert_eq!(node(&own).1["IP6_AUTODETECTION_METHOD"], "interface=eth1");
    let services = json!([{ "cidr": "10.233.0.0/18" }, { "cidr": "fd85:ee78:d8a6:8607::1000/116" }]);
    assert_eq!(all["BGPConfiguration default"]["spec"]["serviceClusterIPs"], services);
}

#[test]
fn the_script_tells_the_program_where_the_clusters_api_is() {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().display().to_string();
    let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
    write(PROGRAM, "#!/bin/sh\necho \"$DATASTORE_TYPE $KUBECONFIG\" \"$@\"\n");
    write(WRAPPER, &wrapper(&bin));
    let run = |command: &str| {
        let ran = std::process::Command::new("sh").args(["-c", command, "sh", &bin]).output().unwrap();
        (ran.status.success(), String::from_utf8(ran.stdout).unwrap())
    };
    let said = run(r#"chmod +x "$1/calicoctl"; sh "$1/calicoctl.sh" get 'ip pool'"#);
    assert_eq!(
        said,
        (true, "kubernetes /etc/kubernetes/admin.conf --allow-version-mismatch get ip pool\n".to_owned())
    );
    // It is known by a line, which somebody else's has not.
    assert!(wrapper(&bin).lines().any(|line| line == MARK));
}

#[test]
fn a_manifest_of_another_form_is_an_error_that_says_what_is_not_there() {
    let vars: Vars = variables("skydns_server: 10.233.0.3").deserialize().unwrap();
    let images = IMAGES.into_iter().map(|name| (name, format!("{name}:1"))).collect();
    let error = |from: &str, to: &str| {
        let text = upstream();
        assert!(text.contains(from), "{from}");
        patch::patched(&text.replace(from, to), &vars, &images).unwrap_err()
    };
    assert_eq!(error("calico-config", "calico-settings"), "there is no ConfigMap calico-config in it");
    assert_eq!(
        error("CALICO_IPV4POOL_IPIP", "POOL"),
        "calico-node has no CALICO_IPV4POOL_IPIP in its environment"
    );
    assert_eq!(
        error("calico/cni:", "calico/plugin:"),
        "an image \"docker.io/calico/plugin:v0.0.1\" is not known"
    );
    assert!(error("__CNI_MTU__", "__MTU__").starts_with("its cni_network_config is no JSON"));
}

#[test]
fn a_pool_keeps_its_network_and_its_blocks() {
    let pool = |cidr: &str, size: u8| json!({ "kind": "IPPool", "metadata": { "name": "p" }, "spec": { "cidr": cidr, "blockSize": size } });
    let found = pool("10.233.64.0/18", 26);
    assert_eq!(resources::cannot_change(Some(&found), &found), None);
    let why = resources::cannot_change(Some(&pool("10.233.64.0/18", 24)), &found).unwrap();
    let expected = "the pool p of the cluster has blockSize 26, which cannot become 24, because pods have addresses of it: set \
                    calico_pool_blocksize: 26";
    assert_eq!(why, expected);
    assert!(resources::cannot_change(Some(&pool("10.0.0.0/18", 26)), &found).is_some());
    let why =
        resources::cannot_change(None, &json!({ "kind": "IPPool", "metadata": { "name": "p" } })).unwrap();
    assert!(why.ends_with("set calico_pool_name: p"), "{why}");
    let of_ipv6 = |name: &str, size: u8| json!({ "kind": "IPPool", "metadata": { "name": name }, "spec": { "cidr": "fd00::/112", "blockSize": size } });
    let why = resources::cannot_change(None, &of_ipv6("p-ipv6", 122)).unwrap();
    assert!(why.ends_with("set ipv6_stack: true and calico_pool_name: p"), "{why}");
    let why = resources::cannot_change(Some(&of_ipv6("p", 124)), &of_ipv6("p", 122)).unwrap();
    assert!(why.ends_with("set calico_pool_blocksize_ipv6: 122"), "{why}");
    let felix = json!({ "kind": "FelixConfiguration", "spec": { "cidr": 1 } });
    assert_eq!(resources::cannot_change(Some(&felix), &felix), None);
    assert_eq!(resources::cannot_change(None, &json!({ "kind": "BGPConfiguration" })), None);
}

#[test]
fn pods_go_on_to_get_addresses_as_they_do_and_calico_does_not_become_an_older_one() {
    let refused = |wanted: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>, name: &str| {
        resources::cannot_change(wanted.get(name), &found[name])
    };
    let config = "ConfigMap calico-config";
    let (blocks, parts) = (objects("calico_mtu: 1440"), objects("calico_ipam_host_local: true"));
    assert_eq!(refused(&objects(""), &blocks, config), None);
    assert_eq!(
        refused(&parts, &blocks, config).unwrap(),
        "pods of the cluster have addresses by calico-ipam, and by host-local others would get the same ones: set \
         calico_ipam_host_local: false"
    );
    let why = refused(&blocks, &parts, config).unwrap();
    assert!(why.ends_with("set calico_ipam_host_local: true"), "{why}");
    // One that nobody can read says nothing.
    assert_eq!(
        resources::cannot_change(Some(&blocks[config]), &json!({ "kind": "ConfigMap", "data": {} })),
        None
    );

    let of = |image: &str| {
        let template = json!({ "spec": { "containers": [{ "image": image }] } });
        json!({ "kind": "DaemonSet", "metadata": { "name": "calico-node" }, "spec": { "template": template } })
    };
    let older = |wanted: &str, found: &str| resources::cannot_change(Some(&of(wanted)), &of(found));
    let (old, new) = ("quay.io/calico/node:v3.28.5", "192.0.2.9:5000/calico/node:v3.31.7");
    assert_eq!(older(new, old), None);
    assert_eq!(older(new, new), None);
    assert_eq!(
        older(old, new).unwrap(),
        "the cluster has calico 3.31.7, which cannot become 3.28.5: set calico_version: 3.31.7"
    );
    assert!(older("a/node:v3.9.0", "a/node:v3.31.7").is_some(), "they are numbers");
    for unknown in ["a/node@sha256:0f", "a/node:master"] {
        assert_eq!((older(old, unknown), older(unknown, new)), (None, None), "{unknown}");
    }
}
