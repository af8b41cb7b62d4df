//! helm on this computer, as far as charts of the user's need it: `helm template`, which asks nobody.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long helm may take. A template can go on for ever.
const LONGEST: Duration = Duration::from_secs(60);

/// How often is looked whether it has ended.
const OFTEN: Duration = Duration::from_millis(5);

/// What is rendered.
pub(super) struct Release<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) chart: &'a Path,
    /// In YAML. They come through a pipe, because they may hold secrets.
    pub(super) values: &'a str,
    pub(super) kube_version: &'a str,
    /// What helm takes as known beside what it knows by itself, separated by commas.
    pub(super) api_versions: String,
}

/// The objects of a release, those of `crds/` first, in YAML.
///
/// # Errors
/// helm's own message; or it cannot be run, or takes too long.
pub(super) fn template(helm: &Path, release: &Release<'_>) -> Result<String, String> {
    template_within(helm, release, LONGEST)
}

fn template_within(helm: &Path, release: &Release<'_>, limit: Duration) -> Result<String, String> {
    let unable = |error: std::io::Error| format!("{} cannot be run: {error}", helm.display());
    let mut child = Command::new(helm)
        .args(["template", "--include-crds", "--values", "-", "--namespace", release.namespace])
        .args(["--kube-version", release.kube_version, "--api-versions", &release.api_versions])
        .args(["--", release.name])
        .arg(release.chart)
        // Nothing of the user's own Helm (plugins, registries, a cluster) has a say.
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(unable)?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(unable(std::io::ErrorKind::BrokenPipe.into()));
    };
    let (status, out, said) = thread::scope(|scope| {
        // One that fails early does not read them.
        scope.spawn(move || stdin.write_all(release.values.as_bytes()).ok());
        let [out, said] = [Box::new(stdout) as Box<dyn Read + Send>, Box::new(stderr)].map(|mut pipe| {
            scope.spawn(move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).ok();
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        let begun = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(None) if begun.elapsed() < limit => thread::sleep(OFTEN),
                Ok(None) => {
                    child.kill().ok();
                    break child.wait().map(|_| None);
                }
                ended => break ended,
            }
        };
        let text = |reader: thread::ScopedJoinHandle<'_, String>| reader.join().unwrap_or_default();
        (status, text(out), text(said))
    });
    match status.map_err(unable)? {
        None => Err(format!("helm was ended, because it took longer than {} seconds", limit.as_secs())),
        Some(status) if status.success() => Ok(out),
        Some(status) => Err(match words(&said) {
            said if said.is_empty() => format!("helm ended with {status}"),
            said => said,
        }),
    }
}

/// What helm says, without what it writes into a log and what it offers to those who call it themselves.
fn words(said: &str) -> String {
    let aside = |line: &&str| line.starts_with("level=") || line.starts_with("Use --debug flag");
    let said = said.lines().filter(|line| !aside(line)).collect::<Vec<_>>().join("\n");
    said.trim().trim_start_matches("Error: ").to_owned()
}

/// Writes a program for sh. Another process does, because one that this process still writes cannot be run ("text file busy").
#[cfg(test)]
pub(super) fn program(path: &Path, text: &str) {
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod 755 "$1""#;
    let arguments = ["-c", write, "sh", path.to_str().unwrap(), text];
    assert!(Command::new("sh").args(arguments).status().unwrap().success());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of it where helm is this program for sh.
    fn with(helm: &str, limit: Duration) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helm");
        program(&path, helm);
        let release = Release {
            name: "web",
            namespace: "shop",
            chart: Path::new("/charts/web"),
            values: "a: 1\n",
            kube_version: "v1.36.3",
            api_versions: "v1,apps/v1".to_owned(),
        };
        template_within(&path, &release, limit)
    }

    #[test]
    fn helm_gets_the_values_through_a_pipe_and_says_itself_what_is_wrong() {
        let told = with("/bin/echo \"$*\"; /bin/cat; /bin/echo nothing >&2", LONGEST).unwrap();
        let arguments = "template --include-crds --values - --namespace shop --kube-version v1.36.3 --api-versions v1,apps/v1 \
                         -- web /charts/web";
        assert_eq!(told, format!("{arguments}\na: 1\n"));
        let wrong = with(
            "/bin/cat >&2 <<E\nlevel=ERROR msg=no\nError: parse error at (web/templates/a.yaml:3): no end\n\nUse --debug flag\nE\nexit 1",
            LONGEST,
        );
        assert_eq!(wrong, Err("parse error at (web/templates/a.yaml:3): no end".to_owned()));
        assert!(with("exit 4", LONGEST).unwrap_err().contains("helm ended with exit status: 4"));
        // More than fits into pipes, in both directions.
        let much = with(
            "i=0; while [ $i -lt 20000 ]; do echo 12345678; echo 12345678 >&2; i=$((i + 1)); done",
            LONGEST,
        );
        assert_eq!(much.unwrap().len(), 180_000);
    }

    #[test]
    fn helm_does_not_go_on_for_ever() {
        let told = with("exec /bin/sleep 600", Duration::from_secs(1)).unwrap_err();
        assert_eq!(told, "helm was ended, because it took longer than 1 seconds");
    }
}
