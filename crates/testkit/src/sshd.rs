//! A real OpenSSH server on a loopback address, with keys and a configuration of its own, run as the current user and
//! stopped when dropped. And an ssh-agent likewise.
//!
//! Needs the packages openssh-server and openssh-client. Everything here panics with the reason when it cannot do
//! its work: a test that cannot start its server has failed.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";
/// Starting takes a tenth of a second, on a loaded machine much longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a server is to be set up.
#[derive(Debug, Clone)]
pub struct SshdBuilder {
    address: String,
    host_keys: Vec<&'static str>,
    authorized: Vec<String>,
    lines: Vec<String>,
}

impl SshdBuilder {
    /// Listens on another address than 127.0.0.1.
    pub fn address(mut self, address: &str) -> Self {
        self.address = address.to_owned();
        self
    }

    /// The kinds of host keys it has (`ed25519`, `ecdsa`, `rsa`); only ed25519 unless told otherwise.
    pub fn host_keys(mut self, kinds: &[&'static str]) -> Self {
        self.host_keys = kinds.to_vec();
        self
    }

    /// Lets in another public key (a line of authorized_keys, options included) beside [`Sshd::key`].
    pub fn authorize(mut self, line: &str) -> Self {
        self.authorized.push(line.trim().to_owned());
        self
    }

    /// Adds a line of sshd_config(5). The first value of a keyword counts, and these lines come first.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Sshd {
        assert!(Path::new(SSHD).exists(), "{SSHD} is missing: apt-get install openssh-server");
        let dir = tempfile::Builder::new().prefix("muster-sshd-").tempdir().expect("temporary directory");
        let at = |name: &str| dir.path().join(name);
        generate_key(&at("user"), "ed25519", "");
        for kind in &self.host_keys {
            generate_key(&at(&format!("host_{kind}")), kind, "");
        }
        let mut authorized = fs::read_to_string(at("user.pub")).expect("public key");
        authorized.extend(self.authorized.iter().map(|line| format!("{line}\n")));
        fs::write(at("authorized_keys"), authorized).expect("authorized_keys");
        // Where sshd runs as root, it reads this as the user who logs in.
        for (path, mode) in [(dir.path().to_owned(), 0o755), (at("authorized_keys"), 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        }
        // Where sshd runs as root it wants this directory, which otherwise the service manager makes.
        fs::create_dir_all("/run/sshd").expect("/run/sshd");
        let mut sshd = Sshd { dir, address: self.address.clone(), port: 0, builder: self, child: None };
        sshd.launch();
        sshd
    }
}

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    dir: TempDir,
    address: String,
    port: u16,
    builder: SshdBuilder,
    child: Option<Child>,
}

impl Sshd {
    /// A server to be set up.
    pub fn builder() -> SshdBuilder {
        SshdBuilder {
            address: "127.0.0.1".to_owned(),
            host_keys: vec!["ed25519"],
            authorized: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// A server without particulars.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// The address it listens on.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The login name that it lets in: ours.
    pub fn user(&self) -> String {
        let output = Command::new("id").arg("-un").output().expect("id");
        String::from_utf8(output.stdout).expect("a user name").trim().to_owned()
    }

    /// The private key that it lets in.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("user")
    }

    /// A host key's private half; the public one is beside it, with `.pub`.
    pub fn host_key(&self, kind: &str) -> PathBuf {
        self.dir.path().join(format!("host_{kind}"))
    }

    /// A host key's public half: kind and base64, without the comment.
    pub fn host_key_public(&self, kind: &str) -> String {
        public_key(&self.host_key(kind))
    }

    /// A folder for files of the test, gone with the server.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Gives the server other lines of sshd_config and starts it again on the same port.
    pub fn restart_with(&mut self, lines: &[&str]) {
        self.builder.lines = lines.iter().map(|&line| line.to_owned()).collect();
        self.stop();
        self.launch();
    }

    /// Replaces the host keys, as installing the machine anew does, and starts again on the same port.
    pub fn reinstall(&mut self) {
        self.stop();
        for kind in &self.builder.host_keys {
            let path = self.host_key(kind);
            fs::remove_file(&path).expect("old host key");
            generate_key(&path, kind, "");
        }
        self.launch();
    }

    /// Ends the server's side of all connections at once, as a machine does that loses its power: no goodbye, and no
    /// program of theirs goes on.
    pub fn cut_connections(&self) {
        if let Some(child) = &self.child {
            signal("-KILL", &descendants(child.id()));
        }
    }

    /// Ends the server's side of all connections at once. Programs go on until they write to them.
    pub fn lose_connections(&self) {
        if let Some(child) = &self.child {
            let (servers, _): (Vec<_>, Vec<_>) = descendants(child.id()).into_iter().partition(is_sshd);
            signal("-KILL", &servers);
        }
    }

    /// Stops the server's side of all connections without ending it, as a machine does that hangs or whose cable is
    /// pulled: the connections stay, and nobody answers.
    pub fn freeze_connections(&self) {
        if let Some(child) = &self.child {
            signal("-STOP", &descendants(child.id()));
        }
    }

    /// Ends the programs that run over its connections, which stay.
    pub fn end_programs(&self) {
        if let Some(child) = &self.child {
            let (_, programs): (Vec<_>, Vec<_>) = descendants(child.id()).into_iter().partition(is_sshd);
            signal("-KILL", &programs);
        }
    }

    /// How many connections it has now, logged in or not.
    pub fn connections(&self) -> usize {
        self.child.as_ref().map_or(0, |child| children(child.id()).len())
    }

    /// Stops the server and all its connections.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The listener first, so that nothing new is taken in.
            let mut all = vec![child.id()];
            all.extend(descendants(child.id()));
            signal("-KILL", &all);
            child.wait().expect("sshd to be reaped");
        }
    }

    fn launch(&mut self) {
        for _ in 0..5 {
            if self.port == 0 {
                let listener = TcpListener::bind((self.address.as_str(), 0)).expect("a free port");
                self.port = listener.local_addr().expect("bound").port();
            }
            if self.try_launch() {
                return;
            }
            // Somebody else took the port in between.
            self.port = 0;
        }
        panic!("sshd does not start: {}", self.log());
    }

    fn try_launch(&mut self) -> bool {
        let at = |name: &str| self.dir.path().join(name);
        // SHLVL: bash reads ~/.bashrc when sshd starts it, but not below another shell; what the developer has in there
        // must not matter (nor take time).
        let mut config = self.builder.lines.join("\n");
        config.push_str(&format!(
            "\nListenAddress {}\nPort {}\nPidFile none\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nUseDNS no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             LogLevel VERBOSE\nSetEnv SHLVL=1\n",
            self.address,
            self.port,
            at("authorized_keys").display()
        ));
        for kind in &self.builder.host_keys {
            config.push_str(&format!("HostKey {}\n", self.host_key(kind).display()));
        }
        fs::write(at("sshd_config"), config).expect("sshd_config");
        let log = fs::OpenOptions::new().create(true).append(true).open(at("log")).expect("log");
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(at("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd to start");
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // Asking the kernel who listens, not sshd: a connection would count against MaxStartups.
            if listens(&self.address, self.port) {
                return true;
            }
            if let Some(child) = &mut self.child
                && child.try_wait().expect("sshd's status").is_some()
            {
                self.child = None;
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An ssh-agent, stopped when dropped.
#[derive(Debug)]
pub struct Agent {
    dir: TempDir,
    child: Child,
}

impl Agent {
    /// Starts one without keys.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("muster-agent-").tempdir().expect("temporary directory");
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(dir.path().join("socket"))
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent");
        let agent = Self { dir, child };
        let deadline = Instant::now() + PATIENCE;
        while !agent.socket().exists() {
            assert!(Instant::now() < deadline, "the agent did not make its socket");
            std::thread::sleep(Duration::from_millis(5));
        }
        agent
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Gives it a private key (one without passphrase), and its certificate where one lies beside it.
    pub fn add(&self, key: &Path) {
        run(Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", self.socket()));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Makes a key pair of a kind that `ssh-keygen -t` knows, encrypted where there is a passphrase.
pub fn generate_key(path: &Path, kind: &str, passphrase: &str) {
    run(Command::new("ssh-keygen").args(["-q", "-t", kind, "-C", "test", "-N", passphrase, "-f"]).arg(path));
}

/// The public half of a key pair: kind and base64, without the comment.
pub fn public_key(private: &Path) -> String {
    let text = fs::read_to_string(private.with_extension("pub")).expect("public key");
    text.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether a socket listens on an IPv4 address and port (proc(5), /proc/net/tcp).
fn listens(address: &str, port: u16) -> bool {
    let address: std::net::Ipv4Addr = address.parse().expect("an IPv4 address");
    let wanted = format!("{:08X}:{port:04X}", u32::from_le_bytes(address.octets()));
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields.get(1) == Some(&wanted.as_str()) && fields.get(3) == Some(&"0A")
    })
}

fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let mut stat = String::new();
    fs::File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut stat).ok()?;
    // The name is in parentheses and may hold anything, parentheses too.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn descendants(parent: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for child in children(parent) {
        all.push(child);
        all.extend(descendants(child));
    }
    all
}

/// Whether it is a process of a server, and no program that it runs.
fn is_sshd(pid: &u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("sshd"))
}

fn signal(name: &str, pids: &[u32]) {
    if !pids.is_empty() {
        // Some may have ended by themselves meanwhile, so the status says nothing.
        Command::new("kill")
            .arg(name)
            .args(pids.iter().map(u32::to_string))
            .stderr(Stdio::null())
            .status()
            .expect("kill");
    }
}

/// A port whose connections are never accepted and whose queue is full, so that the kernel drops further attempts as a
/// machine does that is off (listen(2), tcp_abort_on_overflow in tcp(7)).
#[derive(Debug)]
pub struct FullListener {
    /// The port, on 127.0.0.1.
    pub port: u16,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

/// Makes one.
pub fn full_listener() -> FullListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut queue = Vec::new();
    // std asks for a queue of 128 (or 4096 in newer versions); the first attempt that gets no answer shows it is full.
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        queue.push(stream);
    }
    FullListener { port: address.port(), _listener: listener, _queue: queue }
}

/// A port of the loopback address that accepts connections, says something, and then either keeps them open in silence
/// or closes them. Until the end of the process.
pub fn not_sshd(says: &'static str, stays: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        let mut open: Vec<TcpStream> = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            // The client may be gone already, which is its right.
            stream.write_all(says.as_bytes()).ok();
            if stays {
                open.push(stream);
                continue;
            }
            // Closing with something unread would reset the connection, and the client might not see what was said.
            stream.shutdown(Shutdown::Write).ok();
            stream.set_read_timeout(Some(Duration::from_secs(1))).ok();
            io::copy(&mut stream, &mut io::sink()).ok();
        }
    });
    port
}
