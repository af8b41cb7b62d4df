//! What stands between the program and the services: it counts requests, and breaks one of them.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::wire::{Message, ask};

/// How a request is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The program is killed before the service gets it.
    KillBefore,
    /// The service does it, and the program is killed before it hears of it.
    KillAfter,
    /// The service does it, and the connection is cut before the answer.
    Cut,
    /// The service does not get it; the program hears this status.
    Status(u16),
    /// The service hears a token that it does not know, as if the login had run out.
    TokenGone,
}

#[derive(Default)]
struct State {
    log: Vec<String>,
    fault: Option<(usize, Fault)>,
    victim: Option<u32>,
}

/// A proxy in front of services at consecutive ports. Its own port serves the first; `/N/...` is the service with that number.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub(crate) fn start(base: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(connection, base, port, &state));
            }
        });
        Self { port, state }
    }

    /// Begins to count anew, and breaks the request of this number, from 1.
    pub(crate) fn reset(&self, fault: Option<(usize, Fault)>) {
        *self.state.lock().unwrap() = State { fault, ..State::default() };
    }

    /// Who is killed, if somebody is to be.
    pub(crate) fn victim(&self, process: u32) {
        self.state.lock().unwrap().victim = Some(process);
    }

    /// The requests so far: `POST /4/servers`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }
}

fn serve(mut connection: TcpStream, base: u16, own: u16, state: &Mutex<State>) {
    let Some(mut request) = Message::read(&mut connection, false) else { return };
    let (method, path) = request.target();
    let number = path.split('/').nth(1).and_then(|word| word.parse::<u16>().ok());
    let target = if number.is_some() {
        format!("/{}", path.splitn(3, '/').nth(2).unwrap_or_default())
    } else {
        path.clone()
    };
    let fault = {
        let mut state = state.lock().unwrap();
        state.log.push(format!("{method} {}", path.split('?').next().unwrap_or_default()));
        let now = state.log.len();
        state.fault.filter(|(at, _)| *at == now).map(|(_, fault)| fault)
    };
    if fault == Some(Fault::KillBefore) {
        return kill(state);
    }
    if let Some(Fault::Status(status)) = fault {
        let answer =
            Message { first: format!("HTTP/1.1 {status} Broken"), headers: Vec::new(), body: Vec::new() };
        answer.write(&mut connection).ok();
        return;
    }
    if fault == Some(Fault::TokenGone) {
        for (name, value) in &mut request.headers {
            if name == "x-auth-token" {
                *value = "gone".into();
            }
        }
    }
    request.first = format!("{method} {target} HTTP/1.1");
    let Ok(mut answer) = ask(base + number.unwrap_or(0), &request) else { return };
    match fault {
        Some(Fault::KillAfter) => return kill(state),
        Some(Fault::Cut) => return,
        _ => {}
    }
    if target.starts_with("/v3/auth/tokens") {
        let mut body = String::from_utf8_lossy(&answer.body).into_owned();
        for number in 0..5 {
            body = body.replace(
                &format!("http://127.0.0.1:{}", base + number),
                &format!("http://127.0.0.1:{own}/{number}"),
            );
        }
        answer.body = body.into_bytes();
    }
    answer.write(&mut connection).ok();
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
