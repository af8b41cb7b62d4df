//! A network interface of this computer, as ip(8) knows it.

use std::net::Ipv4Addr;
use std::process::Command;

use ipnet::Ipv4Net;
use muster_netboot::Mac;
use serde_json::Value;

/// A network interface that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The address of its card; none where it is no Ethernet.
    pub mac: Option<Mac>,
    /// Its addresses, each with the network that it is in.
    pub networks: Vec<Ipv4Net>,
    /// Whether a default route goes out of it: then it leads to a network that is not the classroom's alone.
    pub has_default_route: bool,
}

/// Why an interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// ip(8) does not say.
    #[error("ip (Debian's package iproute2) does not say which network interfaces there are: {0}")]
    Program(String),
    /// There is none of this name.
    #[error("there is no network interface {name}; there are: {}", .known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// It is switched off, or no cable is in it.
    #[error("the network interface {0} is down, or has no cable")]
    Down(String),
    /// It has no IPv4 address.
    #[error("the network interface {0} has no IPv4 address")]
    NoAddress(String),
}

impl Interface {
    /// Looks at the interface of this name.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn look(name: &str) -> Result<Self, InterfaceError> {
        let links = ip(&["-json", "address", "show"])?;
        let routes = ip(&["-json", "-4", "route", "show", "default"])?;
        Self::read(name, &links, &routes)
    }

    fn read(name: &str, links: &Value, routes: &Value) -> Result<Self, InterfaceError> {
        let named = |link: &Value| link["ifname"].as_str().unwrap_or_default().to_owned();
        let links = links.as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(link) = links.iter().find(|link| named(link) == name) else {
            let known = links.iter().map(named).filter(|known| !known.is_empty()).collect();
            return Err(InterfaceError::Unknown { name: name.to_owned(), known });
        };
        let has_flag =
            |flag: &str| link["flags"].as_array().is_some_and(|flags| flags.contains(&flag.into()));
        if !has_flag("UP") || !has_flag("LOWER_UP") {
            return Err(InterfaceError::Down(name.to_owned()));
        }
        let network = |address: &Value| {
            let local: Ipv4Addr = address["local"].as_str()?.parse().ok()?;
            Ipv4Net::new(local, u8::try_from(address["prefixlen"].as_u64()?).ok()?).ok()
        };
        let networks: Vec<Ipv4Net> =
            link["addr_info"].as_array().into_iter().flatten().filter_map(network).collect();
        if networks.is_empty() {
            return Err(InterfaceError::NoAddress(name.to_owned()));
        }
        let mac = Some(link).filter(|link| link["link_type"] == "ether");
        // A route over several ways names each of them.
        let leads_out = |route: &Value| {
            let hops = route["nexthops"].as_array().into_iter().flatten();
            hops.chain([route]).any(|way| way["dev"] == name)
        };
        Ok(Self {
            name: name.to_owned(),
            mac: mac.and_then(|link| link["address"].as_str()?.parse().ok()),
            networks,
            has_default_route: routes.as_array().into_iter().flatten().any(leads_out),
        })
    }
}

fn ip(arguments: &[&str]) -> Result<Value, InterfaceError> {
    let failed = |why: String| InterfaceError::Program(why);
    let output = Command::new("ip").args(arguments).output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    // Where there is nothing to tell, some versions print nothing.
    if output.stdout.trim_ascii().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn link(name: &str, flags: &[&str], addresses: &[&str]) -> Value {
        let address = |text: &&str| match text.split_once('/') {
            Some((local, length)) => {
                json!({"family": "inet", "local": local, "prefixlen": length.parse::<u8>().unwrap()})
            }
            None => json!({"family": "inet6", "local": text, "prefixlen": 64}),
        };
        let addresses: Vec<Value> = addresses.iter().map(address).collect();
        json!({"ifname": name, "flags": flags, "link_type": "ether", "address": "52:54:00:00:00:01",
               "addr_info": addresses})
    }

    #[test]
    fn only_an_interface_that_can_be_used_is_taken() {
        let up = ["BROADCAST", "UP", "LOWER_UP"];
        let links = json!([
            link("lo", &up, &["127.0.0.1/8"]),
            link("eth0", &up, &["fe80::1", "192.0.2.1/24", "198.51.100.1/25"]),
            link("eth1", &["UP"], &["192.0.2.1/24"]),
            link("eth2", &up, &["fe80::2"]),
        ]);
        let look = |name: &str, routes: Value| Interface::read(name, &links, &routes);
        let eth0 = look("eth0", json!([{"dst": "default", "dev": "eth9"}])).unwrap();
        assert_eq!(eth0.networks, ["192.0.2.1/24".parse().unwrap(), "198.51.100.1/25".parse().unwrap()]);
        assert_eq!((eth0.mac.unwrap().bytes()[5], eth0.has_default_route), (1, false));
        assert!(look("eth0", json!([{"dst": "default", "dev": "eth0"}])).unwrap().has_default_route);
        let two_ways = json!([{"dst": "default", "nexthops": [{"dev": "eth9"}, {"dev": "eth0"}]}]);
        assert!(look("eth0", two_ways).unwrap().has_default_route);
        let told = |name: &str| look(name, json!([])).unwrap_err().to_string();
        assert_eq!(told("eth7"), "there is no network interface eth7; there are: lo, eth0, eth1, eth2");
        assert!(told("eth1").contains("is down") && told("eth2").contains("no IPv4 address"));
    }
}
