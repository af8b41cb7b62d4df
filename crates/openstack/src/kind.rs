//! The kinds of objects that a cluster's machines need.

use std::fmt;

use crate::client::Service;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A machine.
    Server,
    /// An address outside, for a port.
    FloatingIp,
    /// A machine's connection to a network, with its address.
    Port,
    /// A way from a network to another one.
    Router,
    /// The addresses of a network.
    Subnet,
    /// A network.
    Network,
    /// Which packets reach a port.
    SecurityGroup,
    /// A public key that servers let in.
    KeyPair,
    /// A load balancer, which Kubernetes makes for a service.
    LoadBalancer,
    /// A volume, which Kubernetes makes for a claim.
    Volume,
}

/// How the API has a kind.
pub(crate) struct Form {
    pub(crate) service: Service,
    /// Where its objects are made, and each of them is.
    pub(crate) path: &'static str,
    /// Where they are listed with all that is wanted of them.
    pub(crate) list: &'static str,
    /// The key of a list.
    pub(crate) many: &'static str,
    /// The key of one.
    pub(crate) one: &'static str,
    word: &'static str,
}

impl Kind {
    /// Those that machines need, in the order in which they can be removed: what uses others comes before those.
    pub const ALL: [Self; 8] = [
        Self::Server,
        Self::FloatingIp,
        Self::Port,
        Self::Router,
        Self::Subnet,
        Self::Network,
        Self::SecurityGroup,
        Self::KeyPair,
    ];

    pub(crate) fn form(self) -> &'static Form {
        const fn network(
            path: &'static str,
            many: &'static str,
            one: &'static str,
            word: &'static str,
        ) -> Form {
            Form { service: Service::Network, path, list: path, many, one, word }
        }
        static SERVER: Form = Form {
            service: Service::Compute,
            path: "/servers",
            list: "/servers/detail",
            many: "servers",
            one: "server",
            word: "server",
        };
        static KEY_PAIR: Form = Form {
            service: Service::Compute,
            path: "/os-keypairs",
            list: "/os-keypairs",
            many: "keypairs",
            one: "keypair",
            word: "key pair",
        };
        static FLOATING_IP: Form = network("/floatingips", "floatingips", "floatingip", "floating IP");
        static PORT: Form = network("/ports", "ports", "port", "port");
        static ROUTER: Form = network("/routers", "routers", "router", "router");
        static SUBNET: Form = network("/subnets", "subnets", "subnet", "subnet");
        static NETWORK: Form = network("/networks", "networks", "network", "network");
        static SECURITY_GROUP: Form =
            network("/security-groups", "security_groups", "security_group", "security group");
        static LOAD_BALANCER: Form = Form {
            service: Service::LoadBalancer,
            path: "/lbaas/loadbalancers",
            list: "/lbaas/loadbalancers",
            many: "loadbalancers",
            one: "loadbalancer",
            word: "load balancer",
        };
        static VOLUME: Form = Form {
            service: Service::Volume,
            path: "/volumes",
            list: "/volumes/detail",
            many: "volumes",
            one: "volume",
            word: "volume",
        };
        match self {
            Self::LoadBalancer => &LOAD_BALANCER,
            Self::Volume => &VOLUME,
            Self::Server => &SERVER,
            Self::FloatingIp => &FLOATING_IP,
            Self::Port => &PORT,
            Self::Router => &ROUTER,
            Self::Subnet => &SUBNET,
            Self::Network => &NETWORK,
            Self::SecurityGroup => &SECURITY_GROUP,
            Self::KeyPair => &KEY_PAIR,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.form().word)
    }
}
