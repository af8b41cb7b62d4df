//! How to log in to one machine: what its variables say, and for what they leave open the command line, ansible.cfg and
//! the user's own account.

use std::collections::HashMap;
use std::path::PathBuf;

use muster_engine::ssh::{DEFAULT_PORT, Privilege, Target};
use muster_inventory::{HostVars, Kind, Origin, Value};

use crate::args::ConnectionArgs;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::password::Passwords;

/// What holds for machines whose variables say nothing.
pub(crate) struct Login {
    defaults: Target,
    /// Variables that ansible.cfg sets for all machines.
    settings: HashMap<&'static str, String>,
    home: Option<PathBuf>,
    /// A key to try for all machines before the user's own.
    pub(crate) given_key: Option<PathBuf>,
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
        args: &ConnectionArgs,
        environment: &Environment,
        passwords: Passwords,
    ) -> Result<Self, CommandError> {
        let settings = environment.ansible()?;
        let user = args.user.clone().or_else(|| settings.remote_user.clone());
        let mut defaults = Target::new("", user.unwrap_or_else(|| environment.user().to_owned()));
        defaults.port = settings.remote_port.unwrap_or(DEFAULT_PORT);
        let typed =
            args.private_key.as_ref().map(|path| environment.expand_home(&path.display().to_string()));
        let key = typed.or_else(|| settings.private_key_file.clone());
        // Whoever names a key means that one; what a lab gives is tried in front of the user's own.
        defaults.identity_files = key.iter().cloned().collect();
        let given_key = key.or_else(|| environment.path("MUSTER_PRIVATE_KEY_FILE"));
        if let Some(path) = given_key.as_ref().filter(|path| !path.is_file()) {
            return Err(CommandError::failed(format!("there is no private key {}", path.display()))
                .hint("name another one with --private-key"));
        }
        defaults.password = passwords.login;
        if defaults.user != "root" {
            defaults.privilege = Privilege::Sudo { password: passwords.r#become };
        }
        let set = [
            ("ansible_ssh_args", settings.ssh_args.clone()),
            ("ansible_ssh_common_args", settings.ssh_common_args.clone()),
            ("ansible_ssh_extra_args", settings.ssh_extra_args.clone()),
            ("ansible_host_key_checking", settings.host_key_checking.map(|checking| checking.to_string())),
            ("ansible_become_user", settings.become_user.clone()),
            ("ansible_become_method", settings.become_method.clone()),
        ];
        let settings = set.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(Self { defaults, settings, home: environment.home().map(PathBuf::from), given_key })
    }

    /// A machine of which nothing is known but its name.
    pub(crate) fn unknown(&self, name: &str) -> Target {
        Target { host: name.to_owned(), ..self.defaults.clone() }
    }

    /// How a machine is reached.
    ///
    /// # Errors
    /// One of its variables cannot be followed; the message shows where it was written.
    pub(crate) fn of_host(&self, vars: &HostVars) -> Result<Found, CommandError> {
        let mut values: HashMap<&'static str, Value> = HashMap::new();
        for name in Target::variables() {
            if let Some(value) = vars.get(name)?.filter(|value| !matches!(value.kind, Kind::Null)) {
                values.insert(name, value);
            }
        }
        let text =
            |name: &'static str| values.get(name).map(to_text).or_else(|| self.settings.get(name).cloned());
        let origin = |names: &[&str]| names.iter().find_map(|name| values.get(name)?.origin.clone());
        let made = Target::from_variables(vars.name(), &self.defaults, self.home.as_deref(), text);
        let (target, ignored) = made.map_err(|error| {
            let said = format!("{} of {}: {}", error.variable, vars.name(), error.reason);
            placed(origin(&[error.variable]).as_ref(), &said)
        })?;
        if let Some(path) = target.identity_files.iter().find(|path| !path.is_file()) {
            let place = origin(&["ansible_ssh_private_key_file", "ansible_private_key_file"]);
            let said = format!(
                "there is no private key {}, which {} is to be reached with",
                path.display(),
                vars.name()
            );
            return Err(placed(place.as_ref(), &said));
        }
        let told = |argument: String| format!("the argument {argument} for ssh has no meaning here");
        let warnings = ignored.into_iter().map(told).collect();
        Ok(Found { target, origin: origin(&["ansible_ssh_host", "ansible_host"]), warnings })
    }
}

fn to_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_json().to_string(), str::to_owned)
}

/// `hosts.ini:3:7: what is wrong`, with the line below.
fn placed(origin: Option<&Origin>, said: &str) -> CommandError {
    CommandError::written(match origin {
        Some(origin) => format!("{origin}: {said}{}", origin.excerpt()),
        None => said.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_inventory::{GroupRules, Inventory, VarsBuilder};

    use super::*;

    fn found(line: &str, args: &ConnectionArgs, environment: &Environment) -> Result<Found, CommandError> {
        let inventory = Inventory::from_ini("hosts.ini", line, GroupRules::new()).unwrap();
        let name = inventory.hosts().next().unwrap().name().to_owned();
        let vars = VarsBuilder::new(Arc::new(inventory)).build().unwrap();
        Login::new(args, environment, Passwords::default())?.of_host(&vars.host(&name).unwrap())
    }

    #[track_caller]
    fn check_user(line: &str, typed: Option<&str>, set: &[(&str, &str)], expected: &str) {
        let args = ConnectionArgs { user: typed.map(str::to_owned), ..ConnectionArgs::default() };
        let environment = Environment::with(&[&[("USER", "teacher")], set].concat());
        assert_eq!(
            found(line, &args, &environment).unwrap().target.user,
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
        let args = ConnectionArgs { user: Some("me".into()), ..ConnectionArgs::default() };
        let target = found("n", &args, &set).unwrap().target;
        assert_eq!(target.jumps[0].address(), "gate:22");
        assert!(matches!(target.privilege, Privilege::Doas));
        let target =
            found("n ansible_ssh_common_args='' ansible_become_method=sudo", &args, &set).unwrap().target;
        assert!(target.jumps.is_empty());
        assert!(matches!(target.privilege, Privilege::Sudo { .. }));
    }

    #[test]
    fn what_cannot_be_followed_is_said_with_its_place() {
        let error = |line: &str| {
            found(line, &ConnectionArgs::default(), &Environment::with(&[])).unwrap_err().to_string()
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
        let typed = ConnectionArgs { private_key: Some("/no/key".into()), ..ConnectionArgs::default() };
        let error = found("n", &typed, &Environment::with(&[])).unwrap_err();
        assert_eq!(error.message, "there is no private key /no/key");
    }

    #[test]
    fn arguments_of_ssh_that_mean_nothing_here_are_told() {
        let line = "n ansible_ssh_extra_args='-o BindInterface=eth1'";
        let found = found(line, &ConnectionArgs::default(), &Environment::with(&[])).unwrap();
        assert_eq!(found.warnings, ["the argument -o BindInterface=eth1 for ssh has no meaning here"]);
    }
}
