//! Facts under the names that Ansible's module `setup` gives them, for expressions of inventories and group_vars.

use std::net::{IpAddr, Ipv4Addr};

use muster_inventory::Value;
use serde_json::{Map, Value as Json, json};

use super::{Address, Facts};

impl Facts {
    /// What Ansible calls them, in as much as they are read: `ansible_default_ipv4`, `ansible_eth0`, `ansible_os_family`, ...
    pub fn of_ansible(&self) -> Vec<(String, Value)> {
        let mut facts: Map<String, Json> = Map::new();
        let mut set = |name: &str, value: Json| {
            facts.insert(format!("ansible_{}", name.replace('-', "_")), value);
        };
        let machine = match self.arch.as_str() {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        };
        set("system", json!("Linux"));
        set("architecture", json!(machine));
        set("machine", json!(machine));
        set("kernel", json!(self.kernel));
        set("nodename", json!(self.hostname));
        set("hostname", json!(self.hostname.split('.').next()));
        set("machine_id", json!(self.machine_id));
        set("product_uuid", json!(self.product_uuid));
        set("memtotal_mb", json!(self.memory_mb));
        set("swaptotal_mb", json!(self.swap_mb));
        set("processor_vcpus", json!(self.cpus));
        set("processor_nproc", json!(self.cpus));
        if self.systemd {
            set("service_mgr", json!("systemd"));
        }
        set("pkg_mgr", json!(self.package_manager.strip_suffix("-get").unwrap_or(&self.package_manager)));
        let (distribution, family) = self.distribution();
        set("distribution", json!(distribution));
        set("os_family", json!(family));
        let version = self.os.get("VERSION_ID").map_or("", String::as_str);
        set("distribution_version", json!(version));
        set("distribution_major_version", json!(version.split('.').next()));
        set("distribution_release", json!(self.os.get("VERSION_CODENAME")));
        set(
            "dns",
            json!({ "nameservers": self.resolv_words("nameserver"), "search": self.resolv_words("search") }),
        );
        let global = |v4: bool| -> Vec<String> {
            let of_family = self.addresses.iter().filter(|a| a.ip.is_ipv4() == v4 && !a.ip.is_loopback());
            of_family.map(|a| a.ip.to_string()).collect()
        };
        set("all_ipv4_addresses", json!(global(true)));
        set("all_ipv6_addresses", json!(global(false)));
        let mut interfaces: Vec<&str> = self.addresses.iter().map(|a| a.interface.as_str()).collect();
        interfaces.extend(self.macs.keys().map(String::as_str));
        interfaces.sort_unstable();
        interfaces.dedup();
        set("interfaces", json!(interfaces));
        for interface in interfaces {
            set(interface, self.interface(interface));
        }
        if let Some(route) = self.default_ipv4() {
            set("default_ipv4", route);
        }
        facts.into_iter().map(|(name, value)| (name, Value::from_json(&value))).collect()
    }

    /// Name and family of the system, as `ansible/module_utils/facts/system/distribution.py` has them.
    fn distribution(&self) -> (&str, &str) {
        let id = self.os.get("ID").map_or("", String::as_str);
        let name = match id {
            "debian" => "Debian",
            "ubuntu" => "Ubuntu",
            "rhel" => "RedHat",
            "centos" => "CentOS",
            "rocky" => "Rocky",
            "almalinux" => "AlmaLinux",
            "ol" => "OracleLinux",
            "fedora" => "Fedora",
            "amzn" => "Amazon",
            "opensuse-leap" => "openSUSE Leap",
            "opensuse-tumbleweed" => "openSUSE Tumbleweed",
            "sles" => "SLES",
            "flatcar" => "Flatcar",
            _ => self.os.get("NAME").map_or("", String::as_str),
        };
        let like = self.os.get("ID_LIKE").map_or("", String::as_str);
        let is = |wanted: &[&str]| wanted.contains(&id) || like.split(' ').any(|like| wanted.contains(&like));
        let family = if is(&["debian", "ubuntu"]) {
            "Debian"
        } else if is(&["rhel", "fedora", "centos", "ol", "amzn"]) {
            "RedHat"
        } else if is(&["suse", "opensuse", "sles"]) {
            "Suse"
        } else {
            name
        };
        (name, family)
    }

    /// The words after a keyword of resolv.conf(5).
    fn resolv_words(&self, keyword: &str) -> Vec<&str> {
        let of = |line: &&String| line.split_whitespace().next() == Some(keyword);
        self.resolv.iter().filter(of).flat_map(|line| line.split_whitespace().skip(1)).collect()
    }

    fn interface(&self, name: &str) -> Json {
        let mut facts = Map::from_iter([("device".to_owned(), json!(name))]);
        if let Some(mac) = self.macs.get(name) {
            facts.insert("macaddress".to_owned(), json!(mac));
        }
        let own = || self.addresses.iter().filter(|a| a.interface == name);
        let mut v4 = own().filter_map(ipv4);
        if let Some(first) = v4.next() {
            facts.insert("ipv4".to_owned(), first);
        }
        let more: Vec<Json> = v4.collect();
        if !more.is_empty() {
            facts.insert("ipv4_secondaries".to_owned(), json!(more));
        }
        let v6: Vec<Json> = own()
            .filter(|a| a.ip.is_ipv6())
            .map(|a| json!({ "address": a.ip.to_string(), "prefix": a.prefix.to_string() }))
            .collect();
        if !v6.is_empty() {
            facts.insert("ipv6".to_owned(), json!(v6));
        }
        Json::Object(facts)
    }

    /// The way out, with the address that packets have on it.
    fn default_ipv4(&self) -> Option<Json> {
        let route = self.routes.iter().find(|route| route.starts_with("default "))?;
        let after = |word: &str| route.split_whitespace().skip_while(|w| *w != word).nth(1);
        let address = self.default_ip()?;
        let own = self.addresses.iter().find(|a| a.ip == address)?;
        let mut facts = ipv4(own)?;
        facts["interface"] = json!(own.interface);
        facts["alias"] = json!(own.interface);
        facts["gateway"] = json!(after("via"));
        facts["macaddress"] = json!(self.macs.get(&own.interface));
        Some(facts)
    }
}

/// An IPv4 address with its network.
fn ipv4(address: &Address) -> Option<Json> {
    let IpAddr::V4(ip) = address.ip else { return None };
    let mask = u32::MAX.checked_shl(32 - u32::from(address.prefix.min(32))).unwrap_or(0);
    let of = |bits: u32| Ipv4Addr::from(bits).to_string();
    Some(json!({
        "address": ip.to_string(),
        "netmask": of(mask),
        "network": of(ip.to_bits() & mask),
        "broadcast": of(ip.to_bits() | !mask),
        "prefix": address.prefix.to_string(),
    }))
}
