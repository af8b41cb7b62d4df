//! Which network card has an address: what the kernel knows of those that it has spoken with (`/proc/net/arp` of proc(5)).

use std::fs;
use std::net::Ipv4Addr;

use muster_netboot::Mac;

/// The card that has an address on an interface, where the kernel knows it.
pub fn card_of(address: Ipv4Addr, interface: &str) -> Option<Mac> {
    // That of this thread's network.
    find(&fs::read_to_string("/proc/thread-self/net/arp").ok()?, address, interface)
}

fn find(table: &str, address: Ipv4Addr, interface: &str) -> Option<Mac> {
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (known, card) = (words.next()?, words.nth(2)?);
        let is_it = known.parse() == Ok(address) && words.next_back() == Some(interface);
        // One that does not answer has only zeros, which is no address.
        is_it.then(|| card.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_found_by_its_address_on_the_interface() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     192.0.2.7        0x1         0x0         00:00:00:00:00:00     *        eth1\n\
                     192.0.2.4        0x1         0x2         52:54:00:12:34:99     *        eth0\n\
                     192.0.2.4        0x1         0x2         52:54:00:12:34:56     *        eth1\n";
        let card = |last| find(table, Ipv4Addr::new(192, 0, 2, last), "eth1").map(|mac| mac.to_string());
        assert_eq!(card(4).as_deref(), Some("52:54:00:12:34:56"));
        assert_eq!((card(7), card(5)), (None, None));
    }
}
