//! What stands between the program and the services: it counts requests, and breaks some of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::wire::{Message, ask};

/// Which requests are broken. A request is written as in the log, `POST /4/v2.1/servers`; here its beginning is enough.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    /// That of this number, from 1.
    Number(usize),
    /// The first one of these.
    First(&'static str),
    /// All of these.
    Each(&'static str),
}

/// How a request is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The program is killed before the service gets it.
    KillBefore,
    /// The service does it, and the program is killed before it hears of it.
    KillAfter,
    /// The service does it, and the connection is cut before the answer.
    Cut,
    /// The service does it, and its answer never comes.
    Silence,
    /// The service does not get it; the program hears this status.
    Status(u16),
    /// The service hears a token that it does not know, as if the login had run out.
    TokenGone,
}

#[derive(Default)]
struct State {
    log: Vec<String>,
    fault: Option<(At, Fault)>,
    victim: Option<u32>,
}

impl State {
    /// Counts a request, and tells how it is broken.
    fn note(&mut self, request: String) -> Option<Fault> {
        let is_meant = |at: At| match at {
            At::Number(number) => self.log.len() + 1 == number,
            At::Each(beginning) => request.starts_with(beginning),
            At::First(beginning) => {
                request.starts_with(beginning) && !self.log.iter().any(|other| other.starts_with(beginning))
            }
        };
        let fault = self.fault.filter(|(at, _)| is_meant(*at)).map(|(_, fault)| fault);
        self.log.push(request);
        fault
    }
}

/// A proxy in front of services at consecutive ports. Its own port serves the first; `/N/...` is the service with that number.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    base: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub(crate) fn start(base: u16) -> Self {
        let mut proxy = Self { port: 0, base, state: Arc::default() };
        proxy.port = proxy.listen("http", |connection| connection);
        proxy
    }

    /// Listens at a port with TLS, too.
    pub(crate) fn with_tls(&self, config: Arc<ServerConfig>) -> u16 {
        self.listen("https", move |connection| {
            StreamOwned::new(ServerConnection::new(Arc::clone(&config)).expect("TLS"), connection)
        })
    }

    fn listen<S: Read + Write>(
        &self,
        scheme: &'static str,
        open: impl Fn(TcpStream) -> S + Send + Sync + 'static,
    ) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (state, base, open) = (Arc::clone(&self.state), self.base, Arc::new(open));
        let own = format!("{scheme}://127.0.0.1:{port}");
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (state, open, own) = (Arc::clone(&state), Arc::clone(&open), own.clone());
                thread::spawn(move || serve(&mut open(connection), base, &own, &state));
            }
        });
        port
    }

    /// Begins to count anew, and breaks these requests.
    pub(crate) fn reset(&self, fault: Option<(At, Fault)>) {
        *self.state.lock().unwrap() = State { fault, ..State::default() };
    }

    /// Who is killed, if somebody is to be.
    pub(crate) fn victim(&self, process: u32) {
        self.state.lock().unwrap().victim = Some(process);
    }

    /// The requests so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }
}

fn serve(connection: &mut (impl Read + Write), base: u16, own: &str, state: &Mutex<State>) {
    let Some(mut request) = Message::read(connection, false) else { return };
    let (method, path) = request.target();
    let number = path.split('/').nth(1).and_then(|word| word.parse::<u16>().ok());
    let target = match number {
        Some(_) => format!("/{}", path.splitn(3, '/').nth(2).unwrap_or_default()),
        None => path.clone(),
    };
    let shown = format!("{method} {}", path.split('?').next().unwrap_or_default());
    let fault = state.lock().unwrap().note(shown);
    match fault {
        Some(Fault::KillBefore) => return kill(state),
        Some(Fault::Status(status)) => {
            let first = format!("HTTP/1.1 {status} Broken");
            Message { first, headers: Vec::new(), body: Vec::new() }.write(connection).ok();
            return;
        }
        Some(Fault::TokenGone) => {
            for (_, value) in request.headers.iter_mut().filter(|(name, _)| name == "x-auth-token") {
                *value = "gone".into();
            }
        }
        _ => {}
    }
    request.first = format!("{method} {target} HTTP/1.1");
    let Ok(mut answer) = ask(base + number.unwrap_or(0), &request) else { return };
    match fault {
        Some(Fault::KillAfter) => return kill(state),
        Some(Fault::Cut) => return,
        // Longer than the program waits for an answer.
        Some(Fault::Silence) => return thread::sleep(Duration::from_secs(150)),
        _ => {}
    }
    if target.starts_with("/v3/auth/tokens") {
        let mut body = String::from_utf8_lossy(&answer.body).into_owned();
        for number in 0..5 {
            let theirs = format!("http://127.0.0.1:{}", base + number);
            body = body.replace(&theirs, &format!("{own}/{number}"));
        }
        answer.body = body.into_bytes();
    }
    answer.write(connection).ok();
}

/// Kills the program as soon as it is known which it is.
fn kill(state: &Mutex<State>) {
    loop {
        if let Some(process) = state.lock().unwrap().victim {
            Command::new("kill").args(["-KILL", &process.to_string()]).status().expect("kill");
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
