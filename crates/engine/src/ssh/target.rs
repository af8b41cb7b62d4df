//! Which machine to log in to, as whom, with what, and how to become root there.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// The port sshd listens on unless told otherwise (RFC 4250, section 4.2).
pub const DEFAULT_PORT: u16 = 22;

/// Keepalives without an answer before a connection is lost.
const UNANSWERED: usize = 4;

/// What to do about a host key that is not known. A key that differs from the known one is refused by all but `Off`,
/// a revoked one by all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// Accept it and remember it.
    #[default]
    AcceptNew,
    /// Refuse it.
    Strict,
    /// Accept any key and remember none: for machines that anybody may pose as.
    Off,
}

/// A machine, as the user described it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Whether it is the computer that this runs on: programs are started here, by whoever runs this. Nobody logs in, and of what
    /// follows only `privilege` counts.
    pub local: bool,
    /// Name or address to dial. Behind jump hosts, the last of them resolves it.
    pub host: String,
    /// The port to dial.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// Private keys for this machine. When there are any, those of [`super::SshOptions::identity_files`] are not
    /// tried, as with OpenSSH's `-i`.
    pub identity_files: Vec<PathBuf>,
    /// Certificates for these keys or the agent's, beside those that lie next to a key (OpenSSH's `CertificateFile`).
    pub certificate_files: Vec<PathBuf>,
    /// Whether keys that only the agent holds are left alone (OpenSSH's `IdentitiesOnly`).
    pub identities_only: bool,
    /// Which agent is asked for keys.
    pub agent: Agent,
    /// The login password.
    pub password: Option<SecretString>,
    /// How the login user becomes root.
    pub privilege: Privilege,
    /// Jump hosts, the one nearest to us first (OpenSSH's `ProxyJump`).
    pub jumps: Vec<Target>,
    /// A command whose standard input and output lead to the machine, instead of a connection to `host` and `port`
    /// (OpenSSH's `ProxyCommand`). Only without jump hosts.
    pub proxy_command: Option<String>,
    /// The name under which the host key is known, where it is not `host` (OpenSSH's `HostKeyAlias`).
    pub host_key_alias: Option<String>,
    /// What to do about an unknown host key, where it differs from [`super::SshOptions::host_key_policy`].
    pub host_key_policy: Option<HostKeyPolicy>,
    /// Files of known host keys for this machine instead of the first of [`super::SshOptions::known_hosts`]; new keys
    /// are written to the first (OpenSSH's `UserKnownHostsFile`).
    pub user_known_hosts: Option<Vec<PathBuf>>,
    /// The same, instead of the others of [`super::SshOptions::known_hosts`] (OpenSSH's `GlobalKnownHostsFile`).
    pub global_known_hosts: Option<Vec<PathBuf>>,
    /// How long it may take to answer, where that differs from [`super::SshOptions::connect_timeout`].
    pub connect_timeout: Option<Duration>,
    /// How often it is asked whether it is still there, where that differs from [`super::SshOptions::keepalive`].
    pub keepalive: Option<Duration>,
    /// After how many such questions without an answer the connection is lost; four unless told otherwise.
    pub unanswered: usize,
    /// The address that the other machines know this one by, for a hint where its name is not known here.
    pub known_address: Option<IpAddr>,
    /// The user said that this machine was installed anew: a changed host key replaces the known one, once.
    pub reimaged: bool,
}

/// Which ssh-agent is asked for keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Agent {
    /// The one of [`super::SshOptions::agent_socket`].
    #[default]
    Usual,
    /// None.
    Nobody,
    /// The one that listens on this socket.
    At(PathBuf),
}

/// How the login user becomes root.
#[derive(Debug, Clone)]
pub enum Privilege {
    /// The login user is root.
    Root,
    /// Through sudo, with its password where it wants one.
    Sudo {
        /// Given to sudo on its standard input, never in an argument.
        password: Option<SecretString>,
    },
    /// Through doas, which must not want a password (`permit nopass`): it reads one from a terminal only.
    Doas,
}

impl Target {
    /// A machine on the default port; anybody but root becomes root through sudo without a password.
    pub fn new(host: impl Into<String>, user: impl Into<String>) -> Self {
        let user = user.into();
        Self {
            local: false,
            host: host.into(),
            port: DEFAULT_PORT,
            privilege: if user == "root" { Privilege::Root } else { Privilege::Sudo { password: None } },
            user,
            identity_files: Vec::new(),
            certificate_files: Vec::new(),
            identities_only: false,
            agent: Agent::Usual,
            password: None,
            jumps: Vec::new(),
            proxy_command: None,
            host_key_alias: None,
            host_key_policy: None,
            user_known_hosts: None,
            global_known_hosts: None,
            connect_timeout: None,
            keepalive: None,
            unanswered: UNANSWERED,
            known_address: None,
            reimaged: false,
        }
    }

    /// `host:port`, the host in brackets where it is an IPv6 address; or that it is this computer.
    pub fn address(&self) -> String {
        if self.local {
            "this computer".to_owned()
        } else if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The last jump host, itself behind the ones before it.
    pub(super) fn nearest_jump(&self) -> Option<Self> {
        let (last, before) = self.jumps.split_last()?;
        Some(Self { jumps: before.to_vec(), ..last.clone() })
    }

    /// Names a connection that several machines can share: same jump host, same way there, same login.
    pub(super) fn route(&self) -> String {
        let mut route = String::new();
        for hop in self.jumps.iter().chain([self]) {
            route.push_str(&format!(
                "{}@{} {:?} {:?};",
                hop.user,
                hop.address(),
                hop.identity_files,
                hop.proxy_command
            ));
        }
        route
    }
}
