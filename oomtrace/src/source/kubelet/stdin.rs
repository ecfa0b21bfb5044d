//! Standard input: `journalctl -f -u kubelet | oomtrace run --kubelet-log -`.

use std::{io, thread};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::feed::{Feed, Gone, SILENCE};
use crate::event::Observation;

/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait.
const WAITING: usize = 4;

/// Reads to the end. Reading cannot be given up halfway, so a thread does it, which ends with the program.
pub(super) async fn run(
    feed: &mut Feed,
    tell: &mpsc::Sender<Observation>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Gone> {
    let (send, mut pieces) = mpsc::channel(WAITING);
    let reading = thread::Builder::new().name("kubelet-log".to_owned()).spawn(move || read(io::stdin().lock(), &send));
    if let Err(error) = reading {
        return feed.fail(format!("standard input cannot be read: {error}"), tell).await;
    }
    loop {
        let piece = tokio::select! {
            piece = timeout(SILENCE, pieces.recv()) => piece,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        match piece {
            Ok(Some(Ok(bytes))) => feed.push(&bytes, tell).await?,
            Ok(Some(Err(error))) => {
                return feed.fail(format!("standard input cannot be read any further: {error}"), tell).await;
            }
            Ok(None) => return Ok(()),
            Err(_) => feed.idle(tell).await?,
        }
    }
}

fn read(mut from: impl io::Read, send: &mpsc::Sender<io::Result<Vec<u8>>>) {
    let mut buffer = vec![0; PIECE];
    loop {
        let piece = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok(buffer[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let ends = piece.is_err();
        if send.blocking_send(piece).is_err() || ends {
            return;
        }
    }
}
