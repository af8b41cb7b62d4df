//! What may be said of a run besides the inventory.

use std::path::PathBuf;
use std::time::Duration;

use muster_engine::play::Share;

/// Variables over all others, and what opens encrypted ones.
#[derive(Debug, Clone, Default)]
pub struct VariableOptions {
    /// `KEY=VALUE`, JSON, YAML or `@FILE`; later ones win.
    pub extra_vars: Vec<String>,
    /// Files with a password of encrypted variables, or programs that print it.
    pub vault_password_files: Vec<PathBuf>,
    /// The same with a label: `LABEL@FILE`, or `LABEL@prompt` to ask.
    pub vault_ids: Vec<String>,
    /// Whether to ask for the password of encrypted variables.
    pub ask_vault_password: bool,
}

/// How machines are reached where the inventory says nothing.
#[derive(Debug, Clone, Default)]
pub struct ConnectionOptions {
    /// The way: `ssh`, or `local` for the computer that this runs on.
    pub connection: Option<String>,
    /// The login name.
    pub user: Option<String>,
    /// The private key.
    pub private_key: Option<PathBuf>,
    /// Whether to ask for the login password.
    pub ask_password: bool,
    /// Whether to ask for the password of sudo.
    pub ask_become_password: bool,
    /// Who to become: root, or it is an error. As Ansible takes it.
    pub become_user: Option<String>,
    /// Arguments for ssh, in place of those of ansible.cfg.
    pub ssh_common_args: Option<String>,
    /// More arguments for ssh, in place of those of ansible.cfg.
    pub ssh_extra_args: Option<String>,
    /// How long a machine may take to answer.
    pub timeout: Option<Duration>,
    /// How many programs run at once at most, on all machines together.
    pub forks: Option<usize>,
    /// The pattern, or the addresses, of hosts that were installed anew: their new host keys replace the known ones.
    pub reimaged: Option<String>,
}

/// Which hosts and roles of the plays are run.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// A pattern: only these hosts.
    pub limit: Option<String>,
    /// Only these roles, by their name or tag.
    pub tags: Vec<String>,
    /// Not these roles.
    pub skip_tags: Vec<String>,
    /// Begin at this role.
    pub start_at: Option<String>,
}

/// How it is done.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Change only so many machines at once, play by play.
    pub serial: Option<Share>,
    /// The folder with the binaries and images, where it is not the one in the cache.
    pub bundle: Option<PathBuf>,
    /// How long to wait for machines that another run has locked.
    pub lock_timeout: Duration,
    /// Whether nothing may be fetched that the bundle lacks.
    pub offline: bool,
}
