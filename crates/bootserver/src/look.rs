//! Who else answers machines that boot: a question as a machine's firmware asks it, and the answers to it (RFC 2131; RFC 4578 for
//! the options of PXE). Nothing is ever taken of what is offered.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant, SystemTime};

use muster_netboot::Mac;

use crate::interface::Interface;
use crate::sockets::broadcast;

/// The ports of DHCP servers and clients.
const SERVER: u16 = 67;
const CLIENT: u16 = 68;

/// The length of a message without options, and what stands before these.
const HEAD: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// How long an answer takes at most: servers look for up to three seconds whether somebody has an address before they offer it.
const PATIENCE: Duration = Duration::from_secs(5);
/// After how long the question is repeated, which may have been lost.
const AGAIN: Duration = Duration::from_secs(2);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Whose it is.
    pub server: Ipv4Addr,
    /// The address that is offered; none from a server that only says what to boot.
    pub address: Option<Ipv4Addr>,
    /// What it says to boot, or `PXE` where that is to be asked for next.
    pub boot: Option<String>,
}

/// Asks on an interface who is there, and gives every server that answers within five seconds. It is asked as this computer and, where
/// there is such, as a machine with this card: a server may answer the one and not the other, and switches may let only the one pass.
///
/// # Errors
/// The question cannot be asked: the interface has no card of Ethernet, or somebody has the port of DHCP clients.
pub fn look_for_servers(interface: &Interface, machine: Option<Mac>) -> io::Result<Vec<Offer>> {
    let Some(own) = interface.mac else {
        return Err(io::Error::other("it is no Ethernet"));
    };
    let socket = broadcast(&interface.name, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT))?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let id = since.subsec_nanos().to_be_bytes();
    let questions: Vec<Vec<u8>> =
        [Some(own), machine].into_iter().flatten().map(|mac| question(mac, id)).collect();
    let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER);
    let begun = Instant::now();
    let mut asked: Option<Instant> = None;
    let mut offers: Vec<Offer> = Vec::new();
    let mut buffer = [0; 2048];
    while begun.elapsed() < PATIENCE {
        if asked.is_none_or(|asked| asked.elapsed() >= AGAIN) {
            for question in &questions {
                socket.send_to(question, everybody)?;
            }
            asked = Some(Instant::now());
        }
        socket.set_read_timeout(Some(Duration::from_millis(250)))?;
        let Ok((length, SocketAddr::V4(peer))) = socket.recv_from(&mut buffer) else { continue };
        let offer = buffer.get(..length).and_then(|message| read(message, id, *peer.ip()));
        offers.extend(offer.filter(|offer| !offers.contains(offer)));
    }
    Ok(offers)
}

/// What a BIOS asks that boots from the network.
fn question(mac: Mac, id: [u8; 4]) -> Vec<u8> {
    let mut message = vec![0; HEAD];
    // A request, of Ethernet, with addresses of six bytes.
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[4..8].copy_from_slice(&id);
    // The answer is to go to everybody, because nobody has the offered address.
    message[10] = 0x80;
    message[28..34].copy_from_slice(&mac.bytes());
    message.extend(MAGIC);
    let mut option = |code: u8, content: &[u8]| {
        message.extend([code, content.len() as u8]);
        message.extend(content);
    };
    option(53, &[1]);
    option(55, &[1, 3, 54, 66, 67]);
    option(60, b"PXEClient:Arch:00000:UNDI:002001");
    option(93, &[0, 0]);
    option(94, &[1, 2, 1]);
    message.push(255);
    message.resize(300, 0);
    message
}

/// What an answer to the question with this id says.
fn read(message: &[u8], id: [u8; 4], peer: Ipv4Addr) -> Option<Offer> {
    let (head, rest) = message.split_at_checked(HEAD)?;
    let mut rest = rest.strip_prefix(&MAGIC)?;
    if head[0] != 2 || head[4..8] != id {
        return None;
    }
    let (mut server, mut is_pxe, mut file) = (peer, false, text(&head[108..]));
    while let [code, tail @ ..] = rest {
        rest = match *code {
            255 => break,
            0 => tail,
            code => {
                let (length, tail) = tail.split_first()?;
                let (content, tail) = tail.split_at_checked(usize::from(*length))?;
                match (code, content) {
                    (54, &[a, b, c, d]) => server = Ipv4Addr::new(a, b, c, d),
                    (60, content) => is_pxe = content.starts_with(b"PXEClient"),
                    (67, content) => file = text(content),
                    _ => {}
                }
                tail
            }
        };
    }
    let offered = Ipv4Addr::new(head[16], head[17], head[18], head[19]);
    Some(Offer {
        server,
        address: Some(offered).filter(|address| !address.is_unspecified()),
        boot: file.or_else(|| is_pxe.then(|| "PXE".to_owned())),
    })
}

/// A text up to the zero that ends it; none where there is nothing.
fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(text).into_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 4] = [1, 2, 3, 4];

    /// An answer with these options behind those that all have.
    fn answer(options: &[u8]) -> Vec<u8> {
        let mut message = question("52:54:00:12:34:56".parse().unwrap(), ID);
        message.truncate(HEAD);
        message[0] = 2;
        [&message[..], &MAGIC, &[0, 53, 1, 2, 54, 4, 192, 0, 2, 9], options].concat()
    }

    #[test]
    fn an_answer_tells_whose_it_is_and_what_it_offers() {
        let peer = Ipv4Addr::new(192, 0, 2, 8);
        let mut server = answer(&[255]);
        server[16..20].copy_from_slice(&[192, 0, 2, 100]);
        let offer = read(&server, ID, peer).unwrap();
        assert_eq!(offer.server, Ipv4Addr::new(192, 0, 2, 9));
        assert_eq!((offer.address, offer.boot), (Some(Ipv4Addr::new(192, 0, 2, 100)), None));
        server[108..112].copy_from_slice(b"file");
        assert_eq!(read(&server, ID, peer).unwrap().boot.as_deref(), Some("file"));
        let proxy = read(&answer(b"\x3c\x09PXEClient\xff"), ID, peer).unwrap();
        assert_eq!((proxy.address, proxy.boot.as_deref()), (None, Some("PXE")));
        // One that ends in the middle of an option, that is for somebody else, and our own question.
        assert_eq!(read(&answer(b"\x43\x09P"), ID, peer), None);
        assert_eq!(read(&answer(&[255]), [0; 4], peer), None);
        assert_eq!(read(&question("52:54:00:12:34:56".parse().unwrap(), ID), ID, peer), None);
        assert_eq!(read(&server[..100], ID, peer), None);
    }
}
