//! HTTP: `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use hyper::{Request, Response, StatusCode, body::Incoming, header::ACCEPT};
use tokio::sync::Semaphore;

use super::{
    Metrics,
    expose::{Exposition, expose},
};
use crate::http::{Answer, plain, whole};

/// So many are sent all figures at a time, as these are kept until they are sent.
const READERS: usize = 8;

/// Answers requests.
pub(super) fn answers(metrics: Arc<Metrics>) -> impl Fn(&Request<Incoming>) -> Response<Answer> {
    let readers = Arc::new(Semaphore::new(READERS));
    move |request| answer(request, &metrics, &readers)
}

fn answer(request: &Request<Incoming>, metrics: &Arc<Metrics>, readers: &Arc<Semaphore>) -> Response<Answer> {
    match request.uri().path() {
        "/metrics" => {
            let Ok(place) = Arc::clone(readers).try_acquire_owned() else {
                return plain(StatusCode::SERVICE_UNAVAILABLE, "too many clients are reading /metrics");
            };
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
            let exposition = Exposition::accepted(accept);
            match expose(metrics, exposition) {
                Ok(text) => whole(StatusCode::OK, exposition.content_type(), text, Some(place)),
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
        "/healthz" if metrics.is_alive() => plain(StatusCode::OK, "alive"),
        "/healthz" => plain(StatusCode::SERVICE_UNAVAILABLE, "the main loop has not gone round for a minute"),
        "/readyz" if metrics.is_ready() => plain(StatusCode::OK, "tracing"),
        "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "not tracing: it is starting or stopping"),
        "/" => plain(StatusCode::OK, "oomtrace: /metrics /healthz /readyz"),
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Read as _, Write as _},
        net::{SocketAddr, TcpStream},
        time::Duration,
    };

    use super::*;
    use crate::{
        confinement::Confinement,
        http::{CONNECTIONS, Listener},
    };

    fn get(address: SocketAddr, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: oomtrace\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_client_that_holds_connections_keeps_nobody_out() -> anyhow::Result<()> {
        let listener = Listener::bind(&"127.0.0.1:0".parse().map_err(anyhow::Error::msg)?, "--metrics-listen")?;
        let address = listener.address();
        listener.serve("metrics", Confinement::default(), answers(Metrics::new(100)))?;
        let held: Vec<TcpStream> =
            (0..2 * CONNECTIONS).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
        let text = get(address, "/healthz")?;
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("alive\n"), "{text}");
        // Some ask for all figures, and read none.
        for mut stream in held.iter().rev().take(2 * READERS) {
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: oomtrace\r\n\r\n")?;
        }
        assert!(get(address, "/healthz")?.ends_with("alive\n"));
        Ok(())
    }
}
