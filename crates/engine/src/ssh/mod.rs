//! SSH: programs run as root on a machine over one shared connection; or, where the machine is this computer, without one.
//!
//! This module and those below it are the only ones that know russh. What its use has taught:
//! - Nagle's algorithm must be off, or every small program waits for a delayed acknowledgement.
//! - A quiet session is not a dead one: no inactivity timeout, keepalives instead.
//! - Dropping a channel sends nothing; one that is given up must be closed, or sshd counts it for ever (`MaxSessions`).
//! - `Eof`, `ExitStatus` and `Close` come in any order; without a status the outcome is unknown.
//! - A session hands incoming data to all its channels in turn, so each channel must be read without pause.

mod arguments;
mod auth;
mod config;
mod connect;
mod exec;
mod follow;
mod gate;
mod keys;
mod known_hosts;
mod limiter;
mod local;
mod privilege;
mod proxy_command;
mod target;
mod throwaway;
mod variables;
mod wire;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio::task::JoinHandle;

pub use self::config::SshConfig;
pub use self::limiter::INITIAL_HANDSHAKES;
pub use self::target::{Agent, DEFAULT_PORT, HostKeyPolicy, Privilege, Target};
pub(crate) use self::throwaway::ThrowawayKey;
pub use self::variables::TargetError;

use self::connect::Connection;
use self::exec::Session;
use self::keys::KeyRing;
use self::known_hosts::KnownHosts;
use self::limiter::Handshakes;
use self::wire::Meter;
use crate::transport::{Exec, Exit, Program, Transport, TransportError};

/// Asked for the passphrase of an encrypted key file, at most once a file and run. May block.
pub type AskPassphrase = Arc<dyn Fn(&Path) -> Option<SecretString> + Send + Sync>;

/// Told before a connection that failed for a passing reason is tried again.
pub type OnRetry = Arc<dyn Fn(&Retry) + Send + Sync>;

/// A connection will be tried again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// `host:port` as dialled.
    pub address: String,
    /// Why the last attempt failed.
    pub reason: String,
    /// The number of the attempt that failed, from 1.
    pub attempt: usize,
    /// How many attempts there are at most.
    pub attempts: usize,
    /// How long until the next one.
    pub delay: Duration,
}

/// What all connections of a run have in common. Everything comes from the caller: nothing is read from the
/// environment or the home directory.
#[derive(Clone)]
pub struct SshOptions {
    /// Private keys to try for machines that name none themselves. Files that do not exist are passed over.
    pub identity_files: Vec<PathBuf>,
    /// The socket of an ssh-agent.
    pub agent_socket: Option<PathBuf>,
    /// Files of known host keys, in OpenSSH's format. New keys are written to the first one.
    pub known_hosts: Vec<PathBuf>,
    /// What to do about a host key that is not known.
    pub host_key_policy: HostKeyPolicy,
    /// How long a machine may take to answer a dial, and again to go through the key exchange.
    pub connect_timeout: Duration,
    /// How often a machine that says nothing is asked whether it is still there. After four questions without an answer
    /// the connection is lost.
    pub keepalive: Duration,
    /// Handshakes at once over all machines to begin with; the number adapts itself.
    pub handshakes: usize,
    /// Asked for passphrases of encrypted keys. Without it encrypted keys are used through the agent only.
    pub ask_passphrase: Option<AskPassphrase>,
    /// Told before each further attempt to connect.
    pub on_retry: Option<OnRetry>,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            identity_files: Vec::new(),
            agent_socket: None,
            known_hosts: Vec::new(),
            host_key_policy: HostKeyPolicy::AcceptNew,
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
            handshakes: INITIAL_HANDSHAKES,
            ask_passphrase: None,
            on_retry: None,
        }
    }
}

/// The controller's side of all connections: options, known hosts, keys, and how many handshakes may be under way.
pub struct Client {
    options: SshOptions,
    /// Those of the options, and those that machines have instead, by their files.
    known_hosts: Mutex<HashMap<Vec<PathBuf>, Arc<KnownHosts>>>,
    keys: KeyRing,
    handshakes: Arc<Handshakes>,
    /// Connections to jump hosts, shared by the machines behind them, by route.
    jumps: Mutex<HashMap<String, Weak<Ssh>>>,
    warnings: Mutex<Vec<String>>,
    /// Whether no host key is written down.
    only_looks: AtomicBool,
}

impl Client {
    /// Reads the files of known hosts.
    ///
    /// # Errors
    /// One of them exists and cannot be read; the message names it.
    pub fn new(options: SshOptions) -> std::io::Result<Arc<Self>> {
        let (known_hosts, warnings) = KnownHosts::read(&options.known_hosts)?;
        let known_hosts = HashMap::from([(options.known_hosts.clone(), Arc::new(known_hosts))]);
        Ok(Arc::new(Self {
            known_hosts: Mutex::new(known_hosts),
            keys: KeyRing::new(options.ask_passphrase.clone()),
            handshakes: Handshakes::new(options.handshakes),
            jumps: Mutex::default(),
            warnings: Mutex::new(warnings),
            only_looks: AtomicBool::new(false),
            options,
        }))
    }

    /// Takes what the user should know and stops nothing: lines of known hosts that make no sense, new host keys that
    /// could not be written down.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many handshakes may be under way at once now.
    pub fn handshake_limit(&self) -> usize {
        self.handshakes.limit()
    }

    /// Whether a run only looks from now on: then files of known hosts stay as they are, and what is learned is written down when a
    /// run does more.
    pub fn only_looks(&self, only_looks: bool) {
        let all = self.known_hosts.lock().unwrap_or_else(PoisonError::into_inner);
        self.only_looks.store(only_looks, Ordering::Relaxed);
        for known_hosts in all.values() {
            if let Err(error) = known_hosts.stays(only_looks) {
                self.warn(format!("host keys could not be written down: {error}"));
            }
        }
    }

    /// The files of the private keys that are tried on a machine: its own where it has any.
    fn identity_files(&self, target: &Target) -> Vec<PathBuf> {
        let own = &target.identity_files;
        if own.is_empty() { self.options.identity_files.clone() } else { own.clone() }
    }

    fn warn(&self, warning: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// The host keys that are known for a machine.
    fn known_hosts(&self, target: &Target) -> std::io::Result<Arc<KnownHosts>> {
        let (user, global) = self.options.known_hosts.split_at(self.options.known_hosts.len().min(1));
        let user = target.user_known_hosts.as_deref().unwrap_or(user);
        let global = target.global_known_hosts.as_deref().unwrap_or(global);
        let files = [user, global].concat();
        let mut all = self.known_hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known_hosts) = all.get(&files) {
            return Ok(Arc::clone(known_hosts));
        }
        let (known_hosts, warnings) = KnownHosts::read(&files)?;
        warnings.into_iter().for_each(|warning| self.warn(warning));
        known_hosts.stays(self.only_looks.load(Ordering::Relaxed))?;
        let known_hosts = Arc::new(known_hosts);
        all.insert(files, Arc::clone(&known_hosts));
        Ok(known_hosts)
    }

    /// The shared connection to a jump host.
    fn jump(self: &Arc<Self>, target: Target) -> Arc<Ssh> {
        let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
        let route = target.route();
        if let Some(jump) = jumps.get(&route).and_then(Weak::upgrade) {
            return jump;
        }
        let jump = Arc::new(Ssh::new(target, Arc::clone(self)));
        jumps.insert(route, Arc::downgrade(&jump));
        jump
    }
}

/// What the connections to one machine have cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Programs sent.
    pub exchanges: usize,
    /// Connections made.
    pub handshakes: usize,
    /// Bytes sent, all told (protocol included).
    pub sent: u64,
    /// Bytes received, all told.
    pub received: u64,
}

/// What came of connecting.
#[derive(Default)]
enum Current {
    #[default]
    None,
    Connected(Arc<Connection>),
    /// When it failed, and why.
    Failed(Instant, TransportError),
}

/// A machine reached over SSH. Connects when first used, and again when the connection was lost. One that is this computer
/// ([`Target::local`]) is never connected to.
pub struct Ssh {
    target: Target,
    client: Arc<Client>,
    current: tokio::sync::Mutex<Current>,
    /// A session opened in advance for the next program, or about to be.
    spare: Mutex<Option<JoinHandle<Option<Session>>>>,
    /// Whether a program has run as root.
    rooted: AtomicBool,
    meter: Arc<Meter>,
}

impl Ssh {
    /// Does not connect yet.
    pub fn new(target: Target, client: Arc<Client>) -> Self {
        Self {
            target,
            client,
            current: tokio::sync::Mutex::default(),
            spare: Mutex::default(),
            rooted: AtomicBool::new(false),
            meter: Arc::default(),
        }
    }

    /// The machine.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The files of the private keys that are tried, in this order; they need not be there.
    pub fn identity_files(&self) -> Vec<PathBuf> {
        self.client.identity_files(&self.target)
    }

    /// Connects and logs in, unless that is done.
    pub async fn connect(&self) -> Result<(), TransportError> {
        if self.target.local {
            return Ok(());
        }
        let connection = self.connection().await?;
        self.prepare(&connection)
    }

    /// Ends the connection, if there is one. Programs still running are lost.
    pub async fn close(&self) {
        drop(self.spare.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Current::Connected(connection) = std::mem::take(&mut *self.current.lock().await) {
            connection.close().await;
        }
    }

    /// What the connections have cost so far.
    pub fn counters(&self) -> Counters {
        Counters {
            exchanges: self.meter.exchanges.load(Ordering::Relaxed),
            handshakes: self.meter.handshakes.load(Ordering::Relaxed),
            sent: self.meter.sent.load(Ordering::Relaxed),
            received: self.meter.received.load(Ordering::Relaxed),
        }
    }

    /// The connection, made now if there is none or the last one was lost. Whoever comes meanwhile waits for it, and
    /// shares the failure if it fails: a hundred machines behind a jump host that is off must not wait in turn.
    async fn connection(&self) -> Result<Arc<Connection>, TransportError> {
        let asked = Instant::now();
        let mut current = self.current.lock().await;
        match &*current {
            Current::Connected(connection) if connection.is_usable() => return Ok(Arc::clone(connection)),
            Current::Failed(when, error) if *when >= asked => return Err(error.clone()),
            _ => *current = Current::None,
        }
        match connect::connect(&self.client, &self.target, &self.meter).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *current = Current::Connected(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                *current = Current::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    /// A session that waits for a program.
    async fn session(&self, connection: &Arc<Connection>) -> Result<Session, TransportError> {
        let prepared = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(prepared) = prepared
            && let Ok(Some(mut session)) = prepared.await
            && session.awaits_program(connection)
        {
            return Ok(session);
        }
        // A connection that turns out to be of no use before the program was sent is replaced once; after that nobody
        // knows what ran, and the caller decides.
        match connection.open(&self.target).await {
            Err(_) if !connection.is_usable() => self.connection().await?.open(&self.target).await,
            opened => opened,
        }
    }

    /// Runs a program, and opens a session for the next one meanwhile where one is expected.
    async fn run(&self, exec: Exec, another_follows: bool) -> Result<Exit, TransportError> {
        if let Program::Reader { line, .. } = &exec.program
            && line.contains('\n')
        {
            let reason = "the program that is to read it has more than one line".to_owned();
            return Err(TransportError::Input { address: self.target.address(), reason });
        }
        let limit = exec.timeout;
        let timed_out = |_| Err(TransportError::TimedOut { address: self.target.address(), limit });
        if self.target.local {
            self.meter.exchanges.fetch_add(1, Ordering::Relaxed);
            let run = local::run(&self.target, exec.program, exec.on_line);
            return tokio::time::timeout(limit, run).await.unwrap_or_else(timed_out);
        }
        let connection = self.connection().await?;
        let run = async {
            let session = self.session(&connection).await?;
            let connection = Arc::clone(session.connection());
            if another_follows {
                self.prepare(&connection)?;
            }
            self.meter.exchanges.fetch_add(1, Ordering::Relaxed);
            let exit = session.run(&self.target, exec.program, exec.on_line).await?;
            if !self.rooted.swap(true, Ordering::Relaxed) && another_follows {
                self.prepare(&connection)?;
            }
            Ok(exit)
        };
        tokio::time::timeout(limit, run).await.unwrap_or_else(timed_out)
    }

    /// Opens a session for the next program while this one runs. Opening a channel, starting a shell and opening its
    /// window take a round trip each, and sudo and PAM take their time; done in advance, a program takes one.
    fn prepare(&self, connection: &Arc<Connection>) -> Result<(), TransportError> {
        let tells_password = matches!(self.target.privilege, Privilege::Sudo { password: Some(_) });
        if tells_password && !self.rooted.load(Ordering::Relaxed) {
            // A wrong password is told once, not twice: some machines count.
            return Ok(());
        }
        let request = privilege::request(&self.target)?;
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.is_none() {
            *spare = Some(tokio::spawn(Arc::clone(connection).open_spare(request)));
        }
        Ok(())
    }
}

impl Transport for Ssh {
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(self.run(exec, true))
    }

    /// No session is opened in advance for a next program, which saves the machine a process and both sides some packets.
    fn exec_last(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(async move {
            let exit = self.run(exec, false).await;
            let mut current = self.current.lock().await;
            *current = match std::mem::take(&mut *current) {
                Current::Connected(connection) => match Arc::try_unwrap(connection) {
                    Ok(unused) => {
                        unused.close().await;
                        Current::None
                    }
                    // Whoever runs a program over it, or is about to, has it too.
                    Err(used) => Current::Connected(used),
                },
                other => other,
            };
            exit
        })
    }

    fn is_here(&self) -> bool {
        self.target.local
    }
}
