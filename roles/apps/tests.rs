//! The objects of all applications for variables as users write them, and what is told of them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::*;
use crate::objects::SET;
use crate::preflight::fixture::variables;
use crate::reference;

/// The objects of an application with these variables.
fn objects(name: &str, yaml: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("apps/{name}/objects.yaml.j2"));
    let template = std::fs::read_to_string(path).unwrap();
    let images: serde_json::Map<String, Value> = CATALOGUE
        .images_of_app(name)
        .into_iter()
        .map(|image| (image.into(), json!(format!("{image}:1"))))
        .collect();
    let text = variables(yaml).render(&template, name, &json!({ "images": images })).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap()
}

#[test]
fn every_application_is_whole() {
    let plays: Value = serde_saphyr::from_str(include_str!("../../playbooks/cluster.yml")).unwrap();
    let has = |field: &str, name: &str| {
        let mut plays = plays.as_array().unwrap().iter();
        plays.any(|play| play[field].as_array().is_some_and(|names| names.iter().any(|n| n == name)))
    };
    for name in CATALOGUE.apps() {
        assert!(crate::ROLES.iter().any(|role| role.name == name), "{name} is no role");
        assert!(has("roles", name) && has("tags", name), "{name} is not in the playbook");
        let switch = format!("{}_enabled", name.replace('-', "_"));
        assert!(reference::variables().any(|variable| variable.name == switch), "{name} has no {switch}");
        assert!(!wants_app(&variables(""), name).unwrap(), "{name}");
        // What has upstream's objects has tests of its own.
        if [metallb::NAME, cert_manager::NAME, gateway_api::NAME, argocd::NAME].contains(&name) {
            continue;
        }
        assert!(!CATALOGUE.images_of_app(name).is_empty(), "{name} has no image");
        let objects = objects(name, "");
        let pods: Vec<_> = objects.iter().map(|object| &object["spec"]["template"]).collect();
        let pods: Vec<_> = pods.into_iter().filter(|template| !template.is_null()).collect();
        assert!(!pods.is_empty(), "{name}");
        for pod in pods {
            assert_eq!(pod["metadata"]["labels"][SET], name);
            let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
            assert!(
                CATALOGUE.images_of_app(name).iter().any(|known| image == format!("{known}:1")),
                "{image}"
            );
        }
    }
}

#[test]
fn what_the_tag_apps_means_is_the_same_in_an_upgrade() {
    let tagged = |playbook: &str| -> Vec<Value> {
        let plays: Vec<Value> = serde_saphyr::from_str(playbook).unwrap();
        let has = |play: &Value, field: &str| {
            play[field].as_array().is_some_and(|names| names.iter().any(|name| name == "apps"))
        };
        // The last one is the role `apps` itself, which waits for all.
        plays.into_iter().filter(|play| has(play, "tags") || has(play, "roles")).collect()
    };
    let of_set_up = tagged(include_str!("../../playbooks/cluster.yml"));
    assert_eq!(of_set_up, tagged(include_str!("../../playbooks/upgrade.yml")));
    assert!(of_set_up.last().is_some_and(|play| play["roles"] == json!(["apps"])));
    let roles: Vec<&str> = of_set_up
        .iter()
        .flat_map(|play| play["roles"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    for app in CATALOGUE.apps().chain([helm::NAME, extension::NAME, "coredns"]) {
        assert!(roles.contains(&app), "{app}");
    }
    // Who leaves the add-ons out (`--skip-tags apps`) wants a network all the same.
    for role in ["flannel", "calico", "cilium", "custom-cni", "cni"] {
        assert!(!roles.contains(&role), "{role}");
    }
}

#[test]
fn what_somebody_else_has_installed_is_left_alone() {
    let why = |metadata: Value| {
        somebody_elses(Some(&Value::Null), &json!({ "kind": "Deployment", "metadata": metadata }))
    };
    let helm =
        json!({ "name": "a", "namespace": "b", "annotations": { "meta.helm.sh/release-name": "web" } });
    assert!(why(helm).unwrap().starts_with(
        "Deployment a in the namespace b is there already and belongs to the release web of Helm. Remove"
    ));
    assert!(why(json!({ "name": "a" })).unwrap().contains("a is there already and was not made by muster"));
    assert_eq!(why(json!({ "name": "a", "labels": { SET: "a" } })), None);
    let applied = json!({ "name": "a", "managedFields": [{ "manager": "muster", "operation": "Apply", "fieldsV1": {} }] });
    assert_eq!(why(applied), None);
}

#[test]
fn services_and_volumes_are_as_the_variables_say() {
    let registry = objects("registry", "dns_domain: school.local\n");
    let service = of_kind(&registry, "Service");
    let reached = &service["metadata"]["annotations"]["muster.io/reached-at"];
    assert_eq!(reached, "registry.kube-system.svc.school.local:5000");
    assert!(
        registry
            .iter()
            .all(|object| object["kind"] != "PersistentVolumeClaim" && object["kind"] != "Namespace")
    );
    let yaml = "registry_namespace: images\nregistry_storage_class: disk\nregistry_disk_size: 3Gi\n\
                registry_service_type: NodePort\nregistry_service_nodeport: 30500\n\
                registry_service_annotations: {a: b}\n";
    let registry = objects("registry", yaml);
    assert_eq!(of_kind(&registry, "Namespace")["metadata"]["name"], "images");
    let claim = &of_kind(&registry, "PersistentVolumeClaim")["spec"];
    assert_eq!(claim["storageClassName"], "disk");
    assert_eq!(claim["resources"]["requests"]["storage"], "3Gi");
    let service = of_kind(&registry, "Service");
    assert_eq!(service["spec"]["ports"][0]["nodePort"], 30500);
    assert_eq!(service["metadata"]["annotations"]["a"], "b");
}

#[test]
fn every_variable_of_an_application_changes_its_objects() {
    // An application, in which circumstances, and another value than the default.
    let others = [
        ("metrics-server", "", "metrics_server_replicas: 3"),
        ("metrics-server", "", "metrics_server_metric_resolution: 20s"),
        ("metrics-server", "", "metrics_server_kubelet_insecure_tls: false"),
        ("metrics-server", "", "metrics_server_kubelet_preferred_address_types: Hostname"),
        ("metrics-server", "", "metrics_server_requests_cpu: 99m"),
        ("metrics-server", "", "metrics_server_requests_memory: 99Mi"),
        ("metrics-server", "", "metrics_server_limits_cpu: 199m"),
        ("metrics-server", "", "metrics_server_limits_memory: 299Mi"),
        ("local-path-provisioner", "", "local_path_provisioner_storage_class: disk"),
        ("local-path-provisioner", "", "local_path_provisioner_is_default_storageclass: false"),
        ("local-path-provisioner", "", "local_path_provisioner_reclaim_policy: Retain"),
        ("local-path-provisioner", "", "local_path_provisioner_claim_root: /srv"),
        ("local-path-provisioner", "", "local_path_provisioner_debug: true"),
        ("registry", "", "registry_namespace: images"),
        ("registry", "", "registry_storage_class: disk"),
        ("registry", "registry_storage_class: disk", "registry_disk_size: 3Gi"),
        ("registry", "registry_storage_class: disk", "registry_storage_access_mode: ReadWriteMany"),
        ("registry", "", "registry_port: 5001"),
        ("registry", "", "registry_service_type: NodePort"),
        ("registry", "", "registry_service_cluster_ip: 10.233.0.9"),
        ("registry", "registry_service_type: NodePort", "registry_service_nodeport: 30500"),
        ("registry", "registry_service_type: LoadBalancer", "registry_service_loadbalancer_ip: 192.0.2.9"),
        ("registry", "", "registry_service_annotations: {a: b}"),
        ("traefik", "", "ingress_nginx_enabled: true"),
        ("traefik", "ingress_nginx_enabled: true", "ingress_nginx_class: web"),
        ("traefik", "", "traefik_namespace: ingress"),
        ("traefik", "", "traefik_ingress_class: web"),
        ("traefik", "", "traefik_http_port: 8080"),
        ("traefik", "", "traefik_https_port: 8443"),
        ("traefik", "", "traefik_nodeselector: {a: b}"),
        ("traefik", "", "traefik_tolerations: []"),
        ("traefik", "", "traefik_service_type: NodePort"),
        ("traefik", "traefik_service_type: NodePort", "traefik_nodeport_http: 30080"),
        ("traefik", "traefik_service_type: NodePort", "traefik_nodeport_https: 30443"),
        ("traefik", "", "traefik_service_annotations: {a: b}"),
        ("traefik", "", "traefik_log_level: DEBUG"),
        ("csi-snapshot-controller", "", "snapshot_controller_namespace: snapshots"),
        ("csi-snapshot-controller", "", "snapshot_controller_replicas: 2"),
        ("node-feature-discovery", "", "node_feature_discovery_namespace: features"),
        ("node-feature-discovery", "", "node_feature_discovery_master_replicas: 2"),
        ("node-feature-discovery", "", "node_feature_discovery_master_config: {extraLabelNs: [a.b]}"),
        ("node-feature-discovery", "", "node_feature_discovery_worker_config: {core: {sleepInterval: 9s}}"),
        ("node-feature-discovery", "", "node_feature_discovery_worker_tolerations: [{operator: Exists}]"),
        ("node-feature-discovery", "", "node_feature_discovery_gc_replicas: 2"),
        ("node-feature-discovery", "", "node_feature_discovery_gc_interval: 9h"),
        ("flux", "", "flux_namespace: gitops"),
        ("nfs-csi", "", "nfs_csi_server: nas.example.org"),
        ("nfs-csi", "nfs_csi_server: a", "nfs_csi_share: /srv"),
        ("nfs-csi", "nfs_csi_server: a", "nfs_csi_storage_class: nas"),
        ("nfs-csi", "nfs_csi_server: a", "nfs_csi_is_default_storageclass: true"),
        ("nfs-csi", "nfs_csi_server: a", "nfs_csi_reclaim_policy: Retain"),
        ("nfs-csi", "nfs_csi_server: a", "nfs_csi_mount_options: []"),
        ("nfs-csi", "", "csi_snapshot_controller_enabled: true"),
        (
            "local-volume-provisioner",
            "",
            "local_volume_provisioner_storage_classes: {fast: {host_dir: /mnt/fast}}",
        ),
        ("local-volume-provisioner", "", "local_volume_provisioner_namespace: disks"),
        ("local-volume-provisioner", "", "local_volume_provisioner_nodelabels: [a]"),
        ("local-volume-provisioner", "", "local_volume_provisioner_use_node_name_only: true"),
        ("local-volume-provisioner", "", "local_volume_provisioner_tolerations: [{operator: Exists}]"),
        ("local-volume-provisioner", "", "local_volume_provisioner_log_level: 4"),
        ("monitoring", "", "monitoring_retention: 9d"),
        ("monitoring", "", "monitoring_storage_class: disk"),
        ("monitoring", "monitoring_storage_class: disk", "monitoring_disk_size: 3Gi"),
        ("monitoring", "", "monitoring_interval: 20s"),
        ("monitoring", "", "monitoring_service_type: NodePort"),
        ("monitoring", "monitoring_service_type: NodePort", "monitoring_nodeport: 30900"),
        ("monitoring", "", "monitoring_requests_cpu: 99m"),
        ("monitoring", "", "monitoring_requests_memory: 99Mi"),
        ("monitoring", "", "alertmanager_config: {receivers: [{name: us}]}"),
        ("monitoring", "", "monitoring_alerts: [{alert: Many, expr: up}]"),
    ];
    for (name, given, other) in others {
        let with = objects(name, &format!("{given}\n{other}\n"));
        assert_ne!(objects(name, given), with, "{name}: {other} changes nothing");
    }
    let tried: Vec<&str> = others.iter().filter_map(|(_, _, other)| other.split(':').next()).collect();
    let all = reference::sections()
        .into_iter()
        .filter(|section| others.iter().any(|(name, ..)| section.roles == [*name]));
    for variable in all.flat_map(|section| section.paragraphs).flat_map(|paragraph| paragraph.variables) {
        let is_switch = variable.name.ends_with("_enabled");
        assert!(is_switch || tried.contains(&variable.name), "{} is not tried", variable.name);
    }
}

#[test]
fn the_dashboard_is_reached_as_its_variables_say() {
    let seen = |yaml: &str| {
        let objects = objects("dashboard", yaml);
        let (service, pods) = (of_kind(&objects, "Service"), of_kind(&objects, "Deployment"));
        let arguments = &pods["spec"]["template"]["spec"]["containers"][0]["args"];
        let ttl = arguments
            .as_array()
            .unwrap()
            .iter()
            .find_map(|word| word.as_str()?.strip_prefix("-session-ttl="));
        json!([
            service["metadata"]["namespace"],
            service["spec"]["type"],
            service["spec"]["ports"][0]["nodePort"],
            pods["spec"]["replicas"],
            ttl
        ])
    };
    assert_eq!(seen(""), json!(["dashboard", "NodePort", null, 1, "28800"]));
    let own = "dashboard_namespace: web\ndashboard_nodeport: 30443\ndashboard_session_hours: 2\ndashboard_replicas: 3";
    assert_eq!(seen(own), json!(["web", "NodePort", 30443, 3, "7200"]));
    let inside = "dashboard_service_type: ClusterIP\ndashboard_nodeport: 30443";
    assert_eq!(seen(inside), json!(["dashboard", "ClusterIP", null, 1, "28800"]));
}

#[test]
fn traefik_takes_the_place_of_ingress_nginx() {
    let seen = |yaml: &str| {
        let objects = objects("traefik", yaml);
        let classes = objects.iter().filter(|object| object["kind"] == "IngressClass");
        let classes: Vec<_> =
            classes.map(|class| class["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        let pod = &of_kind(&objects, "DaemonSet")["spec"]["template"]["spec"];
        let nginx = pod["containers"][0]["args"].to_string().contains("kubernetesingressnginx.ingressclass=");
        (classes.join(" "), nginx, pod["containers"][0]["ports"][0]["hostPort"].clone())
    };
    assert_eq!(seen(""), ("traefik".to_owned(), false, json!(80)));
    let nginx = "ingress_nginx_enabled: true\ningress_nginx_class: web\ntraefik_http_port: 8080\n";
    assert_eq!(seen(nginx), ("traefik web".to_owned(), true, json!(8080)));
    let wants = |yaml: &str| wants_app(&variables(yaml), "traefik").unwrap();
    assert!(wants("ingress_nginx_enabled: true") && wants("traefik_enabled: true") && !wants(""));
}

#[test]
fn local_volumes_are_of_the_classes_that_the_variables_name() {
    let classes = "local_volume_provisioner_storage_classes:\n  disks: {host_dir: /mnt/disks, volume_mode: Block, \
                   block_cleaner_command: [/scripts/shred.sh, '2']}\n  fast: {host_dir: /srv/fast, mount_dir: /fast, \
                   reclaim_policy: Retain}\n";
    let objects = objects("local-volume-provisioner", classes);
    let config = of_kind(&objects, "ConfigMap")["data"]["storageClassMap"].as_str().unwrap();
    let config: Value = serde_saphyr::from_str(config).unwrap();
    let expected = json!({
        "disks": { "hostDir": "/mnt/disks", "mountDir": "/mnt/disks", "volumeMode": "Block",
            "blockCleanerCommand": ["/scripts/shred.sh", "2"] },
        "fast": { "hostDir": "/srv/fast", "mountDir": "/fast" },
    });
    assert_eq!(config, expected);
    let made = objects.iter().filter(|object| object["kind"] == "StorageClass");
    let made: Vec<_> = made.map(|class| (&class["metadata"]["name"], &class["reclaimPolicy"])).collect();
    assert_eq!(made, [(&json!("disks"), &json!("Delete")), (&json!("fast"), &json!("Retain"))]);
    let pod = &of_kind(&objects, "DaemonSet")["spec"]["template"]["spec"];
    for (at, [there, here]) in [["/mnt/disks", "/mnt/disks"], ["/srv/fast", "/fast"]].iter().enumerate() {
        let (volume, mount) = (&pod["volumes"][at + 2], &pod["containers"][0]["volumeMounts"][at + 2]);
        assert_eq!((&volume["hostPath"]["path"], &mount["mountPath"]), (&json!(there), &json!(here)));
        assert_eq!(volume["name"], mount["name"]);
    }
}

#[test]
fn pods_and_classes_of_a_cloud_are_as_the_variables_say() {
    for (name, given, other) in [
        ("openstack-cloud-controller", "", "external_openstack_cloud_controller_bind_address: 0.0.0.0"),
        ("openstack-cloud-controller", "", "external_openstack_cloud_controller_dns_policy: Default"),
        ("openstack-cloud-controller", "", "external_openstack_cloud_controller_extra_args: {v: '2'}"),
        ("cinder-csi", "", "cinder_csi_controller_replicas: 2"),
        ("cinder-csi", "", "cinder_tolerations: [{operator: Exists}]"),
        ("cinder-csi", "", "persistent_volumes_enabled: true"),
        ("cinder-csi", "persistent_volumes_enabled: true", "storage_classes: [{name: fast}]"),
        ("cinder-csi", "persistent_volumes_enabled: true", "expand_persistent_volumes: true"),
        ("cinder-csi", "persistent_volumes_enabled: true", "cinder_topology: true"),
        (
            "cinder-csi",
            "persistent_volumes_enabled: true\ncinder_topology: true",
            "cinder_topology_zones: [nova]",
        ),
        ("cinder-csi", "cinder_csi_enabled: true", "snapshot_classes: [{name: daily}]"),
    ] {
        let with = objects(name, &format!("{given}\n{other}\n"));
        assert_ne!(objects(name, given), with, "{name}: {other} changes nothing");
    }
    let class = of_kind(&objects("cinder-csi", "persistent_volumes_enabled: true"), "StorageClass").clone();
    assert_eq!(
        (&class["metadata"]["name"], &class["parameters"]),
        (&json!("cinder-csi"), &json!({ "availability": "nova" }))
    );
    // The driver has no helper for snapshots where nobody has their kinds.
    let wants = |yaml: &str| wants_app(&variables(yaml), "csi-snapshot-controller").unwrap();
    assert!(wants("cinder_csi_enabled: true") && !wants("cinder_csi_enabled: false"));
    let helpers =
        |yaml: &str| of_kind(&objects("cinder-csi", yaml), "Deployment").to_string().contains("snapshotter");
    assert!(helpers("cinder_csi_enabled: true") && !helpers("csi_snapshot_controller_enabled: false"));
}

#[test]
fn prometheus_starts_anew_with_another_configuration() {
    let seen = |yaml: &str| {
        let objects = objects("monitoring", yaml);
        let text = |file: &str| of_kind(&objects, "ConfigMap")["data"][file].as_str().unwrap().to_owned();
        let config: Value = serde_saphyr::from_str(&text("prometheus.yml")).unwrap();
        assert!(text("rules.yml").contains("{{ $labels.job }} at {{ $labels.instance }}"));
        let pods = &of_kind(&objects, "Deployment")["spec"]["template"]["metadata"]["annotations"];
        (config["global"]["scrape_interval"].clone(), pods["muster.io/config"].clone())
    };
    let (usual, often) = (seen(""), seen("monitoring_interval: 2s\n"));
    assert_eq!((&usual.0, &often.0), (&json!("30s"), &json!("2s")));
    assert_ne!(usual.1, often.1);
}

#[test]
fn alertmanager_starts_anew_with_another_configuration_which_only_its_secret_has() {
    let seen = |yaml: &str| {
        let objects = objects("monitoring", yaml);
        let config = of_kind(&objects, "Secret")["data"]["alertmanager.yml"].as_str().unwrap();
        let config = STANDARD.decode(config).unwrap();
        let is_it =
            |object: &&Value| object["kind"] == "Deployment" && object["metadata"]["name"] == "alertmanager";
        let pods = &objects.iter().find(is_it).unwrap()["spec"]["template"]["metadata"]["annotations"];
        let others: Vec<_> = objects.iter().filter(|object| object["kind"] != "Secret").collect();
        assert!(!json!(others).to_string().contains("s3cret"));
        (serde_json::from_slice::<Value>(&config).unwrap(), pods["muster.io/config"].clone())
    };
    let (nobody, us) = (
        seen(""),
        seen(
            "alertmanager_config: {route: {receiver: us}, receivers: [{name: us, email_configs: [{to: a@example.org, \
             auth_password: s3cret, headers: {Subject: !unsafe '{{ .CommonLabels.alertname }}'}}]}]}",
        ),
    );
    assert_eq!(nobody.0["route"]["receiver"], nobody.0["receivers"][0]["name"]);
    let mail = &us.0["receivers"][0]["email_configs"][0];
    assert_eq!(
        (&mail["auth_password"], &mail["headers"]["Subject"]),
        (&json!("s3cret"), &json!("{{ .CommonLabels.alertname }}"))
    );
    assert!(us.1.as_str().is_some_and(|digest| digest.len() == 8) && us.1 != nobody.1);
}

#[test]
fn kube_state_metrics_may_list_what_it_looks_at_and_prometheus_finds_it() {
    let all = objects("kube-state-metrics", "");
    let rules = of_kind(&all, "ClusterRole")["rules"].as_array().unwrap().clone();
    let mut may: Vec<String> = rules
        .iter()
        .flat_map(|rule| rule["resources"].as_array().unwrap())
        .map(|resource| resource.as_str().unwrap().to_owned())
        .collect();
    may.sort();
    let pods = &of_kind(&all, "Deployment")["spec"]["template"];
    let container = &pods["spec"]["containers"][0];
    assert_eq!(container["args"][2], format!("--resources={}", may.join(",")));
    let config = of_kind(&objects("monitoring", ""), "ConfigMap")["data"]["prometheus.yml"].clone();
    let config: Value = serde_saphyr::from_str(config.as_str().unwrap()).unwrap();
    let jobs = config["scrape_configs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["job_name"] == "kube-state-metrics").unwrap();
    let found = format!(
        "{};{}",
        pods["metadata"]["labels"][SET].as_str().unwrap(),
        container["ports"][0]["name"].as_str().unwrap()
    );
    assert_eq!(job["relabel_configs"][0]["regex"], found);
}

#[test]
fn alerts_of_ones_own_come_after_the_others() {
    let rules = |yaml: &str| {
        let objects = objects("monitoring", yaml);
        let rules = of_kind(&objects, "ConfigMap")["data"]["rules.yml"].as_str().unwrap();
        let groups: Value = serde_saphyr::from_str(rules).unwrap();
        groups["groups"].as_array().unwrap().clone()
    };
    let own = "monitoring_alerts: [{alert: Many, expr: 'up > 1', annotations: {summary: !unsafe '{{ $labels.job }}'}}]";
    let (usual, more) = (rules(""), rules(own));
    assert_eq!(more[..usual.len()], usual[..]);
    assert_eq!(more[usual.len()]["rules"][0]["annotations"]["summary"], "{{ $labels.job }}");
    for rule in usual.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let severity = rule["labels"]["severity"].as_str();
        assert!(severity.is_some() && rule["annotations"]["summary"].is_string(), "{rule}");
    }
}

#[test]
fn variables_reach_the_objects() {
    let args = |yaml: &str| {
        let objects = objects("metrics-server", yaml);
        of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"].to_string()
    };
    assert!(args("").contains("--kubelet-insecure-tls") && args("").contains("--metric-resolution=15s"));
    assert!(!args("metrics_server_kubelet_insecure_tls: false").contains("insecure"));

    let class = |yaml: &str| {
        let objects = objects("local-path-provisioner", yaml);
        let class = of_kind(&objects, "StorageClass");
        let default = &class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"];
        let config = of_kind(&objects, "ConfigMap")["data"]["config.json"].as_str().unwrap();
        let config: Value = serde_json::from_str(config).unwrap();
        let path = config["nodePathMap"][0]["paths"][0].clone();
        [class["metadata"]["name"].clone(), default.clone(), path]
            .map(|value| value.as_str().unwrap().to_owned())
    };
    assert_eq!(class(""), ["local-path", "true", "/opt/local-path-provisioner/"]);
    let other = "local_path_provisioner_storage_class: disk\nlocal_path_provisioner_is_default_storageclass: 'false'\n\
                 local_path_provisioner_claim_root: /srv/claims\n";
    assert_eq!(class(other), ["disk", "false", "/srv/claims"]);
}

#[test]
fn a_look_says_which_application_is_not_well() {
    let judge = |items: Value| {
        let output = json!({ "kind": "List", "items": items }).to_string();
        judged(Answer { status: 0, output }, &["a", "b"])
    };
    let api = |set: &str, status: &str| {
        let condition = json!({ "type": "Available", "status": status, "message": "no endpoints" });
        let metadata = json!({ "name": "v1.x.io", "labels": { SET: set } });
        json!({ "kind": "APIService", "metadata": metadata, "spec": { "group": "x.io" }, "status": { "conditions": [condition] } })
    };
    assert_eq!(judge(json!([api("a", "True"), api("b", "True"), api("c", "False")])), Answer::default());
    let answer = judge(json!([api("a", "False")]));
    assert_eq!(answer.status, 1);
    assert_eq!(answer.output, "a: the API x.io does not answer: no endpoints\nb: it is not there\n");
    // Of many there is at least one line each, and what is the same is told once.
    let broken = |set: &str, name: &str| {
        let metadata = json!({ "name": name, "labels": { SET: set } });
        json!({ "kind": "APIService", "metadata": metadata, "spec": { "group": name }, "status": { "conditions": [] } })
    };
    let of_a: Vec<Value> = (0..9).chain(0..9).map(|n| broken("a", &format!("x{n}"))).collect();
    let answer = judge(json!(of_a)).output;
    assert_eq!(answer.lines().count(), 7, "{answer}");
    assert!(
        answer.contains("a: the API x5 does not answer: nobody has looked at it yet (and 3 more: muster apps)\nb: it is not there\n"),
        "{answer}"
    );
    let away = Answer { status: 7, output: "refused".into() };
    assert_eq!(judged(away.clone(), &["a"]), away);
}

/// What a program prints in a cluster in which kubectl answers so, and how it ends.
fn asked(kubectl: &str, program: &str, args: &[&str]) -> (i32, String) {
    let script = format!("kubectl() {{\n{kubectl}\n}}\n{program}");
    let mut shell = std::process::Command::new("sh");
    let out = shell.args(["-euc", &script, "sh"]).args(args).output().unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap())
}

#[test]
fn a_kind_that_the_cluster_lacks_hides_nothing_of_the_others() {
    let cluster = "case $2 in
  rooms) echo 'Room web/r1'; echo 'Room /r2' ;;
  halls) echo 'error: the server doesn'\"'\"'t have a resource type \"halls\"' >&2; return 1 ;;
  *) echo 'Error from server (Forbidden): no' >&2; return 1 ;;
esac";
    let ask = |kinds: &[&str]| asked(cluster, include_str!("in_use.sh"), kinds);
    assert_eq!(ask(&["halls", "rooms"]), (0, "Room web/r1\nRoom r2\n".to_owned()));
    assert_eq!(ask(&["halls"]), (0, String::new()));
    // Whoever cannot tell does not say that there is nothing.
    assert_eq!(ask(&["doors", "rooms"]), (1, "Error from server (Forbidden): no\n".to_owned()));
}

#[test]
fn a_driver_is_used_by_volumes_pods_and_snapshots() {
    let cluster = "case $2 in
  persistentvolumes) echo '/a nfs.csi.k8s.io'; echo '/b other'; echo '/c ' ;;
  pods) echo 'web/p other nfs.csi.k8s.io'; echo 'web/q ' ;;
  volumesnapshotcontents*) echo '/s nfs.csi.k8s.io' ;;
  *) echo 'error: the server doesn'\"'\"'t have a resource type \"x\"' >&2; return 1 ;;
esac";
    let used = |cluster: &str| asked(cluster, include_str!("volumes.sh"), &["nfs.csi.k8s.io"]);
    let expected = "PersistentVolume a\nPod web/p\nVolumeSnapshotContent s\n";
    assert_eq!(used(cluster), (0, expected.to_owned()));
    assert_eq!(used("echo refused >&2; return 1"), (1, "refused\n".to_owned()));
}
