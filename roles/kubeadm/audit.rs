//! What the API server writes down of requests (Kubernetes' documentation: "Auditing").

use std::path::Path;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::access::kubeconfig;
use super::arguments::Volume;
use super::component_file::{API_SERVER, ComponentFile};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kubernetes_audit: bool,
    audit_log_path: String,
    audit_log_maxage: u32,
    audit_log_maxbackups: u32,
    audit_log_maxsize: u32,
    audit_policy_custom_rules: Option<Value>,
    kubernetes_audit_webhook: bool,
    audit_webhook_server_url: Option<String>,
    audit_webhook_server_extra_args: Map<String, Value>,
    audit_webhook_mode: String,
    audit_webhook_batch_max_size: u32,
    audit_webhook_batch_max_wait: String,
}

/// That requests are written down, in a file, by somebody else, or both.
pub(super) struct Audit {
    vars: Vars,
    policy: Value,
}

impl Audit {
    /// `None` where nothing is to be written down.
    ///
    /// # Errors
    /// The rules are no list of rules.
    pub(super) fn wanted(host: &Host) -> Result<Option<Self>> {
        Self::of(host.vars()?)
    }

    fn of(vars: Vars) -> Result<Option<Self>> {
        if !vars.kubernetes_audit && !vars.kubernetes_audit_webhook {
            return Ok(None);
        }
        let rules = match &vars.audit_policy_custom_rules {
            None | Some(Value::Null) => usual_rules(),
            Some(given) => parsed(given)?,
        };
        let policy = json!({ "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules });
        Ok(Some(Self { vars, policy }))
    }

    /// The policy, and how somebody else is reached.
    pub(super) fn files(&self) -> Vec<ComponentFile> {
        let mut files =
            vec![ComponentFile::new(API_SERVER, "audit-policy-file", "audit-policy", &self.policy)];
        if self.vars.kubernetes_audit_webhook {
            let mut cluster = self.vars.audit_webhook_server_extra_args.clone();
            cluster.insert("server".to_owned(), json!(self.vars.audit_webhook_server_url));
            let webhook = kubeconfig(cluster);
            files.push(ComponentFile::new(
                API_SERVER,
                "audit-webhook-config-file",
                "audit-webhook",
                &webhook,
            ));
        }
        files
    }

    /// Arguments of the API server that name no file of these.
    pub(super) fn arguments(&self) -> Vec<(&'static str, String)> {
        let vars = &self.vars;
        let mut arguments = Vec::new();
        if vars.kubernetes_audit {
            arguments.push(("audit-log-path", vars.audit_log_path.clone()));
        }
        if self.has_log_file() {
            arguments.extend([
                ("audit-log-maxage", vars.audit_log_maxage.to_string()),
                ("audit-log-maxbackup", vars.audit_log_maxbackups.to_string()),
                ("audit-log-maxsize", vars.audit_log_maxsize.to_string()),
            ]);
        }
        if vars.kubernetes_audit_webhook {
            arguments.push(("audit-webhook-mode", vars.audit_webhook_mode.clone()));
            if vars.audit_webhook_mode == "batch" {
                arguments.extend([
                    ("audit-webhook-batch-max-size", vars.audit_webhook_batch_max_size.to_string()),
                    ("audit-webhook-batch-max-wait", vars.audit_webhook_batch_max_wait.clone()),
                ]);
            }
        }
        arguments
    }

    /// Standard output is not a file that could be rotated.
    fn has_log_file(&self) -> bool {
        self.vars.kubernetes_audit && self.vars.audit_log_path != "-"
    }

    /// The folder of the log, which the API server sees. The kubelet makes it.
    pub(super) fn volume(&self) -> Option<Volume> {
        let folder = folder_of(&self.vars.audit_log_path);
        self.has_log_file().then(|| Volume {
            name: "audit-log".to_owned(),
            host_path: folder.clone(),
            mount_path: folder,
            read_only: false,
            path_type: Some("DirectoryOrCreate".to_owned()),
        })
    }
}

fn folder_of(path: &str) -> String {
    Path::new(path).parent().unwrap_or(Path::new("/")).display().to_string()
}

/// Rules as a list, or as text of YAML, as kubespray takes them.
fn parsed(given: &Value) -> Result<Value> {
    let rules = match given {
        Value::String(text) => serde_saphyr::from_str::<Value>(text).ok(),
        other => Some(other.clone()),
    };
    rules.filter(Value::is_array).ok_or_else(|| {
        Failure::new(
            "audit_policy_custom_rules is not a list of rules",
            "write it as a list: [{level: Metadata}] (Kubernetes' documentation: \"Auditing\", audit policy)",
        )
    })
}

/// Who changed what, without contents, which may be secrets; not what the cluster does by itself all the time.
fn usual_rules() -> Value {
    json!([
        { "level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi*"] },
        { "level": "None", "resources": [{ "group": "", "resources": ["events"] }, { "group": "events.k8s.io" }] },
        { "level": "None", "verbs": ["get", "list", "watch"], "userGroups": ["system:nodes"] },
        { "level": "None", "verbs": ["get", "list", "watch"], "users": [
            "system:kube-proxy", "system:kube-scheduler", "system:kube-controller-manager", "system:apiserver",
        ] },
        { "level": "None", "resources": [{ "group": "coordination.k8s.io", "resources": ["leases"] }] },
        { "level": "Metadata", "omitStages": ["RequestReceived"] },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn audit(yaml: &str) -> Result<Option<Audit>> {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        Audit::of(vars.deserialize().unwrap())
    }

    #[test]
    fn nothing_is_written_unless_it_is_asked_for() {
        assert!(audit("").unwrap().is_none());
    }

    #[test]
    fn a_log_has_a_policy_a_folder_and_an_end() {
        let audit = audit("kubernetes_audit: true").unwrap().unwrap();
        assert_eq!(audit.volume().map(|volume| volume.host_path).as_deref(), Some("/var/log/audit"));
        assert!(audit.arguments().contains(&("audit-log-maxsize", "100".to_owned())));
        let files = audit.files();
        assert_eq!((files.len(), files[0].argument()), (1, Some("audit-policy-file")));
        assert!(files[0].content().contains("\"level\": \"Metadata\""), "{}", files[0].content());
    }

    #[test]
    fn rules_are_a_list_or_a_text_of_one() {
        let own = "kubernetes_audit: true\naudit_policy_custom_rules: ";
        let path = |yaml: &str| audit(yaml).unwrap().unwrap().files()[0].path().to_owned();
        let as_text = path(&format!("{own}|\n  - level: Request\n"));
        let as_list = path(&format!("{own}[{{level: Request}}]"));
        assert_eq!(as_text, as_list);
        assert_ne!(as_text, path("kubernetes_audit: true"), "another policy is another file");
        assert!(audit(&format!("{own}everything")).is_err());
    }

    #[test]
    fn a_log_on_standard_output_is_not_rotated_and_has_no_folder() {
        let audit = audit("kubernetes_audit: true\naudit_log_path: '-'").unwrap().unwrap();
        assert!(audit.volume().is_none());
        assert_eq!(audit.arguments(), [("audit-log-path", "-".to_owned())]);
    }

    #[test]
    fn a_webhook_is_sent_what_happens_with_or_without_a_log() {
        let yaml = "kubernetes_audit_webhook: true\naudit_webhook_server_url: https://audit.example\n\
                    audit_webhook_server_extra_args: {insecure-skip-tls-verify: true}\n";
        let batch = audit(yaml).unwrap().unwrap();
        assert!(batch.volume().is_none(), "there is no log");
        let expected = [
            ("audit-webhook-mode", "batch".to_owned()),
            ("audit-webhook-batch-max-size", "100".to_owned()),
            ("audit-webhook-batch-max-wait", "1s".to_owned()),
        ];
        assert_eq!(batch.arguments(), expected);
        let files = batch.files();
        let names: Vec<_> = files.iter().map(ComponentFile::argument).collect();
        assert_eq!(names, [Some("audit-policy-file"), Some("audit-webhook-config-file")]);
        let config: Value = serde_json::from_str(files[1].content()).unwrap();
        let cluster = json!({ "server": "https://audit.example", "insecure-skip-tls-verify": true });
        assert_eq!(config["clusters"][0]["cluster"], cluster);
        let larger =
            audit(&format!("{yaml}audit_webhook_batch_max_size: 7\naudit_webhook_batch_max_wait: 9s\n"));
        let values = larger.unwrap().unwrap().arguments().into_iter().map(|(_, value)| value);
        assert_eq!(values.collect::<Vec<_>>(), ["batch", "7", "9s"]);
        let blocking = audit(&format!("{yaml}audit_webhook_mode: blocking\nkubernetes_audit: true"));
        assert_eq!(blocking.unwrap().unwrap().arguments().len(), 5);
    }
}
