//! From the variables of an inventory to a [`Target`]. Names, and which of several names for one thing counts, are
//! those of Ansible's ssh and become plugins.

use secrecy::SecretString;

use super::arguments::{Arguments, expand};
use super::config::SshConfig;
use super::target::{HostKeyPolicy, Privilege, Target};

/// A variable, or the user's configuration of ssh, says something about a machine's login that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", variable.map(|variable| format!("{variable}: ")).unwrap_or_default())]
pub struct TargetError {
    /// The variable; none where it is the configuration.
    pub variable: Option<&'static str>,
    /// What is wrong with its value, and what was meant.
    pub reason: String,
}

impl TargetError {
    fn of(variable: &'static str, reason: String) -> Self {
        Self { variable: Some(variable), reason }
    }
}

/// For each thing the variables that say it; where several are set the last counts, as in Ansible's ssh plugin.
const HOST: &[&str] = &["ansible_host", "ansible_ssh_host"];
const PORT: &[&str] = &["ansible_port", "ansible_ssh_port"];
const USER: &[&str] = &["ansible_user", "ansible_ssh_user"];
const PASSWORD: &[&str] = &["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"];
const KEY: &[&str] = &["ansible_private_key_file", "ansible_ssh_private_key_file"];
/// All of them count, in the order in which Ansible passes them to ssh.
const ARGUMENTS: &[&str] = &["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"];
const CHECKING: &[&str] = &["ansible_host_key_checking", "ansible_ssh_host_key_checking"];
const CONNECTION: &[&str] = &["ansible_connection"];
const METHOD: &[&str] = &["ansible_become_method"];
const BECOME_USER: &[&str] = &["ansible_become_user"];
const BECOME_PASSWORD: &[&str] = &["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"];

impl Target {
    /// The variables that [`Target::from_variables`] looks at.
    pub fn variables() -> impl Iterator<Item = &'static str> {
        [
            HOST,
            PORT,
            USER,
            PASSWORD,
            KEY,
            ARGUMENTS,
            CHECKING,
            CONNECTION,
            METHOD,
            BECOME_USER,
            BECOME_PASSWORD,
        ]
        .into_iter()
        .flatten()
        .copied()
    }

    /// A machine as its variables describe it. What they leave open comes from the user's configuration of ssh, then
    /// from `defaults`, the address from `name`. The jump hosts of `defaults` count more than those of the configuration,
    /// and its keys are tried first. Also returns arguments of ssh that are not honoured.
    ///
    /// The user of the target becomes root in any case: `ansible_become` is not looked at.
    pub fn from_variables(
        name: &str,
        defaults: &Self,
        config: &SshConfig,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<(Self, Vec<String>), TargetError> {
        let last = |names: &[&'static str]| {
            let set = |&name: &&'static str| {
                variable(name).filter(|value| !value.trim().is_empty()).map(|value| (name, value))
            };
            names.iter().rev().find_map(set)
        };
        let value = |names| last(names).map(|(_, value)| value);
        let secret = |names| value(names).map(SecretString::from);

        if let Some((variable, connection)) = last(CONNECTION)
            && is_local(variable, connection.trim())?
        {
            // Nothing that is said of logins counts, the configuration of ssh neither.
            let mut target = Self {
                local: true,
                host: value(HOST).unwrap_or_else(|| name.to_owned()),
                identity_files: Vec::new(),
                password: None,
                jumps: Vec::new(),
                ..defaults.clone()
            };
            target.privilege = privilege(&target, last(METHOD), last(BECOME_USER), secret(BECOME_PASSWORD))?;
            return Ok((target, Vec::new()));
        }

        let home = config.home();
        let mut said = Arguments { identity_files: defaults.identity_files.clone(), ..Arguments::default() };
        if let Some((variable, path)) = last(KEY) {
            let file = expand(&path, home).map_err(|reason| TargetError::of(variable, reason))?;
            said.identity_files = vec![file];
        }
        said.user = value(USER);
        if let Some((variable, text)) = last(PORT) {
            let port = text.trim().parse().ok().filter(|port| *port > 0);
            let reason = || format!("a port is a number from 1 to 65535, not {text:?}");
            said.port = Some(port.ok_or_else(|| TargetError::of(variable, reason()))?);
        }
        for &name in ARGUMENTS {
            let Some(text) = variable(name) else { continue };
            let wrong = |reason| TargetError::of(name, reason);
            let words =
                shlex::split(&text).ok_or_else(|| wrong(format!("a quote is not closed in {text:?}")))?;
            said.read(&words, home).map_err(wrong)?;
        }
        // What Ansible calls checking is what OpenSSH calls strict; without it new keys are accepted, changed ones not.
        if let Some(checking) = value(CHECKING)
            && said.host_key_policy.is_none()
            && matches!(checking.trim().to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0")
        {
            said.host_key_policy = Some(HostKeyPolicy::AcceptNew);
        }
        let mut target = Self { host: value(HOST).unwrap_or_else(|| name.to_owned()), ..defaults.clone() };
        target.password = secret(PASSWORD).or(target.password);
        let ignored =
            target.follow(said, config, 0).map_err(|reason| TargetError { variable: None, reason })?;
        target.privilege = privilege(&target, last(METHOD), last(BECOME_USER), secret(BECOME_PASSWORD))?;
        Ok((target, ignored))
    }
}

/// Whether the machine is the computer that this runs on.
fn is_local(variable: &'static str, connection: &str) -> Result<bool, TargetError> {
    match connection {
        "local" | "ansible.builtin.local" => Ok(true),
        "ssh" | "smart" | "paramiko" | "paramiko_ssh" | "ansible.builtin.ssh" => Ok(false),
        other => {
            let reason = format!(
                "machines are reached over ssh, or are this computer (local), not {other:?}; for this machine, let ssh log in to it"
            );
            Err(TargetError::of(variable, reason))
        }
    }
}

type Said = Option<(&'static str, String)>;

fn privilege(
    target: &Target,
    method: Said,
    user: Said,
    password: Option<SecretString>,
) -> Result<Privilege, TargetError> {
    if let Some((variable, user)) = user.filter(|(_, user)| user != "root") {
        let reason = format!("machines are set up as root, not as {user}; leave it out");
        return Err(TargetError::of(variable, reason));
    }
    // Who this computer's user really is, is seen when a program is started.
    if target.user == "root" && !target.local {
        return Ok(Privilege::Root);
    }
    let (before, doas) = match &target.privilege {
        Privilege::Sudo { password } => (password.clone(), false),
        Privilege::Doas => (None, true),
        Privilege::Root => (None, false),
    };
    let doas = match &method {
        None => doas,
        Some((_, method)) if matches!(method.as_str(), "sudo" | "ansible.builtin.sudo") => false,
        Some((_, method)) if matches!(method.as_str(), "doas" | "community.general.doas") => true,
        Some((variable, method)) => {
            let reason =
                format!("{method:?} is not known here: sudo or doas, or log in as root (ansible_user=root)");
            return Err(TargetError::of(variable, reason));
        }
    };
    Ok(if doas { Privilege::Doas } else { Privilege::Sudo { password: password.or(before) } })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Target, TargetError> {
        let defaults = Target { identity_files: vec!["/default".into()], ..Target::new("", "me") };
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let config = SshConfig::none(Some(Path::new("/home/me")));
        Target::from_variables("node1", &defaults, &config, variable).map(|(target, _)| target)
    }

    fn target(variables: &[(&str, &str)]) -> Target {
        read(variables).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn without_variables_the_name_and_the_defaults_count() {
        let target = target(&[]);
        assert_eq!((target.address(), target.user.as_str()), ("node1:22".to_owned(), "me"));
        assert_eq!(target.identity_files, [Path::new("/default")]);
        assert!(matches!(target.privilege, Privilege::Sudo { password: None }));
    }

    #[test]
    fn variables_count_more_than_defaults_and_later_names_more_than_earlier() {
        let target = target(&[
            ("ansible_host", "10.0.0.1"),
            ("ansible_port", " 2222"),
            ("ansible_user", "admin"),
            ("ansible_ssh_user", "core"),
            ("ansible_ssh_pass", "hunter2"),
            ("ansible_ssh_private_key_file", "~/.ssh/lab"),
            ("ansible_become_password", "hunter3"),
            ("ansible_ssh_common_args", "-p 1 -i /other -J gate"),
        ]);
        assert_eq!((target.address(), target.user.as_str()), ("10.0.0.1:2222".to_owned(), "core"));
        assert_eq!(
            target.identity_files,
            [Path::new("/home/me/.ssh/lab"), Path::new("/other")],
            "as ssh tries them"
        );
        assert_eq!(target.password.as_ref().map(ExposeSecret::expose_secret), Some("hunter2"));
        let Privilege::Sudo { password: Some(password) } = &target.privilege else {
            panic!("{:?}", target.privilege)
        };
        assert_eq!(password.expose_secret(), "hunter3");
        let [gate] = target.jumps.as_slice() else { panic!("{:?}", target.jumps) };
        assert_eq!((gate.address(), gate.user.as_str()), ("gate:22".to_owned(), "core"));
        assert_eq!(gate.identity_files, target.identity_files, "a jump host takes the same key");
        assert!(gate.password.is_none(), "but never the password");
        let shown = format!("{target:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn root_needs_nothing_to_become_root() {
        for variables in [
            &[("ansible_user", "root"), ("ansible_become_method", "sudo")][..],
            &[("ansible_ssh_extra_args", "-l root")],
        ] {
            assert!(matches!(target(variables).privilege, Privilege::Root), "{variables:?}");
        }
        assert!(matches!(target(&[("ansible_become_method", "doas")]).privilege, Privilege::Doas));
        assert!(matches!(
            target(&[("ansible_become_method", "doas"), ("ansible_become_user", "root")]).privilege,
            Privilege::Doas
        ));
    }

    #[test]
    fn this_computer_is_no_login_whatever_is_said_of_one() {
        let local = target(&[
            ("ansible_connection", " local"),
            ("ansible_host", "192.0.2.1"),
            ("ansible_port", "2222"),
            ("ansible_user", "root"),
            ("ansible_ssh_pass", "hunter2"),
            ("ansible_private_key_file", "~you/key"),
            ("ansible_ssh_common_args", "-J gate"),
            ("ansible_become_password", "hunter3"),
        ]);
        assert_eq!((local.address(), local.host.as_str()), ("this computer".to_owned(), "192.0.2.1"));
        assert_eq!(local.user, "me");
        assert!(local.password.is_none() && local.identity_files.is_empty() && local.jumps.is_empty());
        assert!(matches!(local.privilege, Privilege::Sudo { password: Some(_) }));
        let doas = [
            ("ansible_connection", "ansible.builtin.local"),
            ("ansible_become_method", "community.general.doas"),
        ];
        assert!(matches!(target(&doas).privilege, Privilege::Doas));
        for way in ["ssh", "smart", "paramiko"] {
            assert!(!target(&[("ansible_connection", way)]).local, "{way}");
        }
        let other = read(&[("ansible_connection", "local"), ("ansible_become_user", "kube")]);
        assert_eq!(other.expect_err("refused").variable, Some("ansible_become_user"));
    }

    #[test]
    fn what_cannot_be_followed_names_the_variable() {
        for (variable, value, said) in [
            ("ansible_port", "ssh", "a number from 1 to 65535"),
            ("ansible_ssh_port", "0", "a number from 1 to 65535"),
            ("ansible_connection", "winrm", "over ssh, or are this computer"),
            ("ansible_become_method", "su", "sudo or doas"),
            ("ansible_become_user", "kube", "as root, not as kube"),
            ("ansible_ssh_common_args", "-o 'ProxyJump=gate", "a quote is not closed"),
            ("ansible_ssh_extra_args", "-o StrictHostKeyChecking=perhaps", "yes, no, ask or accept-new"),
            ("ansible_ssh_private_key_file", "~you/key", "give the whole path"),
        ] {
            let error = read(&[(variable, value)]).expect_err(value);
            assert_eq!(error.variable, Some(variable));
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn every_variable_that_is_read_is_listed() {
        let read = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let variable = |name: &'static str| {
            read.borrow_mut().insert(name);
            None
        };
        Target::from_variables("node1", &Target::new("", "me"), &SshConfig::none(None), variable)
            .expect("fine");
        assert_eq!(read.into_inner(), Target::variables().collect());
    }
}
