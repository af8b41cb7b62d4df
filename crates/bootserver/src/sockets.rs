//! Sockets that are bound to one interface: nothing comes in or goes out by another one, whatever addresses and routes there are
//! (`SO_BINDTODEVICE` of socket(7)).

use std::io;
use std::net::{SocketAddrV4, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// How many may wait to be answered.
const WAITING: i32 = 128;

/// Listens for HTTP at an address of an interface, and on that interface alone.
///
/// # Errors
/// The port is taken, or the interface does not have the address.
pub fn listen(interface: &str, address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    // As std does it: connections of an earlier run that linger are no hindrance.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(WAITING)?;
    Ok(socket.into())
}

/// A UDP socket of an interface that may send to everybody there.
pub(crate) fn broadcast(interface: &str, address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_broadcast(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// That nobody has a UDP port of an interface at this address, or at any where it is unspecified. It is taken for a moment, and let
/// go.
///
/// # Errors
/// Somebody has it.
pub fn udp_port_is_free(interface: &str, address: SocketAddrV4) -> io::Result<()> {
    broadcast(interface, address).map(drop)
}
