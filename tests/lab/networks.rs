//! Networks and names: calico as far as it goes without its images, and the DNS cache on each node.

use muster_testkit::go_module;
use serde_json::Value;

use crate::fixture::{Lab, bundle_with};

/// The version of calico whose manifest the Go module proxy has: a commit of upstream's branch release-v3.28 that is the tag's.
pub(crate) const CALICO: &str = "3.28.5";
pub(crate) const MODULE: &str =
    "github.com/projectcalico/calico@v1.11.0-cni-plugin.0.20250813170300-a0db560f0520";

/// What stands at a place of an object: words that lead to it, as in roles/calico/golden_tests.rs.
fn at(object: &Value, place: &str) -> Option<Value> {
    place.split(' ').try_fold(object.clone(), |value, word| {
        let value = match value {
            Value::String(text) => serde_json::from_str(&text).ok()?,
            other => other,
        };
        let Value::Array(list) = &value else { return value.get(word).cloned() };
        let is_called = |item: &&Value| item["name"] == word || item["type"] == word;
        list.iter().find(is_called).or_else(|| list.get(word.parse::<usize>().ok()?)).cloned()
    })
}

#[test]
fn calicos_objects_are_taken_by_a_real_api_server_and_a_second_run_changes_none() {
    let lab = Lab::up(248, &["-n", "1"]);
    let Some(manifest) = go_module::sources(MODULE) else {
        eprintln!("skipped: the Go module proxy does not give calico's manifest");
        return;
    };
    let manifest = manifest.join("manifests/calico-typha.yaml");
    let host = lab.pattern(1);
    let calico =
        ["-e", "kube_network_plugin=calico", "-e", "calico_version=3.28.5", "-e", "calico_timeout=5", "-vv"];
    let setup =
        |args: &[&str]| lab.muster(&[&["setup-cluster", &host, "--offline"], &calico[..], args].concat());

    // Without the images nothing is changed, and it is said which they are.
    let without = setup(&[]);
    assert_eq!(without.code, 1, "{without:#?}");
    for said in ["image quay.io/calico/node:v3.28.5 for amd64", "muster bundle fetch --with calico=3.28.5\n"]
    {
        assert!(without.err.contains(said), "{said}: {without:#?}");
    }
    assert!(!without.err.contains("bundle build") && !lab.has("node1", "/var/lib/muster"), "{without:#?}");

    let bundle = lab.folder().join("bundle");
    let images =
        ["node", "cni", "kube-controllers", "typha"].map(|name| format!("quay.io/calico/{name}:v{CALICO}"));
    bundle_with(&bundle, &[("calico-manifest", CALICO, &manifest)], &images);
    let bundle = ["--bundle", bundle.to_str().unwrap()];
    // Images without a program start nothing: as far as that it goes, and it is said which and where. A slow machine's kubelet tries it
    // late.
    let first = setup(&[&bundle[..], &["-e", "calico_timeout=30"]].concat());
    assert_eq!(first.code, 2, "{first:#?}");
    for said in [
        "calico has connected the pods: not within",
        "on node1: the image \"quay.io/calico/cni:v3.28.5\" cannot be run: ",
        "calico: Apply calico: changed objects of calico (",
    ] {
        assert!(first.out.contains(said), "{said}: {first:#?}");
    }
    let get = |words: &str| {
        lab.on("node1", &format!("kubectl --kubeconfig /etc/kubernetes/admin.conf get {words}"))
    };

    // Nothing differs.
    let second = setup(&bundle);
    for set in ["calico-definitions", "calico"] {
        assert!(second.out.contains(&format!("calico: Apply {set}: nothing to do")), "{second:#?}");
    }

    // What the samples of kubespray's tags ask for, and other networks: all that is recorded is so in the objects.
    let golden: Value = serde_json::from_str(include_str!("../../roles/calico/golden.json")).unwrap();
    for golden in golden.as_array().unwrap() {
        for (number, input) in golden["inputs"].as_array().unwrap().iter().enumerate() {
            let variables = input["variables"].to_string();
            let ended = setup(&[&bundle[..], &["--tags", "calico", "-e", &variables]].concat());
            assert_eq!(ended.code, 0, "{variables}: {ended:#?}");
            assert!(number == 0 || ended.recap("node1", "changed") == 0, "{variables}: {ended:#?}");
        }
        let found =
            get("cm,svc,ds,deploy,pdb,ippools,felixconfigurations,ipamconfigs,bgpconfigurations -A -o json");
        let found: Value = serde_json::from_str(&found).unwrap();
        let object = |name: &str| {
            let (kind, name) = name.split_once(' ').unwrap();
            let mut items = found["items"].as_array().unwrap().iter();
            items.find(|item| item["kind"] == kind && item["metadata"]["name"] == name)
        };
        let expected = golden["objects"].as_object().unwrap();
        assert!(expected.len() > 4, "{golden:#}");
        for (name, places) in expected {
            assert_eq!(object(name).is_some(), places.is_object(), "{name}: {golden:#}");
            for (place, value) in places.as_object().into_iter().flatten() {
                let there = at(object(name).unwrap(), place).unwrap_or_default();
                assert_eq!(there, *value, "{name}: {place}: {}", golden["what"]);
            }
        }
    }

    // A pool keeps its blocks.
    let blocks = setup(&[&bundle[..], &["-e", "calico_pool_blocksize=24"]].concat());
    assert!(blocks.out.contains("has blockSize 26, which cannot become 24"), "{blocks:#?}");

    // Another network is refused before anything, as soon as the node has calico's.
    lab.on("node1", "echo '{}' >/etc/cni/net.d/10-calico.conflist");
    let other = lab.muster(&["setup-cluster", "--offline", "-e", "kube_network_plugin=flannel"]);
    assert_eq!(other.code, 3, "{other:#?}");
    assert!(other.out.contains("kube_network_plugin"), "{other:#?}");
}

#[test]
fn names_are_found_through_the_cache_of_each_node_which_comes_and_goes() {
    let lab = Lab::up(249, &["-n", "2"]);
    let set = |value: &str| format!("enable_nodelocaldns={value}");
    let setup = |value: &str| {
        let ended = lab.muster(&["setup-cluster", &lab.pattern(2), "-e", &set(value)]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    let start = |name: &str| {
        kubectl(&["run", name, "--image", &lab.agnhost()]);
        kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("pod/{name}")]);
    };
    let finds = |name: &str| {
        let api = "kubernetes.default.svc.cluster.local:443";
        kubectl(&["exec", name, "--", "/agnhost", "connect", "--timeout", "60s", api])
    };
    let servers = |name: &str| {
        let file = kubectl(&["exec", name, "--", "cat", "/etc/resolv.conf"]);
        file.lines()
            .filter_map(|line| line.strip_prefix("nameserver ").map(str::to_owned))
            .collect::<Vec<_>>()
    };

    setup("true");
    start("before");
    assert_eq!(servers("before"), ["169.254.25.10", "10.233.0.3"]);
    finds("before");
    // It is the cache that answers.
    let node = kubectl(&["get", "pod", "before", "-o", "jsonpath={.spec.nodeName}"]);
    let metrics = lab.on(
        &node,
        "exec 3<>/dev/tcp/169.254.25.10/9253; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
    );
    assert!(metrics.contains("zones=\"cluster.local.,in-addr.arpa.,ip6.arpa.\""), "{metrics}");
    let second = setup("true");
    assert_eq!(second.out.matches("changed=0").count(), 2, "{second:#?}");

    // Off: who was started before still finds names, but waits, which is said; and new pods ask CoreDNS.
    let off = setup("false");
    assert!(off.out.contains("rollout restart"), "{off:#?}");
    assert_eq!(kubectl(&["-n", "kube-system", "get", "ds", "nodelocaldns", "--ignore-not-found"]), "");
    finds("before");
    start("after");
    assert_eq!(servers("after"), ["10.233.0.3"]);
    assert_eq!(setup("false").out.matches("changed=0").count(), 2);

    setup("true");
    let reset = lab.muster(&["reset-cluster", "--yes"]);
    assert_eq!(reset.code, 0, "{reset:#?}");
    assert!(!lab.has("node1", "/sys/class/net/nodelocaldns"));
    assert!(!lab.has("node1", "/etc/systemd/system/nodelocaldns.service"));
}
