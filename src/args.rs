//! Options that several commands share. Their meaning, and their names where there are any, are Ansible's.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use muster_app::{ConnectionOptions, RunOptions, Selection, VariableOptions};
use muster_engine::play::Share;

/// What the machines are, and what is known of them
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Inventory and variables")]
pub(crate) struct InventoryArgs {
    /// Inventory: a file, a folder, a program, or hosts separated by commas; may be repeated [default: that of
    /// ANSIBLE_INVENTORY or ansible.cfg, else inventory/hosts.ini]
    #[arg(short, long, value_name = "INVENTORY")]
    pub(crate) inventory: Vec<String>,
    /// Set variables over all others: KEY=VALUE, JSON, YAML or @FILE; may be repeated
    #[arg(short, long, value_name = "VARS")]
    pub(crate) extra_vars: Vec<String>,
    /// File with the password of encrypted variables (Ansible Vault), or a program that prints it; may be repeated
    #[arg(long, visible_alias = "vault-pass-file", value_name = "FILE")]
    pub(crate) vault_password_file: Vec<PathBuf>,
    /// The same with a label: LABEL@FILE, or LABEL@prompt to be asked; may be repeated
    #[arg(long, value_name = "LABEL@FILE")]
    pub(crate) vault_id: Vec<String>,
    /// Ask for the password of encrypted variables
    #[arg(short = 'J', long, visible_alias = "ask-vault-password")]
    pub(crate) ask_vault_pass: bool,
}

/// How machines are reached
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// The way to machines of which the inventory says none: ssh, or local for this computer
    #[arg(short, long, value_name = "CONNECTION", hide = true)]
    pub(crate) connection: Option<String>,
    /// Login name where the inventory gives none [default: yours]
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Private key where the inventory gives none [default: id_ed25519, id_ecdsa, id_rsa in ~/.ssh, and the agent's]
    #[arg(long, visible_alias = "key-file", value_name = "FILE")]
    pub(crate) private_key: Option<PathBuf>,
    /// Ask for the login password
    #[arg(short = 'k', long)]
    pub(crate) ask_pass: bool,
    /// Ask for the password of sudo
    #[arg(short = 'K', long)]
    pub(crate) ask_become_pass: bool,
    /// Become root (always so; accepted because ansible-playbook needs it)
    #[arg(short, long, hide = true)]
    pub(crate) r#become: bool,
    /// Who to become (always root; accepted because ansible-playbook needs it)
    #[arg(long, value_name = "USER", hide = true)]
    pub(crate) become_user: Option<String>,
    /// Arguments for ssh where the inventory gives none, such as '-J gate' [default: those of ansible.cfg]
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true, hide = true)]
    pub(crate) ssh_common_args: Option<String>,
    /// More arguments for ssh where the inventory gives none
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true, hide = true)]
    pub(crate) ssh_extra_args: Option<String>,
    /// Seconds a machine may take to answer [default: 10]
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
    /// At most this many programs run at once, on all machines together [default: 256]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) forks: Option<u16>,
    /// Hosts that were installed anew: their new host keys replace the known ones
    #[arg(long, value_name = "PATTERN")]
    pub(crate) reimaged: Option<String>,
}

/// What of a playbook is run
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArgs {
    /// Only these hosts: a pattern such as node1,node3 or kube_node:!node2; @failed: those that failed in the last run
    /// (plans and checks do not count)
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) limit: Option<String>,
    /// Only these roles, by their name or tag; separated by commas
    #[arg(short, long, value_name = "TAGS", value_delimiter = ',')]
    pub(crate) tags: Vec<String>,
    /// Not these roles
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    pub(crate) skip_tags: Vec<String>,
    /// Start at this role, without those before it, preflight included
    #[arg(long, value_name = "ROLE")]
    pub(crate) start_at: Option<String>,
    /// Show the hosts of each play, and do nothing else
    #[arg(long)]
    pub(crate) list_hosts: bool,
    /// Show the tags of each play, and do nothing else
    #[arg(long)]
    pub(crate) list_tags: bool,
    /// Show the roles of each play and what they are for, and do nothing else
    #[arg(long)]
    pub(crate) list_roles: bool,
}

/// How it is done
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Execution")]
pub(crate) struct MannerArgs {
    /// Change nothing on machines, show what would be changed; what would be installed and is not in the bundle is fetched into it
    /// all the same, unless there is --offline
    #[arg(short = 'C', long)]
    pub(crate) check: bool,
    /// Show the differences of files that are changed
    #[arg(short = 'D', long)]
    pub(crate) diff: bool,
    /// Change only so many machines at once, play by play: a number or a percentage; stops when a whole batch fails
    #[arg(long, value_name = "N|N%", value_parser = parse_serial)]
    pub(crate) serial: Option<Share>,
    /// Folder with the binaries and images [default: bundle in the cache folder]
    #[arg(long, value_name = "DIR", env = "MUSTER_BUNDLE", hide_env_values = true)]
    pub(crate) bundle: Option<PathBuf>,
    /// Seconds to wait for machines that another run has locked
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) lock_timeout: u64,
    /// Do not fetch what the bundle lacks
    #[arg(long)]
    pub(crate) offline: bool,
}

/// How many hosts at once: at least one.
pub(crate) fn parse_serial(text: &str) -> Result<Share, String> {
    match text.parse()? {
        Share::Hosts(0) | Share::Percent(0) => Err("at least 1 is needed".to_owned()),
        share => Ok(share),
    }
}

/// What is shown
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Show more: -v what changes, -vv every step, -vvv what programs on the machines write
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How progress is shown
    #[arg(long, value_name = "FORM", default_value = "auto")]
    pub(crate) output: Form,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Live on a terminal, else plain
    #[default]
    Auto,
    /// One line for each thing that happens
    Plain,
    /// One JSON object for each thing that happens (docs/events.md)
    Jsonl,
}

/// What every command has that does something on machines
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FlowArgs {
    #[command(flatten)]
    pub(crate) manner: MannerArgs,
    #[command(flatten)]
    pub(crate) inventory: InventoryArgs,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl From<&InventoryArgs> for VariableOptions {
    fn from(args: &InventoryArgs) -> Self {
        let args = args.clone();
        Self {
            extra_vars: args.extra_vars,
            vault_password_files: args.vault_password_file,
            vault_ids: args.vault_id,
            ask_vault_password: args.ask_vault_pass,
        }
    }
}

impl From<&ConnectionArgs> for ConnectionOptions {
    fn from(args: &ConnectionArgs) -> Self {
        let args = args.clone();
        Self {
            connection: args.connection,
            user: args.user,
            private_key: args.private_key,
            ask_password: args.ask_pass,
            ask_become_password: args.ask_become_pass,
            become_user: args.become_user,
            ssh_common_args: args.ssh_common_args,
            ssh_extra_args: args.ssh_extra_args,
            timeout: args.timeout.map(Duration::from_secs),
            forks: args.forks.map(usize::from),
            reimaged: args.reimaged,
        }
    }
}

impl From<&SelectionArgs> for Selection {
    fn from(args: &SelectionArgs) -> Self {
        let SelectionArgs { limit, tags, skip_tags, start_at, .. } = args.clone();
        Self { limit, tags, skip_tags, start_at }
    }
}

impl From<Selection> for SelectionArgs {
    fn from(selection: Selection) -> Self {
        let Selection { limit, tags, skip_tags, start_at } = selection;
        Self { limit, tags, skip_tags, start_at, ..Self::default() }
    }
}

impl From<&MannerArgs> for RunOptions {
    fn from(args: &MannerArgs) -> Self {
        Self {
            serial: args.serial,
            bundle: args.bundle.clone(),
            lock_timeout: Duration::from_secs(args.lock_timeout),
            offline: args.offline,
        }
    }
}
