//! Wake-on-LAN: the packet that switches a machine on whose card listens for it (AMD, "Magic Packet Technology", 1995).

use std::io;
use std::net::SocketAddrV4;

use ipnet::Ipv4Net;
use muster_netboot::Mac;

use crate::sockets::broadcast;

/// The port that is usual, discard (RFC 863): cards look at the content alone.
const PORT: u16 = 9;
/// Packets get lost, and nobody answers them.
const TIMES: usize = 3;

/// Sends the packets of these cards to everybody in a network of an interface.
///
/// # Errors
/// They cannot be sent.
pub fn wake(interface: &str, network: Ipv4Net, cards: &[Mac]) -> io::Result<()> {
    send(interface, network, PORT, cards)
}

fn send(interface: &str, network: Ipv4Net, port: u16, cards: &[Mac]) -> io::Result<()> {
    let socket = broadcast(interface, SocketAddrV4::new(network.addr(), 0))?;
    let everybody = SocketAddrV4::new(network.broadcast(), port);
    for card in cards.iter().cycle().take(cards.len() * TIMES) {
        socket.send_to(&packet(*card), everybody)?;
    }
    Ok(())
}

/// Six bytes of ones, and sixteen times the card's address.
fn packet(card: Mac) -> Vec<u8> {
    [&[0xff; 6][..], &card.bytes().repeat(16)].concat()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_packet_has_the_address_sixteen_times_and_is_sent_to_everybody() {
        let card: Mac = "52:54:00:12:34:56".parse().unwrap();
        let packet = packet(card);
        assert_eq!(
            (packet.len(), &packet[..8]),
            (102, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54][..])
        );
        assert_eq!(packet[96..], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let listener = UdpSocket::bind("0.0.0.0:0").unwrap();
        listener.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let port = listener.local_addr().unwrap().port();
        send("lo", "127.0.0.1/8".parse().unwrap(), port, &[card]).unwrap();
        let mut buffer = [0; 200];
        for _ in 0..TIMES {
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], packet);
        }
    }
}
