//! Making a connection: dial (or go through a jump host), exchange keys, log in; again where that may help. And
//! opening channels on it.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::future::BoxFuture;
use russh::client::{self, Handle};
use russh::keys::ssh_key::Algorithm;
use russh::{ChannelOpenFailure, Disconnect, Preferred, SshId, cipher, compression};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::auth::{self, NoLogin};
use super::exec::Session;
use super::gate::{Fate, Gate, host_name};
use super::known_hosts::KnownHosts;
use super::limiter::Permit;
use super::privilege::{self, Request};
use super::proxy_command;
use super::wire::{Greeting, Meter, Wire};
use super::{Client, Retry, Ssh, Target};
use crate::advice::Advice;
use crate::script::nonce;
use crate::transport::TransportError;

/// Channels at once on a connection. sshd allows 10 (`MaxSessions`, sshd_config(5)), and may still count some that
/// have just ended.
const MOST_CHANNELS: usize = 8;
/// Attempts in all when something on the way cuts handshakes off, as sshd does when it has too many.
const ATTEMPTS_CHOKED: usize = 10;
/// Attempts in all when nobody listens: a machine that boots, or an sshd that is restarted, is there in a second.
const ATTEMPTS_REFUSED: usize = 3;
/// A machine that is on answers a dial within this time, or loses a packet (TCP repeats the first after a second,
/// RFC 6298).
const SOON: Duration = Duration::from_secs(1);
/// A login may wait for the user's answer to the agent, for PAM and for directories; sshd's own limit is this
/// (`LoginGraceTime`, sshd_config(5)).
const LOGIN_TIMEOUT: Duration = Duration::from_secs(120);
/// Attempts to open a channel that the server refuses although none of ours is open: it may not yet have noticed that
/// the last one ended.
const ATTEMPTS_CHANNEL: u32 = 9;
/// The same, before a connection with programs that were given up is replaced.
const ATTEMPTS_RETIRE: u32 = 4;

/// A connection, logged in.
pub(super) struct Connection {
    handle: Handle<Gate>,
    address: String,
    fate: Arc<Fate>,
    /// Places for channels; fewer once the server refused one.
    places: Arc<Semaphore>,
    allowed: AtomicUsize,
    /// Programs given up that may still run over there: sshd counts them until they end.
    abandoned: AtomicUsize,
    /// Nothing more can be opened on it; what runs goes on.
    retired: AtomicBool,
    /// The server has few places: none is taken before it is needed.
    sparing: AtomicBool,
    /// The jump host that the stream goes through. Held so that the machines behind it share one connection to it.
    _jump: Option<Jump>,
}

/// What came of asking for a channel.
enum Opened {
    Session(Box<Session>),
    /// The server allows no more. The place that was to be taken.
    Refused(OwnedSemaphorePermit),
}

type Jump = (Arc<Ssh>, Arc<Connection>);

/// Why an attempt failed.
enum Trouble {
    /// Trying again does not help.
    Final(TransportError),
    /// It may pass: why, how often to try, what to do if it does not.
    Passing { reason: String, attempts: usize, remedy: String },
}

/// Connects and logs in, trying again where that may help.
pub(super) fn connect<'a>(
    client: &'a Arc<Client>,
    target: &'a Target,
    meter: &'a Arc<Meter>,
) -> BoxFuture<'a, Result<Connection, TransportError>> {
    Box::pin(async move {
        let mut attempt = 1;
        loop {
            let (reason, attempts, remedy) = match attempt_once(client, target, meter).await {
                Ok(connection) => return Ok(connection),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { reason, attempts, remedy }) => (reason, attempts, remedy),
            };
            if attempt >= attempts {
                let tries = if attempt > 1 { format!(" ({attempt} attempts)") } else { String::new() };
                return Err(unreachable(target, format!("{reason}{tries}"), remedy));
            }
            let delay = backoff(attempt);
            if let Some(on_retry) = &client.options.on_retry {
                on_retry(&Retry { address: target.address(), reason, attempt, attempts, delay });
            }
            sleep(delay).await;
            attempt += 1;
        }
    })
}

/// Twice as long each time, up to five seconds, and between half and all of that by chance: machines cut off together
/// must not come back together.
fn backoff(attempt: usize) -> Duration {
    let longest = Duration::from_millis(250 << attempt.min(5)).min(Duration::from_secs(5));
    let chance = u32::from_str_radix(&nonce()[..4], 16).unwrap_or(0);
    longest / 2 + longest / 2 * chance / 0xffff
}

async fn attempt_once(
    client: &Arc<Client>,
    target: &Target,
    meter: &Arc<Meter>,
) -> Result<Connection, Trouble> {
    let limit = patience(client, target);
    match (target.nearest_jump(), &target.proxy_command) {
        (None, Some(command)) => through_program(client, target, meter, command).await,
        (None, None) => {
            let (stream, permit) = with_permit(client, dial(target, limit)).await?;
            handshake(client, target, meter, stream, None, permit).await
        }
        (Some(jump), _) => {
            let jump = client.jump(jump);
            // Before the permit: the jump host's own handshake needs one too.
            let through = jump.connection().await.map_err(|error| Trouble::Final(behind(target, &error)))?;
            let (stream, permit) = with_permit(client, tunnel(&through, target, limit)).await?;
            handshake(client, target, meter, stream, Some((jump, through)), permit).await
        }
    }
}

/// How long a machine may take to answer.
fn patience(client: &Client, target: &Target) -> Duration {
    target.connect_timeout.unwrap_or(client.options.connect_timeout)
}

/// Dials with leave for the handshake that follows. A machine that does not answer soon gives it back meanwhile: those
/// that are off must not keep the others waiting.
async fn with_permit<S>(
    client: &Client,
    dialling: impl Future<Output = Result<S, Trouble>>,
) -> Result<(S, Permit), Trouble> {
    let permit = client.handshakes.acquire().await;
    tokio::pin!(dialling);
    match timeout(SOON, &mut dialling).await {
        Ok(stream) => Ok((stream?, permit)),
        Err(_) => {
            drop(permit);
            let stream = dialling.await?;
            Ok((stream, client.handshakes.acquire().await))
        }
    }
}

/// The jump host's trouble, as that of the machine behind it.
fn behind(target: &Target, error: &TransportError) -> TransportError {
    let remedy = error.remedy().cloned().unwrap_or_else(|| "run again".into());
    unreachable(target, format!("its jump host cannot be used: {error}"), remedy)
}

fn unreachable(target: &Target, reason: String, remedy: impl Into<Advice>) -> TransportError {
    TransportError::Unreachable { address: target.address(), reason, remedy: remedy.into() }
}

/// Opens a TCP connection, to the first of the name's addresses that answers.
async fn dial(target: &Target, limit: Duration) -> Result<TcpStream, Trouble> {
    let Target { host, port, .. } = target;
    let silent = || {
        let reason = format!("no answer within {} s", limit.as_secs_f32());
        let remedy =
            format!("is it switched on and in this network (ping {host})? does a firewall drop port {port}?");
        Trouble::Final(unreachable(target, reason, remedy))
    };
    let looked_up = timeout(limit, lookup_host((host.as_str(), *port))).await.map_err(|_| silent())?;
    let addresses: Vec<_> = looked_up.map_err(|error| name_trouble(target, &error))?.collect();
    let share = limit / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let mut trouble = silent();
    for address in addresses {
        trouble = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(error) => dial_trouble(target, &error),
            },
            Ok(Err(error)) => dial_trouble(target, &error),
            Err(_) => silent(),
        };
    }
    Err(trouble)
}

fn name_trouble(target: &Target, error: &io::Error) -> Trouble {
    let host = &target.host;
    // The last part of a name is never a number (RFC 3696, 2).
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if host.rsplit('.').next().is_some_and(is_number) {
        let remedy = "an address is four numbers of at most 255, or IPv6".to_owned();
        return Trouble::Final(unreachable(target, format!("{host} is no address"), remedy));
    }
    let address = target.known_address.map(|address| format!(": ansible_host={address}")).unwrap_or_default();
    let text = error.to_string();
    // getaddrinfo(3) has codes for it, but std passes on their text only.
    if text.contains("Temporary failure") || text.contains("Try again") {
        let reason = format!("the name {host} could not be looked up (temporary failure in name resolution)");
        let remedy = format!(
            "does the controller's name server answer (/etc/resolv.conf)? or give the address with ansible_host{address}"
        );
        return Trouble::Passing { reason, attempts: ATTEMPTS_REFUSED, remedy };
    }
    let remedy = format!("give its address with ansible_host{address}, or add the name to DNS or /etc/hosts");
    Trouble::Final(unreachable(target, format!("the name {host} is not known"), remedy))
}

fn dial_trouble(target: &Target, error: &io::Error) -> Trouble {
    let Target { host, port, .. } = target;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Trouble::Passing {
            reason: format!("connection refused: nothing listens on port {port}"),
            attempts: ATTEMPTS_REFUSED,
            remedy: "start sshd there (systemctl start ssh), or name the right port with ansible_port".to_owned(),
        },
        io::ErrorKind::ConnectionReset => choked(target, error.to_string()),
        io::ErrorKind::HostUnreachable => Trouble::Final(unreachable(
            target,
            "no route to it: nobody has this address".to_owned(),
            format!("is it switched on and in this network (ping {host})?"),
        )),
        io::ErrorKind::NetworkUnreachable => Trouble::Final(unreachable(
            target,
            "its network is unreachable from here".to_owned(),
            "check the controller's routes (ip route), or go through a jump host (ansible_ssh_common_args=-J ...)".to_owned(),
        )),
        _ => Trouble::Final(unreachable(target, error.to_string(), format!("try `ssh -v -p {port} {host}`"))),
    }
}

/// Something cut the handshake off.
fn choked(target: &Target, reason: String) -> Trouble {
    Trouble::Passing {
        reason,
        attempts: ATTEMPTS_CHOKED,
        remedy: format!(
            "sshd drops connections when too many log in at once (MaxStartups), after failed logins \
             (PerSourcePenalties, fail2ban), or when it cannot start: see `journalctl -u ssh` on {}",
            target.host
        ),
    }
}

/// Opens a stream to a machine through a jump host.
async fn tunnel(
    through: &Arc<Connection>,
    target: &Target,
    limit: Duration,
) -> Result<russh::ChannelStream<client::Msg>, Trouble> {
    let jump = &through.address;
    let remedy = || format!("try `ssh -v -J {jump} {}`; the jump host looks names up itself", target.host);
    // A task of its own, because a channel whose opening is given up half-way would stay open: dropped as a stream it
    // is closed.
    let opening = tokio::spawn({
        let (through, host, port) = (Arc::clone(through), target.host.clone(), target.port.into());
        async move {
            let channel = through.handle.channel_open_direct_tcpip(host, port, "127.0.0.1", 0).await?;
            Ok(channel.into_stream())
        }
    });
    let opened = timeout(limit, opening).await.map(|opened| opened.unwrap_or(Err(russh::Error::Disconnect)));
    match opened {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))) => {
            let remedy = format!("allow it there (AllowTcpForwarding yes, in sshd_config of {jump})");
            Err(Trouble::Final(unreachable(target, format!("its jump host {jump} does not forward"), remedy)))
        }
        Ok(Err(russh::Error::ChannelOpenFailure(_))) => Err(Trouble::Passing {
            reason: format!("its jump host {jump} cannot connect to it"),
            attempts: ATTEMPTS_REFUSED,
            remedy: remedy(),
        }),
        Ok(Err(_)) => Err(Trouble::Passing {
            reason: format!("the connection to its jump host {jump} was lost ({})", through.fate.reason()),
            attempts: ATTEMPTS_REFUSED,
            remedy: remedy(),
        }),
        Err(_) => {
            let reason = format!("its jump host {jump} did not reach it within {} s", limit.as_secs_f32());
            Err(Trouble::Final(unreachable(target, reason, remedy())))
        }
    }
}

/// Connects through the user's own program.
async fn through_program(
    client: &Arc<Client>,
    target: &Target,
    meter: &Arc<Meter>,
    command: &str,
) -> Result<Connection, Trouble> {
    let remedy = || format!("see what it does by hand: `{command}`");
    let permit = client.handshakes.acquire().await;
    let (stream, said) = proxy_command::start(command).map_err(|error| {
        Trouble::Final(unreachable(target, format!("its ProxyCommand cannot be started: {error}"), remedy()))
    })?;
    match handshake(client, target, meter, stream, None, permit).await {
        // Nothing was cut off by a server with too many: the program did not get through.
        Err(Trouble::Passing { reason, .. }) => {
            let said = timeout(SOON, said).await.ok().and_then(Result::ok).unwrap_or_default();
            // It ends in a message for a terminal.
            let clean = |line: &str| line.trim().chars().filter(|c| !c.is_control()).collect::<String>();
            let last = said.lines().rfind(|line| !line.trim().is_empty()).map(clean);
            let reason = last.map_or(reason, |last| format!("its ProxyCommand says: {last}"));
            Err(Trouble::Passing { reason, attempts: ATTEMPTS_REFUSED, remedy: remedy() })
        }
        attempt => attempt,
    }
}

/// Exchanges keys and logs in on a fresh stream.
async fn handshake<S>(
    client: &Arc<Client>,
    target: &Target,
    meter: &Arc<Meter>,
    stream: S,
    jump: Option<Jump>,
    permit: Permit,
) -> Result<Connection, Trouble>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (fate, greeting, cut) = (Arc::new(Fate::default()), Greeting::default(), CancellationToken::new());
    // Whatever ends this function early, a timeout or the caller's loss of interest, ends the session too.
    let cut_off = cut.clone().drop_guard();
    let known_hosts = client.known_hosts(target).map_err(|error| {
        let remedy = "make it readable, or name another one (UserKnownHostsFile)".to_owned();
        Trouble::Final(unreachable(target, format!("its known host keys cannot be read: {error}"), remedy))
    })?;
    let config = config(client, &known_hosts, target);
    let silence =
        config.keepalive_interval.unwrap_or_default() * u32::try_from(target.unanswered).unwrap_or(u32::MAX);
    let wire = Wire::new(stream, Arc::clone(meter), greeting.clone(), cut, silence);
    let gate = Gate::new(Arc::clone(client), known_hosts, target.clone(), Arc::clone(&fate));
    let limit = patience(client, target);
    let mut handle = match timeout(limit, client::connect_stream(config, wire, gate)).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(error)) => {
            let trouble = kex_trouble(target, &fate, &greeting.text(), &error);
            if let Trouble::Passing { .. } = trouble {
                permit.choked();
            }
            return Err(trouble);
        }
        Err(_) => {
            let greeted = !greeting.text().is_empty();
            let what = if greeted {
                "did not go through with the key exchange"
            } else {
                "accepts connections, but says nothing"
            };
            let reason = format!("it {what} within {} s", limit.as_secs_f32());
            let remedy = format!(
                "is it overloaded, or is port {} not sshd's? try `ssh -v -p {} {}`",
                target.port, target.port, target.host
            );
            // An sshd that is there and is that slow has too much to do, often because of all our other handshakes: then fewer
            // of them at once help.
            if greeted || permit.is_crowded() {
                permit.choked();
                return Err(Trouble::Passing { reason, attempts: ATTEMPTS_REFUSED, remedy });
            }
            return Err(Trouble::Final(unreachable(target, reason, remedy)));
        }
    };
    match timeout(LOGIN_TIMEOUT, auth::log_in(&mut handle, client, target, &fate)).await {
        Ok(Ok(())) => {}
        Ok(Err(NoLogin::Refused(error))) => return Err(Trouble::Final(error)),
        Ok(Err(NoLogin::Lost)) => {
            permit.choked();
            return Err(choked(target, format!("the connection ended during the login ({})", fate.reason())));
        }
        Err(_) => {
            let reason = format!("the login did not end within {} s", LOGIN_TIMEOUT.as_secs());
            let remedy =
                "does the agent wait for an answer? does the machine reach its directory (LDAP)?".to_owned();
            return Err(Trouble::Final(unreachable(target, reason, remedy)));
        }
    }
    permit.clean();
    meter.handshakes.fetch_add(1, Ordering::Relaxed);
    cut_off.disarm();
    Ok(Connection {
        handle,
        address: target.address(),
        fate,
        places: Arc::new(Semaphore::new(MOST_CHANNELS)),
        allowed: AtomicUsize::new(MOST_CHANNELS),
        abandoned: AtomicUsize::new(0),
        retired: AtomicBool::new(false),
        sparing: AtomicBool::new(false),
        _jump: jump,
    })
}

/// What a failed key exchange means.
fn kex_trouble(target: &Target, fate: &Fate, greeting: &str, error: &russh::Error) -> Trouble {
    if let Some(refused) = fate.refused.get() {
        return Trouble::Final(refused.clone());
    }
    let said = greeting.lines().next().unwrap_or("").trim();
    if !greeting.is_empty() && !greeting.contains("SSH-") {
        // What OpenSSH says instead of its version when it has too many, or has had enough of us.
        if said.contains("MaxStartups") || said.contains("Not allowed at this time") {
            return choked(target, format!("sshd says: {said}"));
        }
        let said: String = said.chars().filter(|c| !c.is_control()).take(60).collect();
        let remedy = format!("name the port of sshd with ansible_port; {} is something else's", target.port);
        return Trouble::Final(unreachable(target, format!("not an SSH server: it says {said:?}"), remedy));
    }
    match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => Trouble::Final(unreachable(
            target,
            format!("no common {kind:?} algorithm: it offers {}", theirs.join(", ")),
            "its sshd is too old, or its configuration too narrow: allow one of OpenSSH's defaults"
                .to_owned(),
        )),
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_) | russh::Error::SendError => {
            let farewell = fate.farewell().map(|said| format!(" ({said})")).unwrap_or_default();
            choked(target, format!("it closed the connection during the handshake{farewell}"))
        }
        other => {
            let remedy = format!("try `ssh -v -p {} {}`", target.port, target.host);
            Trouble::Final(unreachable(target, format!("the key exchange failed: {other}"), remedy))
        }
    }
}

/// Ciphers by speed on this machine: AES-GCM where the processor has instructions for it.
static CIPHERS: LazyLock<Vec<cipher::Name>> = LazyLock::new(|| {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    let aes = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    let aes = false;
    let mut ciphers = Preferred::DEFAULT.cipher.to_vec();
    if aes {
        ciphers.retain(|name| *name != cipher::AES_256_GCM);
        ciphers.insert(0, cipher::AES_256_GCM);
    }
    ciphers
});

fn config(client: &Client, known_hosts: &KnownHosts, target: &Target) -> Arc<client::Config> {
    let (known, authority) = known_hosts.algorithms(&host_name(target));
    // Kinds of host key already known come first: a server that has several must show one that can be compared.
    // Without the key kind RSA-SHA1, which nobody should prove anything with any more.
    let mut kinds: Vec<Algorithm> = Preferred::DEFAULT.key.to_vec();
    kinds.retain(|kind| *kind != Algorithm::Rsa { hash: None });
    kinds.sort_by_key(|kind| !known.iter().any(|known| same_kind(known, kind)));
    let certificates = if authority { kinds.clone() } else { Vec::new() };
    Arc::new(client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-muster_", env!("CARGO_PKG_VERSION")))),
        nodelay: true,
        inactivity_timeout: None,
        keepalive_interval: Some(target.keepalive.unwrap_or(client.options.keepalive)),
        keepalive_max: target.unanswered,
        preferred: Preferred {
            key: kinds.into(),
            host_key_certificates: certificates.into(),
            cipher: CIPHERS.clone().into(),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    })
}

/// Whether a key of the one kind can be shown with the other: RSA keys know no hash, signatures do.
fn same_kind(key: &Algorithm, kind: &Algorithm) -> bool {
    matches!((key, kind), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })) || key == kind
}

impl Connection {
    /// Whether programs can be sent over it.
    pub(super) fn is_usable(&self) -> bool {
        !self.handle.is_closed() && !self.retired.load(Ordering::Relaxed)
    }

    /// Notes that a program was given up before its end.
    pub(super) fn abandon(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens a channel for a program. Waits where the server allows no more at once than are open. Where programs that
    /// were given up fill what it allows, the connection is retired: a new one has places again.
    pub(super) async fn open(self: &Arc<Self>, target: &Target) -> Result<Session, TransportError> {
        let mut refusals = 0;
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| self.lost())?;
            let place = match self.try_open(place, privilege::request(target)?).await? {
                Opened::Session(session) => return Ok(*session),
                Opened::Refused(place) => place,
            };
            refusals += 1;
            let open = self.allowed.load(Ordering::Relaxed) - self.places.available_permits();
            if open > 1 {
                // The others of ours fill what the server allows (MaxSessions): this place does not exist, and the
                // next one is free when one of them ends.
                self.allowed.fetch_sub(1, Ordering::Relaxed);
                place.forget();
            } else if refusals >= ATTEMPTS_RETIRE && self.abandoned.load(Ordering::Relaxed) > 0 {
                self.retired.store(true, Ordering::Relaxed);
                return Err(self.lost());
            } else if refusals < ATTEMPTS_CHANNEL {
                sleep(Duration::from_millis(10 << refusals)).await;
            } else {
                return Err(self.denied());
            }
        }
    }

    /// Opens a channel for a program to come, if there is a place to spare; otherwise never mind.
    pub(super) async fn open_spare(self: Arc<Self>, request: Request) -> Option<Session> {
        if self.sparing.load(Ordering::Relaxed) {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        match self.try_open(place, request).await {
            Ok(Opened::Session(mut session)) => {
                session.send_password().await;
                Some(*session)
            }
            Ok(Opened::Refused(_)) => {
                self.sparing.store(true, Ordering::Relaxed);
                None
            }
            Err(_) => None,
        }
    }

    /// Opens a channel unless the server refuses. In a task of its own, because a channel whose opening is given up
    /// half-way would stay open: dropped as a session it is closed.
    async fn try_open(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        request: Request,
    ) -> Result<Opened, TransportError> {
        let connection = Arc::clone(self);
        let opening = tokio::spawn(async move {
            match connection.handle.channel_open_session().await {
                Ok(channel) => {
                    let session = Session::start(channel, place, connection, request).await?;
                    Ok(Opened::Session(Box::new(session)))
                }
                Err(russh::Error::ChannelOpenFailure(_)) => Ok(Opened::Refused(place)),
                Err(_) => Err(connection.lost()),
            }
        });
        opening.await.unwrap_or_else(|_| Err(self.lost()))
    }

    /// Says goodbye.
    pub(super) async fn close(&self) {
        // Failing means that the other side was faster.
        self.handle.disconnect(Disconnect::ByApplication, "", "en").await.ok();
    }

    pub(super) fn lost(&self) -> TransportError {
        TransportError::Lost { address: self.address.clone(), reason: self.fate.reason() }
    }

    /// The channel was closed and the connection goes on, but how the program ended was not told.
    pub(super) fn no_status(&self) -> TransportError {
        let reason = "the program's end was not told".to_owned();
        TransportError::Lost { address: self.address.clone(), reason }
    }

    /// The server runs no programs for us.
    pub(super) fn denied(&self) -> TransportError {
        TransportError::Unreachable {
            address: self.address.clone(),
            reason: "logged in, but the server opens no session".to_owned(),
            remedy:
                "see MaxSessions, PermitTTY, ForceCommand and `no-...` options of the key in sshd_config and \
                     authorized_keys on the machine"
                    .into(),
        }
    }
}
