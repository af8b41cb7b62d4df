//! Machines that are far away behind a bad line. Kernels without netem have a queue for packets (nfnetlink_queue): the
//! packet filter puts them there, and a program says when each goes on, or that it is lost.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Packets of SSH, as the controller's packet filter sees them.
const RULES: [&str; 2] =
    ["OUTPUT -p tcp --dport 22 -j NFQUEUE --queue-num 7", "INPUT -p tcp --sport 22 -j NFQUEUE --queue-num 7"];
const QUEUE: u16 = 7;

/// Machines that are far away from whoever is in a network namespace, until this is dropped.
pub(crate) struct FarAway {
    namespace: PathBuf,
    over: Arc<AtomicBool>,
    line: Option<JoinHandle<io::Result<Passed>>>,
}

/// What went over the line.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
}

impl FarAway {
    /// Each packet of SSH takes `delay` longer, in both directions, and one of `lost` is lost.
    pub(crate) fn begin(namespace: PathBuf, delay: Duration, lost: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (inside, ended) = (namespace.clone(), over.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let line = std::thread::spawn(move || {
            // Of this thread alone.
            move_into_link_name_space(File::open(inside)?.as_fd(), Some(LinkNameSpaceType::Network))?;
            let queue = Queue::bind()?;
            ready.send(()).ok();
            queue.pass(delay, lost, &ended)
        });
        let mut far_away = Self { namespace, over, line: Some(line) };
        assert!(is_ready.recv().is_ok(), "the queue cannot be had: {:?}", far_away.stop());
        far_away.filter("-I");
        far_away
    }

    /// Brings the machines near again.
    pub(crate) fn end(mut self) -> Passed {
        self.stop().expect("it was not ended before").expect("the line").expect("the queue")
    }

    fn stop(&mut self) -> Option<std::thread::Result<io::Result<Passed>>> {
        let line = self.line.take()?;
        self.filter("-D");
        self.over.store(true, Ordering::Relaxed);
        Some(line.join())
    }

    fn filter(&self, action: &str) {
        for rule in RULES {
            let mut inside = Command::new("nsenter");
            inside.arg(format!("--net={}", self.namespace.display())).args(["iptables", action]);
            let status = inside.args(rule.split(' ')).status();
            assert!(status.is_ok_and(|status| status.success()) || action == "-D", "{action} {rule}");
        }
    }
}

impl Drop for FarAway {
    fn drop(&mut self) {
        self.stop();
    }
}

// From linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nfnetlink_queue.h.
const NLMSG_ERROR: u16 = 2;
const PACKET: u16 = 3 << 8;
const VERDICT: u16 = 3 << 8 | 1;
const CONFIG: u16 = 3 << 8 | 2;
const REQUEST: u16 = 1;
const REQUEST_AND_ACK: u16 = 1 | 4;
const NFQA_CFG_CMD: u16 = 1;
const NFQA_CFG_PARAMS: u16 = 2;
const NFQA_CFG_QUEUE_MAXLEN: u16 = 3;
const NFQA_PACKET_HDR: u16 = 1;
const NFQA_VERDICT_HDR: u16 = 2;
const NFQNL_CFG_CMD_BIND: u8 = 1;
const NFQNL_COPY_META: u8 = 1;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// How many packets may be on their way: none is to be lost but those that we lose.
const LONGEST: u32 = 100_000;

/// A queue of the kernel, which tells of each packet by a number.
struct Queue(OwnedFd);

impl Queue {
    fn bind() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )?;
        set_socket_recv_buffer_size_force(&socket, 64 << 20)?;
        let queue = Self(socket);
        let params: Vec<u8> = [&u32::MAX.to_be_bytes()[..], &[NFQNL_COPY_META]].concat();
        let config = [
            attribute(NFQA_CFG_CMD, &[NFQNL_CFG_CMD_BIND, 0, 0, 0]),
            attribute(NFQA_CFG_PARAMS, &params),
            attribute(NFQA_CFG_QUEUE_MAXLEN, &LONGEST.to_be_bytes()),
        ];
        queue.send(CONFIG, REQUEST_AND_ACK, &config.concat())?;
        let mut buffer = vec![0; 1 << 16];
        let (_, length) = recv(&queue.0, &mut buffer, RecvFlags::empty())?;
        for (kind, body) in messages(&buffer[..length]) {
            let status = body.first_chunk().map_or(0, |status| i32::from_ne_bytes(*status));
            if kind == NLMSG_ERROR && status != 0 {
                return Err(io::Error::from_raw_os_error(-status));
            }
        }
        set_socket_timeout(&queue.0, Timeout::Recv, Some(Duration::from_millis(1)))?;
        Ok(queue)
    }

    /// Lets packets pass, or loses them, until it is over.
    fn pass(&self, delay: Duration, lost: u64, over: &AtomicBool) -> io::Result<Passed> {
        let (mut passed, mut dice) = (Passed::default(), 0x2545_F491_4F6C_DD1D_u64);
        let mut on_their_way = VecDeque::new();
        let mut buffer = vec![0; 1 << 16];
        while !over.load(Ordering::Relaxed) || !on_their_way.is_empty() {
            match recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Ok((_, length)) => {
                    for number in messages(&buffer[..length]).filter_map(packet) {
                        dice ^= dice << 13;
                        dice ^= dice >> 7;
                        dice ^= dice << 17;
                        if dice % lost == 0 {
                            passed.lost += 1;
                            self.verdict(number, NF_DROP)?;
                        } else {
                            on_their_way.push_back((Instant::now() + delay, number));
                        }
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            while let Some((_, number)) = on_their_way.pop_front_if(|(due, _)| *due <= Instant::now()) {
                passed.delivered += 1;
                self.verdict(number, NF_ACCEPT)?;
            }
        }
        Ok(passed)
    }

    fn verdict(&self, number: u32, verdict: u32) -> io::Result<()> {
        let header = [verdict.to_be_bytes(), number.to_be_bytes()].concat();
        self.send(VERDICT, REQUEST, &attribute(NFQA_VERDICT_HDR, &header))
    }

    fn send(&self, kind: u16, flags: u16, attributes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(20 + attributes.len()).expect("a short message");
        let header = [
            &length.to_ne_bytes()[..],
            &kind.to_ne_bytes(),
            &flags.to_ne_bytes(),
            // Sequence, sender; family, version.
            &[0; 8],
            &[0; 2],
            &QUEUE.to_be_bytes(),
        ];
        let message = [&header.concat(), attributes].concat();
        send(&self.0, &message, SendFlags::empty())?;
        Ok(())
    }
}

/// An attribute, filled up to a multiple of four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("a short attribute");
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Splits at lengths, which count themselves, and of which `size` gives the first bytes; each piece begins at a multiple of
/// four bytes.
fn pieces(mut bytes: &[u8], size: impl Fn(&[u8]) -> Option<usize>) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = size(bytes).filter(|length| (4..=bytes.len()).contains(length))?;
        let piece = &bytes[..length];
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(piece)
    })
}

/// Kind and body of each message.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let size = |bytes: &[u8]| Some(u32::from_ne_bytes(*bytes.first_chunk()?) as usize);
    pieces(bytes, size).filter_map(|message| {
        let kind = u16::from_ne_bytes([*message.get(4)?, *message.get(5)?]);
        Some((kind, message.get(16..)?))
    })
}

/// The number of a packet that a message tells of.
fn packet((kind, body): (u16, &[u8])) -> Option<u32> {
    let size = |bytes: &[u8]| Some(usize::from(u16::from_ne_bytes(*bytes.first_chunk()?)));
    let mut attributes = pieces(body.get(4..)?, size);
    let header = attributes.find(|attribute| attribute.get(2..4) == Some(&NFQA_PACKET_HDR.to_ne_bytes()))?;
    (kind == PACKET).then_some(u32::from_be_bytes(*header.get(4..)?.first_chunk()?))
}
