//! How people and programs get into a lab and onto its machines.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::config::name_of_lab;
use crate::error::{Error, file_error};
use crate::program::{self, command};

/// The environment variable that tells a command in the lab which private key opens the machines.
pub const PRIVATE_KEY_VARIABLE: &str = "MUSTER_PRIVATE_KEY_FILE";
/// The environment variable that tells it where the lab's host keys are noted, apart from the user's own.
pub const KNOWN_HOSTS_VARIABLE: &str = "MUSTER_KNOWN_HOSTS";

/// The environment variable that tells it of the variables that every cluster on the lab's machines needs.
pub const DEFAULTS_VARIABLE: &str = "MUSTER_DEFAULTS";

/// The lab's SSH key: one for all its machines, made with the lab and removed with it.
#[derive(Debug)]
pub(crate) struct Access {
    folder: PathBuf,
}

impl Access {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn private_key(&self) -> PathBuf {
        self.folder.join("key")
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    fn cluster_defaults(&self) -> PathBuf {
        self.folder.join("cluster.yml")
    }

    /// Keeps the variables that every cluster on the machines needs, as YAML, for the commands that are run in the lab.
    pub(crate) fn write_cluster_defaults(&self, yaml: &str) -> Result<(), Error> {
        let path = self.cluster_defaults();
        fs::write(&path, yaml).map_err(file_error("cannot write", &path))
    }

    /// Makes the key unless there is one; returns the public half as in `authorized_keys`.
    pub(crate) fn ensure_key(&self, lab: &str) -> Result<String, Error> {
        let key = self.private_key();
        let public = key.with_extension("pub");
        if !public.exists() {
            // Half a pair, from a run that was cut off, would make ssh-keygen ask whether to replace it.
            if key.exists() {
                fs::remove_file(&key).map_err(file_error("cannot remove", &key))?;
            }
            let mut keygen = command("ssh-keygen", ["-q", "-t", "ed25519", "-N", ""]);
            keygen.arg("-C").arg(name_of_lab(lab)).arg("-f").arg(&key);
            program::output("ssh-keygen", keygen, Duration::from_secs(30))?;
        }
        let line = fs::read_to_string(&public).map_err(file_error("cannot read", &public))?;
        Ok(line.trim().to_owned())
    }

    /// Tells a command that reaches the machines, in its environment, how to get onto them, and what clusters on them
    /// need.
    pub(crate) fn told(&self, mut command: Command) -> Command {
        command.env(PRIVATE_KEY_VARIABLE, self.private_key());
        command.env(KNOWN_HOSTS_VARIABLE, self.known_hosts());
        if self.cluster_defaults().exists() {
            command.env(DEFAULTS_VARIABLE, self.cluster_defaults());
        }
        command
    }

    /// Makes an ssh command, which reaches the machines, one to a machine, ready for the remote command. Host keys are
    /// neither checked nor noted: nobody can stand between us and the machines, and the known hosts are for the
    /// programs that are tried in the lab.
    pub(crate) fn ssh(&self, ssh: Command, user: &str, address: Ipv4Addr, patience: Duration) -> Command {
        let mut ssh = self.told(ssh);
        // The user's own configuration is about the user's own machines.
        ssh.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no"]);
        ssh.arg("-o").arg(format!("ConnectTimeout={}", patience.as_secs()));
        ssh.arg("-i").arg(self.private_key()).arg(format!("{user}@{address}"));
        ssh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_knows_the_way_to_the_machines() {
        let access = Access::new(Path::new("/s/x"));
        let address = Ipv4Addr::new(10, 146, 225, 4);
        let ssh = access.ssh(Command::new("ssh"), "admin", address, Duration::from_secs(50));
        let words: Vec<_> = ssh.get_args().map(|word| word.to_str().unwrap()).collect();
        assert!(words.contains(&"ConnectTimeout=50"), "{words:?}");
        assert!(words.ends_with(&["-i", "/s/x/key", "admin@10.146.225.4"]), "{words:?}");
        let environment: Vec<_> = ssh.get_envs().map(|(name, value)| (name, value.unwrap())).collect();
        assert!(environment.contains(&("MUSTER_PRIVATE_KEY_FILE".as_ref(), "/s/x/key".as_ref())));
        assert!(environment.contains(&("MUSTER_KNOWN_HOSTS".as_ref(), "/s/x/known_hosts".as_ref())));
    }

    #[test]
    fn a_command_is_told_what_clusters_need_if_they_need_something() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new(folder.path());
        let told = || access.told(Command::new("x")).get_envs().any(|(name, _)| name == DEFAULTS_VARIABLE);
        assert!(!told());
        access.write_cluster_defaults("a: 1").unwrap();
        assert!(told());
    }

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new(folder.path());
        let line = access.ensure_key("x").unwrap();
        assert!(line.starts_with("ssh-ed25519 ") && line.ends_with(" muster-lab-x"), "{line}");
        assert_eq!(access.ensure_key("x").unwrap(), line);
        assert_eq!(fs::metadata(access.private_key()).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(folder.path().join("key.pub")).unwrap();
        assert_ne!(access.ensure_key("x").unwrap(), line, "half a key pair is replaced");
    }
}
