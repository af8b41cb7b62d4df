//! What a program has written.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::privilege::Request;
use crate::transport::{Exit, OnLine};

/// Standard output beyond this is an error: frames of a program come to kilobytes.
pub(super) const MOST_STDOUT: usize = 64 << 20;
/// Of standard error this much is kept of the beginning, and as much of the end.
const STDERR_PART: usize = 32 << 10;
/// A line without an end is passed on in pieces of this size.
const MOST_LINE: usize = 8 << 10;

/// What a program has written, and its status.
#[derive(Default)]
pub(super) struct Output {
    pub(super) stdout: Vec<u8>,
    kept: Kept,
    pub(super) status: Option<i32>,
    /// The line still awaited before the program counts as started.
    pub(super) mark: Option<String>,
    prompt: Option<String>,
    started: Option<oneshot::Sender<()>>,
    /// Standard error before the mark.
    pub(super) before: Vec<u8>,
    line: Vec<u8>,
    pub(super) on_line: Option<OnLine>,
}

impl Output {
    pub(super) fn new(request: &Request, started: oneshot::Sender<()>) -> Self {
        Self {
            mark: request.mark.clone(),
            prompt: request.prompt.clone(),
            started: Some(started),
            ..Self::default()
        }
    }

    /// Takes standard output; `false` where it is too much.
    pub(super) fn stdout(&mut self, bytes: &[u8]) -> bool {
        let fits = self.stdout.len() + bytes.len() <= MOST_STDOUT;
        if fits {
            self.stdout.extend_from_slice(bytes);
        }
        fits
    }

    /// Takes standard error.
    pub(super) fn stderr(&mut self, bytes: &[u8]) {
        let Some(mark) = &self.mark else { return self.program_stderr(bytes) };
        self.before.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(length) = self.before[start..].iter().position(|&byte| byte == b'\n') {
            let end = start + length;
            if self.before[start..end].trim_ascii_end() == mark.as_bytes() {
                let rest = self.before.split_off(end + 1);
                self.mark = None;
                if let Some(started) = self.started.take() {
                    // Nobody waits for it where there is no password.
                    started.send(()).ok();
                }
                return self.program_stderr(&rest);
            }
            start = end + 1;
        }
        // A login shell that never stops talking must not fill the memory.
        if self.before.len() > 2 * STDERR_PART {
            self.before.drain(..STDERR_PART);
        }
    }

    fn program_stderr(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let Some(on_line) = &self.on_line else { return };
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
            }
            if byte == b'\n' || self.line.len() == MOST_LINE {
                on_line(&String::from_utf8_lossy(&self.line));
                self.line.clear();
            }
        }
    }

    /// Whether sudo asks for the password a second time.
    pub(super) fn asked_again(&self) -> bool {
        let (Some(_), Some(prompt)) = (&self.mark, &self.prompt) else { return false };
        let mut prompts = self.before.windows(prompt.len()).filter(|window| *window == prompt.as_bytes());
        prompts.nth(1).is_some()
    }

    pub(super) fn into_exit(self, status: i32) -> Exit {
        if let (Some(on_line), false) = (&self.on_line, self.line.is_empty()) {
            on_line(&String::from_utf8_lossy(&self.line));
        }
        Exit { status, stdout: self.stdout, stderr: self.kept.into_bytes() }
    }
}

/// The beginning and the end of something long.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut: usize,
}

impl Kept {
    fn extend(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(STDERR_PART - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(STDERR_PART);
        self.tail.drain(..over);
        self.cut += over;
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.head;
        if self.cut > 0 {
            bytes.extend_from_slice(format!("\n... {} bytes left out ...\n", self.cut).as_bytes());
        }
        bytes.extend(self.tail);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn of_a_long_standard_error_both_ends_are_kept() {
        let mut kept = Kept::default();
        kept.extend(b"first");
        assert_eq!(Kept { head: b"first".to_vec(), ..Kept::default() }.into_bytes(), kept.into_bytes());

        let mut kept = Kept::default();
        for n in 0..20_000 {
            kept.extend(format!("{n:05}\n").as_bytes());
        }
        let bytes = kept.into_bytes();
        let text = String::from_utf8(bytes).expect("ASCII");
        assert!(text.starts_with("00000\n00001\n"), "the beginning is there");
        assert!(text.ends_with("19998\n19999\n"), "the end is there");
        assert!(text.contains("\n... 54464 bytes left out ...\n"), "what is missing is told");
        assert!(text.len() < 2 * STDERR_PART + 100);
    }

    #[test]
    fn what_sudo_says_before_the_mark_is_kept_apart() {
        let request = Request {
            command: String::new(),
            password: None,
            prompt: Some("ask-77".to_owned()),
            mark: Some("77".to_owned()),
        };
        let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
        let on_line: OnLine = Arc::new({
            let lines = Arc::clone(&lines);
            move |line: &str| lines.lock().expect("not poisoned").push(line.to_owned())
        });
        let (started, mut start) = oneshot::channel();
        let mut output = Output::new(&request, started);
        output.on_line = Some(on_line);
        output.stderr(b"lecture: echo 77 here\nask-77");
        assert!(output.mark.is_some() && !output.asked_again() && start.try_recv().is_err());
        output.stderr(b"\n7");
        output.stderr(b"7\r\nreal out");
        assert!(output.mark.is_none() && start.try_recv().is_ok());
        output.stderr(b"put\nlast");
        let exit = output.into_exit(3);
        assert_eq!((exit.status, exit.stderr.as_slice()), (3, b"real output\nlast".as_slice()));
        assert_eq!(*lines.lock().expect("not poisoned"), ["real output", "last"]);
    }

    #[test]
    fn a_second_prompt_means_the_password_was_refused() {
        let request = Request {
            command: String::new(),
            password: Some("x".into()),
            prompt: Some("ask-77".to_owned()),
            mark: Some("77".to_owned()),
        };
        let mut output = Output::new(&request, oneshot::channel().0);
        output.stderr(b"ask-77");
        assert!(!output.asked_again());
        output.stderr(b"\nSorry, try again.\nask-77");
        assert!(output.asked_again());
    }
}
