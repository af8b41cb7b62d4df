//! dnsmasq as a child that never outlives this process.

use std::io::{self, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};

/// Runs it ($1) with a configuration ($2), and ends it when standard input does: however muster ends, its end of the pipe is closed
/// then, so a server of DHCP is never left behind. Standard error is dnsmasq's alone, so that it ends when dnsmasq does.
const KEEPER: &str = r#"
printf %s "$2" | "$1" --keep-in-foreground --conf-file=- >&2 &
pid=$!
exec 2>/dev/null
cat >/dev/null
kill "$pid"
wait "$pid"
"#;

/// dnsmasq at work. It is ended when this is dropped.
#[derive(Debug)]
pub struct Dnsmasq {
    keeper: Child,
    alive: Option<ChildStdin>,
}

impl Dnsmasq {
    /// Starts it; what it writes ends when it ends.
    ///
    /// # Errors
    /// There is no sh, or the system has no process for it. That dnsmasq itself cannot start is in what it writes.
    pub fn start(program: &Path, configuration: &str) -> io::Result<(Self, BufReader<ChildStderr>)> {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(program)
            .arg(configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for muster, which ends it in order.
            .process_group(0)
            .spawn()?;
        let (alive, written) = (keeper.stdin.take(), keeper.stderr.take());
        let written = written.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((Self { keeper, alive }, BufReader::new(written)))
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        drop(self.alive.take());
        // Where it is gone already there is nothing to wait for.
        self.keeper.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, Read};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_gets_its_configuration_and_ends_with_us() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("dnsmasq");
        let text = "#!/bin/sh\ntrap 'echo ended >&2; exit' TERM\necho \"$* $(cat)\" >&2\nwhile :; do sleep 0.1; done\n";
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let (dnsmasq, mut written) = Dnsmasq::start(&program, "port=0").unwrap();
        let mut line = String::new();
        written.read_line(&mut line).unwrap();
        assert_eq!(line, "--keep-in-foreground --conf-file=- port=0\n");
        drop(dnsmasq);
        let mut rest = String::new();
        written.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "ended\n");
        // One that ends by itself is known by the end of what it writes.
        let (_dnsmasq, mut written) = Dnsmasq::start(Path::new("/bin/false"), "").unwrap();
        assert_eq!(written.read_to_string(&mut String::new()).unwrap(), 0);
    }
}
