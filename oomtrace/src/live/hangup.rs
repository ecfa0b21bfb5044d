//! SIGHUP: files are opened again, as a log rotation has moved them away.

use std::io::{self, IsTerminal as _};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP, where it means something else than the terminal's end.
pub(super) struct Hangup(Option<Signal>);

impl Hangup {
    /// Handles it where there are files to open again, or standard output is no terminal: a daemon without files that is asked to
    /// open them does nothing. Else it ends the program, as ever.
    pub(super) fn handle(has_files: bool) -> io::Result<Self> {
        let handled = has_files || !io::stdout().is_terminal();
        Ok(Self(if handled { Some(signal(SignalKind::hangup())?) } else { None }))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}
