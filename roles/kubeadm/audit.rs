//! What the API server writes down of requests (Kubernetes' documentation: "Auditing").

use std::path::Path;

use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::Volume;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    kubernetes_audit: bool,
    audit_log_path: String,
    audit_log_maxage: u32,
    audit_log_maxbackups: u32,
    audit_log_maxsize: u32,
    audit_policy_file: String,
    audit_policy_custom_rules: Option<Value>,
}

/// An audit log that is wanted.
pub(super) struct Audit {
    vars: Vars,
    policy: String,
}

impl Audit {
    /// `None` where no audit log is wanted.
    ///
    /// # Errors
    /// The rules are no list of rules.
    pub(super) fn wanted(host: &Host) -> Result<Option<Self>> {
        Self::of(host.vars()?)
    }

    fn of(vars: Vars) -> Result<Option<Self>> {
        if !vars.kubernetes_audit {
            return Ok(None);
        }
        let rules = match &vars.audit_policy_custom_rules {
            None | Some(Value::Null) => usual_rules(),
            Some(given) => parsed(given)?,
        };
        let policy = json!({ "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules });
        Ok(Some(Self { vars, policy: format!("{policy:#}\n") }))
    }

    /// The file with the policy. The folder of the log is made by the kubelet.
    pub(super) fn policy(&self) -> (Dir, File) {
        let folder = dir(folder_of(&self.vars.audit_policy_file)).mode(0o700);
        (folder, file(self.vars.audit_policy_file.as_str()).content(self.policy.as_str()).mode(0o600))
    }

    /// A digest of the policy: the API server reads it only when it starts.
    pub(super) fn digest(&self) -> String {
        Sha256::of(self.policy.as_bytes()).to_string()
    }

    /// Arguments of the API server.
    pub(super) fn arguments(&self) -> Vec<(&'static str, String)> {
        let mut arguments = vec![
            ("audit-policy-file", self.vars.audit_policy_file.clone()),
            ("audit-log-path", self.vars.audit_log_path.clone()),
        ];
        // Standard output is not a file that could be rotated.
        if self.vars.audit_log_path != "-" {
            arguments.extend([
                ("audit-log-maxage", self.vars.audit_log_maxage.to_string()),
                ("audit-log-maxbackup", self.vars.audit_log_maxbackups.to_string()),
                ("audit-log-maxsize", self.vars.audit_log_maxsize.to_string()),
            ]);
        }
        arguments
    }

    /// Folders of the machine that the API server sees.
    pub(super) fn volumes(&self) -> Vec<Volume> {
        let folder = |name: &str, path: &str, read_only| Volume {
            name: name.to_owned(),
            host_path: folder_of(path),
            mount_path: folder_of(path),
            read_only,
            path_type: Some("DirectoryOrCreate".to_owned()),
        };
        let mut volumes = vec![folder("audit-policy", &self.vars.audit_policy_file, true)];
        if self.vars.audit_log_path != "-" {
            volumes.push(folder("audit-log", &self.vars.audit_log_path, false));
        }
        volumes
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
        let volumes: Vec<_> = audit.volumes().iter().map(|v| (v.host_path.clone(), v.read_only)).collect();
        let (policy, log) = ("/etc/kubernetes/audit-policy".to_owned(), "/var/log/audit".to_owned());
        assert_eq!(volumes, [(policy, true), (log, false)]);
        assert!(audit.arguments().contains(&("audit-log-maxsize", "100".to_owned())));
        assert!(audit.policy.contains("\"level\": \"Metadata\""), "{}", audit.policy);
    }

    #[test]
    fn rules_are_a_list_or_a_text_of_one() {
        let own = "kubernetes_audit: true\naudit_policy_custom_rules: ";
        let as_text = audit(&format!("{own}|\n  - level: Request\n")).unwrap().unwrap();
        let as_list = audit(&format!("{own}[{{level: Request}}]")).unwrap().unwrap();
        assert_eq!(as_text.policy, as_list.policy);
        assert_ne!(as_text.digest(), audit("kubernetes_audit: true").unwrap().unwrap().digest());
        assert!(audit(&format!("{own}everything")).is_err());
    }

    #[test]
    fn a_log_on_standard_output_is_not_rotated_and_has_no_folder() {
        let audit = audit("kubernetes_audit: true\naudit_log_path: '-'").unwrap().unwrap();
        assert_eq!((audit.volumes().len(), audit.arguments().len()), (1, 2));
    }
}
