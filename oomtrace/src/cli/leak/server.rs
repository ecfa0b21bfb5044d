//! An HTTP server for the probes of a kubelet: healthy for a while, and then not any more.

use std::{convert::Infallible, io, time::Duration};

use http_body_util::Full;
use hyper::{Response, StatusCode, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

use crate::http::Address;

/// A client that takes longer is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens, and answers every request in the background: 200 for as long as it is healthy (forever where that is `None`), then 503.
pub(super) async fn start(address: &Address, healthy_for: Option<Duration>) -> io::Result<()> {
    let listener = TcpListener::bind(address.all()).await?;
    let sick_at = healthy_for.map(|time| Instant::now() + time);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Such as too many open files: it would come back at once.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            tokio::spawn(async move {
                let service = service_fn(|_| async move { Ok::<_, Infallible>(answer(sick_at)) });
                let connection =
                    http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
                // A client that goes away has its reasons.
                let _ = timeout(PATIENCE, connection).await;
            });
        }
    });
    Ok(())
}

fn answer(sick_at: Option<Instant>) -> Response<Full<Bytes>> {
    let (status, text) = match sick_at {
        Some(at) if Instant::now() >= at => (StatusCode::SERVICE_UNAVAILABLE, "not healthy any more\n"),
        _ => (StatusCode::OK, "healthy\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
