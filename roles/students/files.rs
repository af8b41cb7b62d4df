//! What a student gets, as files on this side: a kubeconfig with a token, and a page that says what to type.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use muster_engine::prelude::*;
use muster_files::write_whole;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;

use super::Student;
use super::class::Live;
use super::token::Claims;

/// The folder of the students' files in that of a cluster's artifacts.
pub const FOLDER: &str = "students";

/// The files of a cluster's students. They hold tokens: nobody but their owner may read them.
pub(super) struct Files {
    folder: PathBuf,
}

#[derive(Deserialize)]
pub(super) struct Vars {
    artifacts_dir: String,
}

impl Files {
    pub(super) fn of(host: &Host) -> Result<Self> {
        let vars: Vars = host.vars()?;
        Ok(Self { folder: Path::new(&vars.artifacts_dir).join(FOLDER) })
    }

    /// The folder, for the screen.
    pub(super) fn folder(&self) -> String {
        self.folder.display().to_string()
    }

    fn kubeconfig_of(&self, namespace: &str) -> PathBuf {
        self.folder.join(format!("{namespace}.conf"))
    }

    fn hand_out_of(&self, namespace: &str) -> PathBuf {
        self.folder.join(format!("{namespace}.txt"))
    }

    /// The token in a student's file, if it is this service account's and good for half of the term.
    pub(super) fn token(&self, namespace: &str, live: &Live, term: Duration) -> Option<String> {
        let text = fs::read_to_string(self.kubeconfig_of(namespace)).ok()?;
        let token = token_in(&text)?;
        is_good(token, live.account(namespace), SystemTime::now() + term / 2).then(|| token.to_owned())
    }

    /// When the token in a student's file ends, if it is this service account's.
    pub(super) fn until(&self, namespace: &str, account: &str) -> Option<SystemTime> {
        let text = fs::read_to_string(self.kubeconfig_of(namespace)).ok()?;
        Claims::of(token_in(&text)?).filter(|claims| claims.account == account).map(|claims| claims.until)
    }

    /// Writes a student's files where they differ. Returns whether any did.
    pub(super) fn write(&self, host: &Host, student: &Student, live: &Live, token: &str) -> Result<bool> {
        let (config, page) = (self.kubeconfig_of(&student.namespace), self.hand_out_of(&student.namespace));
        let here = fs::read_to_string(&config).ok();
        let server = live.server_for(here.as_deref().and_then(server_in));
        let is_private = fs::metadata(&config).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o600);
        let text = kubeconfig(host, &student.namespace, live, server, token)?;
        let mut differs = false;
        if here.as_deref() != Some(&text) || !is_private {
            self.put(host, &config, &text)?;
            differs = true;
        }
        let text = hand_out(host, student, server, token)?;
        if fs::read_to_string(&page).is_ok_and(|old| old == text) {
            return Ok(differs);
        }
        self.put(host, &page, &text)?;
        Ok(true)
    }

    fn put(&self, host: &Host, path: &Path, text: &str) -> Result<()> {
        if host.check_mode() {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
            write_whole(path, Some(0o600), &mut text.as_bytes())
        };
        write().map_err(|error| local(path, &error))
    }

    /// Whether a file of a student is there.
    pub(super) fn has(&self, namespace: &str) -> bool {
        self.kubeconfig_of(namespace).exists() || self.hand_out_of(namespace).exists()
    }

    /// Removes a student's files.
    pub(super) fn remove(&self, namespace: &str) -> Result<()> {
        for path in [self.kubeconfig_of(namespace), self.hand_out_of(namespace)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(local(&path, &error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The token in a student's kubeconfig.
pub fn token_in(kubeconfig: &str) -> Option<&str> {
    kubeconfig.lines().find_map(|line| line.trim().strip_prefix("token: "))
}

/// Where a student's kubeconfig finds the API.
fn server_in(kubeconfig: &str) -> Option<&str> {
    let (_, after) = kubeconfig.split_once("cluster: {server: \"")?;
    after.split_once('"').map(|(server, _)| server)
}

/// When a student's token ends; `None` for what is no token.
pub fn end_of(token: &str) -> Option<SystemTime> {
    Claims::of(token).map(|claims| claims.until)
}

fn is_good(token: &str, account: Option<&str>, at: SystemTime) -> bool {
    Claims::of(token).is_some_and(|claims| Some(claims.account.as_str()) == account && claims.until >= at)
}

fn kubeconfig(host: &Host, namespace: &str, live: &Live, server: &str, token: &str) -> Result<String> {
    let extra =
        json!({ "namespace": namespace, "server": server, "authority": live.authority, "token": token });
    host.render("kubeconfig.j2", include_str!("templates/kubeconfig.j2"), &extra)
}

fn hand_out(host: &Host, student: &Student, server: &str, token: &str) -> Result<String> {
    // The API's machine is a node, too: it answers for every NodePort.
    let address = server.trim_start_matches("https://");
    let address = address.rsplit_once(':').map_or(address, |(address, _)| address);
    let until = Claims::of(token).map(|claims| written(claims.until)).unwrap_or_default();
    let extra = json!({ "student": student, "until": until, "address": address });
    host.render("hand-out.txt.j2", include_str!("templates/hand-out.txt.j2"), &extra)
}

/// A time for people: `2026-11-28 18:05 UTC`.
pub fn written(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

fn local(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("{}: {error}", path.display()),
        "check the folder on this side, or set artifacts_dir",
    )
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::token;
    use super::*;

    #[test]
    fn a_token_is_kept_that_is_the_accounts_and_good_for_long_enough() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let token = token("uid-1", 1_000_000);
        assert!(is_good(&token, Some("uid-1"), at(1_000_000)));
        assert!(!is_good(&token, Some("uid-1"), at(1_000_001)));
        // The student was deleted and made anew.
        assert!(!is_good(&token, Some("uid-2"), at(1)) && !is_good(&token, None, at(1)));
        assert_eq!(token_in(&format!("users:\n  - user:\n      token: {token}\n")), Some(token.as_str()));
        assert_eq!(end_of(&token), Some(at(1_000_000)));
        assert_eq!(written(at(1_800_000_000)), "2027-01-15 08:00 UTC");
    }

    #[test]
    fn a_token_stays_wherever_the_api_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { folder: folder.path().to_owned() };
        let live = super::super::tests::cluster_with_anna();
        let extra = |server: &str| json!({ "cluster_name": "c", "namespace": "anna", "server": server, "authority": "LS0t", "token": token("uid-1", u32::MAX.into()) });
        let vars = crate::preflight::fixture::variables("");
        for (server, found) in [
            ("https://192.0.2.4:6443", "https://192.0.2.4:6443"),
            // Another control plane than the one that was asked.
            ("https://192.0.2.5:6443", "https://192.0.2.5:6443"),
            // It is no control plane any more.
            ("https://192.0.2.9:6443", "https://192.0.2.4:6443"),
        ] {
            let text =
                vars.render(include_str!("templates/kubeconfig.j2"), "kubeconfig", &extra(server)).unwrap();
            assert_eq!(live.server_for(server_in(&text)), found);
            fs::write(files.kubeconfig_of("anna"), &text).unwrap();
            let kept = files.token("anna", &live, Duration::from_secs(3600));
            assert_eq!(kept, Some(token("uid-1", u32::MAX.into())), "{server}");
        }
        assert_eq!(live.server_for(None), "https://192.0.2.4:6443");
    }
}
