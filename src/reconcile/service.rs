//! The loop as a service of this computer: a unit of systemd (systemd.service(5), systemd.unit(5)).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_files::write_whole;

use crate::environment::Environment;
use crate::error::CommandError;
use crate::output::print;

/// The beginning of each unit that was written here: no other one is replaced or removed.
const MARK: &str = "# Written by muster reconcile --install; --uninstall removes it.\n";

/// What of the environment the service has as well. None of it is a secret: everybody may see what a unit has.
const KEPT: [&str; 11] = [
    "PATH",
    "LANG",
    "ANSIBLE_CONFIG",
    "GNUPGHOME",
    "OS_CLIENT_CONFIG_FILE",
    "OS_CLOUD",
    "MUSTER_BUNDLE",
    "MUSTER_CACHE_DIR",
    "MUSTER_DEFAULTS",
    "MUSTER_KNOWN_HOSTS",
    "MUSTER_PRIVATE_KEY_FILE",
];

/// The unit for what is in a folder.
pub(crate) struct Service {
    name: String,
    path: PathBuf,
}

impl Service {
    /// That of a folder, and a part of it that may not be there yet.
    pub(crate) fn of(folder: &Path, part: &str) -> Result<Self, CommandError> {
        let found = folder.canonicalize();
        let found = found
            .map_err(|error| CommandError::failed(format!("cannot find {}: {error}", folder.display())))?;
        let folder = found.join(part);
        let name = format!("muster-reconcile-{}.service", escaped(&folder.display().to_string()));
        let path = Path::new("/etc/systemd/system").join(&name);
        Ok(Self { name, path })
    }

    /// Writes it, and starts the service, now and whenever this computer starts. `words`: what is run.
    ///
    /// # Errors
    /// There is another unit of that name, or it may not be written.
    pub(crate) fn install(&self, words: &[String], environment: &Environment) -> Result<(), CommandError> {
        self.is_ours()?;
        let folder = environment.here()?.display().to_string();
        // Behind sudo, whose keys and known hosts are meant is who typed it.
        let user = environment.get("SUDO_USER").unwrap_or_else(|| environment.user());
        let kept = KEPT.into_iter().filter_map(|name| Some((name, environment.get(name)?)));
        let kept: Vec<(&str, &str)> = kept.collect();
        let text = unit(user, &folder, words, &kept);
        write_whole(&self.path, Some(0o600), &mut text.as_bytes())
            .map_err(|error| self.failed("write", &error))?;
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", &self.name])?;
        systemctl(&["restart", &self.name])?;
        print::note(&format!("{} runs as {user}; what it does: journalctl -u {}", self.name, self.name));
        Ok(())
    }

    /// Stops the service and removes the unit. Whether there was one.
    ///
    /// # Errors
    /// It is not ours, or may not be removed.
    pub(crate) fn uninstall(&self) -> Result<bool, CommandError> {
        if !self.is_ours()? {
            return Ok(false);
        }
        systemctl(&["disable", "--now", &self.name])?;
        fs::remove_file(&self.path).map_err(|error| self.failed("remove", &error))?;
        systemctl(&["daemon-reload"])?;
        print::note(&format!("{} is stopped and removed", self.name));
        Ok(true)
    }

    /// Whether the unit is there.
    fn is_ours(&self) -> Result<bool, CommandError> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("read", &error)),
            Ok(text) if text.starts_with(MARK) => Ok(true),
            Ok(_) => {
                let message = format!("{} is there, and muster has not written it", self.path.display());
                Err(CommandError::failed(message).hint("remove it if nobody needs it"))
            }
        }
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> CommandError {
        let failed = CommandError::failed(format!("cannot {what} {}: {error}", self.path.display()));
        match error.kind() {
            ErrorKind::PermissionDenied => {
                failed.hint("a service is root's to install and remove: sudo, and the same command")
            }
            _ => failed,
        }
    }
}

fn systemctl(words: &[&str]) -> Result<(), CommandError> {
    let ended = Command::new("systemctl").args(words).output();
    let failed = |why: String| CommandError::failed(format!("systemctl {}: {}", words.join(" "), why.trim()));
    let ended = ended.map_err(|error| failed(error.to_string()))?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&ended.stderr).into_owned())),
    }
}

/// The text of the unit. A round ends what it has begun when the service is stopped.
fn unit(user: &str, folder: &str, words: &[String], variables: &[(&str, &str)]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word).replace('$', "$$")).collect();
    let variables: String = variables
        .iter()
        .map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}"))))
        .collect();
    format!(
        "{MARK}[Unit]\nDescription=muster reconcile in {folder}\nWants=network-online.target\nAfter=network-online.target\n\n\
         [Service]\nUser={user}\nWorkingDirectory={folder}\n{variables}ExecStart={}\nRestart=always\nRestartSec=30\nTimeoutStopSec=15min\nSuccessExitStatus=99\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        words.join(" "),
        folder = folder.replace('%', "%%"),
    )
}

/// A word as units have it: in quotes, in which a percent sign begins something else.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// A path as a part of a unit's name, as systemd-escape(1) makes it.
fn escaped(path: &str) -> String {
    let bytes = path.trim_matches('/').bytes();
    bytes
        .map(|byte| match byte {
            b'/' => "-".to_owned(),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => char::from(byte).to_string(),
            byte => format!("\\x{byte:02x}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_means_the_same_words_as_the_command_line() {
        let words = ["/opt/muster", "reconcile", "-e", "a=50% $b \"c\""].map(str::to_owned);
        let text = unit("ada", "/home/ada/lab 1", &words, &[("MUSTER_BUNDLE", "/b")]);
        assert!(text.starts_with(MARK), "{text}");
        for line in [
            "User=ada",
            "WorkingDirectory=/home/ada/lab 1",
            "Environment=\"MUSTER_BUNDLE=/b\"",
            r#"ExecStart="/opt/muster" "reconcile" "-e" "a=50%% $$b \"c\"""#,
            "Restart=always",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }

    #[test]
    fn units_of_different_inventories_have_different_names() {
        assert_eq!(escaped("/home/ada/lab-1/inventory"), r"home-ada-lab\x2d1-inventory");
        assert_ne!(escaped("/a-b"), escaped("/a/b"));
    }
}
