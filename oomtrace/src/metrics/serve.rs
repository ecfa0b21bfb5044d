//! HTTP: `/metrics`, `/healthz`, `/readyz`.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{self, Poll},
    thread,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::{ACCEPT, ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time,
};

use crate::confinement::Confinement;

use super::{
    Metrics,
    expose::{Exposition, expose},
};

/// So many connections are open at a time; a further one closes the oldest. A client that only holds connections keeps nobody out:
/// health is asked for here, too.
const CONNECTIONS: usize = 128;
/// So many are sent all figures at a time, as these are kept until they are sent.
const READERS: usize = 8;
/// The head of a request has to come within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(2);
/// A client that takes longer for all of it is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where to listen: `127.0.0.1:9477`, `[::1]:9477`, `localhost:9477`, or `:9477` for every address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Vec<SocketAddr>);

impl Address {
    /// Those to try, in this order.
    pub(crate) fn all(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self(vec![address]));
        }
        let port = |prefix: &str| text.strip_prefix(prefix)?.parse::<u16>().ok();
        if let Some(port) = port("localhost:") {
            return Ok(Self(vec![(Ipv4Addr::LOCALHOST, port).into()]));
        }
        let port = port(":").ok_or("it has to be ADDRESS:PORT, such as 127.0.0.1:9477, or :9477 for every address")?;
        // Listening on IPv6's takes connections over IPv4 as well; a node may have no IPv6.
        Ok(Self(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.first().map_or(Ok(()), |address| address.fmt(f))
    }
}

/// Listens, and answers on a thread of its own until the program ends. Gives the address, whose port the kernel chose
/// where it was to be 0.
///
/// # Errors
///
/// Fails where the address is not free, or not of this machine.
pub fn serve(address: &Address, metrics: Arc<Metrics>, confinement: Confinement) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address.all())?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        confinement.confine_thread(None);
        if let Err(error) = runtime.block_on(answer_all(listener, metrics)) {
            tracing::error!("metrics are not served any more: {error}");
        }
    })?;
    Ok(address)
}

async fn answer_all(listener: TcpListener, metrics: Arc<Metrics>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let readers = Arc::new(Semaphore::new(READERS));
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Such as too many open files: it would come back at once.
                tracing::debug!("a client of the metrics is not answered: {error}");
                time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let connection = tokio::spawn(serve_one(stream, Arc::clone(&metrics), Arc::clone(&readers)));
        open.push_back(connection.abort_handle());
    }
}

async fn serve_one(stream: TcpStream, metrics: Arc<Metrics>, readers: Arc<Semaphore>) {
    let service = service_fn(|request| {
        let response = answer(&request, &metrics, &readers);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .keep_alive(false)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away, or never asks, is its own affair.
    let _ = time::timeout(PATIENCE, connection).await;
}

/// What is sent. All figures keep one of the places for their readers until they are sent.
struct Answer {
    body: Full<Bytes>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn answer(request: &Request<Incoming>, metrics: &Arc<Metrics>, readers: &Arc<Semaphore>) -> Response<Answer> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let Ok(place) = Arc::clone(readers).try_acquire_owned() else {
                return plain(StatusCode::SERVICE_UNAVAILABLE, "too many clients are reading /metrics");
            };
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
            let exposition = Exposition::accepted(accept);
            match expose(metrics, exposition) {
                Ok(text) => with_type(StatusCode::OK, exposition.content_type(), text, Some(place)),
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

fn plain(status: StatusCode, text: &str) -> Response<Answer> {
    with_type(status, "text/plain; charset=utf-8", format!("{text}\n"), None)
}

fn with_type(
    status: StatusCode,
    content_type: &'static str,
    text: String,
    place: Option<OwnedSemaphorePermit>,
) -> Response<Answer> {
    let mut response = Response::new(Answer { body: Full::new(Bytes::from(text)), _place: place });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    use super::*;

    fn get(address: SocketAddr, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: oomtrace\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_client_that_holds_connections_keeps_nobody_out() -> io::Result<()> {
        let address =
            serve(&"127.0.0.1:0".parse().map_err(io::Error::other)?, Metrics::new(100), Confinement::default())?;
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
