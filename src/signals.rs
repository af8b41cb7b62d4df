//! Ctrl-C, and SIGTERM, which means the same.

use tokio_util::sync::CancellationToken;

use crate::error::Exit;
use crate::output::{Screen, print};

/// The first Ctrl-C ends the run after what is under way on the machines; the second ends the program at once.
pub(crate) async fn heed_signals(cancel: CancellationToken, screen: Screen) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    loop {
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => if pressed.is_err() { return },
            _ = terminate.recv() => {}
        }
        if cancel.is_cancelled() {
            screen.end_live();
            print::note(
                "left: what is under way on the machines goes on there; the same command waits for it and goes on from there. A node \
                 that was being drained gets no new pods until then",
            );
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
