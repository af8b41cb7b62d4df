//! The real services of OpenStack on this computer's loopback. They are installed once, in the cache folder.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::wire::{Message, ask};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openstack/services");

/// The services, with a proxy in front of them.
pub(crate) struct Services {
    pub(crate) base: u16,
    pub(crate) proxy: Proxy,
    /// Ends the services and removes their state when this process has ended, however it ends.
    _watch: Child,
}

/// A login to one project.
pub(crate) struct Login<'a> {
    services: &'a Services,
    token: String,
    pub(crate) project: String,
}

static SERVICES: Mutex<Option<Option<Services>>> = Mutex::new(None);

/// The services, for one test at a time; nothing, where they cannot be installed, which is said.
pub(crate) struct Turn(MutexGuard<'static, Option<Option<Services>>>);

impl Turn {
    pub(crate) fn take() -> Option<Self> {
        let mut services = SERVICES.lock().unwrap_or_else(PoisonError::into_inner);
        services.get_or_insert_with(|| {
            let started = start();
            if let Err(why) = &started {
                // Not with eprintln, which nobody sees of a test that passes.
                let line =
                    format!("skipped: the services of OpenStack cannot be had on this computer: {why}\n");
                std::io::stderr().write_all(line.as_bytes()).ok();
            }
            started.ok()
        });
        services.as_ref().is_some_and(Option::is_some).then_some(Self(services))
    }

    pub(crate) fn services(&self) -> &Services {
        self.0.as_ref().and_then(Option::as_ref).expect("they were started")
    }
}

/// The folder in which the services are installed, and everything else is made once.
fn cache() -> Result<PathBuf, String> {
    let set = std::env::var_os("MUSTER_CACHE_DIR").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache/muster"));
    let cache = set.or_else(home).ok_or("HOME is not set")?.join("openstack");
    fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    Ok(cache)
}

/// Runs a script, and returns what it prints.
fn script(name: &str, arguments: &[&dyn AsRef<OsStr>]) -> Result<String, String> {
    let mut command = Command::new(format!("{SCRIPTS}/{name}"));
    command.args(arguments.iter().map(AsRef::as_ref)).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(3).collect();
    Err(format!("{name}: {}", last.into_iter().rev().collect::<Vec<_>>().join("; ")))
}

/// Five ports after each other that nobody uses.
fn free_ports() -> u16 {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = 20_000 + u16::try_from(std::process::id() % 1000).expect("small") * 10;
    let mut bases = (first..u16::MAX - 5).step_by(10);
    bases.find(|base| (0..5).all(|number| is_free(base + number))).expect("free ports")
}

fn start() -> Result<Services, String> {
    let cache = cache()?;
    let text = |error: std::io::Error| error.to_string();
    // Another test run may install them at the same moment.
    let lock = File::create(cache.join("lock")).map_err(text)?;
    lock.lock().map_err(text)?;
    let installed = script("install.sh", &[&cache])?;
    let (installed, kept) = installed.split_once('\n').ok_or("install.sh: two folders were expected")?;
    let kept = Path::new(kept);
    if !kept.exists() {
        let new = cache.join("new");
        let watch = watch(&new, "");
        let made = script("up.sh", &[&installed, &new, &free_ports().to_string()]);
        stop(watch);
        made?;
        fs::rename(&new, kept).map_err(text)?;
    }
    drop(lock);
    let state = std::env::temp_dir().join(format!("muster-openstack-{}", std::process::id()));
    Command::new("cp").arg("-a").args([kept, &state]).status().map_err(text)?;
    let base = free_ports();
    let services = Services { base, proxy: Proxy::start(base), _watch: watch(&state, "rm -rf \"$1\"") };
    script("up.sh", &[&installed, &state, &base.to_string()])?;
    Ok(services)
}

/// Waits until its standard input ends, which it does with this process, and then ends the services of a state.
fn watch(state: &Path, then: &str) -> Child {
    let program = format!(
        "read -r _; for file in \"$1\"/pid/*; do kill -KILL \"$(cat \"$file\")\" 2>/dev/null; rm -f \"$file\"; done; {then}"
    );
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", &program, "sh"]).arg(state).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh")
}

fn stop(mut watch: Child) {
    drop(watch.stdin.take());
    watch.wait().expect("an end");
}

impl Services {
    /// A login past the proxy.
    pub(crate) fn login(&self, name: &str) -> Login<'_> {
        let domain = json!({"id": "default"});
        let user = json!({"name": name, "password": name, "domain": domain});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": name, "domain": domain}},
        }});
        let answer = self.ask(0, "POST", "/v3/auth/tokens", "", Some(&body));
        let token = answer.header("x-subject-token").to_owned();
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        Login {
            services: self,
            token,
            project: body["token"]["project"]["id"].as_str().expect("a project").to_owned(),
        }
    }

    fn ask(&self, service: u16, method: &str, path: &str, token: &str, body: Option<&Value>) -> Message {
        let headers = [
            ("host", "127.0.0.1"),
            ("x-auth-token", token),
            ("content-type", "application/json"),
            ("openstack-api-version", "compute 2.52"),
        ];
        let request = Message {
            first: format!("{method} {path} HTTP/1.1"),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        };
        ask(self.base + service, &request).expect("an answer")
    }
}

/// The services by their number.
pub(crate) const NEUTRON: u16 = 3;
pub(crate) const NOVA: u16 = 4;

impl Login<'_> {
    /// Asks a service, which must do it.
    #[track_caller]
    pub(crate) fn ask(&self, service: u16, method: &str, path: &str, body: Option<Value>) -> Value {
        let version = if service == NOVA { "/v2.1" } else { "/v2.0" };
        let answer =
            self.services.ask(service, method, &format!("{version}{path}"), &self.token, body.as_ref());
        assert!(
            answer.first.contains(" 20"),
            "{method} {path}: {} {}",
            answer.first,
            String::from_utf8_lossy(&answer.body)
        );
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// All that the project has, service by service: `port shop-cp-1`.
    pub(crate) fn everything(&self) -> Vec<String> {
        let lists = [
            (NOVA, "/servers", "servers"),
            (NOVA, "/os-keypairs", "keypairs"),
            (NEUTRON, "/ports", "ports"),
            (NEUTRON, "/floatingips", "floatingips"),
            (NEUTRON, "/routers", "routers"),
            (NEUTRON, "/subnets", "subnets"),
            (NEUTRON, "/networks", "networks"),
            (NEUTRON, "/security-groups", "security_groups"),
        ];
        let mut all = Vec::new();
        for (service, path, key) in lists {
            let answer = self.ask(service, "GET", path, None);
            for object in answer[key].as_array().expect("a list") {
                let object = if key == "keypairs" { &object["keypair"] } else { object };
                let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
                // Neither is this project's own: the network outside, and the group that every project has.
                if object["router:external"] == true
                    || (key == "security_groups" && text("name") == "default")
                {
                    continue;
                }
                all.push(format!("{key} {} {}", text("name"), text("id")));
            }
        }
        all
    }
}
