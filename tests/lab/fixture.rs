//! A lab of its own for a test, and muster inside it, as a user types it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster_artifacts::{
    Arch, Bundle, BundleWriter, ImageReference, Kind, NewFile, NewImage, Origin, RunConfig,
};

/// The program under test: the one that `./test` built for users, else the one of this build.
pub(crate) fn muster() -> PathBuf {
    std::env::var_os("MUSTER").map_or_else(|| env!("CARGO_BIN_EXE_muster").into(), PathBuf::from)
}

/// The folder of this computer's bundle.
pub(crate) fn bundle() -> PathBuf {
    let own = Path::new(&std::env::var("HOME").unwrap()).join(".cache/muster/bundle");
    std::env::var_os("MUSTER_BUNDLE").map_or(own, PathBuf::from)
}

/// Whether the bundle has a program or an image: by the last parts of its name. What is for applications takes minutes to compile
/// and is not in every bundle.
pub(crate) fn bundle_has(name: &str) -> bool {
    let list = Command::new(muster()).args(["bundle", "list"]).output().unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let mut names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.any(|known| known == name || known.ends_with(&format!("/{name}")))
}

/// A copy of this computer's bundle (hard links) with manifests (their names in the catalogue, versions and files), and with images that
/// only bear these names.
pub(crate) fn bundle_with(dir: &Path, manifests: &[(&str, &str, &Path)], images: &[String]) {
    let status = Command::new("cp").arg("-al").args([&bundle(), &dir.to_path_buf()]).status().unwrap();
    assert!(status.success());
    let mut bundle = BundleWriter::open(dir).unwrap();
    for (name, version, file) in manifests {
        let new = NewFile {
            name,
            version,
            arch: Arch::Amd64,
            kind: Kind::Binary,
            origin: Origin::Upstream,
            source: "a test",
            expected: None,
        };
        bundle.add_file(&new, &mut File::open(file).unwrap()).unwrap();
    }
    let empty = vec![0; 1024];
    for reference in images {
        let layer = bundle.add_layer(&mut &empty[..]).unwrap();
        let reference: ImageReference = reference.parse().unwrap();
        let new =
            NewImage { reference: &reference, arch: Arch::Amd64, origin: Origin::Built, source: "a test" };
        bundle.add_image(&new, &[layer], &RunConfig::default()).unwrap();
    }
    drop(bundle);
    Bundle::open(dir).unwrap();
}

/// Machines that go away with it, and a folder to work in.
pub(crate) struct Lab {
    name: String,
    subnet: String,
    folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Lab {
    /// Starts machines: `muster lab up` with these options. `network` is the third number of its addresses: labs of
    /// tests that run at once must differ in it.
    pub(crate) fn up(network: u8, options: &[&str]) -> Self {
        let lab = Self {
            name: format!("test{network}"),
            subnet: format!("10.146.{network}.0/24"),
            folder: tempfile::tempdir().unwrap(),
        };
        // What a test run that was cut off may have left.
        lab.lab(&["down"]);
        let subnet = lab.subnet.clone();
        let up = lab.lab(&[&["up", "--subnet", &subnet], options].concat());
        assert_eq!(up.code, 0, "the lab does not start: {up:#?}");
        lab
    }

    /// The address of a machine, by its number from 1.
    pub(crate) fn address(&self, number: u8) -> String {
        self.subnet.replace("0/24", &(number + 3).to_string())
    }

    /// The machines of this lab in muster's short form: `10.146.230.<4,5,6>`.
    pub(crate) fn pattern(&self, count: u8) -> String {
        let numbers: Vec<_> = (4..4 + count).map(|n| n.to_string()).collect();
        self.subnet.replace("0/24", &format!("<{}>", numbers.join(",")))
    }

    /// The network namespace that the controller is in.
    pub(crate) fn namespace(&self) -> PathBuf {
        format!("/run/netns/muster-lab-{}", self.name).into()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `muster lab ...` for this lab.
    pub(crate) fn lab(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(muster());
        command.arg("lab").arg("--name").arg(&self.name).args(args).current_dir(self.folder());
        run(command)
    }

    /// A command of this computer in the lab's network, in the test's folder.
    pub(crate) fn exec(&self, words: &[&str]) -> Ended {
        self.lab(&[&["exec", "--"], words].concat())
    }

    /// Writes the inventory of a cluster of the first machine alone; returns its folder.
    pub(crate) fn inventory_of_one(&self) -> PathBuf {
        let (folder, address) = (self.folder().join("inventory"), self.address(1));
        fs::create_dir_all(folder.join("group_vars")).unwrap();
        let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";
        let hosts = format!("node1 ansible_host={address} ip={address}\n{groups}");
        fs::write(folder.join("hosts.ini"), hosts).unwrap();
        folder
    }

    /// `muster ...` in the lab's network.
    pub(crate) fn muster(&self, args: &[&str]) -> Ended {
        let muster = muster();
        self.exec(&[&[muster.to_str().unwrap()], args].concat())
    }

    /// A command on a machine, as root. It must succeed.
    pub(crate) fn on(&self, machine: &str, command: &str) -> String {
        let ended = self.lab(&["ssh", machine, "--", command]);
        assert_eq!(ended.code, 0, "{machine}: {command}: {ended:#?}");
        ended.out
    }

    /// An image that every node of a cluster has, in the version that belongs to it.
    pub(crate) fn agnhost(&self) -> String {
        self.on("node1", "ctr -n k8s.io images ls -q | grep agnhost: | head -1").trim().to_owned()
    }

    /// Whether a path is there on a machine.
    pub(crate) fn has(&self, machine: &str, path: &str) -> bool {
        self.lab(&["ssh", machine, "--", &format!("test -e {path}")]).code == 0
    }

    /// Runs `muster setup-cluster ARGS` and kills it (kill -9, the whole group) as soon as a line of its output holds
    /// `mark`.
    pub(crate) fn setup_killed_at(&self, args: &[&str], mark: &str) {
        self.setup_with_fault(args, mark, |run| run.signal("KILL"));
    }

    /// Runs `muster setup-cluster ARGS`, and does something as soon as a line of its output holds `mark`.
    pub(crate) fn setup_with_fault(&self, args: &[&str], mark: &str, fault: impl FnOnce(&Running)) -> Ended {
        let mut run = self.start(&[&["setup-cluster", "-vv", "--output", "plain"], args].concat());
        run.until(mark);
        fault(&run);
        run.end()
    }

    /// Starts `muster ...` in the lab's network.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let muster = muster();
        self.start_command(&[&[muster.to_str().unwrap()], args].concat())
    }

    /// Starts `muster ...` in the lab's network, at a terminal at which somebody has typed a line.
    pub(crate) fn start_typing(&self, line: &str, args: &str) -> Running {
        let muster = muster();
        // script(1) gives it a session of its own, which signals for the group do not reach.
        let command = format!(
            "echo '{line}' | script -qec 'echo $$ >typing.pid; exec {} {args}' /dev/null",
            muster.display()
        );
        self.start_command(&["sh", "-c", &command])
    }

    /// Kills what [`Lab::start_typing`] has started.
    pub(crate) fn kill_typing(&self, run: Running) -> Ended {
        let process = std::fs::read_to_string(self.folder().join("typing.pid")).unwrap();
        let status = Command::new("kill").args(["-s", "KILL", process.trim()]).status().unwrap();
        assert!(status.success());
        run.end()
    }

    /// Starts a command of this computer in the lab's network.
    pub(crate) fn start_command(&self, words: &[&str]) -> Running {
        use std::os::unix::process::CommandExt;
        let (output, input) = std::io::pipe().unwrap();
        let child = Command::new(muster())
            .args(["lab", "--name", &self.name, "exec", "--"])
            .args(words)
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(input.try_clone().unwrap())
            .stderr(input)
            .process_group(0)
            .spawn()
            .unwrap();
        Running { child, lines: BufReader::new(output).lines(), out: String::new() }
    }
}

/// A command that is at work.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<PipeReader>>,
    out: String,
}

impl Running {
    /// Waits for a line that holds this, of standard output or standard error.
    pub(crate) fn until(&mut self, mark: &str) {
        assert!(self.reaches(mark), "it ended without {mark:?}: {}", self.out);
    }

    /// Waits for such a line, or for the end. Whether there was one.
    pub(crate) fn reaches(&mut self, mark: &str) -> bool {
        for line in self.lines.by_ref().map_while(Result::ok) {
            self.out.push_str(&line);
            self.out.push('\n');
            if line.contains(mark) {
                return true;
            }
        }
        false
    }

    /// Sends a signal to it and all that it started.
    pub(crate) fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let status = Command::new("kill").args(["-s", name, "--", &group]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end. `out` has both streams.
    pub(crate) fn end(mut self) -> Ended {
        for line in self.lines.by_ref().map_while(Result::ok) {
            self.out.push_str(&line);
            self.out.push('\n');
        }
        Ended { code: self.child.wait().unwrap().code().unwrap_or(-1), out: self.out, err: String::new() }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("KEEP_LAB").is_some() {
            eprintln!("kept for you to look at: muster lab --name {} ssh node1", self.name);
            return;
        }
        let down = self.lab(&["down"]);
        if down.code != 0 {
            eprintln!("lab {} is still there: {down:?}", self.name);
        }
    }
}

fn run(mut command: Command) -> Ended {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    // Nothing in these tests may take so long; a hang must not look like a pass.
    assert!(begun.elapsed() < Duration::from_secs(900), "{command:?} took {:?}", begun.elapsed());
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ended {
    /// What the recap says of a host, such as `changed=0`.
    pub(crate) fn recap(&self, host: &str, figure: &str) -> u32 {
        let line = self.out.lines().find(|l| l.starts_with(host) && l.contains(": ok="));
        let line = line.unwrap_or_else(|| panic!("no recap of {host}: {self:#?}"));
        let value = line.split_whitespace().find_map(|w| w.strip_prefix(figure)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {figure} in {line}")).parse().unwrap()
    }

    /// Both streams together, for searching.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}
