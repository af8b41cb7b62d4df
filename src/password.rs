//! Passwords asked for on the terminal.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use crate::args::ConnectionArgs;
use crate::error::CommandError;

/// Passwords the user typed for all machines.
#[derive(Default)]
pub(crate) struct Passwords {
    pub(crate) login: Option<SecretString>,
    pub(crate) r#become: Option<SecretString>,
}

impl Passwords {
    /// Asks for those that `-k` and `-K` say.
    ///
    /// # Errors
    /// There is no terminal to ask on.
    pub(crate) fn ask(args: &ConnectionArgs) -> Result<Self, CommandError> {
        let hint = "run it in a terminal, or give the password as a variable (ansible_password, ansible_become_password)";
        let login = args.ask_pass.then(|| ask("SSH password: ", hint)).transpose()?;
        let r#become =
            args.ask_become_pass.then(|| ask("Password of sudo [that of SSH]: ", hint)).transpose()?;
        let r#become = match (r#become, &login) {
            (Some(typed), login) if typed.expose_secret().is_empty() => login.clone(),
            (typed, _) => typed,
        };
        Ok(Self { login, r#become })
    }
}

/// Asks.
///
/// # Errors
/// There is no terminal; the hint says what to do then.
pub(crate) fn ask(prompt: &str, hint: &str) -> Result<SecretString, CommandError> {
    rpassword::prompt_password(prompt)
        .map(SecretString::from)
        .map_err(|error| CommandError::failed(format!("cannot ask for a password: {error}")).hint(hint))
}

/// The passphrase of a key file; nothing when there is nobody to ask.
pub(crate) fn passphrase(key: &Path) -> Option<SecretString> {
    let typed = rpassword::prompt_password(format!("Passphrase of {}: ", key.display())).ok()?;
    (!typed.is_empty()).then(|| SecretString::from(typed))
}
