//! Ctrl-C, and what means the same: SIGTERM, and SIGHUP of a terminal that is closed.

use std::fs;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Exit;
use crate::output::{Screen, print};

/// The first Ctrl-C ends the run after what is under way on the machines; the second ends the program at once. `go_on`: the command
/// that goes on from there.
pub(crate) async fn heed_signals(cancel: CancellationToken, screen: Screen, go_on: Option<String>) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    let mut closed = if goes_on_without_terminal() { None } else { signal(SignalKind::hangup()).ok() };
    loop {
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => if pressed.is_err() { return },
            _ = terminate.recv() => {}
            () = is_closed(&mut closed) => {}
        }
        if cancel.is_cancelled() {
            screen.end_live();
            print::note(
                "left: what is under way on the machines goes on there; the same command waits for it and goes on from there. A node \
                 that was being drained gets no new pods until then",
            );
            if let Some(command) = &go_on {
                print::note(&format!("go on: {command}"));
            }
            std::process::exit(Exit::Interrupted.code().into());
        }
        cancel.cancel();
        screen.suspend(|| {
            print::note(
                "interrupted: waiting for what is under way on the machines; Ctrl-C again to leave at once",
            );
        });
    }
}

/// Waits for any of these, for what goes on until it is told to end.
///
/// # Errors
/// The system does not say when somebody sends one.
pub(crate) async fn told_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut closed = if goes_on_without_terminal() { None } else { Some(signal(SignalKind::hangup())?) };
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
        () = is_closed(&mut closed) => {}
    }
    Ok(())
}

/// Whether the program was begun so that it goes on when its terminal is closed, as `nohup` does it (`SigIgn` of proc(5)). Where that
/// is not known it counts as so: the signal does what it did.
fn goes_on_without_terminal() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & 1 << (SignalKind::hangup().as_raw_value() - 1) != 0)
}

/// Waits until the terminal is closed; for ever where that is not asked for.
async fn is_closed(closed: &mut Option<Signal>) {
    match closed {
        Some(closed) => drop(closed.recv().await),
        None => std::future::pending().await,
    }
}
