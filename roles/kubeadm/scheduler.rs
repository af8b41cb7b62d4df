//! What the scheduler is told in a file: `KubeSchedulerConfiguration` (kubescheduler.config.k8s.io/v1). Names and meanings of the
//! variables are kubespray's.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::component_file::{ComponentFile, SCHEDULER};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kube_scheduler_leader_elect_lease_duration: Option<String>,
    kube_scheduler_leader_elect_renew_deadline: Option<String>,
    kube_scheduler_leader_elect_extra_opts: Map<String, Value>,
    kube_scheduler_client_conn_extra_opts: Map<String, Value>,
    kube_scheduler_config_extra_opts: Map<String, Value>,
    kube_scheduler_extenders: Vec<Value>,
    kube_scheduler_profiles: Vec<Value>,
}

impl Vars {
    /// Whether there is anything that only a file can say. The scheduler that reads one takes no notice of arguments that the file
    /// has fields for.
    fn needs_file(&self) -> bool {
        let maps = [
            &self.kube_scheduler_leader_elect_extra_opts,
            &self.kube_scheduler_client_conn_extra_opts,
            &self.kube_scheduler_config_extra_opts,
        ];
        maps.iter().any(|map| !map.is_empty())
            || !self.kube_scheduler_extenders.is_empty()
            || !self.kube_scheduler_profiles.is_empty()
    }

    /// Arguments, where there is no file.
    pub(super) fn arguments(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("leader-elect-lease-duration", &self.kube_scheduler_leader_elect_lease_duration),
            ("leader-elect-renew-deadline", &self.kube_scheduler_leader_elect_renew_deadline),
        ];
        let said = all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        said.filter(|_| !self.needs_file()).collect()
    }

    /// The file, where it is needed.
    pub(super) fn file(&self) -> Option<ComponentFile> {
        if !self.needs_file() {
            return None;
        }
        let mut election = Map::from_iter([("leaderElect".to_owned(), json!(true))]);
        for (name, value) in [
            ("leaseDuration", &self.kube_scheduler_leader_elect_lease_duration),
            ("renewDeadline", &self.kube_scheduler_leader_elect_renew_deadline),
        ] {
            election.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
        election.extend(self.kube_scheduler_leader_elect_extra_opts.clone());
        let mut client = Map::from_iter([("kubeconfig".to_owned(), json!("/etc/kubernetes/scheduler.conf"))]);
        client.extend(self.kube_scheduler_client_conn_extra_opts.clone());
        let mut all = Map::from_iter([
            ("apiVersion".to_owned(), json!("kubescheduler.config.k8s.io/v1")),
            ("kind".to_owned(), json!("KubeSchedulerConfiguration")),
            ("clientConnection".to_owned(), Value::Object(client)),
            ("leaderElection".to_owned(), Value::Object(election)),
        ]);
        let lists =
            [("extenders", &self.kube_scheduler_extenders), ("profiles", &self.kube_scheduler_profiles)];
        all.extend(
            lists.into_iter().filter(|(_, l)| !l.is_empty()).map(|(name, l)| (name.to_owned(), json!(l))),
        );
        all.extend(self.kube_scheduler_config_extra_opts.clone());
        Some(ComponentFile::new(SCHEDULER, "config", "configuration", &Value::Object(all)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn vars(yaml: &str) -> Vars {
        variables(&format!("skydns_server: 10.233.0.3\n{yaml}")).deserialize().unwrap()
    }

    #[test]
    fn a_file_is_there_where_arguments_cannot_say_it() {
        let lease = "kube_scheduler_leader_elect_lease_duration: 30s\nkube_scheduler_leader_elect_renew_deadline: 20s\n";
        assert!(vars("").file().is_none() && vars("").arguments().is_empty() && vars(lease).file().is_none());
        assert_eq!(vars(lease).arguments().len(), 2);

        let all = vars(&format!(
            "{lease}kube_scheduler_profiles: [{{schedulerName: default-scheduler}}]\n\
             kube_scheduler_extenders: [{{urlPrefix: https://a.example}}]\nkube_scheduler_config_extra_opts: {{parallelism: 4}}\n\
             kube_scheduler_client_conn_extra_opts: {{qps: 9}}\nkube_scheduler_leader_elect_extra_opts: {{retryPeriod: 3s}}"
        ));
        assert!(all.arguments().is_empty());
        let said: Value = serde_json::from_str(all.file().unwrap().content()).unwrap();
        let expected = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": { "kubeconfig": "/etc/kubernetes/scheduler.conf", "qps": 9 },
            "leaderElection": { "leaderElect": true, "leaseDuration": "30s", "renewDeadline": "20s", "retryPeriod": "3s" },
            "extenders": [{ "urlPrefix": "https://a.example" }],
            "profiles": [{ "schedulerName": "default-scheduler" }],
            "parallelism": 4,
        });
        assert_eq!(said, expected);
    }
}
