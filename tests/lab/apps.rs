//! Applications: they come, do what they are for, are told of when they are not well, and go without leaving anything.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::fixture::{Ended, Lab, bundle_has};
use crate::surroundings::{Asked, beside};

const NAMES: [&str; 2] = ["metrics-server", "local-path-provisioner"];

const CLAIM: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: notes}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: student}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: student, image: IMAGE, volumeMounts: [{name: notes, mountPath: /notes}]}]
  volumes: [{name: notes, persistentVolumeClaim: {claimName: notes}}]
"#;

#[test]
fn applications_come_and_go() {
    if !NAMES.iter().all(|name| bundle_has(name)) {
        let with: Vec<_> = NAMES.iter().map(|name| format!(" --with {name}")).collect();
        eprintln!("skipped: the bundle has no applications; muster bundle build{}", with.concat());
        return;
    }
    let lab = Lab::up(104, &["-n", "1"]);
    let folder = lab.inventory_of_one();
    let set = |text: &str| fs::write(folder.join("group_vars/all.yml"), text).unwrap();
    let setup = |args: &[&str]| {
        let ended = lab.muster(&[&["setup-cluster"], args].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    let objects = || {
        let kinds = "deployments,services,serviceaccounts,configmaps,clusterroles,clusterrolebindings,rolebindings,\
                     apiservices,storageclasses,namespaces,persistentvolumes";
        kubectl(&["get", kinds, "-A", "-o", "name"])
    };
    let changed = |ended: &Ended| ended.recap("node1", "changed");

    setup(&[]);
    let before = objects();

    // One that cannot become well stops no other, and is told of with its reason.
    set("metrics_server_enabled: true\nlocal_path_provisioner_enabled: true\n");
    let huge =
        ["metrics_server_requests_memory=900Gi", "metrics_server_limits_memory=900Gi", "apps_timeout=15"];
    let huge = huge.map(|setting| ["-e", setting]).concat();
    let broken = lab.muster(&[&["setup-cluster", "--tags", "apps"], &huge[..]].concat());
    assert_eq!(broken.code, 2, "{broken:#?}");
    assert!(broken.all().contains("metrics-server: the pod metrics-server-"), "{broken:#?}");
    assert!(broken.all().contains("Insufficient memory"), "{broken:#?}");
    assert!(!broken.all().contains("local-path-provisioner: 0 of"), "{broken:#?}");
    let told = lab.muster(&["apps"]);
    let line = |name: &str| told.out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let words = told.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.code == 1 && words.contains("1 Insufficient memory"), "{told:#?}");
    assert!(line("local-path-provisioner").contains("well"), "{told:#?}");

    // What is mended becomes well, and then nothing is left to do.
    assert!(changed(&setup(&["--tags", "metrics-server"])) > 0);
    assert_eq!(changed(&setup(&[])), 0);
    let told = lab.muster(&["apps"]);
    assert!(told.code == 0 && told.out.contains("the storage class local-path"), "{told:#?}");
    assert!(kubectl(&["top", "nodes", "--no-headers"]).starts_with("node1"));

    // A claim gets a volume, and what is in it outlives the pod.
    let image = kubectl(&[
        "-n",
        "local-path-storage",
        "get",
        "deployment",
        "-o",
        "jsonpath={.items[0].spec.template.spec.containers[0].image}",
    ]);
    let pod = CLAIM.replace("IMAGE", &format!("{image}, command: [sleep, \"3600\"]"));
    fs::write(lab.folder().join("claim.yaml"), pod).unwrap();
    let start = || {
        kubectl(&["apply", "-f", "claim.yaml"]);
        kubectl(&["wait", "--for=condition=Ready", "pod/student", "--timeout=120s"]);
    };
    start();
    kubectl(&["exec", "student", "--", "sh", "-c", "echo kept >/notes/a"]);
    kubectl(&["delete", "pod", "student"]);
    start();
    assert_eq!(kubectl(&["exec", "student", "--", "cat", "/notes/a"]), "kept\n");
    kubectl(&["delete", "-f", "claim.yaml"]);
    kubectl(&["wait", "--for=delete", "persistentvolume", "--all", "--timeout=60s"]);

    // Switched off again, nothing of them is left.
    set("");
    assert!(changed(&setup(&["--tags", "apps"])) > 0);
    assert_eq!(objects(), before);
    assert_eq!(changed(&setup(&[])), 0);
}

/// A server for everybody, and what one calls it: its own kind of objects among them.
const OWN: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: web}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: room}, data: {seats: "12"}}
---
{apiVersion: example.org/v1, kind: Room, metadata: {name: r104, namespace: web}, spec: {seats: 12}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rooms.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: rooms, singular: room, kind: Room}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: "IMAGE", args: [netexec, --http-port=8080]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: web}
spec:
  ingressClassName: traefik
  rules: [{host: web.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
"#;

#[test]
fn images_addresses_and_own_objects_reach_their_users() {
    let [helm, registry, metallb, traefik, monitoring] =
        ["helm", "library/registry", "metallb/controller", "library/traefik", "prometheus/prometheus"]
            .map(bundle_has);
    let lab = Lab::up(105, &["-n", "1"]);
    let (folder, address) = (lab.inventory_of_one(), lab.address(1));
    let set = |text: &str| fs::write(folder.join("group_vars/all.yml"), text).unwrap();
    let setup = |args: &[&str]| {
        let ended = lab.muster(&[&["setup-cluster"], args].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    let objects = || {
        let kinds = "deployments,daemonsets,services,serviceaccounts,configmaps,clusterroles,clusterrolebindings,ingressclasses,\
                     customresourcedefinitions,validatingwebhookconfigurations,namespaces";
        kubectl(&["get", kinds, "-A", "-o", "name"])
    };
    // Asked by somebody who is not in the cluster, until it answers.
    let answers = |url: &str, name: &str| {
        let curl = ["curl", "-sf", "--retry", "20", "--retry-delay", "1", "--retry-all-errors", "-H"];
        let ended = lab.exec(&[&curl[..], &[&format!("Host: {name}"), url]].concat());
        assert_eq!(ended.code, 0, "{url}: {ended:#?}");
        ended.out
    };
    setup(&[]);
    let before = objects();

    let pool = lab.address(100);
    set(&format!(
        "helm_enabled: {helm}\nregistry_enabled: {registry}\ntraefik_enabled: {traefik}\nmetallb_enabled: {metallb}\n\
         monitoring_enabled: {monitoring}\n\
         metallb_config: {{address_pools: {{all: {{ip_range: [{pool}/32]}}}}, layer2: [all]}}\n"
    ));
    let image = &lab.agnhost();
    let own = folder.join("extension");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("web.yaml"), OWN.replace("IMAGE", image)).unwrap();
    let template = "{apiVersion: v1, kind: ConfigMap, metadata: {name: made-for}, data: {version: '{{ kube_version }}'}}";
    fs::write(own.join("x.yaml.j2"), template).unwrap();
    setup(&["--tags", "apps"]);
    // Own objects are applied, and nobody waits for them.
    kubectl(&["-n", "web", "rollout", "status", "deployment/web", "--timeout=120s"]);
    let told = lab.muster(&["apps"]);
    assert!(told.code == 0 && told.out.contains("extension"), "{told:#?}");
    let version = kubectl(&["get", "configmap", "made-for", "-o", "jsonpath={.data.version}"]);
    assert!(kubectl(&["version"]).contains(&version), "{version}");
    assert!(kubectl(&["get", "rooms", "-A"]).contains("r104"));
    assert_eq!(lab.has("node1", "/usr/local/bin/helm"), helm);
    if metallb {
        assert!(answers(&format!("http://{pool}/hostname"), "any").starts_with("web-"));
    }
    if traefik {
        assert!(answers(&format!("http://{address}/hostname"), "web.example.org").starts_with("web-"));
        let other =
            lab.exec(&["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", &format!("http://{address}/")]);
        assert_eq!(other.out, "404");
    }
    if registry {
        let pushed = "registry.kube-system.svc.cluster.local:5000/lab/web:1";
        let push = format!(
            "ctr -n k8s.io images tag {image} {pushed} && ctr -n k8s.io images push --hosts-dir /etc/containerd/certs.d {pushed} && \
             ctr -n k8s.io images rm {pushed}"
        );
        lab.on("node1", &push);
        kubectl(&["run", "pulled", "--image", pushed, "--image-pull-policy=Always"]);
        kubectl(&["wait", "--for=condition=Ready", "pod/pulled", "--timeout=120s"]);
        kubectl(&["delete", "pod", "pulled", "--now"]);
    }
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);

    // Scripts are run in the order of their names, once, and again when something beside them has changed.
    fs::write(own.join("10-first.sh"), "kubectl create namespace rooms\n").unwrap();
    let second = "#!/bin/sh\nkubectl label --overwrite namespace rooms seats=\"$(cat seats.txt)\"\n";
    fs::write(own.join("20-second.sh"), second).unwrap();
    fs::write(own.join("seats.txt"), "12").unwrap();
    setup(&["--tags", "extension"]);
    let seats = || kubectl(&["get", "namespace", "rooms", "-o", "jsonpath={.metadata.labels.seats}"]);
    assert_eq!(seats(), "12");
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);
    fs::write(own.join("10-first.sh"), "kubectl get namespace rooms\n").unwrap();
    fs::write(own.join("seats.txt"), "14").unwrap();
    setup(&["--tags", "extension"]);
    assert_eq!(seats(), "14");
    fs::write(own.join("15-broken.sh"), "echo nobody is here >&2; exit 3\n").unwrap();
    fs::write(own.join("seats.txt"), "16").unwrap();
    let broken = lab.muster(&["setup-cluster", "--tags", "extension"]);
    let told = broken.all();
    assert!(
        broken.code == 2
            && told.contains("nobody is here")
            && told.contains("15-broken.sh ended with status 3"),
        "{told}"
    );
    assert_eq!(seats(), "14");
    for name in ["10-first.sh", "15-broken.sh", "20-second.sh", "seats.txt"] {
        fs::remove_file(own.join(name)).unwrap();
    }
    setup(&["--tags", "extension"]);
    kubectl(&["delete", "namespace", "rooms"]);
    assert!(!lab.has("node1", "/var/lib/muster/extension"));

    // Scripts on this side: before and after plays, with the cluster at hand. One that fails ends the run before its play.
    let hooks = folder.join("hooks/setup-cluster");
    fs::create_dir_all(&hooks).unwrap();
    let hook = |name: &str, text: &str| {
        fs::write(hooks.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(hooks.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    hook("before", "echo begins >>ran");
    hook("after-install-the-applications", "[ -s \"$KUBECONFIG\" ] && echo \"$MUSTER_PLAY\" >>ran");
    let ran = || fs::read_to_string(folder.join("ran")).unwrap();
    assert_eq!(setup(&["--tags", "extension"]).recap("node1", "changed"), 0);
    assert_eq!(ran(), "begins\nInstall the applications\n");
    let log = lab.muster(&["log", "last"]);
    assert!(log.all().contains("hooks/setup-cluster/before"), "{log:#?}");
    setup(&["--tags", "extension", "--check"]);
    assert_eq!(ran().lines().count(), 2);
    hook("before-install-the-applications", "echo no room is free >&2; exit 1");
    fs::write(own.join("late.yaml"), "{apiVersion: v1, kind: ConfigMap, metadata: {name: late}}").unwrap();
    let stopped = lab.muster(&["setup-cluster", "--tags", "extension"]);
    assert!(stopped.code == 2 && stopped.all().contains("no room is free"), "{stopped:#?}");
    assert!(!kubectl(&["get", "configmaps", "-o", "name"]).contains("late"));
    fs::remove_dir_all(&hooks).unwrap();
    fs::remove_file(own.join("late.yaml")).unwrap();

    // An admin.conf of a cluster that is no more is no kubeconfig to be merged.
    let admin = folder.join("artifacts/admin.conf");
    let real = fs::read_to_string(&admin).unwrap();
    fs::write(
        &admin,
        real.replacen("certificate-authority-data: LS0t", "certificate-authority-data: LS1t", 1),
    )
    .unwrap();
    let merged = lab.muster(&["kubeconfig", "--merge", "--into", "own"]);
    assert!(
        merged.code == 0 && merged.all().contains("is of another cluster than the one that runs"),
        "{merged:#?}"
    );
    assert_eq!(fs::read_to_string(&admin).unwrap(), real);
    assert_eq!(lab.muster(&["kubectl", "--kubeconfig", "own", "get", "nodes"]).code, 0);

    // Nobody takes what is somebody else's: a namespace of the folder's, one of the cluster's own.
    if registry {
        let shared = ["--tags", "registry", "-e", "registry_namespace=web", "-e", "registry_port=5001"];
        let refused = lab.muster(&[&["setup-cluster"], &shared[..]].concat());
        assert!(
            refused.code == 2 && refused.all().contains("Namespace web belongs to your own"),
            "{refused:#?}"
        );
        assert!(!kubectl(&["-n", "web", "get", "deployments"]).contains("registry"));
        setup(&["--tags", "registry"]);
    }
    if traefik {
        let inside = "{apiVersion: v1, kind: ConfigMap, metadata: {name: inside, namespace: traefik}}";
        fs::write(own.join("inside.yaml"), inside).unwrap();
        setup(&["--tags", "extension"]);
        let kept = lab.muster(&["setup-cluster", "--tags", "apps", "-e", "traefik_enabled=false"]);
        let why = "the namespace traefik would go with what is in it of extension: ConfigMap inside";
        assert!(kept.code == 2 && kept.all().contains(why), "{kept:#?}");
        assert!(kubectl(&["-n", "traefik", "get", "daemonsets"]).contains("traefik"));
        fs::remove_file(own.join("inside.yaml")).unwrap();
        setup(&["--tags", "extension"]);
    }
    for theirs in ["default", "kube-system"] {
        let text = format!("\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {theirs}}}}}\n");
        fs::write(own.join("theirs.yaml"), text).unwrap();
        let refused = lab.muster(&["setup-cluster", "--tags", "extension"]);
        let told = refused.all();
        let is_told = told.contains("theirs.yaml:2:") && told.contains(&format!("Namespace {theirs} is"));
        assert!(refused.code == 3 && is_told, "{refused:#?}");
    }
    let by_kubeadm =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-proxy, namespace: kube-system}}";
    fs::write(own.join("theirs.yaml"), by_kubeadm).unwrap();
    let refused = lab.muster(&["setup-cluster", "--tags", "extension"]);
    assert!(
        refused.code == 3
            && ["theirs.yaml:1:", "kube-system/kube-proxy"].iter().all(|text| refused.all().contains(text)),
        "{refused:#?}"
    );
    fs::remove_file(own.join("theirs.yaml")).unwrap();
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);

    // What is taken out of the folder goes, and what is switched off.
    fs::remove_file(own.join("web.yaml")).unwrap();
    let check = setup(&["--tags", "extension", "--check"]);
    assert!(check.all().contains("Namespace web: removed"), "{check:#?}");
    fs::remove_file(own.join("x.yaml.j2")).unwrap();
    set("");
    setup(&["--tags", "apps"]);
    assert_eq!(objects(), before);
    assert!(!lab.has("node1", "/usr/local/bin/helm"));
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);

    // Somebody else's stays, and stops no other.
    if registry {
        kubectl(&["-n", "kube-system", "create", "deployment", "registry", "--image", image]);
        fs::write(own.join("y.yaml"), "{apiVersion: v1, kind: ConfigMap, metadata: {name: room}}").unwrap();
        let refused = lab.muster(&["setup-cluster", "--tags", "apps", "-e", "registry_enabled=true"]);
        assert!(refused.code == 2 && refused.all().contains("was not made by muster"), "{refused:#?}");
        assert!(kubectl(&["get", "configmap", "room"]).contains("room"));
    }
}

/// Where whoever is told of alerts listens.
const TOLD_AT: u16 = 8080;

/// Takes what Alertmanager tells, and notes who tells it and what.
fn is_told(listener: TcpListener, told: &Asked) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut stream = BufReader::new(stream);
        let head: Vec<String> =
            stream.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let value = |name: &str| {
            let mut fields = head.iter().filter_map(|line| line.split_once(": "));
            fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
        };
        let mut body = vec![0; value("Content-Length").parse().unwrap_or(0)];
        stream.read_exact(&mut body).ok();
        told.note(format!("{}: {}", value("Authorization"), String::from_utf8_lossy(&body)));
        write!(stream.get_mut(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    }
}

#[test]
fn whoever_is_to_be_told_hears_of_an_alert() {
    if !["prometheus/prometheus", "prometheus/alertmanager"].into_iter().all(bundle_has) {
        eprintln!("skipped: the bundle has no monitoring; muster bundle build --with monitoring");
        return;
    }
    let lab = Lab::up(109, &["-n", "1"]);
    let folder = lab.inventory_of_one();
    let told = Asked::default();
    let tells = told.clone();
    beside(
        lab.namespace(),
        || TcpListener::bind(("0.0.0.0", TOLD_AT)).unwrap(),
        move |listener| is_told(listener, &tells),
    );
    let controller = lab.address(1).replace(".4", ".1");
    let config = |more: &str| {
        let text = format!(
            "monitoring_enabled: true\nmonitoring_interval: 2s\napps_timeout: 90\n\
             monitoring_alerts: [{{alert: Measured, expr: 'up{{job=\"nodes\"}} == 1',\n  \
             annotations: {{summary: !unsafe '{{{{ $labels.node }}}} is measured'}}}}]\n\
             alertmanager_config:\n  route: {{receiver: us, group_wait: 1s, group_interval: 2s}}\n  receivers:\n    \
             - name: us\n      webhook_configs:\n        - url: http://{controller}:{TOLD_AT}/\n          \
             http_config: {{authorization: {{credentials: s3cret}}}}\n          {more}\n"
        );
        fs::write(folder.join("group_vars/all.yml"), text).unwrap();
    };
    config("");
    let run = |args: &[&str]| lab.muster(&[&["setup-cluster", "-vv"], args].concat());
    let setup = |args: &[&str]| {
        let ended = run(args);
        assert!(ended.code == 0 && !ended.all().contains("s3cret"), "{ended:#?}");
        ended
    };
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl", "-n", "monitoring"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    setup(&["-e", "monitoring_enabled=false"]);
    let shown = setup(&["--tags", "monitoring", "--check", "--diff"]);
    assert!(shown.out.contains("Secret monitoring/alertmanager: its content is not shown"), "{shown:#?}");
    setup(&["--tags", "monitoring"]);
    told.waits_for("node1 is measured");
    told.waits_for("Bearer s3cret: ");

    // All targets are up, and nothing that muster itself would tell is wrong.
    let asked = |path: &str| -> serde_json::Value {
        let service = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1";
        serde_json::from_str(&kubectl(&["get", "--raw", &format!("{service}/{path}")])).unwrap()
    };
    let all_up = || {
        let told = asked("targets");
        let targets = told["data"]["activeTargets"].as_array().unwrap();
        targets.len() >= 7 && targets.iter().all(|target| target["health"] == "up")
    };
    let begun = Instant::now();
    while !all_up() {
        assert!(begun.elapsed() < Duration::from_secs(90), "{:#}", asked("targets"));
        std::thread::sleep(Duration::from_secs(1));
    }
    for group in asked("rules")["data"]["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            assert_eq!(rule["health"], "ok", "{rule:#}");
        }
    }
    assert_eq!(setup(&[]).recap("node1", "changed"), 0);

    // What Alertmanager does not take is told, and the one of before goes on.
    config("nonsense: 1");
    let broken = run(&["--tags", "monitoring", "-e", "apps_timeout=20"]);
    assert!(broken.code == 2 && broken.all().contains("monitoring: the pod alertmanager-"), "{broken:#?}");
    let states = kubectl(&[
        "get",
        "pods",
        "-l",
        "app=alertmanager",
        "-o",
        "jsonpath={.items[*].status.containerStatuses[0].ready}",
    ]);
    let mut states: Vec<&str> = states.split(' ').collect();
    states.sort();
    assert_eq!(states, ["false", "true"]);
    config("send_resolved: false");
    setup(&["--tags", "monitoring"]);

    // Nothing that muster has written down holds what is secret.
    let records = folder.join(".muster/runs");
    assert!(records.exists());
    assert_eq!(lab.exec(&["grep", "-r", "s3cret", records.to_str().unwrap()]).code, 1);
}
