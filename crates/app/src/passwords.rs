//! The passwords that the user gives for all machines.

use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;
use crate::frontend::{Frontend, Question};
use crate::options::ConnectionOptions;

/// Passwords for all machines.
#[derive(Default)]
pub(crate) struct Passwords {
    pub(crate) login: Option<SecretString>,
    pub(crate) r#become: Option<SecretString>,
}

impl Passwords {
    /// Asks for those that are wanted.
    ///
    /// # Errors
    /// There is nobody to ask.
    pub(crate) fn ask(options: &ConnectionOptions, frontend: &dyn Frontend) -> Result<Self, Error> {
        let hint = "run it in a terminal, or give the password as a variable (ansible_password, ansible_become_password)";
        let asked = |question| ask(frontend, question, hint);
        let login = options.ask_password.then(|| asked(Question::LoginPassword)).transpose()?;
        let r#become = options.ask_become_password.then(|| asked(Question::BecomePassword)).transpose()?;
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
/// There is nobody to ask; the hint says what to do then.
pub(crate) fn ask(
    frontend: &dyn Frontend,
    question: Question<'_>,
    hint: &str,
) -> Result<SecretString, Error> {
    frontend
        .ask(question)
        .map_err(|why| Error::failed(format!("cannot ask for a password: {why}")).hint(hint))
}
