//! The certificate and its key.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::config::Tls;

/// Reads certificate chain and key.
///
/// # Errors
///
/// What is wrong with which file.
pub(crate) fn load(files: &Tls) -> Result<ServerConfig, String> {
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| about("tls.cert", &files.cert, error))?;
    if chain.is_empty() {
        return Err(about("tls.cert", &files.cert, "no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| about("tls.key", &files.key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| about("tls.cert", &files.cert, error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| about("tls.cert", &files.cert, error))
}

fn about(key: &str, file: &Path, reason: impl std::fmt::Display) -> String {
    format!("{key} = {}: {reason}", file.display())
}
