//! HTTP as far as these tests need it: one request on each connection.

use std::io::{Read, Write};
use std::net::TcpStream;

/// A request or an answer: its first line, its headers, its body.
pub(crate) struct Message {
    pub(crate) first: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Reads one; nothing, if the other side sends none.
    pub(crate) fn read(from: &mut impl Read, is_answer: bool) -> Option<Self> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if from.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().lines();
        let first = lines.next()?.to_owned();
        let split = |line: &str| {
            line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        };
        let headers: Vec<(String, String)> = lines.filter_map(split).collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .and_then(|(_, value)| value.parse().ok());
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                from.read_exact(&mut body).ok()?;
            }
            None if is_answer && !first.contains(" 204") => {
                from.read_to_end(&mut body).ok()?;
            }
            None => {}
        }
        Some(Self { first, headers, body })
    }

    pub(crate) fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        let mut head = format!("{}\r\n", self.first);
        let own = ["content-length", "connection", "transfer-encoding"];
        for (name, value) in self.headers.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", self.body.len()));
        to.write_all(head.as_bytes())?;
        to.write_all(&self.body)?;
        to.flush()
    }

    pub(crate) fn header(&self, wanted: &str) -> &str {
        self.headers.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value)
    }

    /// Method and path of a request.
    pub(crate) fn target(&self) -> (String, String) {
        let mut words = self.first.split(' ').map(str::to_owned);
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }
}

/// Asks a port of this computer.
pub(crate) fn ask(port: u16, request: &Message) -> std::io::Result<Message> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    request.write(&mut connection)?;
    Message::read(&mut connection, true).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}
