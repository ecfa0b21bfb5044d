//! How a receiver is reached: what the options say.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::ValueEnum;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// Where distributions keep the certificates of authorities that they trust.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How a receiver is reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What it speaks.
    pub protocol: Protocol,
    /// What is sent to it with every request.
    pub headers: Vec<Header>,
    /// The file with the certificates that have to have signed its own; else the system's.
    pub ca: Option<PathBuf>,
    /// How long it may take to answer.
    pub timeout: Duration,
}

/// What carries OTLP's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// gRPC, by HTTP/2.
    Grpc,
    /// Protobuf by HTTP/1.1: POST of `/v1/logs` and `/v1/metrics`.
    #[value(alias = "http/protobuf")]
    Http,
}

/// A receiver's address: `http://HOST:PORT` or `https://HOST:PORT`, perhaps with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    pub(super) fn is_secret(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "it has to be http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:4318";
        let uri: Uri = text.parse().map_err(|error| format!("{error}: {example}"))?;
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.is_empty() || uri.query().is_some() {
            return Err(example.to_owned());
        }
        if authority.contains('@') {
            return Err("names and passwords are not sent from here: --otlp-header is for them".to_owned());
        }
        let base = text.trim_end_matches('/');
        if ["/v1/logs", "/v1/metrics"].iter().any(|path| base.ends_with(path)) {
            return Err("without /v1/logs and /v1/metrics: these are added".to_owned());
        }
        Ok(Self(base.to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A header, `NAME=VALUE`, or `NAME=@FILE` with a value that is read anew for each request.
#[derive(Clone)]
pub struct Header {
    name: HeaderName,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Text(HeaderValue),
    File(PathBuf),
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it has to be NAME=VALUE or NAME=@FILE")?;
        let name = name.trim().parse().map_err(|_| format!("{:?} can be no header's name", name.trim()))?;
        let value = match value.trim().strip_prefix('@') {
            Some(file) => Value::File(file.into()),
            None => Value::Text(of_text(value.trim()).ok_or("its value has characters that no header may have")?),
        };
        Ok(Self { name, value })
    }
}

/// Without the value, which may be a secret.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

fn of_text(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Access {
    pub(super) fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for Header { name, value } in &self.headers {
            let value = match value {
                Value::Text(value) => value.clone(),
                Value::File(path) => of_text(read(path, "--otlp-header")?.trim())
                    .ok_or_else(|| format!("{}: what is in it can be no header's value", path.display()))?,
            };
            headers.insert(name.clone(), value);
        }
        Ok(headers)
    }

    /// The certificates that have to have signed the receiver's, and the file that they are from.
    pub(super) fn authorities(&self) -> Result<(String, &Path), String> {
        let usual = || BUNDLES.iter().map(Path::new).find(|path| path.exists());
        let path = self.ca.as_deref().or_else(usual).ok_or(
            "there are no certificates of authorities on this system; --otlp-ca names those of the receiver's",
        )?;
        Ok((read(path, "--otlp-ca")?, path))
    }
}

fn read(path: &Path, option: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}; {option} says where it is", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_and_nothing_else() {
        let parsed = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
        assert_eq!(parsed("http://collector:4318/").as_deref(), Ok("http://collector:4318"));
        assert_eq!(parsed("https://[fd00::1]:4317").as_deref(), Ok("https://[fd00::1]:4317"));
        assert_eq!(parsed("http://vm:8428/opentelemetry").as_deref(), Ok("http://vm:8428/opentelemetry"));
        for (text, says) in [
            ("collector:4317", "http://HOST:PORT"),
            ("4317", "http://HOST:PORT"),
            ("ftp://collector", "http://HOST:PORT"),
            ("http://collector/?x=y", "http://HOST:PORT"),
            ("http://me:secret@collector:4318", "--otlp-header"),
            ("http://collector:4318/v1/logs", "are added"),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(error.contains(says) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn a_headers_value_is_read_from_its_file_each_time_and_never_shown() -> Result<(), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let headers = [format!("Authorization=@{}", file.display()), "x-scope=a = b".to_owned()];
        let headers: Vec<Header> = headers.iter().map(|header| header.parse()).collect::<Result<_, String>>()?;
        assert!(!format!("{headers:?}").contains("a = b"), "{headers:?}");
        let endpoint = "http://collector:4318".parse()?;
        let access = Access { endpoint, protocol: Protocol::Http, headers, ca: None, timeout: Duration::ZERO };
        let error = access.headers().expect_err("no file");
        assert!(error.contains("token: No such file") && error.contains("--otlp-header"), "{error}");
        for token in ["Bearer one", "Bearer two"] {
            fs::write(&file, format!("{token}\n")).expect("written");
            let headers = access.headers()?;
            assert_eq!(
                (&headers["authorization"], &headers["x-scope"]),
                (&token.parse().expect("one"), &"a = b".parse().expect("one"))
            );
        }
        for wrong in ["no value", "a b=c", "a=\u{1}"] {
            assert!(wrong.parse::<Header>().is_err(), "{wrong:?}");
        }
        Ok(())
    }
}
