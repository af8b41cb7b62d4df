//! The passwords of encrypted variables: in files, printed by programs, or typed. Where they are looked for, in which order,
//! and how programs are called is Ansible's (`setup_vault_secrets` of `ansible/cli/__init__.py`,
//! `get_file_vault_secret` of `ansible/parsing/vault/__init__.py`).

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use muster_inventory::{VaultSecrets, VaultText, is_vault};
use secrecy::ExposeSecret;

use crate::environment::Environment;
use crate::error::Error;
use crate::frontend::{Frontend, News, Question};
use crate::options::VariableOptions;
use crate::passwords::ask;

/// The label of a password without one.
const DEFAULT: &str = "default";
/// What to do where nobody can be asked.
const HINT: &str = "run it in a terminal, or put the password into a file: --vault-password-file FILE";
/// With this exit status a client program says that it has no password of that label.
const UNKNOWN_LABEL: i32 = 2;

/// The passwords, from where the options, ansible.cfg and Ansible's variables of the environment say. A file or
/// program that fails is an error only if there is no password at all.
///
/// # Errors
/// A file cannot be read, a program fails, or there is nobody to ask.
pub(crate) fn vault_secrets(
    options: &VariableOptions,
    environment: &Environment,
    frontend: &dyn Frontend,
) -> Result<VaultSecrets, Error> {
    let settings = environment.ansible()?;
    let labelled = settings.vault_identities.iter().chain(&options.vault_ids);
    let labelled = labelled.map(|id| id.split_once('@').unwrap_or(("", id.as_str())));
    let files = options.vault_password_files.iter().chain(&settings.vault_password_file);
    let files: Vec<String> = files.map(|path| path.display().to_string()).collect();
    let asked = options.ask_vault_password || settings.ask_vault_pass == Some(true);
    let asked = asked.then_some((DEFAULT, "prompt_ask_vault_pass"));

    let mut secrets = VaultSecrets::new();
    let mut failures: Vec<Error> = Vec::new();
    for (label, from) in labelled.chain(files.iter().map(|file| (DEFAULT, file.as_str()))).chain(asked) {
        let name = if label.is_empty() { DEFAULT } else { label };
        let found = match from {
            "prompt" => typed(frontend, Some(name))?,
            "prompt_ask_vault_pass" => typed(frontend, None)?,
            file => match password_of(&environment.expand_home(file), label, &secrets) {
                Ok(password) => password,
                Err(failure) => {
                    failures.push(failure);
                    continue;
                }
            },
        };
        secrets.add(name, &found);
    }
    if secrets.is_empty() {
        return failures.into_iter().next().map_or(Ok(secrets), Err);
    }
    failures.iter().for_each(|failure| frontend.tell(News::Warning(&failure.message)));
    Ok(secrets)
}

fn typed(frontend: &dyn Frontend, label: Option<&str>) -> Result<Vec<u8>, Error> {
    let password = ask(frontend, Question::VaultPassword(label), HINT)?;
    match password.expose_secret().trim() {
        "" => Err(Error::failed("no vault password was typed")),
        password => Ok(password.as_bytes().to_vec()),
    }
}

/// The password in a file, which may be encrypted with one of those known already; if the file is a program, what it
/// prints.
fn password_of(path: &Path, label: &str, known: &VaultSecrets) -> Result<Vec<u8>, Error> {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    let failed = |reason: &dyn std::fmt::Display| {
        Error::failed(format!("cannot read the vault password file {shown}: {reason}"))
    };
    let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
    let password = if metadata.permissions().mode() & 0o111 != 0 {
        printed_by(path, label)?
    } else {
        let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) if is_vault(text) => {
                let plain = VaultText::parse(text).and_then(|text| text.decrypt(known));
                plain.map_err(|error| failed(&error))?.into_bytes()
            }
            _ => bytes,
        }
    };
    if password.trim_ascii().is_empty() {
        return Err(Error::failed(format!("{shown} gives an empty vault password")));
    }
    Ok(password)
}

/// What a program prints. One whose name ends in `-client` is told the label.
fn printed_by(path: &Path, label: &str) -> Result<Vec<u8>, Error> {
    let shown = path.display();
    let is_client = path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("-client"));
    let failed = |error: std::io::Error| {
        let failure = Error::failed(format!("cannot run {shown} for the vault password: {error}"));
        match error.kind() {
            ErrorKind::NotFound => failure.hint("is the interpreter in its first line installed?"),
            _ => failure.hint(format!("if it is a file with the password and no program: chmod -x {shown}")),
        }
    };
    let mut command = Command::new(std::path::absolute(path).map_err(failed)?);
    if is_client && !label.is_empty() {
        command.args(["--vault-id", label]);
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::failed(match output.status.code() {
        Some(UNKNOWN_LABEL) if is_client => {
            let label = if label.is_empty() { DEFAULT } else { label };
            format!("{shown} has no vault password with the label \"{label}\"")
        }
        _ => format!("{shown}, which is to print the vault password, ended with {}", output.status),
    }))
}
