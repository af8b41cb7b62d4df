//! Where programs of Kubernetes send what they trace: to a collector of OpenTelemetry (Kubernetes' documentation: "Traces For
//! Kubernetes System Components").

use serde::Deserialize;
use serde_json::{Value, json};

use super::component_file::{API_SERVER, ComponentFile};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kube_apiserver_tracing: bool,
    kube_apiserver_tracing_endpoint: String,
    kube_apiserver_tracing_sampling_rate_per_million: u32,
    kubelet_tracing: bool,
    kubelet_tracing_endpoint: String,
    kubelet_tracing_sampling_rate_per_million: u32,
}

impl Vars {
    /// The API server's configuration; `None` where it is not traced.
    pub(super) fn of_api_server(&self, kube_minor: u32) -> Option<ComponentFile> {
        let version = if kube_minor >= 34 { "v1" } else { "v1beta1" };
        let text = json!({
            "apiVersion": format!("apiserver.config.k8s.io/{version}"),
            "kind": "TracingConfiguration",
            "endpoint": self.kube_apiserver_tracing_endpoint,
            "samplingRatePerMillion": self.kube_apiserver_tracing_sampling_rate_per_million,
        });
        self.kube_apiserver_tracing
            .then(|| ComponentFile::new(API_SERVER, "tracing-config-file", "tracing", &text))
    }

    /// The kubelet's field; null where it is not traced.
    pub(super) fn of_kubelet(&self) -> Value {
        match self.kubelet_tracing {
            true => json!({
                "endpoint": self.kubelet_tracing_endpoint,
                "samplingRatePerMillion": self.kubelet_tracing_sampling_rate_per_million,
            }),
            false => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    #[test]
    fn what_is_traced_goes_where_variables_say() {
        let vars = |yaml: &str| -> Vars {
            variables(&format!("skydns_server: 10.233.0.3\n{yaml}")).deserialize().unwrap()
        };
        assert!(vars("").of_api_server(36).is_none() && vars("").of_kubelet().is_null());
        let on = vars(
            "kube_apiserver_tracing: true\nkube_apiserver_tracing_endpoint: 192.0.2.9:4317\nkubelet_tracing: true\n\
             kubelet_tracing_sampling_rate_per_million: 7",
        );
        let file = on.of_api_server(36).unwrap();
        assert!(file.content().contains("192.0.2.9:4317") && file.content().contains("io/v1\""));
        assert_eq!(on.of_kubelet(), json!({ "endpoint": "127.0.0.1:4317", "samplingRatePerMillion": 7 }));
        let other = vars(
            "kube_apiserver_tracing: true\nkube_apiserver_tracing_sampling_rate_per_million: 8\nkubelet_tracing: true\n\
             kubelet_tracing_endpoint: 192.0.2.8:4317",
        );
        assert!(other.of_api_server(36).unwrap().content().contains("\"samplingRatePerMillion\": 8"));
        assert_eq!(other.of_kubelet()["endpoint"], "192.0.2.8:4317");
    }
}
