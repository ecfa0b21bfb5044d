//! HTTP: `/metrics`, `/healthz`, `/readyz`.

use std::{
    convert::Infallible,
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    str::FromStr,
    sync::Arc,
    thread,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{runtime, sync::Semaphore, time};

use super::{
    Metrics,
    expose::{Exposition, expose},
};

/// So many clients are answered at a time; more wait.
const CLIENTS: usize = 8;
/// A client that takes longer is cut off: it would keep others waiting.
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
pub fn serve(address: &Address, metrics: Arc<Metrics>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address.all())?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(answer_all(listener, metrics)) {
            tracing::error!("metrics are not served any more: {error}");
        }
    })?;
    Ok(address)
}

async fn answer_all(listener: TcpListener, metrics: Arc<Metrics>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Such as too many open files: it would come back at once.
                tracing::debug!("a client of the metrics is not answered: {error}");
                time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection =
                http1::Builder::new().keep_alive(false).max_headers(64).serve_connection(TokioIo::new(stream), service);
            // A client that goes away, or never asks, is its own affair.
            let _ = time::timeout(PATIENCE, connection).await;
            drop(seat);
        });
    }
}

fn answer(request: &Request<Incoming>, metrics: &Arc<Metrics>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
            let exposition = Exposition::accepted(accept);
            match expose(metrics, exposition) {
                Ok(text) => with_type(StatusCode::OK, exposition.content_type(), text),
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

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn with_type(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}
