//! From what arguments and the configuration of ssh say to a [`Target`] and the way to it.

use std::path::PathBuf;

use super::arguments::{Arguments, Hop, Proxy};
use super::config::SshConfig;
use super::target::Target;

/// Jump hosts of jump hosts of jump hosts: more is a circle.
const DEEPEST: usize = 8;

impl Target {
    /// Follows what was said of a machine, and what the configuration of ssh adds to it. Returns what is not honoured.
    ///
    /// # Errors
    /// ssh does not accept its configuration, or it leads in a circle.
    pub(super) fn follow(
        &mut self,
        mut said: Arguments,
        config: &SshConfig,
        depth: usize,
    ) -> Result<Vec<String>, String> {
        if depth > DEEPEST {
            return Err(format!(
                "the jump hosts of the configuration of ssh lead in a circle, back to {}",
                self.host
            ));
        }
        // The jump hosts of all machines are for those that name none themselves.
        let way_is_known = said.proxy.is_none() && !self.jumps.is_empty();
        let asked = self.host.clone();
        config.complete(&asked, &mut said)?;
        self.host_key_policy = said.policy().or(self.host_key_policy);
        self.host = said.host_name.unwrap_or_else(|| asked.clone());
        self.user = said.user.unwrap_or_else(|| self.user.clone());
        self.port = said.port.unwrap_or(self.port);
        self.identities_only = said.identities_only.unwrap_or(self.identities_only);
        self.agent = said.agent.unwrap_or_else(|| self.agent.clone());
        self.host_key_alias = said.host_key_alias.or(self.host_key_alias.take());
        self.user_known_hosts = said.user_known_hosts.filter(|files| !files.is_empty());
        self.global_known_hosts = said.global_known_hosts;
        self.connect_timeout = said.connect_timeout.or(self.connect_timeout);
        self.keepalive = said.keepalive.or(self.keepalive);
        self.unanswered = said.unanswered.unwrap_or(self.unanswered);
        let expand = |text: &str| self.expand(text, &asked, config);
        let files = |paths: Vec<PathBuf>| -> Vec<PathBuf> {
            paths.iter().map(|path| expand(&path.to_string_lossy()).into()).collect()
        };
        let (identity_files, certificate_files) = (files(said.identity_files), files(said.certificate_files));
        let proxy_command = match &said.proxy {
            Some(Proxy::Program(command)) => Some(expand(command)),
            _ => None,
        };
        (self.identity_files, self.certificate_files) = (identity_files, certificate_files);
        match said.proxy.filter(|_| !way_is_known) {
            None => {
                for jump in self.jumps.iter_mut().filter(|jump| jump.identity_files.is_empty()) {
                    jump.identity_files.clone_from(&self.identity_files);
                }
            }
            Some(Proxy::Program(_)) => (self.jumps, self.proxy_command) = (Vec::new(), proxy_command),
            Some(Proxy::Jumps(hops)) => {
                // `Host *` with a jump host names the jump host too.
                let is_itself =
                    |hop: &Hop| hop.host == asked && hop.port.is_none_or(|port| port == self.port);
                let hops = if hops.iter().any(is_itself) { Vec::new() } else { hops };
                self.jumps = self.way(hops, config, depth)?;
            }
        }
        Ok(said.ignored)
    }

    /// The jump hosts as targets, with what nothing says of them taken from the machine behind them: not the password.
    fn way(&self, hops: Vec<Hop>, config: &SshConfig, depth: usize) -> Result<Vec<Self>, String> {
        let mut way: Vec<Self> = Vec::new();
        for hop in hops {
            let mut target = Self::new(hop.host, self.user.clone());
            target.identities_only = self.identities_only;
            let said = Arguments {
                user: hop.user,
                port: hop.port,
                identity_files: hop.identity_files,
                host_key_policy: hop.host_key_policy,
                config_file: hop.config_file,
                // The first one may have a way of its own; the others are reached through the one before.
                proxy: (!way.is_empty()).then(|| Proxy::Jumps(Vec::new())),
                ..Arguments::default()
            };
            target.follow(said, config, depth + 1)?;
            if target.identity_files.is_empty() {
                target.identity_files = self.identity_files.clone();
            }
            way.append(&mut target.jumps);
            way.push(target);
        }
        Ok(way)
    }

    /// Replaces the tokens of ssh_config(5) that `ssh -G` leaves. `asked` is the name as it was before `HostName`.
    fn expand(&self, text: &str, asked: &str, config: &SshConfig) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            expanded.push_str(before);
            let token = after.chars().next();
            match token {
                Some('%') => expanded.push('%'),
                Some('h') => expanded.push_str(&self.host),
                Some('n') => expanded.push_str(asked),
                Some('p') => expanded.push_str(&self.port.to_string()),
                Some('r') => expanded.push_str(&self.user),
                Some('d') => expanded.push_str(&config.home().unwrap_or("~".as_ref()).to_string_lossy()),
                Some(other) => expanded.extend(['%', other]),
                None => expanded.push('%'),
            }
            rest = &after[token.map_or(0, char::len_utf8)..];
        }
        expanded.push_str(rest);
        expanded
    }
}
