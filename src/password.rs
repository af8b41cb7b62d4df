//! Passwords: asked for on the terminal, read from a file, or printed by a program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use muster_inventory::VaultSecrets;
use secrecy::{ExposeSecret, SecretString};

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
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
        let login = args.ask_pass.then(|| ask("SSH password: ")).transpose()?;
        let r#become = args.ask_become_pass.then(|| ask("Password of sudo [that of SSH]: ")).transpose()?;
        let r#become = match (r#become, &login) {
            (Some(typed), login) if typed.expose_secret().is_empty() => login.clone(),
            (typed, _) => typed,
        };
        Ok(Self { login, r#become })
    }
}

fn ask(prompt: &str) -> Result<SecretString, CommandError> {
    rpassword::prompt_password(prompt).map(SecretString::from).map_err(|error| {
        CommandError::failed(format!("cannot ask for a password: {error}"))
            .hint("run it in a terminal, or give the password as a variable (ansible_password, ansible_become_password)")
    })
}

/// The passphrase of a key file; nothing when there is nobody to ask.
pub(crate) fn passphrase(key: &Path) -> Option<SecretString> {
    let typed = rpassword::prompt_password(format!("Passphrase of {}: ", key.display())).ok()?;
    (!typed.is_empty()).then(|| SecretString::from(typed))
}

/// The passwords of encrypted variables, from where the command line and ansible.cfg say.
///
/// # Errors
/// A file cannot be read, a program fails, or there is nobody to ask.
pub(crate) fn vault_secrets(
    args: &InventoryArgs,
    environment: &Environment,
) -> Result<VaultSecrets, CommandError> {
    /// The label of a password without one.
    const DEFAULT: &str = "default";
    let settings = environment.ansible()?;
    let mut secrets = VaultSecrets::new();
    for id in settings.vault_identities.iter().chain(&args.vault_id) {
        let (label, from) = id.split_once('@').unwrap_or((DEFAULT, id));
        if matches!(from, "prompt" | "prompt_ask_vault_pass") {
            secrets.add(label, ask(&format!("Vault password ({label}): "))?.expose_secret().as_bytes());
        } else {
            secrets.add(label, &password_of(&environment.expand_home(from))?);
        }
    }
    let files = if args.vault_password_file.is_empty() {
        settings.vault_password_file.iter().collect()
    } else {
        args.vault_password_file.iter().collect::<Vec<&PathBuf>>()
    };
    for path in files {
        secrets.add(DEFAULT, &password_of(&environment.expand_home(&path.display().to_string()))?);
    }
    if args.ask_vault_pass || settings.ask_vault_pass == Some(true) {
        secrets.add(DEFAULT, ask("Vault password: ")?.expose_secret().as_bytes());
    }
    Ok(secrets)
}

/// The password in a file; if the file is a program, what it prints, as in Ansible.
fn password_of(path: &Path) -> Result<Vec<u8>, CommandError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: std::io::Error| {
        CommandError::failed(format!("cannot read the vault password file {}: {error}", path.display()))
    };
    if std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o111 == 0 {
        return std::fs::read(path).map_err(failed);
    }
    let path = std::path::absolute(path).map_err(failed)?;
    let output = Command::new(&path).stderr(Stdio::inherit()).output().map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(CommandError::failed(format!(
        "{}, which is to print the vault password, ended with {}",
        path.display(),
        output.status
    )))
}
