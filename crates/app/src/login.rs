//! How to log in to one machine: what its variables say, and for what they leave open the options, ansible.cfg, the
//! user's configuration of ssh and the user's own account.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::PathBuf;

use muster_engine::ssh::{Privilege, SshConfig, Target};
use muster_inventory::{HostVars, Kind, Origin, Value, closest_within};

use crate::environment::Environment;
use crate::error::Error;
use crate::options::ConnectionOptions;
use crate::passwords::Passwords;

/// A file of known hosts instead of the user's.
pub(crate) const KNOWN_HOSTS: &str = "MUSTER_KNOWN_HOSTS";

/// The variables that name a key; the first that is set counts.
const KEY: &[&str] = &["ansible_ssh_private_key_file", "ansible_private_key_file"];

/// What holds for machines whose variables say nothing.
pub(crate) struct Login {
    defaults: Target,
    /// Variables that the command line and ansible.cfg set for all machines.
    settings: HashMap<&'static str, String>,
    /// A key to try for all machines before the user's own.
    pub(crate) given_key: Option<PathBuf>,
    /// The user's configuration of ssh.
    pub(crate) config: SshConfig,
    /// Machines that are reached directly, because the others are reached through one of them.
    bastions: Vec<String>,
    /// What was said for this run and counts more than the configuration of ssh.
    typed_timeout: bool,
    own_known_hosts: bool,
}

/// How a machine is reached.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) target: Target,
    /// Where its address was written.
    pub(crate) origin: Option<Origin>,
    /// What its variables say that is not followed.
    pub(crate) warnings: Vec<String>,
}

impl Login {
    /// Puts together what was typed, what ansible.cfg and its variables in the environment say, and who runs this.
    ///
    /// # Errors
    /// ansible.cfg cannot be read; or a key that is named is not there.
    pub(crate) fn new(
        options: &ConnectionOptions,
        environment: &Environment,
        passwords: Passwords,
    ) -> Result<Self, Error> {
        let settings = environment.ansible()?;
        let mut defaults = Target::new("", environment.user());
        let typed =
            options.private_key.as_ref().map(|path| environment.expand_home(&path.display().to_string()));
        let key = typed.or_else(|| settings.private_key_file.clone());
        // Whoever names a key means that one; what a lab gives is tried in front of the user's own.
        defaults.identity_files = key.iter().cloned().collect();
        let given_key = key.or_else(|| environment.path("MUSTER_PRIVATE_KEY_FILE"));
        if let Some(path) = given_key.as_ref().filter(|path| !path.is_file()) {
            return Err(Error::failed(format!("there is no private key {}", path.display()))
                .hint("name another one with --private-key"));
        }
        defaults.password = passwords.login;
        defaults.privilege = Privilege::Sudo { password: passwords.r#become };
        let set = [
            ("ansible_connection", options.connection.clone()),
            ("ansible_user", options.user.clone().or_else(|| settings.remote_user.clone())),
            ("ansible_port", settings.remote_port.map(|port| port.to_string())),
            ("ansible_ssh_args", settings.ssh_args.clone()),
            (
                "ansible_ssh_common_args",
                options.ssh_common_args.clone().or_else(|| settings.ssh_common_args.clone()),
            ),
            (
                "ansible_ssh_extra_args",
                options.ssh_extra_args.clone().or_else(|| settings.ssh_extra_args.clone()),
            ),
            ("ansible_host_key_checking", settings.host_key_checking.map(|checking| checking.to_string())),
            ("ansible_become_user", options.become_user.clone().or_else(|| settings.become_user.clone())),
            ("ansible_become_method", settings.become_method.clone()),
        ];
        let settings = set.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(Self {
            defaults,
            settings,
            given_key,
            config: SshConfig::of_user(environment.home()),
            bastions: Vec::new(),
            typed_timeout: options.timeout.is_some(),
            own_known_hosts: environment.get(KNOWN_HOSTS).is_some(),
        })
    }

    /// Reaches all machines through the first of these, unless they name jump hosts themselves.
    ///
    /// # Errors
    /// One of its variables cannot be followed.
    pub(crate) fn through(mut self, bastions: &[HostVars]) -> Result<Self, Error> {
        self.bastions = bastions.iter().map(|bastion| bastion.name().to_owned()).collect();
        if let Some(first) = bastions.first() {
            let mut bastion = self.of_host(first)?.target;
            // From this computer every machine is reached anyway.
            if bastion.local {
                return Ok(self);
            }
            let before = std::mem::take(&mut bastion.jumps);
            self.defaults.jumps = before.into_iter().chain([bastion]).collect();
        }
        Ok(self)
    }

    /// A machine of which nothing is known but its name.
    pub(crate) fn unknown(&self, name: &str) -> Target {
        let settings = |name| self.settings.get(name).cloned();
        match Target::from_variables(name, &self.defaults, &self.config, settings) {
            Ok((target, _)) => self.overrule(target),
            Err(_) => Target { host: name.to_owned(), ..self.defaults.clone() },
        }
    }

    /// What was said for this run counts more than what the configuration of ssh says.
    fn overrule(&self, mut target: Target) -> Target {
        target.connect_timeout = target.connect_timeout.filter(|_| !self.typed_timeout);
        target.user_known_hosts = target.user_known_hosts.filter(|_| !self.own_known_hosts);
        target.jumps = target.jumps.into_iter().map(|jump| self.overrule(jump)).collect();
        target
    }

    /// How a machine is reached.
    ///
    /// # Errors
    /// One of its variables cannot be followed; the message shows where it was written.
    pub(crate) fn of_host(&self, vars: &HostVars) -> Result<Found, Error> {
        let mut values: HashMap<&'static str, Value> = HashMap::new();
        for name in Target::variables() {
            if let Some(value) = vars.get(name)?.filter(|value| !matches!(value.kind, Kind::Null)) {
                values.insert(name, value);
            }
        }
        let text =
            |name: &'static str| values.get(name).map(to_text).or_else(|| self.settings.get(name).cloned());
        let origin = |names: &[&str]| names.iter().find_map(|name| values.get(name)?.origin.clone());
        let is_bastion = self.bastions.iter().any(|name| name == vars.name());
        let direct = is_bastion.then(|| Target { jumps: Vec::new(), ..self.defaults.clone() });
        let defaults = direct.as_ref().unwrap_or(&self.defaults);
        let made = Target::from_variables(vars.name(), defaults, &self.config, text);
        let (mut target, ignored) = made.map_err(|error| match error.variable {
            Some(variable) => {
                let said = format!("{variable} of {}: {}", vars.name(), error.reason);
                placed(origin(&[variable]).as_ref(), &said)
            }
            None => Error::written(format!("{} cannot be reached: {}", vars.name(), error.reason)),
        })?;
        // What is set to nothing names no key; nor is one needed on this computer.
        let key = KEY.iter().copied().filter_map(text).find(|path| !path.trim().is_empty());
        let key = key.filter(|_| !target.local);
        if let Some(path) = &key
            && !target.identity_files.first().is_some_and(|file| file.is_file())
        {
            let said = format!("there is no private key {path}, which {} is to be reached with", vars.name());
            return Err(placed(origin(KEY).as_ref(), &said));
        }
        // The configuration of ssh names keys for other machines than those of a lab.
        if key.is_none() && !target.identity_files.is_empty() {
            let given = self.given_key.iter().filter(|given| !target.identity_files.contains(given)).cloned();
            target.identity_files = given.chain(target.identity_files.iter().cloned()).collect();
        }
        if target.local {
            is_this_computer(vars)?;
        }
        target.known_address = known_address(vars);
        let target = self.overrule(target);
        let told = |argument: String| format!("the argument {argument} for ssh has no meaning here");
        let warnings = ignored.into_iter().map(told).chain(misspelt(vars)).collect();
        let said: &[&str] =
            if target.local { &["ansible_connection"] } else { &["ansible_ssh_host", "ansible_host"] };
        Ok(Found { origin: origin(said), target, warnings })
    }
}

/// A machine that is said to be this computer has no other one's address: the inventory may have been written for another computer.
///
/// # Errors
/// It has.
fn is_this_computer(vars: &HostVars) -> Result<(), Error> {
    for name in ["ansible_host", "ip"] {
        let Some(value) = vars.get(name).ok().flatten() else { continue };
        let Some(address) = value.as_str().and_then(|text| text.parse::<IpAddr>().ok()) else { continue };
        if !is_own(address) {
            let said = format!(
                "{} is this computer by ansible_connection: local, and this computer does not have its {name}, {address}",
                vars.name()
            );
            return Err(placed(value.origin.as_ref(), &said)
                .hint("run muster on that machine, or remove ansible_connection and let ssh log in to it"));
        }
    }
    Ok(())
}

/// Whether an address is one of this computer: from there it would talk to it. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

/// The address at which the other machines of the cluster reach this one, where the inventory says it.
fn known_address(vars: &HostVars) -> Option<IpAddr> {
    ["access_ip", "ip"].iter().find_map(|name| vars.get(name).ok()??.as_str()?.parse().ok())
}

/// Variables of Ansible's that are nearly called as one of ours, and mean what they say.
const OTHERS: [&str; 4] = ["ansible_scp_extra_args", "ansible_su_exe", "ansible_su_pass", "ansible_su_user"];

/// What is said of variables that are nearly called as one of those that say how a machine is reached, and are none: Ansible
/// has many that begin with `ansible_`, so they are among no others that are looked for.
fn misspelt(vars: &HostVars) -> Vec<String> {
    let mut told = Vec::new();
    for name in vars.names().iter().filter(|name| name.starts_with("ansible_")) {
        if Target::variables().chain(OTHERS).any(|known| known == name.as_str()) {
            continue;
        }
        if let Some(meant) = closest_within(2, name, Target::variables()) {
            told.push(format!("the variable {name} says nothing; did you mean {meant}?"));
        }
    }
    told
}

fn to_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_json().to_string(), str::to_owned)
}

/// `hosts.ini:3:7: what is wrong`, with the line below.
fn placed(origin: Option<&Origin>, said: &str) -> Error {
    Error::written(match origin {
        Some(origin) => format!("{origin}: {said}{}", origin.excerpt()),
        None => said.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_inventory::{GroupRules, Inventory, VarsBuilder};

    use super::*;

    fn found(line: &str, options: &ConnectionOptions, environment: &Environment) -> Result<Found, Error> {
        let inventory = Inventory::from_ini("hosts.ini", line, GroupRules::new()).unwrap();
        let name = inventory.hosts().next().unwrap().name().to_owned();
        let vars = VarsBuilder::new(Arc::new(inventory)).build().unwrap();
        Login::new(options, environment, Passwords::default())?.of_host(&vars.host(&name).unwrap())
    }

    #[track_caller]
    fn check_user(line: &str, typed: Option<&str>, set: &[(&str, &str)], expected: &str) {
        let options = ConnectionOptions { user: typed.map(str::to_owned), ..ConnectionOptions::default() };
        let environment = Environment::with(&[&[("USER", "teacher")], set].concat());
        assert_eq!(
            found(line, &options, &environment).unwrap().target.user,
            expected,
            "{line} {typed:?} {set:?}"
        );
    }

    #[test]
    fn variables_win_over_options_options_over_settings_and_those_over_who_runs_this() {
        let setting = [("ANSIBLE_REMOTE_USER", "set")];
        check_user("n", None, &[], "teacher");
        check_user("n", None, &setting, "set");
        check_user("n", Some("typed"), &setting, "typed");
        check_user("n ansible_user=written", Some("typed"), &setting, "written");
    }

    #[test]
    fn settings_are_followed_where_variables_say_nothing() {
        let set =
            Environment::with(&[("ANSIBLE_SSH_COMMON_ARGS", "-J gate"), ("ANSIBLE_BECOME_METHOD", "doas")]);
        let options = ConnectionOptions { user: Some("me".into()), ..ConnectionOptions::default() };
        let target = found("n", &options, &set).unwrap().target;
        assert_eq!(target.jumps[0].address(), "gate:22");
        assert!(matches!(target.privilege, Privilege::Doas));
        let target =
            found("n ansible_ssh_common_args='' ansible_become_method=sudo", &options, &set).unwrap().target;
        assert!(target.jumps.is_empty());
        assert!(matches!(target.privilege, Privilege::Sudo { .. }));
    }

    #[test]
    fn what_is_set_to_nothing_is_not_set() {
        let line = "n ansible_ssh_private_key_file= ansible_user= ansible_port= ansible_host= ansible_connection= \
                    ansible_become_method= ansible_become_user= ansible_ssh_pass= ansible_ssh_extra_args=";
        let environment = Environment::with(&[("USER", "teacher")]);
        let target = found(line, &ConnectionOptions::default(), &environment).unwrap().target;
        assert_eq!((target.address().as_str(), target.user.as_str()), ("n:22", "teacher"));
        assert!(target.password.is_none());
    }

    #[test]
    fn a_misspelt_variable_of_the_connection_is_told_and_the_address_among_the_machines_is_known() {
        let found = |line| found(line, &ConnectionOptions::default(), &Environment::with(&[])).unwrap();
        let misspelt =
            found("n ansible_hst=192.0.2.1 ansible_become=true ansible_python_interpreter=auto ip=192.0.2.7");
        assert_eq!(misspelt.warnings, ["the variable ansible_hst says nothing; did you mean ansible_host?"]);
        assert_eq!(misspelt.target.known_address, Some("192.0.2.7".parse().unwrap()));
        assert_eq!(found("n ansible_host=192.0.2.1 ansible_hostname=x").warnings, Vec::<String>::new());
    }

    #[test]
    fn arguments_of_ansible_playbook_are_followed() {
        let options = ConnectionOptions {
            ssh_common_args: Some("-J gate".into()),
            become_user: Some("root".into()),
            ..ConnectionOptions::default()
        };
        let target = found("n", &options, &Environment::with(&[])).unwrap().target;
        assert_eq!(target.jumps[0].address(), "gate:22");
        let other = ConnectionOptions { become_user: Some("kube".into()), ..ConnectionOptions::default() };
        let told = found("n", &other, &Environment::with(&[])).unwrap_err().to_string();
        assert!(told.contains("as root, not as kube"), "{told}");
    }

    #[test]
    fn this_computer_needs_no_key_and_no_way() {
        let line = "n ansible_connection=local ansible_host=127.0.0.1 ansible_ssh_private_key_file=/no/key";
        let environment = Environment::with(&[("LOGNAME", "teacher")]);
        let here = found(line, &ConnectionOptions::default(), &environment).unwrap();
        assert_eq!((here.target.address().as_str(), here.target.user.as_str()), ("this computer", "teacher"));
        assert_eq!(here.origin.unwrap().to_string(), "hosts.ini:1:22");
        let typed = |line| {
            let options =
                ConnectionOptions { connection: Some("local".into()), ..ConnectionOptions::default() };
            found(line, &options, &environment).unwrap().target.local
        };
        assert!(typed("n") && !typed("n ansible_connection=ssh"));
    }

    #[test]
    fn this_computer_is_a_machine_where_it_has_its_address() {
        let found = |line: &str| {
            let line = format!("n ansible_connection=local {line}");
            found(&line, &ConnectionOptions::default(), &Environment::with(&[]))
        };
        for line in ["", "ansible_host=127.0.0.1", "ansible_host=n.example.org ip=127.0.0.1"] {
            assert!(found(line).unwrap().target.local, "{line}");
        }
        for line in ["ansible_host=192.0.2.1", "ip=192.0.2.1", "ansible_host=127.0.0.1 ip=2001:db8::1"] {
            let error = format!("{:?}", found(line).unwrap_err());
            assert!(
                error.contains("this computer does not have its") && error.contains("run muster on"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_cannot_be_followed_is_said_with_its_place() {
        let error = |line: &str| {
            found(line, &ConnectionOptions::default(), &Environment::with(&[])).unwrap_err().in_full()
        };
        assert_eq!(
            error("n ansible_port=99999"),
            "error: hosts.ini:1:16: ansible_port of n: a port is a number from 1 to 65535, not \"99999\"\n   |\n \
             1 | n ansible_port=99999\n   |                ^"
        );
        assert!(
            error("n ansible_ssh_private_key_file=/no/key")
                .starts_with("error: hosts.ini:1:32: there is no private key")
        );
        let typed = ConnectionOptions { private_key: Some("/no/key".into()), ..ConnectionOptions::default() };
        let error = found("n", &typed, &Environment::with(&[])).unwrap_err();
        assert_eq!(error.message, "there is no private key /no/key");
    }

    #[test]
    fn arguments_of_ssh_that_mean_nothing_here_are_told() {
        let line = "n ansible_ssh_extra_args='-o BindInterface=eth1'";
        let found = found(line, &ConnectionOptions::default(), &Environment::with(&[])).unwrap();
        assert_eq!(found.warnings, ["the argument -o BindInterface=eth1 for ssh has no meaning here"]);
    }
}
