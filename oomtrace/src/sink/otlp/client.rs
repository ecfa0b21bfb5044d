//! Requests to a receiver, and what its answers mean: OTLP's specification 1.9, "Failures", "OTLP/gRPC throttling" and "OTLP/HTTP
//! response".

use std::{error::Error, iter, time::Duration};

use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use tokio::{runtime, time};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    metadata::MetadataMap,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_prost::ProstCodec;
use ureq::http::header::CONTENT_TYPE;

use super::access::{Access, Protocol};
use crate::{
    sink::{escape, retry},
    tls,
};

/// What is read of an answer.
const MOST_BYTES: u64 = 64 << 10;
/// What is repeated of what it says, in bytes.
const LONGEST_MESSAGE: usize = 300;
const USER_AGENT: &str = concat!("oomtrace/", env!("CARGO_PKG_VERSION"));
const PROTOBUF: &str = "application/x-protobuf";

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Logs,
    Metrics,
}

impl Signal {
    /// Behind the endpoint, by HTTP.
    fn path(self) -> &'static str {
        match self {
            Self::Logs => "/v1/logs",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// By gRPC.
    fn method(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was taken, but for so many of its records or points; and what the receiver says of it.
    Taken { rejected: u64, message: String },
    /// Not now: why, and how long the receiver wants to be left alone.
    Later(String, Option<Duration>),
    /// Never: why.
    Never(String),
}

/// The answer to either signal: that to the other is the same, byte for byte.
type Response = ExportLogsServiceResponse;

/// A connection that is kept, as long as it works.
pub(super) struct Client {
    access: Access,
    connection: Option<Connection>,
}

enum Connection {
    Http(ureq::Agent),
    Grpc(runtime::Runtime, Channel),
}

impl Client {
    pub(super) fn new(access: Access) -> Self {
        Self { access, connection: None }
    }

    pub(super) fn send<M: Message + 'static>(&mut self, signal: Signal, message: M) -> Answer {
        let answer = self.try_to_send(signal, message).unwrap_or_else(|why| Answer::Later(why, None));
        if !matches!(answer, Answer::Taken { .. }) {
            // The certificates, or who answers, may be others by then.
            self.connection = None;
        }
        answer
    }

    fn try_to_send<M: Message + 'static>(&mut self, signal: Signal, message: M) -> Result<Answer, String> {
        let headers = self.access.headers()?;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.access.connect()?),
        };
        match connection {
            Connection::Http(agent) => {
                let url = format!("{}{}", self.access.endpoint, signal.path());
                let mut request = agent.post(&url).header("Content-Type", PROTOBUF);
                for (name, value) in &headers {
                    request = request.header(name, value);
                }
                let sent = request.send(message.encode_to_vec());
                let mut answer = sent.map_err(|error| {
                    let refused = tls::refused(&error).map(ToString::to_string);
                    self.access.unreachable(&refused.unwrap_or_else(|| error.to_string()))
                })?;
                let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec().unwrap_or_default();
                let is_protobuf = answer
                    .headers()
                    .get(CONTENT_TYPE)
                    .is_some_and(|kind| kind.as_bytes().starts_with(PROTOBUF.as_bytes()));
                Ok(judge_http(&url, answer.status().as_u16(), retry::wish(answer.headers()), is_protobuf, &body))
            }
            Connection::Grpc(runtime, channel) => {
                let mut request = Request::new(message);
                *request.metadata_mut() = MetadataMap::from_headers(headers);
                let codec = ProstCodec::<M, Response>::default();
                let mut grpc = Grpc::new(channel.clone());
                let answer = async {
                    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
                    grpc.unary(request, PathAndQuery::from_static(signal.method()), codec).await
                };
                // The connection's own tasks run while an answer is waited for.
                let answer = runtime.block_on(async { time::timeout(self.access.timeout, answer).await });
                match answer {
                    Ok(Ok(response)) => Ok(taken(response.into_inner())),
                    // What has a cause was not said by the receiver.
                    Ok(Err(status)) => match cause(&status) {
                        Some(cause) => Err(self.access.unreachable(&cause)),
                        None => Ok(judge_grpc(&self.access.endpoint.to_string(), &status)),
                    },
                    Err(_) => Err(self.access.unreachable(&format!("no answer within {:?}", self.access.timeout))),
                }
            }
        }
    }
}

/// What is at the bottom of an error of the connection's.
fn cause(status: &Status) -> Option<String> {
    iter::successors(status.source(), |error| (*error).source()).last().map(ToString::to_string)
}

impl Access {
    /// The receiver did not answer, or nothing that can be understood.
    fn unreachable(&self, why: &str) -> String {
        let why = shortened(why);
        let remedy = if why.contains("certificate") || why.contains("UnknownIssuer") {
            "--otlp-ca names what signed its certificate"
        } else {
            "--otlp says where the receiver is, and --otlp-protocol what it speaks"
        };
        format!("{}: {why}; {remedy}", self.endpoint)
    }

    fn connect(&self) -> Result<Connection, String> {
        let authorities = self.endpoint.is_secret().then(|| self.authorities()).transpose()?;
        let authorities = authorities.map(|(pem, path)| match tls::authorities(&pem) {
            Some(authorities) => Ok((authorities, pem)),
            None => Err(format!("{}: no certificate in PEM is in it; --otlp-ca names another", path.display())),
        });
        let authorities = authorities.transpose()?;
        match self.protocol {
            Protocol::Http => {
                let config = ureq::Agent::config_builder()
                    .timeout_global(Some(self.timeout))
                    .user_agent(USER_AGENT)
                    .proxy(None)
                    .max_redirects(0)
                    .http_status_as_error(false);
                let config = match authorities {
                    Some((authorities, _)) => config.tls_config(tls::builder().root_certs(authorities).build()),
                    None => config,
                };
                Ok(Connection::Http(config.build().new_agent()))
            }
            Protocol::Grpc => {
                self.channel(authorities.map(|(_, pem)| pem)).map_err(|error| self.unreachable(&error.to_string()))
            }
        }
    }

    fn channel(&self, authorities: Option<String>) -> Result<Connection, Box<dyn Error>> {
        let endpoint = Endpoint::from_shared(self.endpoint.to_string())?.user_agent(USER_AGENT)?;
        let endpoint = match authorities {
            Some(pem) => endpoint.tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))?,
            None => endpoint,
        };
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        Ok(Connection::Grpc(runtime, channel))
    }
}

fn shortened(message: &str) -> String {
    let mut message = escape(message.trim());
    message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
    message
}

fn taken(response: Response) -> Answer {
    let partial = response.partial_success.unwrap_or_default();
    let rejected = u64::try_from(partial.rejected_log_records).unwrap_or_default();
    Answer::Taken { rejected, message: shortened(&partial.error_message) }
}

/// What an answer over HTTP means. Its body is a `Status`, where something is wrong.
fn judge_http(url: &str, status: u16, wish: Option<Duration>, is_protobuf: bool, body: &[u8]) -> Answer {
    if (200..300).contains(&status) {
        return taken(if is_protobuf { Response::decode(body).unwrap_or_default() } else { Response::default() });
    }
    let message = match RpcStatus::decode(body) {
        Ok(status) if is_protobuf => status.message,
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    let message = shortened(&message);
    let colon = if message.is_empty() { "" } else { ": " };
    let why = format!("{url}: it answers {status}{colon}{message}");
    match status {
        429 | 502 | 503 | 504 => Answer::Later(why, wish),
        401 | 403 => Answer::Never(format!("{why}; --otlp-header has what it wants to know its clients by")),
        404 | 405 | 415 => {
            Answer::Never(format!("{why}; --otlp says where the receiver is, and --otlp-protocol what it speaks"))
        }
        _ => Answer::Never(why),
    }
}

/// What an answer over gRPC means that is no success.
fn judge_grpc(url: &str, status: &Status) -> Answer {
    let message = shortened(status.message());
    let colon = if message.is_empty() { "" } else { ": " };
    let why = format!("{url}: it answers {:?}{colon}{message}", status.code());
    let wish = wish(status.details());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Answer::Later(why, wish),
        Code::ResourceExhausted if wish.is_some() => Answer::Later(why, wish),
        Code::Unauthenticated | Code::PermissionDenied => {
            Answer::Never(format!("{why}; --otlp-header has what it wants to know its clients by"))
        }
        Code::Unimplemented => {
            Answer::Never(format!("{why}; --otlp says where the receiver is, and --otlp-signals what it takes"))
        }
        _ => Answer::Never(why),
    }
}

/// How long the receiver wants to be left alone: `google.rpc.RetryInfo` in the details of a `google.rpc.Status`.
fn wish(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.delay.unwrap_or_default();
    Some(Duration::from_secs(delay.seconds.try_into().ok()?) + Duration::from_nanos(delay.nanos.try_into().ok()?))
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Delay {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again_is_what_the_specification_says() {
        let (is_later, is_never) =
            (|answer: Answer| matches!(answer, Answer::Later(..)), |answer: Answer| matches!(answer, Answer::Never(_)));
        for status in [400, 401, 403, 404, 413, 500, 501, 301] {
            assert!(is_never(judge_http("u", status, None, false, b"")), "{status}");
        }
        for status in [429, 502, 503, 504] {
            assert!(is_later(judge_http("u", status, None, false, b"")), "{status}");
        }
        let later = [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ];
        for code in (1..=16).map(Code::from_i32) {
            assert_eq!(is_later(judge_grpc("u", &Status::new(code, ""))), later.contains(&code), "{code:?}");
        }
    }

    #[test]
    fn a_long_message_of_the_receivers_is_cut_and_an_odd_wish_is_none() {
        let Answer::Never(why) = judge_http("u", 400, None, false, "é".repeat(1000).as_bytes()) else {
            unreachable!()
        };
        assert!(why.len() < 330 && why.starts_with("u: it answers 400: éé"), "{why}");
        assert_eq!(wish(b"\xff\xff"), None);
        assert_eq!(wish(b""), None);
    }
}
