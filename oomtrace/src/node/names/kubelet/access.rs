//! How the kubelet is asked: in the clear where its read-only port is open, else through TLS with a service account's token.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ureq::tls::{RootCerts, TlsConfig};

use super::{listener, parse};
use crate::{node::fact::Fact, tls};

/// How long the kubelet may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Twice what 250 pods take.
const MOST_BYTES: u64 = 16 << 20;
/// The kubelet's read-only port, where it is open.
pub const READ_ONLY: &str = "http://127.0.0.1:10255";
const READ_ONLY_PORT: u16 = 10255;

/// How to ask the kubelet.
#[derive(Clone, Debug)]
pub struct Access {
    /// The address of its server: the read-only `http://127.0.0.1:10255`, or `https://<node>:10250`.
    pub url: String,
    /// The file with the token that is sent through TLS, and never without. Read each time: the kubelet renews it.
    pub token: PathBuf,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Whether somebody named the address. Else it is only asked where root listens: see [`super::listener`].
    pub named: bool,
}

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Theirs that these ones signed: a file of certificates in PEM.
    Authorities(PathBuf),
    /// Everybody's: any process that takes the kubelet's port gets the token.
    Anybody,
}

/// Why the kubelet reported nothing.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// It cannot be asked.
    #[error("{url}: {error}")]
    Ask {
        /// What was asked for.
        url: String,
        /// What became of it.
        error: Box<ureq::Error>,
    },
    /// It is not to be believed.
    #[error(
        "{url}: {error}; name what signed its certificate with --kubelet-ca (one that it made itself is in \
         /var/lib/kubelet/pki/kubelet.crt), and the node in its address as the certificate does"
    )]
    Certificate {
        /// What was asked for.
        url: String,
        /// What is wrong with the certificate.
        error: rustls::Error,
    },
    /// It may not be the kubelet.
    #[error(
        "{url}: a process of user {uid} listens there, so it may not be the kubelet, and is not asked; if it is, name its \
         address with --kubelet-url"
    )]
    NotRoots {
        /// What was to be asked for.
        url: String,
        /// Who listens.
        uid: u32,
    },
    /// It does not want to tell us.
    #[error("{url}: {error}; {remedy}")]
    Refused {
        /// What was asked for.
        url: String,
        /// HTTP's status.
        error: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// What is needed to ask it is not there.
    #[error("{}: {error}; {option} says where it is", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
        /// The option that names it.
        option: &'static str,
    },
    /// Its answer is not a list of pods.
    #[error("{url}: not a list of pods: {error}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

impl Access {
    /// All that the kubelet reports of its pods now.
    ///
    /// # Errors
    ///
    /// Fails where the kubelet cannot be asked, or answers with something else than its pods.
    pub fn ask(&self) -> Result<Vec<Fact>, KubeletError> {
        let answer = self.get("/pods")?;
        parse(&answer).map_err(|error| KubeletError::Answer { url: self.url_of("/pods"), error })
    }

    fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    /// What the kubelet answers for a path: `/pods`, `/metrics`.
    ///
    /// # Errors
    ///
    /// Fails where the kubelet cannot be asked, or refuses.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, KubeletError> {
        let url = self.url_of(path);
        if !self.named
            && let Some(uid) = listener::other_than_root(READ_ONLY_PORT)
        {
            return Err(KubeletError::NotRoots { url, uid });
        }
        self.get_at(url)
    }

    /// What is answered at an address of its own, asked in the same way.
    ///
    /// # Errors
    ///
    /// Fails as [`Access::get`] does.
    pub fn get_at(&self, url: String) -> Result<Vec<u8>, KubeletError> {
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).max_redirects(0);
        let request = if is_secret(&url) {
            let token = read(&self.token, "--kubelet-token")?;
            let agent = config.tls_config(self.trust.tls()?).build().new_agent();
            agent.get(&url).header("Authorization", format!("Bearer {}", token.trim_ascii()))
        } else {
            config.build().new_agent().get(&url)
        };
        request
            .call()
            .and_then(|mut answer| answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec())
            .map_err(|error| KubeletError::of(url, error))
    }

    /// Whether it is asked through TLS.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        is_secret(&self.url)
    }
}

fn is_secret(url: &str) -> bool {
    url.starts_with("https://")
}

impl Trust {
    fn tls(&self) -> Result<TlsConfig, KubeletError> {
        let tls = match self {
            Self::Authorities(path) => tls::builder().root_certs(authorities(path)?),
            Self::Anybody => tls::builder().disable_verification(true),
        };
        Ok(tls.build())
    }
}

fn authorities(path: &Path) -> Result<RootCerts, KubeletError> {
    const OPTION: &str = "--kubelet-ca";
    tls::authorities(&read(path, OPTION)?).ok_or_else(|| {
        let error = "no certificate in PEM is in it".to_owned();
        KubeletError::File { path: path.to_owned(), error, option: OPTION }
    })
}

fn read(path: &Path, option: &'static str) -> Result<String, KubeletError> {
    let error = |error: std::io::Error| KubeletError::File { path: path.to_owned(), error: error.to_string(), option };
    fs::read_to_string(path).map_err(error)
}

impl KubeletError {
    fn of(url: String, error: ureq::Error) -> Self {
        if let Some(error) = tls::refused(&error) {
            return Self::Certificate { url, error: error.clone() };
        }
        let remedy = match error {
            ureq::Error::StatusCode(401) => "give a service account's token with --kubelet-token",
            ureq::Error::StatusCode(403) => {
                "let the token's service account get nodes/proxy; from 1.33 on nodes/pods does"
            }
            error => return Self::Ask { url, error: Box::new(error) },
        };
        Self::Refused { url, error: error.to_string(), remedy }
    }
}
