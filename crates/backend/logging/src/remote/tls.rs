//! TLS, as the options of `syslog` set it up.

use std::net::TcpStream;
use std::sync::Arc;

use arca_shim_proto::LogSpec;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};

use super::address::{Target, target};

/// An encrypted connection.
pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// How connections are encrypted.
pub(crate) struct Tls(Arc<ClientConfig>);

/// Reads certificates and keys; `None` when the receiver is not reached by TLS.
pub(crate) fn config(spec: &LogSpec) -> Result<Option<Tls>, String> {
    if !matches!(target(&spec.driver, &spec.options)?, Target::Tls(_)) {
        return Ok(None);
    }
    let option = |name: &str| spec.options.get(name).filter(|path| !path.is_empty());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    // dockerd looks whether the option is there, not at its value.
    let builder = if spec.options.contains_key("syslog-tls-skip-verify") {
        let verifier = Arc::new(NoVerification(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(roots(option("syslog-tls-ca-cert"))?)
    };
    let own = option("syslog-tls-cert").zip(option("syslog-tls-key"));
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let failed = |error: &dyn std::fmt::Display| {
                format!("could not load X509 key pair: {error}. Make sure the key is not encrypted")
            };
            let chain = certificates(certificate).map_err(|error| failed(&error))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(&error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| failed(&error))?
        }
    };
    Ok(Some(Tls(Arc::new(config))))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| error.to_string())
}

fn roots(file: Option<&String>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            if let Err(error) = std::fs::metadata(path) {
                let why = super::address::reason(&error);
                return Err(format!(
                    "could not read CA certificate {path:?}: open {path}: {why}"
                ));
            }
            let invalid = || format!("failed to append certificates from PEM file: {path:?}");
            for certificate in certificates(path).map_err(|_not_pem| invalid())? {
                roots.add(certificate).map_err(|_no_root| invalid())?;
            }
            if roots.is_empty() {
                return Err(invalid());
            }
        }
        None => {
            // What cannot be read is missing: the handshake says so.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

impl Tls {
    /// Encrypts a connection to `host`, which has a port.
    pub(crate) fn connect(&self, host: &str, mut socket: TcpStream) -> std::io::Result<Secure> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let name = name.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
        let mut connection =
            ClientConnection::new(Arc::clone(&self.0), name).map_err(std::io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(connection, socket))
    }
}

/// `syslog-tls-skip-verify`: whoever answers is believed.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
