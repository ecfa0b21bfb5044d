//! The API server: where it is, and what it says to what is sent to it.

use std::{env, fs, path::PathBuf, time::Duration};

use serde_json::Value;
use ureq::http::{HeaderMap, StatusCode};

use super::book::Request;
use crate::{
    sink::{escape, retry},
    tls,
};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of an answer: the Event as it is stored, or what is wrong with it.
const MOST_BYTES: u64 = 64 << 10;
/// What is repeated of what it says, in bytes.
const LONGEST_MESSAGE: usize = 300;

/// How the API server is asked.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its address; else that of the cluster that this is a pod of.
    pub url: Option<String>,
    /// The file with the token that is sent through TLS, and never without. Read each time: the kubelet renews it.
    pub token: PathBuf,
    /// The file with the certificates that have to have signed its own.
    pub ca: PathBuf,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was taken, or was already.
    Done,
    /// The Event that is to be changed is not there any more.
    Gone,
    /// There is nobody whom it would be of use: the namespace is gone, or about to.
    Useless,
    /// Not now: why, what helps, and how long it wants to be left alone.
    Later(String, Option<Duration>),
    /// Never: why.
    Never(String),
}

/// A connection that is kept, as long as it works.
pub(super) struct Server {
    access: Access,
    agent: Option<ureq::Agent>,
}

impl Server {
    pub(super) fn new(access: Access) -> Self {
        Self { access, agent: None }
    }

    /// Whether an Event like this would be taken: the server does all that it does, but keeps nothing.
    pub(super) fn try_out(&mut self, namespace: &str, event: &Value) -> Answer {
        self.send(&format!("{}?dryRun=All", events_of(namespace)), Method::Create, event)
    }

    pub(super) fn request(&mut self, request: &Request) -> Answer {
        match request {
            Request::Create { namespace, event, .. } => self.send(&events_of(namespace), Method::Create, event),
            Request::Count { namespace, name, series, .. } => {
                let patch = serde_json::json!({"series": series});
                self.send(&format!("{}/{name}", events_of(namespace)), Method::Change, &patch)
            }
        }
    }

    fn send(&mut self, path: &str, method: Method, body: &Value) -> Answer {
        let answer = match self.try_to_send(path, method, body) {
            Ok(answer) => answer,
            Err(why) => Answer::Later(why, None),
        };
        if matches!(answer, Answer::Later(..)) {
            // The certificates may be others by then.
            self.agent = None;
        }
        answer
    }

    fn try_to_send(&mut self, path: &str, method: Method, body: &Value) -> Result<Answer, String> {
        let server = self.access.server()?;
        let url = format!("{server}{path}");
        let is_secret = server.starts_with("https://");
        let agent = match &self.agent {
            Some(agent) => agent,
            None => self.agent.insert(self.access.agent(is_secret)?),
        };
        let request = match method {
            Method::Create => agent.post(&url).header("Content-Type", "application/json"),
            Method::Change => agent.patch(&url).header("Content-Type", "application/merge-patch+json"),
        };
        let request = if is_secret {
            request.header("Authorization", format!("Bearer {}", self.access.token()?.trim_ascii()))
        } else {
            request
        };
        let sent = request.header("Accept", "application/json").send(body.to_string());
        let mut answer = sent.map_err(|error| match tls::refused(&error) {
            Some(error) => format!("{server}: {error}; --k8s-ca names what signed its certificate"),
            None => format!("{server}: {error}; --k8s-url says where the API server is"),
        })?;
        let text = answer.body_mut().with_config().limit(MOST_BYTES).read_to_string().unwrap_or_default();
        Ok(judge(method, answer.status(), answer.headers(), &text, &server))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Create,
    Change,
}

/// Namespaces and names in paths are checked before: letters, digits, `-` and `.` need no escaping.
fn events_of(namespace: &str) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")
}

impl Access {
    /// The server's address, without a slash at its end.
    fn server(&self) -> Result<String, String> {
        if let Some(url) = &self.url {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        in_cluster(variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")).ok_or_else(|| {
            "this is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set); --k8s-url says where the API server is"
                .to_owned()
        })
    }

    fn token(&self) -> Result<String, String> {
        read(&self.token, "--k8s-token")
    }

    fn agent(&self, is_secret: bool) -> Result<ureq::Agent, String> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .user_agent(concat!("oomtrace/", env!("CARGO_PKG_VERSION")))
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false);
        if !is_secret {
            return Ok(config.build().new_agent());
        }
        let authorities = tls::authorities(&read(&self.ca, "--k8s-ca")?).ok_or_else(|| {
            format!("{}: no certificate in PEM is in it; --k8s-ca says where it is", self.ca.display())
        })?;
        Ok(config.tls_config(tls::builder().root_certs(authorities).build()).build().new_agent())
    }
}

/// Where a pod finds the API server.
fn in_cluster(host: Option<String>, port: Option<String>) -> Option<String> {
    let (host, port) = (host?, port?);
    Some(if host.contains(':') { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") })
}

fn read(path: &std::path::Path, option: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}; {option} says where it is", path.display()))
}

/// What an answer means. Its body is a `Status`, where something is wrong.
fn judge(method: Method, status: StatusCode, headers: &HeaderMap, body: &str, server: &str) -> Answer {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let said = || {
        let mut message = escape(body["message"].as_str().unwrap_or_default());
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        let colon = if message.is_empty() { "" } else { ": " };
        format!("{server}: {status}{colon}{message}")
    };
    let causes = body["details"]["causes"].as_array();
    let ends = causes.into_iter().flatten().any(|cause| cause["reason"] == "NamespaceTerminating");
    let is_of_namespace = body["details"]["kind"] == "namespaces";
    let later = |remedy: &str| Answer::Later(format!("{}; {remedy}", said()), retry::wish(headers));
    match (status.as_u16(), method) {
        // An Event that is there already is the same one, of which the answer was lost: see `event::name`.
        (200..=299, _) | (409, Method::Create) => Answer::Done,
        (403, _) if ends => Answer::Useless,
        (404, Method::Create) if is_of_namespace => Answer::Useless,
        (404, Method::Change) => Answer::Gone,
        (401, _) => later("--k8s-token names the token of a service account"),
        (403, _) => later(
            "let its service account create and patch `events` of `events.k8s.io` (deploy/kustomize/overlays/k8s-events; \
             `k8sEvents.enabled` of the chart)",
        ),
        (404, _) => later("it takes Kubernetes 1.19 or later: events.k8s.io/v1"),
        (409 | 429 | 500..=599, _) => later("nothing is to be done but to wait"),
        _ => Answer::Never(said()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_finds_the_api_server_by_its_environment() {
        let found = |host: &str, port: &str| in_cluster(Some(host.to_owned()), Some(port.to_owned()));
        assert_eq!(found("10.96.0.1", "443").as_deref(), Some("https://10.96.0.1:443"));
        assert_eq!(found("fd00::1", "443").as_deref(), Some("https://[fd00::1]:443"));
        assert_eq!(in_cluster(None, Some("443".to_owned())), None);
    }

    #[test]
    fn each_answer_means_something() {
        let judged = |method, status, body: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            judge(method, status, &HeaderMap::new(), body, "https://api")
        };
        let later = |method, status, body: &str| match judged(method, status, body) {
            Answer::Later(why, None) => why,
            other => format!("{other:?}"),
        };
        assert_eq!(judged(Method::Create, 201, "{}"), Answer::Done);
        assert_eq!(judged(Method::Create, 409, "{}"), Answer::Done);
        assert_eq!(judged(Method::Change, 404, "{}"), Answer::Gone);
        let ends = r#"{"message": "it ends", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}"#;
        assert_eq!(judged(Method::Create, 403, ends), Answer::Useless);
        assert_eq!(judged(Method::Create, 404, r#"{"details": {"kind": "namespaces"}}"#), Answer::Useless);
        let refused = later(Method::Create, 403, r#"{"message": "no \u001b[2J"}"#);
        assert!(
            refused.starts_with("https://api: 403 Forbidden: no \\u{1b}[2J; let its service account create"),
            "{refused}"
        );
        assert!(later(Method::Create, 404, "404 page not found").contains("1.19"));
        assert!(later(Method::Create, 401, "{}").contains("--k8s-token"));
        assert!(later(Method::Change, 503, "{}").contains("503"));
        let never = Answer::Never("https://api: 422 Unprocessable Entity: wrong".to_owned());
        assert_eq!(judged(Method::Create, 422, r#"{"message": "wrong"}"#), never);
    }
}
