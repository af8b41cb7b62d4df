//! The ports that are in use on a machine, and by which program.

use std::collections::BTreeMap;

/// Ports in use, with the name of a program that has each (15 characters at most); `?` where that cannot be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    /// TCP ports that are listened on.
    pub(super) tcp: BTreeMap<u16, String>,
    /// UDP ports.
    pub(super) udp: BTreeMap<u16, String>,
}

impl Sockets {
    /// Takes what `ss -ltunp` says, or where there is no ss, the kernel's own tables as head(1) shows several files.
    /// Other lines are passed over.
    pub(super) fn parse(answer: &str) -> Self {
        let mut sockets = Self::default();
        let mut table = "";
        for line in answer.lines() {
            if let Some(name) = line.strip_prefix("==> /proc/net/") {
                table = name.trim_end_matches(" <==");
                continue;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            match words.first() {
                Some(kind @ (&"tcp" | &"udp")) => {
                    let port = words.get(4).and_then(|local| local.rsplit_once(':'));
                    let Some(Ok(port)) = port.map(|(_, port)| port.parse()) else { continue };
                    let owner = line.split_once("((\"").and_then(|(_, rest)| rest.split('"').next());
                    sockets.of(kind).insert(port, owner.unwrap_or("?").to_owned());
                }
                Some(number) if number.ends_with(':') => {
                    // proc_net_tcp(5): the state is a number, 0A for a socket that listens; one of UDP that is unconnected has 07.
                    let listening = if table.starts_with("udp") { "07" } else { "0A" };
                    let port = words.get(1).and_then(|local| local.rsplit_once(':'));
                    let Some(Ok(port)) = port.map(|(_, port)| u16::from_str_radix(port, 16)) else {
                        continue;
                    };
                    if words.get(3) == Some(&listening) {
                        sockets.of(table).insert(port, "?".to_owned());
                    }
                }
                _ => {}
            }
        }
        sockets
    }

    fn of(&mut self, kind: &str) -> &mut BTreeMap<u16, String> {
        if kind.starts_with("udp") { &mut self.udp } else { &mut self.tcp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_read_from_ss_and_from_the_kernel() {
        let ss = "filesystem tmpfs tmpfs 1024000 0 1024000 0% /\n\
                  Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n\
                  udp UNCONN 0 0 0.0.0.0:8472 0.0.0.0:*\n\
                  tcp LISTEN 0 4096 *:6443 *:* users:((\"kube-apiserver\",pid=7,fd=3))\n\
                  tcp LISTEN 0 128 [::]:22 [::]:* users:((\"sshd\",pid=79,fd=4),(\"systemd\",pid=1,fd=9))";
        let vxlan = BTreeMap::from([(8472, "?".to_owned())]);
        let tcp = [(22, "sshd"), (6443, "kube-apiserver")].map(|(port, owner)| (port, owner.to_owned()));
        assert_eq!(Sockets::parse(ss), Sockets { tcp: tcp.into(), udp: vxlan.clone() });

        let kernel = "==> /proc/net/tcp <==\n  sl  local_address rem_address   st tx_queue\n   0: 00000000:192B 00000000:0000 0A 0:0\n   1: 0100007F:0016 0100007F:C2A8 01 0:0\n\
                      ==> /proc/net/udp6 <==\n1: 00:2118 00:0000 07 0:0\n";
        let tcp = BTreeMap::from([(6443, "?".to_owned())]);
        assert_eq!(Sockets::parse(kernel), Sockets { tcp, udp: vxlan }, "a connection is no listener");
    }
}
