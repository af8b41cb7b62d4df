//! Whoever hosts the application: it is told what a user should know, and asked what only a user can say.

use std::path::Path;

use muster_artifacts::Progress;
use muster_roles::kubespray::Remark;
use secrecy::SecretString;

use crate::project::Project;

/// The side of the user. What happens on machines is no news: that is told as events of the engine.
pub trait Frontend: Send + Sync {
    /// Takes in what there is to know. Must not stop the work.
    fn tell(&self, news: News<'_>);

    /// Asks the user.
    ///
    /// # Errors
    /// Why there is no answer: there is no terminal, for example.
    fn ask(&self, question: Question<'_>) -> Result<SecretString, String>;
}

/// What there is to know before machines are contacted.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// Something is odd and stops nothing.
    Warning(&'a str),
    /// Variables of a project that are set and come to nothing, or to something else than in kubespray.
    Remarks(&'a Project, &'a [Remark]),
    /// Something on this side takes its time.
    Doing(&'a str),
    /// How a download goes on.
    Download(&'a Progress<'a>),
    /// The last download has ended, well or not.
    DownloadsEnded,
}

/// What only a user can say.
#[derive(Debug, Clone, Copy)]
pub enum Question<'a> {
    /// The password to log in with, the same on all machines.
    LoginPassword,
    /// The password of sudo; an empty one means that of the login.
    BecomePassword,
    /// The password of encrypted variables, with its label where it has one.
    VaultPassword(Option<&'a str>),
    /// The passphrase of a private key.
    Passphrase(&'a Path),
    /// Whether something may be lost for good: what, and what the user types if so. Any other answer is a no.
    Loss {
        /// A whole sentence.
        lost: &'a str,
        /// What is typed.
        typed: &'a str,
    },
}

/// A side without a user.
#[cfg(test)]
pub(crate) struct Nobody;

#[cfg(test)]
impl Frontend for Nobody {
    fn tell(&self, _: News<'_>) {}

    fn ask(&self, _: Question<'_>) -> Result<SecretString, String> {
        Err("nobody is there".to_owned())
    }
}
