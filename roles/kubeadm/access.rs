//! Whom the API server knows, and what they may (Kubernetes' documentation: "Authenticating", "Authorization"). Names and meanings
//! of the variables are kubespray's.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::component_file::{API_SERVER, ComponentFile};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kube_api_anonymous_auth: bool,
    kube_apiserver_use_authentication_config_file: bool,
    kube_apiserver_authentication_config_anonymous: Map<String, Value>,
    kube_apiserver_authentication_config_jwt: Vec<Value>,
    kube_oidc_auth: bool,
    kube_oidc_url: Option<String>,
    kube_oidc_client_id: Option<String>,
    kube_oidc_ca_file: Option<String>,
    kube_oidc_ca_cert: Option<String>,
    kube_oidc_username_claim: Option<String>,
    kube_oidc_username_prefix: Option<String>,
    kube_oidc_groups_claim: Option<String>,
    kube_oidc_groups_prefix: Option<String>,
    kube_webhook_token_auth: bool,
    kube_webhook_token_auth_url: Option<String>,
    kube_webhook_token_auth_url_skip_tls_verify: bool,
    kube_webhook_token_auth_ca_data: Option<String>,
    authorization_modes: Vec<String>,
    kube_webhook_authorization: bool,
    kube_webhook_authorization_url: Option<String>,
    kube_webhook_authorization_url_skip_tls_verify: bool,
    kube_apiserver_use_authorization_config_file: bool,
    kube_apiserver_authorization_config_authorizers: Vec<Value>,
}

/// What anybody may ask without a name, whatever else is said: the kubelet's probes and load balancers have none.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/healthz"];

/// The file in which kubespray keeps how the webhook of authorization is reached: authorizers of one's own may name it.
const KUBESPRAYS_WEBHOOK: &str = "/webhook-authorization-config.yaml";

/// The first minor version in which the configuration can say which requests may come without a name, with no feature gate
/// (`AnonymousAuthConfigurableEndpoints`).
pub(crate) const SAYS_WHO_IS_ANONYMOUS: u32 = 32;

impl Vars {
    /// Whether a configuration says whom the API server knows, and not arguments.
    fn is_structured(&self) -> bool {
        self.kube_apiserver_use_authentication_config_file || !self.kube_api_anonymous_auth
    }

    /// Arguments of the API server that name no file.
    pub(super) fn arguments(&self) -> Vec<(&'static str, String)> {
        let mut arguments = Vec::new();
        if self.kube_oidc_auth && !self.is_structured() {
            let all = [
                ("oidc-issuer-url", &self.kube_oidc_url),
                ("oidc-client-id", &self.kube_oidc_client_id),
                ("oidc-ca-file", &self.kube_oidc_ca_file),
                ("oidc-username-claim", &self.kube_oidc_username_claim),
                ("oidc-username-prefix", &self.kube_oidc_username_prefix),
                ("oidc-groups-claim", &self.kube_oidc_groups_claim),
                ("oidc-groups-prefix", &self.kube_oidc_groups_prefix),
            ];
            arguments.extend(all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        }
        if self.authorization_modes != ["Node", "RBAC"] && !self.kube_apiserver_use_authorization_config_file
        {
            arguments.push(("authorization-mode", self.authorization_modes.join(",")));
        }
        arguments
    }

    /// What the API server reads from files.
    pub(super) fn files(&self, kube_minor: u32) -> Vec<ComponentFile> {
        let mut files = Vec::new();
        if self.is_structured() {
            files.push(self.authentication(kube_minor));
        } else if let Some(text) =
            self.kube_oidc_ca_cert.as_ref().filter(|_| self.kube_oidc_auth).and_then(|cert| pem(cert))
        {
            files.push(ComponentFile::text(API_SERVER, "oidc-ca-file", "oidc-ca.crt", text));
        }
        if self.kube_webhook_token_auth {
            let mut cluster = cluster(
                self.kube_webhook_token_auth_url.as_deref(),
                self.kube_webhook_token_auth_url_skip_tls_verify,
            );
            if let Some(authority) = &self.kube_webhook_token_auth_ca_data {
                cluster.insert("certificate-authority-data".to_owned(), json!(authority));
            }
            let argument = "authentication-token-webhook-config-file";
            files.push(ComponentFile::new(API_SERVER, argument, "token-webhook", &kubeconfig(cluster)));
        }
        let webhook = self.kube_webhook_authorization.then(|| {
            let cluster = cluster(
                self.kube_webhook_authorization_url.as_deref(),
                self.kube_webhook_authorization_url_skip_tls_verify,
            );
            let argument = "authorization-webhook-config-file";
            ComponentFile::new(API_SERVER, argument, "authorization-webhook", &kubeconfig(cluster))
        });
        match self.kube_apiserver_use_authorization_config_file {
            true => {
                files.push(self.authorization(webhook.as_ref(), kube_minor));
                files.extend(webhook.map(ComponentFile::without_argument));
            }
            false => files.extend(webhook),
        }
        files
    }

    fn authentication(&self, kube_minor: u32) -> ComponentFile {
        let version = if kube_minor >= 34 { "v1" } else { "v1beta1" };
        let given = &self.kube_apiserver_authentication_config_anonymous;
        let may_be_anonymous = match given.get("enabled") {
            Some(enabled) if self.kube_apiserver_use_authentication_config_file => truth(enabled),
            _ => self.kube_api_anonymous_auth,
        };
        let anonymous =
            match given.get("conditions").filter(|list| list.as_array().is_some_and(|l| !l.is_empty())) {
                _ if !may_be_anonymous => {
                    let probes: Vec<Value> = PROBES.iter().map(|path| json!({ "path": path })).collect();
                    json!({ "enabled": true, "conditions": probes })
                }
                // Without them the kubelet's probes would be refused, and it would end the API server.
                Some(conditions) => {
                    let mut all = conditions.as_array().cloned().unwrap_or_default();
                    for path in PROBES.map(|path| json!({ "path": path })) {
                        if !all.contains(&path) {
                            all.push(path);
                        }
                    }
                    json!({ "enabled": true, "conditions": all })
                }
                None => json!({ "enabled": true }),
            };
        let jwt = match self.kube_apiserver_use_authentication_config_file {
            true => self.kube_apiserver_authentication_config_jwt.clone(),
            false => self.kube_oidc_auth.then(|| self.issuer()).into_iter().collect(),
        };
        let mut text = serde_json::Map::new();
        text.insert("apiVersion".to_owned(), json!(format!("apiserver.config.k8s.io/{version}")));
        text.insert("kind".to_owned(), json!("AuthenticationConfiguration"));
        // An API server of before refuses the field; preflight refuses what it would say.
        if kube_minor >= SAYS_WHO_IS_ANONYMOUS {
            text.insert("anonymous".to_owned(), anonymous);
        }
        text.insert("jwt".to_owned(), json!(jwt));
        ComponentFile::new(API_SERVER, "authentication-config", "authentication", &Value::Object(text))
    }

    /// The issuer that arguments would name: they do not go together with a configuration. Prefixes are what the arguments come to
    /// where they are not given (`--oidc-username-prefix`).
    fn issuer(&self) -> Value {
        let url = self.kube_oidc_url.clone().unwrap_or_default();
        let claim = self.kube_oidc_username_claim.as_deref().unwrap_or("sub");
        let prefix = match self.kube_oidc_username_prefix.as_deref() {
            Some("-") => String::new(),
            Some(prefix) if !prefix.is_empty() => prefix.to_owned(),
            _ if claim == "email" => String::new(),
            _ => format!("{url}#"),
        };
        let mut issuer = json!({ "url": url, "audiences": [self.kube_oidc_client_id] });
        if let Some(authority) = self.kube_oidc_ca_cert.as_ref().and_then(|cert| pem(cert)) {
            issuer["certificateAuthority"] = json!(authority);
        }
        let mut mappings = json!({ "username": { "claim": claim, "prefix": prefix } });
        if let Some(groups) = &self.kube_oidc_groups_claim {
            let prefix = self.kube_oidc_groups_prefix.as_deref().unwrap_or_default();
            mappings["groups"] = json!({ "claim": groups, "prefix": prefix });
        }
        json!({ "issuer": issuer, "claimMappings": mappings })
    }

    fn authorization(&self, webhook: Option<&ComponentFile>, kube_minor: u32) -> ComponentFile {
        let version = if kube_minor >= 32 { "v1" } else { "v1beta1" };
        let mut authorizers = self.kube_apiserver_authorization_config_authorizers.clone();
        for path in
            authorizers.iter_mut().filter_map(|one| one.pointer_mut("/webhook/connectionInfo/kubeConfigFile"))
        {
            if let Some(file) =
                webhook.filter(|_| path.as_str().is_some_and(|p| p.ends_with(KUBESPRAYS_WEBHOOK)))
            {
                *path = json!(file.path());
            }
        }
        let text = json!({
            "apiVersion": format!("apiserver.config.k8s.io/{version}"),
            "kind": "AuthorizationConfiguration",
            "authorizers": authorizers,
        });
        ComponentFile::new(API_SERVER, "authorization-config", "authorization", &text)
    }
}

/// A boolean, as templates write it too.
fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}

/// The text of a certificate that is written in base64.
fn pem(base64: &str) -> Option<String> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let joined: String = base64.split_whitespace().collect();
    String::from_utf8(BASE64_STANDARD.decode(joined).ok()?).ok()
}

fn cluster(url: Option<&str>, unchecked: bool) -> Map<String, Value> {
    let mut cluster = Map::new();
    cluster.insert("server".to_owned(), json!(url));
    if unchecked {
        cluster.insert("insecure-skip-tls-verify".to_owned(), json!(true));
    }
    cluster
}

/// How the API server reaches somebody else, as a kubeconfig.
pub(super) fn kubeconfig(cluster: Map<String, Value>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "webhook", "cluster": cluster }],
        "users": [{ "name": "api-server", "user": {} }],
        "contexts": [{ "name": "webhook", "context": { "cluster": "webhook", "user": "api-server" } }],
        "current-context": "webhook",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn vars(yaml: &str) -> Vars {
        variables(&format!("skydns_server: 10.233.0.3\n{yaml}")).deserialize().unwrap()
    }

    fn files(yaml: &str) -> Vec<(Option<&'static str>, Value)> {
        let read = |file: &ComponentFile| {
            (file.argument(), serde_json::from_str(file.content()).unwrap_or_default())
        };
        vars(yaml).files(36).iter().map(read).collect()
    }

    const OIDC: &str =
        "kube_oidc_auth: true\nkube_oidc_url: https://issuer.example\nkube_oidc_client_id: k\n";

    #[test]
    fn nothing_is_said_that_nobody_asked_for() {
        assert!(files("").is_empty() && vars("").arguments().is_empty());
    }

    #[test]
    fn without_anonymous_requests_probes_go_on() {
        let files = files("kube_api_anonymous_auth: false");
        assert_eq!((files.len(), files[0].0), (1, Some("authentication-config")));
        let conditions = json!([{ "path": "/livez" }, { "path": "/readyz" }, { "path": "/healthz" }]);
        assert_eq!(files[0].1["anonymous"], json!({ "enabled": true, "conditions": conditions }));
        assert_eq!(files[0].1["apiVersion"], "apiserver.config.k8s.io/v1");
        let before = vars("kube_api_anonymous_auth: false").files(33);
        assert!(before[0].content().contains("apiserver.config.k8s.io/v1beta1"));
    }

    #[test]
    fn an_issuer_goes_where_it_is_understood() {
        let named = vars(&format!("{OIDC}kube_oidc_groups_claim: g"));
        let arguments: Vec<&str> = named.arguments().into_iter().map(|(name, _)| name).collect();
        assert_eq!(arguments, ["oidc-issuer-url", "oidc-client-id", "oidc-groups-claim"]);

        let both = format!(
            "{OIDC}kube_oidc_groups_claim: g\nkube_oidc_ca_cert: UEVNCg==\nkube_api_anonymous_auth: false"
        );
        assert!(vars(&both).arguments().is_empty(), "arguments and a configuration exclude each other");
        let issuer = &files(&both)[0].1["jwt"][0];
        let expected = json!({
            "issuer": { "url": "https://issuer.example", "audiences": ["k"], "certificateAuthority": "PEM\n" },
            "claimMappings": {
                "username": { "claim": "sub", "prefix": "https://issuer.example#" },
                "groups": { "claim": "g", "prefix": "" },
            },
        });
        assert_eq!(*issuer, expected);

        let authority = vars(&format!("{OIDC}kube_oidc_ca_cert: UEVNCg=="));
        let file = &authority.files(36)[0];
        assert_eq!((file.argument(), file.content()), (Some("oidc-ca-file"), "PEM\n"));
    }

    #[test]
    fn a_configuration_of_ones_own_says_whom_the_api_server_knows() {
        let jwt = "kube_apiserver_use_authentication_config_file: true\n\
                   kube_apiserver_authentication_config_jwt: [{issuer: {url: https://issuer.example, audiences: [a]}}]\n";
        let own = &files(jwt)[0].1;
        assert_eq!(
            (&own["anonymous"], &own["jwt"][0]["issuer"]["audiences"]),
            (&json!({ "enabled": true }), &json!(["a"]))
        );
        let before = vars(jwt).files(31);
        assert!(
            !before[0].content().contains("anonymous") && before[0].content().contains("issuer.example"),
            "an API server of that version refuses the field: {}",
            before[0].content()
        );
        let nobody =
            &files(&format!("{jwt}kube_apiserver_authentication_config_anonymous: {{enabled: false}}"))[0].1;
        assert_eq!(nobody["anonymous"]["conditions"][0]["path"], "/livez");
        let some = format!(
            "{jwt}kube_apiserver_authentication_config_anonymous: {{enabled: true, conditions: [{{path: /version}}]}}"
        );
        assert_eq!(
            files(&some)[0].1["anonymous"]["conditions"],
            json!([{ "path": "/version" }, { "path": "/livez" }, { "path": "/readyz" }, { "path": "/healthz" }])
        );
    }

    #[test]
    fn webhooks_are_reached_as_variables_say() {
        let yaml = "kube_webhook_token_auth: true\nkube_webhook_token_auth_url: https://a.example\n\
                    kube_webhook_token_auth_ca_data: QQ==\nkube_webhook_authorization: true\n\
                    kube_webhook_authorization_url: https://b.example\nkube_webhook_authorization_url_skip_tls_verify: true\n\
                    authorization_modes: [Node, RBAC, Webhook]";
        let found = files(yaml);
        let cluster = |at: usize| found[at].1["clusters"][0]["cluster"].clone();
        assert_eq!(found[0].0, Some("authentication-token-webhook-config-file"));
        assert_eq!(
            cluster(0),
            json!({ "server": "https://a.example", "certificate-authority-data": "QQ==" })
        );
        assert_eq!(found[1].0, Some("authorization-webhook-config-file"));
        assert_eq!(cluster(1), json!({ "server": "https://b.example", "insecure-skip-tls-verify": true }));
        assert_eq!(vars(yaml).arguments(), [("authorization-mode", "Node,RBAC,Webhook".to_owned())]);
        let believed = "kube_webhook_token_auth: true\nkube_webhook_token_auth_url: https://a.example\n\
                        kube_webhook_token_auth_url_skip_tls_verify: true";
        assert_eq!(files(believed)[0].1["clusters"][0]["cluster"]["insecure-skip-tls-verify"], true);
    }

    #[test]
    fn authorizers_of_ones_own_take_the_place_of_modes() {
        let yaml = "kube_webhook_authorization: true\nkube_webhook_authorization_url: https://b.example\n\
                    authorization_modes: [RBAC]\nkube_apiserver_use_authorization_config_file: true\n\
                    kube_apiserver_authorization_config_authorizers:\n- {type: Node, name: node}\n- {type: RBAC, name: rbac}\n\
                    - type: Webhook\n  name: webhook\n  webhook:\n    connectionInfo: {type: KubeConfigFile, kubeConfigFile: \
                    '/etc/kubernetes/webhook-authorization-config.yaml'}\n";
        let all = vars(yaml).files(36);
        assert_eq!(
            all.iter().map(ComponentFile::argument).collect::<Vec<_>>(),
            [Some("authorization-config"), None]
        );
        assert!(all[0].content().contains(all[1].path()), "{}", all[0].content());
        assert!(all[0].content().contains("apiserver.config.k8s.io/v1\""), "{}", all[0].content());
        assert!(vars(yaml).files(31)[0].content().contains("apiserver.config.k8s.io/v1beta1\""));
        assert!(vars(yaml).arguments().is_empty());
    }
}
