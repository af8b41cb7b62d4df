//! What OpenStack's controller and its driver of volumes are told of the cloud: `cloud.conf`, in the form of cloud-provider-openstack's
//! documentation, with kubespray's variables. It holds credentials, and so it is a Secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_artifacts::Sha256;
use muster_inventory::HostVars;
use serde_json::{Value, json};

/// Where pods find the Secret, and so the authority of the cloud's certificate.
const FOLDER: &str = "/etc/config";

/// The options of how one logs in, and what the variables of them are called behind their prefix.
const LOGIN: [(&str, &str); 11] = [
    ("auth-url", "auth_url"),
    ("username", "username"),
    ("password", "password"),
    ("application-credential-id", "application_credential_id"),
    ("application-credential-name", "application_credential_name"),
    ("application-credential-secret", "application_credential_secret"),
    ("region", "region"),
    ("tenant-id", "tenant_id"),
    ("tenant-name", "tenant_name"),
    ("domain-name", "domain_name"),
    ("domain-id", "domain_id"),
];

/// A section of the file: its name, and its options with the variables that they follow from.
type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// Who is told of the cloud.
pub(crate) struct Told {
    /// With what the names of its variables for the login begin.
    pub(crate) prefix: &'static str,
    /// What it is told besides.
    pub(crate) sections: &'static [Section],
}

impl Told {
    /// The Secret of this name in `kube-system`, and eight digits by which two of them differ.
    ///
    /// # Errors
    /// What of the variables cannot be: the variable, and why.
    pub(crate) fn secret(&self, name: &str, vars: &HostVars) -> Result<(Value, String), (String, String)> {
        let mut data = json!({ "cloud.conf": STANDARD.encode(self.config(vars)?) });
        if let Some(authority) = self.authority(vars)? {
            data["ca.cert"] = json!(STANDARD.encode(authority));
        }
        let digest = Sha256::of(data.to_string().as_bytes()).to_string()[..8].to_owned();
        let metadata = json!({ "name": name, "namespace": "kube-system" });
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data });
        Ok((secret, digest))
    }

    /// A variable of how one logs in; empty where it has no value. Where the inventory says one of them, the environment, which the
    /// defaults name, says none: half of one login and half of another are none.
    fn login(&self, vars: &HostVars, name: &str) -> Result<String, (String, String)> {
        let variable = |name: &str| format!("{}{name}", self.prefix);
        let is_said =
            |name: &str| vars.explain(&variable(name)).first().is_some_and(|said| said.kind.is_user());
        let by_inventory = LOGIN.iter().any(|(_, name)| *name != "region" && is_said(name));
        if by_inventory && !is_said(name) { Ok(String::new()) } else { text(vars, &variable(name)) }
    }

    /// The authority of the cloud's certificate, of a file on this computer.
    fn authority(&self, vars: &HostVars) -> Result<Option<String>, (String, String)> {
        let name = format!("{}cacert", self.prefix);
        let path = self.login(vars, "cacert")?;
        if path.is_empty() {
            return Ok(None);
        }
        std::fs::read_to_string(&path).map(Some).map_err(|error| (name, format!("{path}: {error}")))
    }

    fn config(&self, vars: &HostVars) -> Result<String, (String, String)> {
        let value = |name: &str| self.login(vars, name);
        let has = |name: &str| value(name).map(|value| !value.is_empty());
        let lacking = |name: &str, why: &str| Err((format!("{}{name}", self.prefix), why.to_owned()));
        if !has("auth_url")? {
            return lacking("auth_url", "nothing");
        }
        let by_id = has("application_credential_id")?;
        let by_name = !by_id && has("application_credential_name")?;
        let domain = if has("domain_id")? { "domain_id" } else { "domain_name" };
        let needed = match (by_id, by_name) {
            (true, _) => &["application_credential_secret"][..],
            // It is one of its user's.
            (_, true) => &["application_credential_secret", "username", domain],
            _ => &["username", "password"],
        };
        for name in needed {
            if !has(name)? {
                return lacking(name, "nothing");
            }
        }
        let mut config = String::from("[Global]\n");
        for (option, name) in LOGIN {
            // An application credential has its project, and by its ID its user already; it must not be told another one.
            let is_told = match name {
                "password" | "tenant_id" | "tenant_name" => !by_id && !by_name,
                "username" | "domain_name" => !by_id,
                // Of both the name is taken.
                "domain_id" => !by_id && !has("domain_name")?,
                _ => true,
            };
            if is_told {
                config += &line(option, &value(name)?);
            }
        }
        if has("cacert")? {
            config += &line("ca-file", &format!("{FOLDER}/ca.cert"));
        }
        for (section, options) in self.sections {
            config += &format!("\n[{section}]\n");
            for (option, name) in *options {
                match list(vars, name)? {
                    Some(values) => values.iter().for_each(|value| config += &line(option, value)),
                    None => config += &line(option, &text(vars, name)?),
                }
            }
        }
        Ok(config)
    }
}

/// The pods of these objects begin anew with another Secret, which they read when they start.
pub(crate) fn begin_anew(objects: &mut [Value], digest: &str) {
    for template in objects.iter_mut().filter_map(|object| object.pointer_mut("/spec/template")) {
        template["metadata"]["annotations"]["muster.io/config"] = json!(digest);
    }
}

/// An option, unless its value is empty.
fn line(option: &str, value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{option}=\"{escaped}\"\n")
}

/// A variable as text; empty where it has no value.
fn text(vars: &HostVars, name: &str) -> Result<String, (String, String)> {
    let told = |why: String| (name.to_owned(), why);
    let value = vars.get(name).map_err(|error| told(error.to_string()))?;
    match value.map(|value| value.to_json()) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) if text.contains('\n') => Err(told("several lines".to_owned())),
        Some(Value::String(text)) => Ok(text),
        Some(Value::Bool(yes)) => Ok(yes.to_string()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Array(_) | Value::Object(_)) => Err(told("no text".to_owned())),
    }
}

/// The texts of a variable that is a list.
fn list(vars: &HostVars, name: &str) -> Result<Option<Vec<String>>, (String, String)> {
    let told = |why: String| (name.to_owned(), why);
    let value = vars.get(name).map_err(|error| told(error.to_string()))?.map(|value| value.to_json());
    let Some(Value::Array(items)) = value else { return Ok(None) };
    let texts = items.iter().map(|item| item.as_str().filter(|text| !text.contains('\n')).map(str::to_owned));
    texts
        .collect::<Option<_>>()
        .map(Some)
        .ok_or_else(|| told("a list of something else than names".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::{cinder_csi, openstack_cloud_controller};
    use crate::preflight::fixture::{variables, variables_in};

    const LOGIN: &str = "external_openstack_auth_url: https://cloud.example.org:5000/v3\n";

    fn config(yaml: &str) -> Result<String, String> {
        let vars =
            variables(&format!("external_cloud_provider: openstack\ncloud_provider: external\n{yaml}"));
        let told = openstack_cloud_controller::TOLD.config(&vars);
        told.map_err(|(name, why)| format!("{name}: {why}"))
    }

    #[test]
    fn a_user_or_an_application_credential_logs_in() {
        let user = "external_openstack_username: u\nexternal_openstack_password: 'a\"b\\c'\n\
                    external_openstack_tenant_name: school\nexternal_openstack_domain_name: Default\n\
                    external_openstack_domain_id: default\nexternal_openstack_region: north\n";
        let by_user = config(&format!("{LOGIN}{user}")).unwrap();
        let global = by_user.split("\n\n").next().unwrap();
        let expected = "[Global]\nauth-url=\"https://cloud.example.org:5000/v3\"\nusername=\"u\"\npassword=\"a\\\"b\\\\c\"\n\
                        region=\"north\"\ntenant-name=\"school\"\ndomain-name=\"Default\"";
        assert_eq!(global, expected);
        let credential = "external_openstack_application_credential_id: i\n\
                          external_openstack_application_credential_secret: s\n";
        let by_credential = config(&format!("{LOGIN}{user}{credential}")).unwrap();
        assert!(
            by_credential.contains("application-credential-id=\"i\"\napplication-credential-secret=\"s\"\n")
        );
        assert!(!by_credential.contains("username") && !by_credential.contains("password"));
        assert!(!by_credential.contains("tenant") && !by_credential.contains("domain"));
        // By its name it is one of a user's.
        let credential = credential.replace("credential_id", "credential_name");
        let by_name = config(&format!("{LOGIN}{user}{credential}")).unwrap();
        assert!(by_name.contains("username=\"u\"\napplication-credential-name=\"i\"\n"), "{by_name}");
        assert!(by_name.contains("domain-name=\"Default\"") && !by_name.contains("tenant"), "{by_name}");
    }

    #[test]
    fn the_environment_says_all_of_a_login_or_nothing() {
        let environment = [
            ("OS_AUTH_URL", "https://of.env"),
            ("OS_USERNAME", "env"),
            ("OS_PASSWORD", "env"),
            ("OS_APPLICATION_CREDENTIAL_ID", "env"),
            ("OS_APPLICATION_CREDENTIAL_SECRET", "env"),
            ("OS_REGION_NAME", "env"),
            ("OS_CACERT", "/env"),
        ];
        let vars = |yaml: &str| variables_in(&environment, yaml);
        let config = |yaml: &str| cinder_csi::TOLD.config(&vars(yaml));
        let of_environment = config("").unwrap();
        assert!(
            of_environment.contains("application-credential-id=\"env\"")
                && of_environment.contains("ca-file")
        );
        assert!(config("cinder_region: own").unwrap().contains("https://of.env"));
        let own = config("cinder_auth_url: https://own\ncinder_username: own\ncinder_password: own").unwrap();
        let global = own.split("\n\n").next().unwrap();
        assert_eq!(global, "[Global]\nauth-url=\"https://own\"\nusername=\"own\"\npassword=\"own\"");
    }

    #[test]
    fn what_is_lacking_is_named() {
        let user = "external_openstack_username: u\n";
        assert_eq!(config("").unwrap_err(), "external_openstack_auth_url: nothing");
        assert_eq!(config(LOGIN).unwrap_err(), "external_openstack_username: nothing");
        assert_eq!(config(&format!("{LOGIN}{user}")).unwrap_err(), "external_openstack_password: nothing");
        let half = "external_openstack_application_credential_name: n\n";
        let lacking = "external_openstack_application_credential_secret: nothing";
        assert_eq!(config(&format!("{LOGIN}{half}")).unwrap_err(), lacking);
        let secret = "external_openstack_application_credential_secret: s\n";
        assert_eq!(
            config(&format!("{LOGIN}{half}{secret}")).unwrap_err(),
            "external_openstack_username: nothing"
        );
        assert_eq!(
            config(&format!("{LOGIN}{user}{half}{secret}")).unwrap_err(),
            "external_openstack_domain_name: nothing"
        );
        let lines = format!("{LOGIN}{user}external_openstack_password: \"a\\nb\"\n");
        assert_eq!(config(&lines).unwrap_err(), "external_openstack_password: several lines");
    }

    #[test]
    fn load_balancers_and_networks_are_as_the_variables_say() {
        let login = format!("{LOGIN}external_openstack_username: u\nexternal_openstack_password: p\n");
        let config = config(&format!(
            "{login}external_openstack_lbaas_floating_network_id: f\nexternal_openstack_lbaas_create_monitor: true\n\
             external_openstack_lbaas_subnet_id: s\nexternal_openstack_network_internal_networks: [a, b]\n"
        ))
        .unwrap();
        let balancer = "[LoadBalancer]\nenabled=\"true\"\nfloating-network-id=\"f\"\nsubnet-id=\"s\"\nmember-subnet-id=\"s\"\n\
                        create-monitor=\"true\"\n";
        assert!(config.contains(balancer), "{config}");
        let networks = "[Networking]\nipv6-support-disabled=\"false\"\ninternal-network-name=\"a\"\ninternal-network-name=\"b\"\n";
        assert!(config.contains(networks), "{config}");
    }

    #[test]
    fn every_variable_reaches_the_cloud() {
        let login =
            |prefix: &str| format!("{prefix}auth_url: https://a\n{prefix}username: u\n{prefix}password: p\n");
        let controller = [
            "external_openstack_tenant_id: x",
            "external_openstack_domain_id: x",
            "external_openstack_lbaas_enabled: false",
            "external_openstack_lbaas_floating_subnet_id: x",
            "external_openstack_lbaas_method: x",
            "external_openstack_lbaas_provider: x",
            "external_openstack_lbaas_member_subnet_id: x",
            "external_openstack_lbaas_network_id: x",
            "external_openstack_lbaas_manage_security_groups: true",
            "external_openstack_lbaas_monitor_delay: 9s",
            "external_openstack_lbaas_monitor_max_retries: 9",
            "external_openstack_lbaas_monitor_timeout: 9s",
            "external_openstack_lbaas_internal_lb: true",
            "external_openstack_enable_ingress_hostname: true",
            "external_openstack_ingress_hostname_suffix: x",
            "external_openstack_max_shared_lb: 9",
            "external_openstack_network_ipv6_disabled: true",
            "external_openstack_network_public_networks: [x]",
            "external_openstack_metadata_search_order: x",
        ];
        let volumes = [
            "cinder_application_credential_id: x\ncinder_application_credential_secret: x",
            "cinder_application_credential_name: x\ncinder_application_credential_secret: x\ncinder_domain_id: x",
            "cinder_region: x",
            "cinder_tenant_id: x",
            "cinder_tenant_name: x",
            "cinder_domain_name: x",
            "cinder_domain_id: x",
            "cinder_blockstorage_version: x",
            "cinder_csi_ignore_volume_az: true",
            "node_volume_attach_limit: 9",
            "cinder_csi_rescan_on_resize: true",
        ];
        for (told, others) in
            [(openstack_cloud_controller::TOLD, &controller[..]), (cinder_csi::TOLD, &volumes[..])]
        {
            let login = login(told.prefix);
            let config = |more: &str| told.config(&variables(&format!("{login}{more}\n"))).unwrap();
            for other in others {
                assert_ne!(config(""), config(other), "{other} changes nothing");
            }
        }
    }

    #[test]
    fn the_secret_has_the_clouds_authority_and_pods_know_it_by_its_digest() {
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), "PEM").unwrap();
        let yaml = "cinder_auth_url: https://a\ncinder_username: u\ncinder_password: s3cret\n";
        let secret = |more: &str| cinder_csi::TOLD.secret("c", &variables(&format!("{yaml}{more}"))).unwrap();
        let (without, digest) = secret("");
        let (with, other) = secret(&format!("cinder_cacert: {}\n", ca.path().display()));
        assert!(without["data"]["ca.cert"].is_null() && digest != other && digest.len() == 8);
        assert_eq!(with["data"]["ca.cert"], STANDARD.encode("PEM"));
        let config = STANDARD.decode(with["data"]["cloud.conf"].as_str().unwrap()).unwrap();
        let config = String::from_utf8(config).unwrap();
        assert!(config.contains("ca-file=\"/etc/config/ca.cert\"\n"), "{config}");
        assert!(
            config.contains("[BlockStorage]\nbs-version=\"v3\"\nignore-volume-az=\"false\"\n"),
            "{config}"
        );
        let controller = format!(
            "{}external_openstack_cacert: {}\n",
            yaml.replace("cinder_", "external_openstack_"),
            ca.path().display()
        );
        let (controller, _) = openstack_cloud_controller::TOLD.secret("c", &variables(&controller)).unwrap();
        assert_eq!(controller["data"]["ca.cert"], with["data"]["ca.cert"]);
        let missing = cinder_csi::TOLD.secret("c", &variables(&format!("{yaml}cinder_cacert: /nowhere\n")));
        assert!(missing.unwrap_err().1.starts_with("/nowhere: "));
    }
}
