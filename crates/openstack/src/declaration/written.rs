//! The form of a declaration: what the user may write. Comments are what an editor shows, by way of the schema that is made of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{NetworkPlugin, Role};

/// The machines of a cluster, and what they become.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "muster: clusters/NAME/cluster.yml")]
pub(super) struct Written {
    /// The version of this form: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub(super) version: Spanned<u32>,
    /// Where machines come from.
    #[serde(default)]
    #[schemars(with = "MachinesFrom")]
    pub(super) machines: Option<Spanned<MachinesFrom>>,
    /// Who has power over machines that exist: a program, or lab:NAME. With it they may get another image.
    #[schemars(with = "Option<String>")]
    pub(super) provider: Option<Spanned<String>>,
    /// The cloud's name in clouds.yaml; without it OS_CLOUD, OS_*, or the only cloud of the file.
    #[schemars(with = "Option<String>")]
    pub(super) cloud: Option<Spanned<String>>,
    /// Who logs in to the machines.
    pub(super) login: WrittenLogin,
    /// The network that machines of a cloud are in.
    #[schemars(with = "Option<WrittenNetwork>")]
    pub(super) network: Option<Spanned<WrittenNetwork>>,
    /// Who reaches machines of a cloud from outside.
    #[schemars(with = "Option<WrittenAllow>")]
    pub(super) allow: Option<Spanned<WrittenAllow>>,
    /// How packets between pods travel.
    #[serde(default)]
    pub(super) network_plugin: NetworkPlugin,
    /// The version of Kubernetes, such as 1.37.2.
    #[schemars(with = "Option<String>")]
    pub(super) kubernetes_version: Option<Spanned<String>>,
    /// Variables of kubespray for all machines.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub(super) variables: BTreeMap<String, Spanned<Value>>,
    /// Applications that are installed, such as metrics-server.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) apps: Vec<Spanned<String>>,
    /// A class list (CSV), relative to this file: each student gets a namespace.
    #[schemars(with = "Option<String>")]
    pub(super) students: Option<Spanned<String>>,
    /// Machines that are alike.
    #[schemars(with = "Vec<WrittenPool>")]
    pub(super) pools: Spanned<Vec<WrittenPool>>,
}

/// Where machines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum MachinesFrom {
    /// They are made in an OpenStack cloud.
    #[default]
    Openstack,
    /// They exist, and are named by their addresses.
    Existing,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenLogin {
    /// The user that the machines let in, such as debian.
    #[schemars(with = "String")]
    pub(super) user: Spanned<String>,
    /// The file of the public key that machines of a cloud get, relative to this file.
    #[schemars(with = "Option<String>")]
    pub(super) public_key: Option<Spanned<String>>,
    /// The file of the private key; without it the one beside the public key, or those of ~/.ssh and the agent.
    #[schemars(with = "Option<String>")]
    pub(super) private_key: Option<Spanned<String>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenNetwork {
    /// A network that is there, in place of one that is made: its name or id.
    #[schemars(with = "Option<String>")]
    pub(super) existing: Option<Spanned<String>>,
    /// The addresses of a network that is made, such as 10.8.0.0/24; its first address is the router's.
    #[schemars(with = "Option<String>")]
    pub(super) range: Option<Spanned<String>>,
    /// DNS servers of the subnet.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) dns: Vec<Spanned<String>>,
    /// A router that is there, in place of one that is made.
    #[schemars(with = "Option<String>")]
    pub(super) router: Option<Spanned<String>>,
    /// The network outside, to which a router leads, and which floating IPs are of.
    #[schemars(with = "Option<String>")]
    pub(super) external: Option<Spanned<String>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenAllow {
    /// Networks that reach port 22 of all machines: this computer's.
    #[schemars(with = "Vec<String>")]
    pub(super) ssh: Spanned<Vec<Spanned<String>>>,
    /// Networks that reach port 6443 of control planes.
    #[schemars(with = "Vec<String>")]
    pub(super) api: Vec<Spanned<String>>,
    /// Networks that reach ports 80 and 443.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) http: Vec<Spanned<String>>,
    /// Networks that reach ports 30000 to 32767.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) node_ports: Vec<Spanned<String>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenPool {
    /// Its name in the cluster.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// What its machines are.
    #[schemars(with = "Vec<Role>")]
    pub(super) roles: Spanned<Vec<Role>>,
    /// How many machines it has; of machines that exist the rest of the addresses is spare [all of them].
    #[schemars(with = "Option<u32>")]
    pub(super) count: Option<Spanned<u32>>,
    /// The flavor of machines of a cloud: its name or id.
    #[schemars(with = "Option<String>")]
    pub(super) flavor: Option<Spanned<String>>,
    /// The image of machines of a cloud: its name or id; of machines that exist: a word for the provider.
    #[schemars(with = "Option<String>")]
    pub(super) image: Option<Spanned<String>>,
    /// Whether each machine of a cloud has a floating IP.
    #[schemars(with = "Option<bool>")]
    pub(super) floating_ip: Option<Spanned<bool>>,
    /// The availability zone of machines of a cloud.
    #[schemars(with = "Option<String>")]
    pub(super) zone: Option<Spanned<String>>,
    /// A file for cloud-init, relative to this file.
    #[schemars(with = "Option<String>")]
    pub(super) user_data: Option<Spanned<String>>,
    /// Addresses of machines that exist.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) addresses: Vec<Spanned<String>>,
    /// Labels of the nodes.
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// Taints of the nodes, each as key=value:effect.
    #[serde(default)]
    pub(super) taints: Vec<String>,
}

/// The form as a JSON schema (draft 7, which editors understand), made of the types that read it.
pub fn schema() -> Value {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<Written>().to_value()
}
