//! Certificates of those whom oomtrace asks through TLS: the kubelet and the API server.

use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsConfigBuilder, parse_pem};

/// A configuration with the one provider of cryptography that is built in.
pub(crate) fn builder() -> TlsConfigBuilder {
    TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
}

/// The certificates in a file's text; `None` where there is none.
pub(crate) fn authorities(pem: &str) -> Option<RootCerts> {
    let certificates = parse_pem(pem.as_bytes()).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = certificates.collect();
    (!certificates.is_empty()).then(|| RootCerts::Specific(Arc::new(certificates)))
}

/// What TLS refuses comes out of a read or a write.
pub(crate) fn refused(error: &ureq::Error) -> Option<&rustls::Error> {
    let error = match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|error| error.downcast_ref()),
        _ => None,
    };
    error.filter(|error| matches!(error, rustls::Error::InvalidCertificate(_)))
}
