//! Files with which clusters of Cluster API are described for OpenStack (the SCS `k8s-cluster-api-provider`): `environment-*.tfvars` and
//! `clusterctl.yaml`. What of them a declaration has is taken; each other key is told.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_saphyr::Spanned;

use crate::folder::quoted;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `key = value`, of OpenTofu and Terraform.
    Tfvars,
    /// `KEY: value`.
    Yaml,
}

/// A declaration that was made of such a file.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The text of `cluster.yml`.
    pub text: String,
    /// What was not taken, and what has to be looked at: a line each, with the line of the file where there is one.
    pub notes: Vec<String>,
}

/// A key of a declaration, as both kinds of files call what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Cloud,
    External,
    Dns,
    Zone,
    Range,
    Version,
    Cilium,
    Image,
    User,
    PlaneFlavor,
    WorkerFlavor,
    Planes,
    Workers,
    Metrics,
    CertManager,
}

/// Names of what is taken: in tfvars, in clusterctl.yaml.
const TAKEN: [(&str, &str, Key); 15] = [
    ("cloud_provider", "OPENSTACK_CLOUD", Key::Cloud),
    ("external", "OPENSTACK_EXTERNAL_NETWORK_ID", Key::External),
    ("dns_nameserver", "OPENSTACK_DNS_NAMESERVERS", Key::Dns),
    ("availability_zone", "OPENSTACK_FAILURE_DOMAIN", Key::Zone),
    ("node_cidr", "NODE_CIDR", Key::Range),
    ("kubernetes_version", "KUBERNETES_VERSION", Key::Version),
    ("use_cilium", "USE_CILIUM", Key::Cilium),
    ("", "OPENSTACK_IMAGE_NAME", Key::Image),
    ("ssh_username", "", Key::User),
    ("controller_flavor", "OPENSTACK_CONTROL_PLANE_MACHINE_FLAVOR", Key::PlaneFlavor),
    ("worker_flavor", "OPENSTACK_NODE_MACHINE_FLAVOR", Key::WorkerFlavor),
    ("controller_count", "CONTROL_PLANE_MACHINE_COUNT", Key::Planes),
    ("worker_count", "WORKER_MACHINE_COUNT", Key::Workers),
    ("deploy_metrics_service", "DEPLOY_METRICS", Key::Metrics),
    ("deploy_cert_manager", "DEPLOY_CERT_MANAGER", Key::CertManager),
];

/// Names of what is known and has no place in a declaration: in tfvars, in clusterctl.yaml, and why.
const LEFT: [(&str, &str, &str); 23] = [
    ("prefix", "", NO_MANAGEMENT),
    ("kind_flavor", "", NO_MANAGEMENT),
    ("image", "", "it is the image of the management machine; that of nodes is image of the pools"),
    ("clusterapi_version", "", NO_MANAGEMENT),
    ("capi_openstack_version", "", NO_MANAGEMENT),
    ("kind_mtu", "MTU_VALUE", "flannel finds it out; calico_mtu under variables sets that of calico"),
    ("calico_version", "", "the version is that of muster's catalogue"),
    ("kube_image_raw", "OPENSTACK_IMAGE_RAW", "images are not uploaded"),
    ("image_registration_extra_flags", "OPENSTACK_IMAGE_REGISTATION_EXTRA_FLAG", "images are not uploaded"),
    ("", "OPENSTACK_IMAGE_REGISTRATION_EXTRA_FLAGS", "images are not uploaded"),
    ("", "OPENSTACK_CONTROL_PLANE_IP", NO_MANAGEMENT),
    ("", "OPENSTACK_SSH_KEY_NAME", "the key pair is made of login.public_key"),
    ("anti_affinity", "OPENSTACK_ANTIAFFINITY", "there are no server groups; zone spreads pools"),
    ("", "OPENSTACK_SRVGRP_CONTROLLER", "there are no server groups"),
    ("", "OPENSTACK_SRVGRP_WORKER", "there are no server groups"),
    ("deploy_k8s_openstack_git", "DEPLOY_K8S_OPENSTACK_GIT", NO_CLOUD_MANAGER),
    ("deploy_k8s_cindercsi_git", "DEPLOY_K8S_CINDERCSI_GIT", NO_CLOUD_MANAGER),
    (
        "deploy_nginx_ingress",
        "DEPLOY_NGINX_INGRESS",
        "the ingress controller here is Traefik: apps: [traefik]",
    ),
    ("deploy_flux", "DEPLOY_FLUX", "Flux is not among the apps; install it with muster helm"),
    ("", "OPENSTACK_CLOUD_YAML_B64", "logins are read from clouds.yaml"),
    ("", "OPENSTACK_CLOUD_PROVIDER_CONF_B64", NO_CLOUD_MANAGER),
    ("", "OPENSTACK_CLOUD_CACERT_B64", "cacert of clouds.yaml says it"),
    ("", "CLUSTER_NAME", "a cluster is called as its folder"),
];
const NO_MANAGEMENT: &str = "there is no management cluster";
const NO_CLOUD_MANAGER: &str = "OpenStack's cloud controller manager and cinder-csi are not among the apps";

/// A key of the file.
struct Entry {
    line: usize,
    name: String,
    values: Vec<String>,
}

/// Makes a declaration of a file. `shown` is what messages call it.
///
/// # Errors
/// It is not in its form; with the line.
pub fn convert(shown: &str, text: &str, form: Form) -> Result<Converted, String> {
    let entries = match form {
        Form::Tfvars => tfvars(shown, text)?,
        Form::Yaml => yaml(shown, text)?,
    };
    let mut taken: BTreeMap<Key, (usize, Vec<String>)> = BTreeMap::new();
    let mut notes = Vec::new();
    for entry in entries {
        let is_it = |of_tfvars: &str, of_yaml: &str| {
            entry.name == if form == Form::Tfvars { of_tfvars } else { of_yaml }
        };
        let note = |why: &str| format!("{shown}:{}: {} was not taken: {why}", entry.line, entry.name);
        if let Some((.., key)) = TAKEN.iter().find(|(tfvars, yaml, _)| is_it(tfvars, yaml)) {
            if taken.contains_key(key) {
                return Err(format!("{shown}:{}: {} is there twice", entry.line, entry.name));
            }
            taken.insert(*key, (entry.line, entry.values));
        } else {
            let why = LEFT.iter().find(|(tfvars, yaml, _)| is_it(tfvars, yaml)).map(|(.., why)| *why);
            notes.push(note(why.unwrap_or("this key is not known")));
        }
    }
    let mut writer = Writer { shown, taken, notes };
    let text = writer.declaration()?;
    Ok(Converted { text, notes: writer.notes })
}

struct Writer<'a> {
    shown: &'a str,
    taken: BTreeMap<Key, (usize, Vec<String>)>,
    notes: Vec<String>,
}

impl Writer<'_> {
    fn value(&self, key: Key) -> Option<String> {
        self.taken.get(&key)?.1.first().filter(|value| !value.is_empty()).cloned()
    }

    fn number(&self, key: Key, usual: u32) -> Result<u32, String> {
        let Some(value) = self.value(key) else { return Ok(usual) };
        let line = self.taken.get(&key).map_or(0, |(line, _)| *line);
        value.parse().map_err(|_| format!("{}:{line}: {value:?} is no number of machines", self.shown))
    }

    /// Whether something is switched on.
    fn is_on(&self, key: Key) -> bool {
        self.value(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The network of the pods, which is calico where nobody says so.
    fn network_plugin(&self) -> Result<&'static str, String> {
        match self.value(Key::Cilium).unwrap_or_default().to_lowercase().as_str() {
            "true" => Ok("cilium"),
            "" | "false" => Ok("calico"),
            other => {
                let line = self.taken.get(&Key::Cilium).map_or(0, |(line, _)| *line);
                Err(format!(
                    "{}:{line}: use_cilium is {other:?}: write true for cilium, or false for calico",
                    self.shown
                ))
            }
        }
    }

    /// A value, or a note that it is missing, with the word that stands in for it.
    fn or_missing(&mut self, key: Key, what: &str, word: &str) -> String {
        self.value(key).unwrap_or_else(|| {
            self.notes.push(format!("{what} is not in {}: {word:?} stands for it", self.shown));
            word.to_owned()
        })
    }

    fn declaration(&mut self) -> Result<String, String> {
        let (planes, workers) = (self.number(Key::Planes, 1)?, self.number(Key::Workers, 3)?);
        let plugin = self.network_plugin()?;
        let range = self.value(Key::Range).unwrap_or_else(|| "10.8.0.0/20".to_owned());
        let external = self.or_missing(Key::External, "the external network", "public");
        let image = self.or_missing(Key::Image, "the image of the nodes", "Debian 12");
        let user = self.or_missing(Key::User, "the user that the image lets in", "debian");
        let plane_flavor = self.or_missing(Key::PlaneFlavor, "the flavor of control planes", "SCS-2V-4-20s");
        let worker_flavor = self.or_missing(Key::WorkerFlavor, "the flavor of workers", "SCS-2V-4-20");
        let mut text =
            format!("# Made by muster init of {}.\nversion: 1\n", self.shown.replace(char::is_control, " "));
        let mut line = |words: &str| writeln!(text, "{words}").unwrap_or_default();
        if let Some(cloud) = self.value(Key::Cloud) {
            line(&format!("cloud: {}", quoted(&cloud)));
        }
        line(&format!("login:\n  user: {}\n  public_key: ~/.ssh/id_ed25519.pub", quoted(&user)));
        let dns = self
            .taken
            .get(&Key::Dns)
            .map_or_else(|| vec!["9.9.9.9".to_owned()], |(_, values)| values.clone());
        let dns: Vec<&str> =
            dns.iter().flat_map(|servers| servers.split([',', ' '])).filter(|one| !one.is_empty()).collect();
        line(&format!(
            "network:\n  range: {}\n  dns: [{}]\n  external: {}",
            quoted(&range),
            dns.iter().map(|server| quoted(server)).collect::<Vec<_>>().join(", "),
            quoted(&external)
        ));
        line("allow:\n  # The network of this computer; only it reaches the machines.\n  ssh: []\n  api: []");
        line(&format!("network_plugin: {plugin}"));
        let mut apps = Vec::new();
        for (key, app, usual) in
            [(Key::Metrics, "metrics-server", true), (Key::CertManager, "cert-manager", false)]
        {
            let is_wanted = if self.taken.contains_key(&key) { self.is_on(key) } else { usual };
            apps.extend(is_wanted.then_some(app));
        }
        if !apps.is_empty() {
            line(&format!("apps: [{}]", apps.join(", ")));
        }
        line("pools:");
        let zone = self.value(Key::Zone);
        let pools =
            [("cp", "control_plane", planes, plane_flavor), ("worker", "worker", workers, worker_flavor)];
        for (name, role, count, flavor) in pools {
            line(&format!(
                "  - name: {name}\n    roles: [{role}]\n    count: {count}\n    flavor: {}\n    image: {}",
                quoted(&flavor),
                quoted(&image)
            ));
            if let Some(zone) = &zone {
                line(&format!("    zone: {}", quoted(zone)));
            }
            if role == "control_plane" {
                line("    floating_ip: true");
            }
        }
        if let Some(version) = self.value(Key::Version) {
            self.notes.push(format!(
                "{}:{}: the version {version} was not taken: muster sets up versions of its catalogue; kubernetes_version chooses one",
                self.shown,
                self.taken.get(&Key::Version).map_or(0, |(line, _)| *line)
            ));
        }
        if planes == 0 {
            self.notes.push("no control planes are wanted, which a declaration cannot say".to_owned());
        }
        self.notes
            .push("allow.ssh and allow.api are empty: write the network of this computer there".to_owned());
        Ok(text)
    }
}

/// The assignments of a file of Terraform's variables: texts, numbers, truth, and lists of them.
fn tfvars(shown: &str, text: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = without_comment(line);
        if line.is_empty() {
            continue;
        }
        let wrong = |why: &str| format!("{shown}:{}: {why}: {line}", at + 1);
        let assigned = line.split_once('=').filter(|(name, _)| !name.trim().is_empty());
        let (name, value) = assigned.ok_or_else(|| wrong("this is no assignment, key = value"))?;
        let mut value = value.trim().to_owned();
        // A list may go on in the next lines.
        while value.starts_with('[') && !value.ends_with(']') {
            let (_, more) = lines.next().ok_or_else(|| wrong("a list is opened and not closed"))?;
            value.push_str(without_comment(more));
        }
        let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let one = |value: &str| {
            let value = value.trim();
            let quoted = value
                .strip_prefix('"')
                .map(|rest| rest.strip_suffix('"').ok_or_else(|| wrong("a quote is not closed")));
            match quoted {
                Some(text) => text.map(str::to_owned),
                None if value.starts_with(['{', '<']) => {
                    Err(wrong("only texts, numbers, true, false and lists of them are understood"))
                }
                None => Ok(value.to_owned()),
            }
        };
        let values = match inner {
            Some(inner) => {
                inner.split(',').filter(|part| !part.trim().is_empty()).map(one).collect::<Result<_, _>>()?
            }
            None => vec![one(&value)?],
        };
        entries.push(Entry { line: at + 1, name: name.trim().trim_matches('"').to_owned(), values });
    }
    Ok(entries)
}

/// A line without its comment, which no text holds.
fn without_comment(line: &str) -> &str {
    let mut is_text = false;
    let end = line.char_indices().find(|(at, c)| {
        is_text ^= *c == '"';
        !is_text && (*c == '#' || line[*at..].starts_with("//"))
    });
    line[..end.map_or(line.len(), |(at, _)| at)].trim()
}

/// The keys of a clusterctl.yaml.
fn yaml(shown: &str, text: &str) -> Result<Vec<Entry>, String> {
    let read: BTreeMap<String, Spanned<serde_json::Value>> =
        serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map_or_else(String::new, |at| format!(":{}", at.line()));
            let why = error.without_snippet().to_string();
            format!("{shown}{place}: {}", why.lines().next().unwrap_or_default())
        })?;
    let one = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut entries: Vec<Entry> = read
        .into_iter()
        .map(|(name, value)| {
            let values = match &value.value {
                serde_json::Value::Array(values) => values.iter().map(one).collect(),
                value => vec![one(value)],
            };
            Entry { line: value.referenced.line() as usize, name, values }
        })
        .collect();
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::Source;
    use crate::declaration::tests::read;

    const TFVARS: &str = "\
# A cloud of ours
cloud_provider    = \"gx\"   # in clouds.yaml
external          = \"ext01\"
dns_nameserver    = [ \"5.1.66.255\",
  \"185.150.99.255\" ]
availability_zone = \"south-2\"
kind_flavor       = \"SCS-1V:4:10\"
ssh_username      = \"ubuntu\"
controller_flavor = \"SCS-2D:4:20s\"
worker_flavor     = \"SCS-2V:4:20\"
controller_count  = 3
worker_count      = 2
node_cidr         = \"10.9.0.0/20\"
kubernetes_version = \"1.22.x\"
use_cilium        = true
deploy_metrics_service = false
deploy_cert_manager = true
cloud_flavour     = \"x#y\"
";

    /// The declaration as a user completes it.
    fn completed(text: &str) -> crate::Declaration {
        let text = text.replace("~/.ssh/id_ed25519.pub", "key.pub").replace("[]", "[203.0.113.0/24]");
        read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"))
    }

    #[test]
    fn a_file_of_terraforms_becomes_a_declaration_and_what_was_not_taken_is_told_with_its_line() {
        let converted = convert("environment-gx.tfvars", TFVARS, Form::Tfvars).unwrap();
        let declaration = completed(&converted.text);
        let Source::Cloud(cloud) = &declaration.machines else { panic!("{declaration:?}") };
        assert_eq!((cloud.name.as_deref(), declaration.user.as_str()), (Some("gx"), "ubuntu"));
        let pools: Vec<_> = declaration.pools.iter().map(|pool| (pool.name.as_str(), pool.count)).collect();
        assert_eq!(pools, [("cp", 3), ("worker", 2)]);
        assert!(converted.text.contains("dns: [\"5.1.66.255\", \"185.150.99.255\"]"), "{}", converted.text);
        assert!(
            converted.text.contains("zone: \"south-2\"") && converted.text.contains("apps: [cert-manager]")
        );
        let notes: Vec<&str> =
            converted.notes.iter().map(|note| note.split(": the version").next().unwrap()).collect();
        assert_eq!(
            notes,
            [
                "environment-gx.tfvars:7: kind_flavor was not taken: there is no management cluster",
                "environment-gx.tfvars:18: cloud_flavour was not taken: this key is not known",
                "the image of the nodes is not in environment-gx.tfvars: \"Debian 12\" stands for it",
                "environment-gx.tfvars:14",
                "allow.ssh and allow.api are empty: write the network of this computer there",
            ]
        );
    }

    #[test]
    fn a_clusterctl_yaml_becomes_a_declaration() {
        let text = "\
OPENSTACK_CLOUD: gx
OPENSTACK_EXTERNAL_NETWORK_ID: ext01
OPENSTACK_DNS_NAMESERVERS: 9.9.9.9
OPENSTACK_IMAGE_NAME: Ubuntu 22.04
CONTROL_PLANE_MACHINE_COUNT: 1
WORKER_MACHINE_COUNT: 3
OPENSTACK_SSH_KEY_NAME: capi-keypair
";
        let converted = convert("clusterctl.yaml", text, Form::Yaml).unwrap();
        let declaration = completed(&converted.text);
        assert_eq!(declaration.pools[1].count, 3);
        assert!(converted.text.contains("image: \"Ubuntu 22.04\""));
        assert!(converted.notes[0].starts_with("clusterctl.yaml:7: OPENSTACK_SSH_KEY_NAME was not taken: "));
    }

    #[test]
    fn the_network_is_that_of_the_file() {
        let made = |text: &str, form| {
            let converted = convert("x", text, form).unwrap();
            assert!(!converted.notes.iter().any(|note| note.to_lowercase().contains("cilium")), "{text}");
            completed(&converted.text).settings.network_plugin.word()
        };
        for (tfvars, yaml, expected) in [
            ("use_cilium = true\n", "USE_CILIUM: true\n", "cilium"),
            ("use_cilium = \"True\"\n", "USE_CILIUM: 'True'\n", "cilium"),
            ("use_cilium = false\n", "USE_CILIUM: false\n", "calico"),
            ("worker_count = 1\n", "WORKER_MACHINE_COUNT: 1\n", "calico"),
        ] {
            assert_eq!([made(tfvars, Form::Tfvars), made(yaml, Form::Yaml)], [expected; 2], "{tfvars}");
        }
        // What is neither would silently be the other network.
        let wrong = convert("x", "use_cilium = maybe\n", Form::Tfvars).unwrap_err();
        assert_eq!(wrong, "x:1: use_cilium is \"maybe\": write true for cilium, or false for calico");
    }

    #[test]
    fn what_is_not_in_its_form_is_told_with_its_line() {
        let wrong = |text: &str, form| convert("x", text, form).unwrap_err();
        assert_eq!(wrong("a = 1\nb\n", Form::Tfvars), "x:2: this is no assignment, key = value: b");
        assert_eq!(wrong("worker_count = many\n", Form::Tfvars), "x:1: \"many\" is no number of machines");
        assert_eq!(wrong("external = \"a\n", Form::Tfvars), "x:1: a quote is not closed: external = \"a");
        assert!(wrong("d = [\n1,\n", Form::Tfvars).starts_with("x:1: a list is opened and not closed"));
        assert!(
            wrong("external = \"a\"\nexternal = \"b\"\n", Form::Tfvars)
                .starts_with("x:2: external is there twice")
        );
        assert!(wrong("A: [\n", Form::Yaml).starts_with("x:"));
    }

    #[test]
    fn no_key_is_both_taken_and_left() {
        for (tfvars, yaml, _) in TAKEN {
            let is_left =
                |name: &str| !name.is_empty() && LEFT.iter().any(|(a, b, _)| *a == name || *b == name);
            assert!(!is_left(tfvars) && !is_left(yaml), "{tfvars} {yaml}");
        }
    }
}
