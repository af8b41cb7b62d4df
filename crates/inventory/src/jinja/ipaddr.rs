//! The `ipaddr` family of filters of the collection `ansible.utils`, which kubespray's variables use
//! for addresses and networks. The rules are those of its `ipaddr_utils.py` over netaddr.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minijinja::{Environment, Error, Value};

use super::args::{Args, Rest, defined, invalid, is_list, items, text};

pub(super) fn register(environment: &mut Environment<'_>) {
    for (name, version) in [("ipaddr", None), ("ipv4", Some(4)), ("ipv6", Some(6))] {
        environment.add_filter(name, move |value: Value, rest: Rest| {
            let mut args = Args::bind("ipaddr", &["query", "version", "alias"], rest.into_values())?;
            let query = args.text("query")?.unwrap_or_default();
            let wanted = args.number("version")?.and_then(|version| u8::try_from(version).ok()).or(version);
            ipaddr(&value, &query, wanted)
        });
    }
    environment.add_filter("ipwrap", |value: Value, rest: Rest| {
        let mut args = Args::bind("ipwrap", &["query"], rest.into_values())?;
        let query = args.text("query")?.unwrap_or_default();
        ipwrap(&value, &query)
    });
    environment.add_filter("ipsubnet", |value: Value, rest: Rest| {
        let mut args = Args::bind("ipsubnet", &["query", "index"], rest.into_values())?;
        ipsubnet(&value, args.text("query")?.as_deref(), args.number("index")?)
    });
    environment.add_filter("nthhost", |value: Value, rest: Rest| {
        let mut args = Args::bind("nthhost", &["query"], rest.into_values())?;
        let nth = args.number("query")?.unwrap_or(0);
        Ok::<_, Error>(match Net::parse(&text("nthhost", &value)?) {
            Some(net) => net.nth(nth).map_or(Value::from(false), |ip| ip.to_string().into()),
            None => false.into(),
        })
    });
    environment.add_filter("ipmath", |value: Value, amount: i64| {
        let Some(net) = Net::parse(&text("ipmath", &value)?) else {
            return Err(invalid(format!("ipmath needs an address, this is \"{value}\"")));
        };
        let moved =
            net.number().checked_add_signed(i128::from(amount)).and_then(|number| net.address(number));
        moved.map(|ip| ip.to_string()).ok_or_else(|| invalid("ipmath: the result is no address"))
    });
    for (name, sign) in [("next_nth_usable", 1), ("previous_nth_usable", -1)] {
        environment.add_filter(name, move |value: Value, rest: Rest| {
            let mut args = Args::bind(name, &["offset"], rest.into_values())?;
            let offset = args.number("offset")?.unwrap_or(1) * sign;
            let net = Net::parse(&text(name, &value)?).filter(|net| net.size() > 1);
            Ok::<_, Error>(
                net.and_then(|net| net.usable_at(offset)).map_or(Value::from(()), |ip| ip.to_string().into()),
            )
        });
    }
    for (name, usable) in [("network_in_network", false), ("network_in_usable", true)] {
        environment.add_filter(name, move |value: Value, other: Value| {
            let (outer, inner) = (Net::parse(&text(name, &value)?), Net::parse(&text(name, &other)?));
            let (Some(outer), Some(inner)) = (outer, inner) else { return Ok::<_, Error>(false) };
            let (first, last) = if usable { outer.usable_range() } else { (outer.first(), outer.last()) };
            Ok(outer.ip.is_ipv4() == inner.ip.is_ipv4() && inner.first() >= first && inner.last() <= last)
        });
    }
    environment.add_filter("reduce_on_network", |value: Value, network: String| {
        let network = Net::parse(&network).ok_or_else(|| invalid("reduce_on_network needs a network"))?;
        let inside = |item: &Value| {
            Net::parse(&item.to_string()).is_some_and(|net| network.contains(&net)).then(|| item.clone())
        };
        Ok::<_, Error>(items("reduce_on_network", &value)?.iter().filter_map(inside).collect::<Vec<_>>())
    });
    environment.add_filter("cidr_merge", |value: Value, rest: Rest| {
        let mut args = Args::bind("cidr_merge", &["action"], rest.into_values())?;
        let span = args.text("action")?.as_deref() == Some("span");
        cidr_merge(&value, span)
    });
    environment.add_filter("ip4_hex", |value: Value| match text("ip4_hex", &value)?.parse::<Ipv4Addr>() {
        Ok(ip) => Ok(format!("{:08x}", u32::from(ip))),
        Err(_) => Err(invalid(format!("ip4_hex needs an IPv4 address, this is \"{value}\""))),
    });
    environment.add_test("ip", |value: Value| is_kind(&value, |_| true));
    environment.add_test("ip_address", |value: Value| is_kind(&value, |net| net.bare));
    environment.add_test("ipv4", |value: Value| is_kind(&value, |net| net.ip.is_ipv4()));
    environment.add_test("ipv4_address", |value: Value| is_kind(&value, |net| net.bare && net.ip.is_ipv4()));
    environment.add_test("ipv6", |value: Value| is_kind(&value, |net| net.ip.is_ipv6()));
    environment.add_test("ipv6_address", |value: Value| is_kind(&value, |net| net.bare && net.ip.is_ipv6()));
}

fn is_kind(value: &Value, wanted: impl Fn(&Net) -> bool) -> Result<bool, Error> {
    Ok(Net::parse(&text("the test", value)?).is_some_and(|net| wanted(&net)))
}

/// An address, alone or with the length of its network.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Net {
    ip: IpAddr,
    prefix: u8,
    /// Written without a length.
    bare: bool,
}

impl Net {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (address, length) =
            text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let ip: IpAddr = match address.parse() {
            Ok(ip) => ip,
            Err(_) if !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_digit()) => {
                let number: u128 = address.parse().ok()?;
                u32::try_from(number).map_or_else(
                    |_| IpAddr::V6(Ipv6Addr::from(number)),
                    |number| IpAddr::V4(Ipv4Addr::from(number)),
                )
            }
            Err(_) => return None,
        };
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match length {
            None => bits,
            Some(length) => match length.parse::<u8>() {
                Ok(length) if length <= bits => length,
                _ => mask_length(length, &ip)?,
            },
        };
        Some(Self { ip, prefix, bare: length.is_none() })
    }

    fn bits(&self) -> u8 {
        if self.ip.is_ipv4() { 32 } else { 128 }
    }

    fn number(&self) -> u128 {
        match self.ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        }
    }

    /// The address of a number, in this network's version.
    fn address(&self, number: u128) -> Option<IpAddr> {
        match self.ip {
            IpAddr::V4(_) => u32::try_from(number).ok().map(|number| IpAddr::V4(Ipv4Addr::from(number))),
            IpAddr::V6(_) => Some(IpAddr::V6(Ipv6Addr::from(number))),
        }
    }

    /// The bits that tell hosts of the network apart.
    fn host_mask(&self) -> u128 {
        let free = self.bits() - self.prefix;
        if free == 128 { u128::MAX } else { (1 << free) - 1 }
    }

    fn full_mask(&self) -> u128 {
        if self.ip.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX }
    }

    fn first(&self) -> u128 {
        self.number() & !self.host_mask()
    }

    fn last(&self) -> u128 {
        self.first() | self.host_mask()
    }

    /// How many addresses it has; the largest IPv6 network counts one less than it has.
    fn size(&self) -> u128 {
        self.host_mask().saturating_add(1)
    }

    fn network(&self) -> String {
        self.address(self.first()).map(|ip| ip.to_string()).unwrap_or_default()
    }

    fn is_network_address(&self) -> bool {
        self.number() == self.first()
    }

    fn with_prefix(&self) -> String {
        format!("{}/{}", self.ip, self.prefix)
    }

    /// Numbers of the first and last address that a host may have.
    fn usable_range(&self) -> (u128, u128) {
        match self.size() {
            1 | 2 => (self.first(), self.last()),
            _ => (self.first() + 1, self.last() - 1),
        }
    }

    fn usable_at(&self, offset: i64) -> Option<IpAddr> {
        let (first, last) = self.usable_range();
        let moved = self.number().checked_add_signed(i128::from(offset))?;
        (first..=last).contains(&moved).then(|| self.address(moved)).flatten()
    }

    /// The n-th address, from the end when negative.
    fn nth(&self, n: i64) -> Option<IpAddr> {
        let number = if n >= 0 {
            self.first().checked_add(u128::from(n.unsigned_abs()))?
        } else {
            self.last().checked_sub(u128::from(n.unsigned_abs()) - 1)?
        };
        (self.first()..=self.last()).contains(&number).then(|| self.address(number)).flatten()
    }

    fn contains(&self, other: &Self) -> bool {
        self.ip.is_ipv4() == other.ip.is_ipv4()
            && other.first() >= self.first()
            && other.last() <= self.last()
    }

    fn is_inside(&self, networks: &[&str]) -> bool {
        networks.iter().filter_map(|network| Self::parse(network)).any(|network| network.contains(self))
    }

    fn is_private(&self) -> bool {
        self.is_inside(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"])
            || self.is_link_local()
    }

    fn is_link_local(&self) -> bool {
        self.is_inside(&["169.254.0.0/16", "fe80::/10"])
    }

    fn is_loopback(&self) -> bool {
        self.is_inside(&["127.0.0.0/8", "::1/128"])
    }

    fn is_multicast(&self) -> bool {
        self.is_inside(&["224.0.0.0/4", "ff00::/8"])
    }
}

/// The length of a dotted mask such as `255.255.255.0`.
fn mask_length(mask: &str, ip: &IpAddr) -> Option<u8> {
    let mask: IpAddr = mask.parse().ok()?;
    let (ones, number, bits) = match (mask, ip) {
        (IpAddr::V4(mask), IpAddr::V4(_)) => {
            let number = u32::from(mask);
            (number.leading_ones(), u128::from(number) << 96, 32u32)
        }
        (IpAddr::V6(mask), IpAddr::V6(_)) => {
            let number = u128::from(mask);
            (number.leading_ones(), number, 128)
        }
        _ => return None,
    };
    let clean = number.count_ones() == ones && ones <= bits;
    clean.then(|| u8::try_from(ones).ok()).flatten()
}

fn ipaddr(value: &Value, query: &str, version: Option<u8>) -> Result<Value, Error> {
    defined("ipaddr", value)?;
    if is_list(value) {
        let mut found = Vec::new();
        for item in items("ipaddr", value)? {
            let answer = ipaddr(&item, query, version)?;
            if answer.is_true() {
                found.push(answer);
            }
        }
        return Ok(found.into());
    }
    let text = value.to_string();
    let Some(net) = Net::parse(&text) else { return Ok(false.into()) };
    if version.is_some_and(|version| net.ip.is_ipv4() != (version == 4)) {
        return Ok(false.into());
    }
    if let Ok(n) = query.parse::<i64>() {
        let found = net.nth(n).filter(|_| net.size() > 1);
        return Ok(found.map_or(Value::from(false), |ip| format!("{ip}/{}", net.prefix).into()));
    }
    match answer(&net, query, &text)? {
        Answer::Text(text) => Ok(text.into()),
        Answer::Number(number) => Ok(u64::try_from(number).map_or_else(|_| Value::from(number), Value::from)),
        Answer::Bool(truth) => Ok(truth.into()),
        Answer::Nothing => Ok(().into()),
    }
}

enum Answer {
    Text(String),
    Number(u128),
    Bool(bool),
    Nothing,
}

fn answer(net: &Net, query: &str, written: &str) -> Result<Answer, Error> {
    use Answer::{Bool, Nothing, Number, Text};
    let size = net.size();
    let address = |number: u128| net.address(number).map_or(Nothing, |ip| Text(ip.to_string()));
    let text_if = |condition: bool, text: String| if condition { Text(text) } else { Nothing };
    let written_if = |condition: bool| if condition { Text(written.to_owned()) } else { Bool(false) };
    let (first, last) = net.usable_range();
    let mask =
        || net.address(net.full_mask() & !net.host_mask()).map(|ip| ip.to_string()).unwrap_or_default();
    let wildcard = || net.address(net.host_mask()).map(|ip| ip.to_string()).unwrap_or_default();
    let host_part = !net.is_network_address();
    Ok(match query {
        "" | "cidr" if net.bare && query.is_empty() => Text(net.ip.to_string()),
        "" | "cidr" => Text(net.with_prefix()),
        "address" | "ip" => text_if(size <= 2 || host_part, net.ip.to_string()),
        "address/prefix" | "host/prefix" => {
            let edge = size > 2 && (net.is_network_address() || net.number() == net.last());
            if edge { Bool(false) } else { Text(net.with_prefix()) }
        }
        "ip/prefix" => text_if(size == 2 || size > 1 && host_part, net.with_prefix()),
        "gateway" | "gw" | "router" | "hostnet" => text_if(size > 1 && host_part, net.with_prefix()),
        "host" => text_if(size == 1 || host_part, net.with_prefix()),
        "bool" => Bool(true),
        "broadcast" => {
            text_if(size > 2, net.address(net.last()).map(|ip| ip.to_string()).unwrap_or_default())
        }
        "first_usable" | "last_usable" | "next_usable" | "previous_usable" | "range_usable" if net.bare => {
            return Err(invalid(format!("ipaddr('{query}'): \"{written}\" is not a network")));
        }
        "first_usable" => address(first),
        "last_usable" => address(last),
        "next_usable" => net.usable_at(1).map_or(Nothing, |ip| Text(ip.to_string())),
        "previous_usable" => net.usable_at(-1).map_or(Nothing, |ip| Text(ip.to_string())),
        "range_usable" => match (net.address(first), net.address(last)) {
            (Some(first), Some(last)) => Text(format!("{first}-{last}")),
            _ => Nothing,
        },
        "hostmask" | "wildcard" => Text(wildcard()),
        "netmask" => Text(mask()),
        "int" if net.bare => Number(net.number()),
        "int" => Text(format!("{}/{}", net.number(), net.prefix)),
        "ip_netmask" => Text(format!("{} {}", net.ip, mask())),
        "ip_wildcard" => Text(format!("{} {}", net.ip, wildcard())),
        "network_netmask" => text_if(size > 1, format!("{} {}", net.network(), mask())),
        "network_wildcard" => text_if(size > 1, format!("{} {}", net.network(), wildcard())),
        "ipv4" | "v4" => match net.ip {
            IpAddr::V4(_) => Text(written.to_owned()),
            IpAddr::V6(ip) => match ip.to_ipv4() {
                Some(ip) if net.prefix >= 96 => Text(format!("{ip}/{}", net.prefix - 96)),
                _ => Bool(false),
            },
        },
        "ipv6" | "v6" => match net.ip {
            IpAddr::V6(_) => Text(written.to_owned()),
            IpAddr::V4(ip) => Text(format!("{}/{}", ip.to_ipv6_mapped(), net.prefix + 96)),
        },
        "link-local" => written_if(net.is_link_local()),
        "lo" | "loopback" => written_if(net.is_loopback()),
        "multicast" => written_if(net.is_multicast()),
        "unicast" => written_if(!net.is_multicast()),
        "private" => written_if(net.is_private()),
        "public" => written_if(!net.is_private() && !net.is_loopback() && !net.is_multicast()),
        "net" => text_if(size > 1 && !host_part, format!("{}/{}", net.network(), net.prefix)),
        "network" | "network_id" => text_if(size > 1 || query == "network_id", net.network()),
        "subnet" | "network/prefix" => Text(format!("{}/{}", net.network(), net.prefix)),
        "prefix" => Number(net.prefix.into()),
        "size" => Number(size),
        "size_usable" => Number(match size {
            1 => 0,
            2 => 2,
            size => size - 2,
        }),
        "peer" => match (size, net.usable_at(1).or_else(|| net.usable_at(-1))) {
            (2 | 4, Some(_)) if net.number() == first => address(last),
            (2 | 4, Some(_)) if net.number() == last => address(first),
            _ => {
                return Err(invalid(format!(
                    "ipaddr('peer'): \"{written}\" is not a point-to-point network"
                )));
            }
        },
        "revdns" => Text(reverse_name(&net.ip)),
        "type" => Text(if size == 1 || host_part { "address" } else { "network" }.to_owned()),
        "usable" => written_if(net.bare || (first..=last).contains(&net.number())),
        "wrap" => match net.ip {
            IpAddr::V4(_) => Text(written.to_owned()),
            IpAddr::V6(ip) if net.bare => Text(format!("[{ip}]")),
            IpAddr::V6(ip) => Text(format!("[{ip}]/{}", net.prefix)),
        },
        _ => match Net::parse(query) {
            Some(network) => written_if(network.contains(net)),
            None => return Err(invalid(format!("ipaddr: the query \"{query}\" is not known"))),
        },
    })
}

/// The name of an address in the DNS (RFC 1035, RFC 3596).
fn reverse_name(ip: &IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(ip) => {
            let digits: String = ip.octets().iter().map(|byte| format!("{byte:02x}")).collect();
            let labels: String = digits.chars().rev().flat_map(|digit| [digit, '.']).collect();
            format!("{labels}ip6.arpa.")
        }
    }
}

/// Brackets around IPv6 addresses, as URLs need them; other texts stay.
fn ipwrap(value: &Value, query: &str) -> Result<Value, Error> {
    defined("ipwrap", value)?;
    if is_list(value) {
        let wrapped: Result<Vec<Value>, Error> =
            items("ipwrap", value)?.iter().map(|item| ipwrap(item, query)).collect();
        return Ok(wrapped?.into());
    }
    let found = ipaddr(value, query, None)?;
    if found.is_true() { ipaddr(&found, "wrap", None) } else { Ok(value.clone()) }
}

fn ipsubnet(value: &Value, query: Option<&str>, index: Option<i64>) -> Result<Value, Error> {
    let Some(net) = Net::parse(&text("ipsubnet", value)?) else { return Ok(false.into()) };
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(
            if net.bare { net.ip.to_string() } else { format!("{}/{}", net.network(), net.prefix) }.into()
        );
    };
    let Ok(prefix) = query.parse::<u8>() else {
        return Err(invalid("ipsubnet: only the length of a prefix is supported as the query"));
    };
    if prefix > net.bits() {
        return Ok(false.into());
    }
    if net.size() == 1 {
        let outer = Net { prefix, ..net };
        return Ok(format!("{}/{prefix}", outer.network()).into());
    }
    if prefix < net.prefix {
        return Ok(false.into());
    }
    let count = 1u128 << u32::from(prefix - net.prefix).min(127);
    let Some(index) = index else {
        return Ok(count.to_string().into());
    };
    let at = if index >= 0 {
        u128::from(index.unsigned_abs())
    } else {
        count.wrapping_sub(index.unsigned_abs().into())
    };
    if at >= count {
        return Ok(false.into());
    }
    let step = Net { prefix, ..net }.size();
    let start = at.checked_mul(step).and_then(|offset| net.first().checked_add(offset));
    Ok(start
        .and_then(|number| net.address(number))
        .map_or(Value::from(false), |ip| format!("{ip}/{prefix}").into()))
}

/// The fewest networks that hold the same addresses, or with `span` the one that holds them all.
fn cidr_merge(value: &Value, span: bool) -> Result<Value, Error> {
    let mut nets: Vec<ipnet::IpNet> = Vec::new();
    for item in items("cidr_merge", value)? {
        let text = item.to_string();
        let net =
            Net::parse(&text).ok_or_else(|| invalid(format!("cidr_merge: \"{text}\" is no network")))?;
        let net =
            ipnet::IpNet::new(net.ip, net.prefix).map_err(|error| invalid(format!("cidr_merge: {error}")))?;
        nets.push(net.trunc());
    }
    if !span {
        let merged: Vec<String> = ipnet::IpNet::aggregate(&nets).iter().map(ToString::to_string).collect();
        return Ok(merged.into());
    }
    let Some(first) = nets.first().copied() else { return Ok(().into()) };
    let mut all = first;
    while !nets.iter().all(|net| all.contains(net)) {
        match all.supernet() {
            Some(wider) => all = wider,
            None => return Err(invalid("cidr_merge: the networks are not of one version")),
        }
    }
    Ok(all.to_string().into())
}
