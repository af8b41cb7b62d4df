//! One machine: from its variables to what SSH needs to know.

use std::path::PathBuf;

use muster_engine::ssh::{HostKeyPolicy, Privilege, Target};
use muster_inventory::{HostVars, Kind, Origin, Value};
use secrecy::SecretString;

use crate::args::ConnectionArgs;
use crate::connection::ssh_arguments;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::password::Passwords;

/// What holds where a machine's variables say nothing.
pub(super) struct Login {
    pub(super) user: String,
    /// The key that the command line or the environment names.
    pub(super) identity_file: Option<PathBuf>,
    /// Whether only that key is to be used: the command line named it.
    only_that_key: bool,
    pub(super) host_key_policy: HostKeyPolicy,
    passwords: Passwords,
    pub(super) environment: Environment,
}

impl Login {
    pub(super) fn new(args: &ConnectionArgs, environment: &Environment, passwords: Passwords) -> Self {
        let named =
            args.private_key.as_ref().map(|path| environment.expand_home(&path.display().to_string()));
        // A lab gives its key in the environment; the user's own keys are not in the way there.
        let given = environment.path("MUSTER_PRIVATE_KEY_FILE");
        let unchecked = environment.get("ANSIBLE_HOST_KEY_CHECKING").is_some_and(|text| is_no(text));
        Self {
            user: args.user.clone().unwrap_or_else(|| environment.user().to_owned()),
            only_that_key: named.is_some(),
            identity_file: named.or(given),
            host_key_policy: if unchecked { HostKeyPolicy::Off } else { HostKeyPolicy::AcceptNew },
            passwords,
            environment: environment.clone(),
        }
    }
}

fn is_no(text: &str) -> bool {
    Value::from(text).as_bool() == Some(false)
}

/// How a machine is reached.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) target: Target,
    /// Where its address was written.
    pub(super) origin: Option<Origin>,
    /// What of its variables is not understood.
    pub(super) warnings: Vec<String>,
}

/// How a machine is reached, as its variables say (Ansible's connection plugin `ssh` and become plugins).
///
/// # Errors
/// A variable asks for something that cannot be done, or names a key that is not there.
pub(super) fn of_host(vars: &HostVars, login: &Login) -> Result<Found, CommandError> {
    let first = |names: &[&str]| -> Result<Option<Value>, CommandError> {
        for name in names {
            if let Some(value) = vars.get(name)?.filter(|value| !is_empty(value)) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    };
    let text =
        |names: &[&str]| -> Result<Option<String>, CommandError> { Ok(first(names)?.as_ref().map(to_text)) };

    if let Some(value) = first(&["ansible_connection"])? {
        let connection = to_text(&value);
        if !matches!(connection.as_str(), "ssh" | "paramiko" | "paramiko_ssh" | "smart") {
            return Err(wrong(vars, "ansible_connection", &value, "machines are reached over SSH").hint(
                "this computer too can be a machine of the cluster: give its address and allow SSH to it",
            ));
        }
    }
    let address = first(&["ansible_host", "ansible_ssh_host"])?;
    let origin = address.as_ref().and_then(|value| value.origin.clone());
    let host = address.as_ref().map_or_else(|| vars.name().to_owned(), to_text);
    let user = text(&["ansible_user", "ansible_ssh_user"])?.unwrap_or_else(|| login.user.clone());
    let mut target = Target::new(host, user);
    if let Some(value) = first(&["ansible_port", "ansible_ssh_port"])? {
        let port = to_text(&value).parse().ok().filter(|port| *port != 0);
        target.port =
            port.ok_or_else(|| wrong(vars, "ansible_port", &value, "a port is a number from 1 to 65535"))?;
    }
    let key = first(&["ansible_ssh_private_key_file", "ansible_private_key_file"])?;
    match (&key, login.only_that_key) {
        (Some(value), _) => {
            let path = login.environment.expand_home(&to_text(value));
            if !path.is_file() {
                return Err(wrong(vars, "ansible_ssh_private_key_file", value, "there is no such file"));
            }
            target.identity_files = vec![path];
        }
        (None, true) => target.identity_files = login.identity_file.iter().cloned().collect(),
        (None, false) => {}
    }
    if let Some(path) = login.identity_file.as_ref().filter(|path| !path.is_file()) {
        return Err(CommandError::failed(format!("there is no private key {}", path.display()))
            .hint("name another one with --private-key"));
    }
    let password = text(&["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"])?;
    target.password = password.map(SecretString::from).or_else(|| login.passwords.login.clone());
    target.privilege = privilege(vars, &target.user, login, &first)?;
    let mut warnings = Vec::new();
    for name in ["ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"] {
        if let Some(value) = first(&[name])? {
            let ignored = ssh_arguments::apply(&mut target, &to_text(&value), &login.environment)
                .map_err(|reason| wrong(vars, name, &value, &reason))?;
            warnings
                .extend(ignored.into_iter().map(|option| format!("{name}: {option} has no meaning here")));
        }
    }
    for name in ["ansible_host_key_checking", "ansible_ssh_host_key_checking"] {
        if first(&[name])?.is_some_and(|value| value.as_bool() == Some(false)) {
            target.host_key_policy = Some(HostKeyPolicy::Off);
        }
    }
    Ok(Found { target, origin, warnings })
}

fn privilege(
    vars: &HostVars,
    user: &str,
    login: &Login,
    first: &dyn Fn(&[&str]) -> Result<Option<Value>, CommandError>,
) -> Result<Privilege, CommandError> {
    if let Some(value) = first(&["ansible_become_user"])?.filter(|value| to_text(value) != "root") {
        return Err(wrong(vars, "ansible_become_user", &value, "a cluster is built as root"));
    }
    if user == "root" {
        return Ok(Privilege::Root);
    }
    let method = first(&["ansible_become_method"])?;
    let name = method.as_ref().map_or_else(|| "sudo".to_owned(), to_text);
    let password = first(&["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"])?;
    let password = password.map(|value| SecretString::from(to_text(&value)));
    match (name.strip_prefix("community.general.").unwrap_or(&name), &method) {
        ("sudo" | "ansible.builtin.sudo", _) => {
            Ok(Privilege::Sudo { password: password.or_else(|| login.passwords.r#become.clone()) })
        }
        ("doas", _) => Ok(Privilege::Doas),
        (_, Some(value)) => {
            Err(wrong(vars, "ansible_become_method", value, "the ways to become root are sudo and doas"))
        }
        (_, None) => Ok(Privilege::Sudo { password }),
    }
}

fn is_empty(value: &Value) -> bool {
    matches!(value.kind, Kind::Null) || value.as_str() == Some("")
}

fn to_text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_json().to_string(),
    }
}

/// `hosts.ini:3:7: ansible_port of node1 is 99999: a port is ...`, with the line below. Passwords never get here.
fn wrong(vars: &HostVars, name: &str, value: &Value, reason: &str) -> CommandError {
    let place = value.origin.as_ref().map(|origin| format!("{origin}: ")).unwrap_or_default();
    let excerpt = value.origin.as_ref().map(Origin::excerpt).unwrap_or_default();
    CommandError::written(format!(
        "{place}{name} of {} is {}: {reason}{excerpt}",
        vars.name(),
        to_text(value)
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_inventory::{GroupRules, Inventory, VarsBuilder};

    use super::*;

    fn found(line: &str, args: ConnectionArgs) -> Result<Found, CommandError> {
        let inventory = Inventory::from_ini("hosts.ini", line, GroupRules::new()).unwrap();
        let name = inventory.hosts().next().unwrap().name().to_owned();
        let vars = VarsBuilder::new(Arc::new(inventory)).build().unwrap();
        let environment = Environment::with(&[("USER", "teacher")]);
        of_host(&vars.host(&name).unwrap(), &Login::new(&args, &environment, Passwords::default()))
    }

    fn target(line: &str) -> Target {
        found(line, ConnectionArgs::untyped().unwrap()).unwrap().target
    }

    #[test]
    fn variables_win_over_options_and_options_over_defaults() {
        assert_eq!(target("node1").address(), "node1:22");
        assert_eq!(target("node1").user, "teacher");
        let with_option = |line: &str| {
            let args = ConnectionArgs { user: Some("admin".into()), ..ConnectionArgs::untyped().unwrap() };
            found(line, args).unwrap().target.user
        };
        assert_eq!(with_option("node1"), "admin");
        assert_eq!(with_option("node1 ansible_user=root"), "root");
        let old = target("node1 ansible_ssh_host=10.0.0.1 ansible_ssh_port=2222 ansible_ssh_user=me");
        assert_eq!((old.address().as_str(), old.user.as_str()), ("10.0.0.1:2222", "me"));
    }

    #[test]
    fn root_needs_nothing_to_become_root_and_others_use_what_the_inventory_says() {
        assert!(matches!(target("n ansible_user=root").privilege, Privilege::Root));
        assert!(matches!(target("n ansible_user=me").privilege, Privilege::Sudo { password: None }));
        let with_password = target("n ansible_user=me ansible_become_pass=secret").privilege;
        assert!(matches!(with_password, Privilege::Sudo { password: Some(_) }));
        assert!(matches!(target("n ansible_user=me ansible_become_method=doas").privilege, Privilege::Doas));
    }

    #[track_caller]
    fn check_error(line: &str, expected: &str) {
        let error = found(line, ConnectionArgs::untyped().unwrap()).unwrap_err();
        assert!(error.message.starts_with(expected), "{}", error.message);
    }

    #[test]
    fn what_cannot_be_done_is_said_with_its_place() {
        check_error("n ansible_port=99999", "hosts.ini:1:16: ansible_port of n is 99999: a port is a number");
        check_error("n ansible_connection=local", "hosts.ini:1:22: ansible_connection of n is local");
        check_error(
            "n ansible_user=a ansible_become_method=su",
            "hosts.ini:1:40: ansible_become_method of n is su",
        );
        check_error("n ansible_become_user=kube", "hosts.ini:1:23: ansible_become_user of n is kube");
        check_error(
            "n ansible_ssh_private_key_file=/nonexistent/key",
            "hosts.ini:1:32: ansible_ssh_private_key_file of n",
        );
    }

    #[test]
    fn arguments_of_ssh_are_understood() {
        let found = found(
            "n ansible_ssh_common_args='-o ProxyJump=me@gate:2222 -o ControlMaster=auto -o Tunnel=yes'",
            ConnectionArgs::untyped().unwrap(),
        )
        .unwrap();
        assert_eq!(found.target.jumps[0].address(), "gate:2222");
        assert_eq!(found.warnings, ["ansible_ssh_common_args: -o Tunnel=yes has no meaning here"]);
    }
}
