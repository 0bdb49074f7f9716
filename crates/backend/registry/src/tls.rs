//! TLS: whom a registry's certificate must convince, and the client's own certificates.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::host_of;
use crate::error::Error;
use crate::hosts::HostTls;

/// What `certs.d/<domain>/` holds.
#[derive(Default, Debug)]
pub(crate) struct HostCertificates {
    roots: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl HostCertificates {
    /// Reads the first of `dirs` that has a directory for `domain`. It blocks: a few small files.
    pub(crate) fn read(dirs: &[PathBuf], domain: &str) -> Result<Self, Error> {
        let mut certificates = Self::default();
        for dir in dirs.iter().map(|dir| dir.join(domain)) {
            let Ok(entries) = std::fs::read_dir(&dir) else {
                continue;
            };
            let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            names.sort();
            for path in &names {
                certificates.add(path)?;
            }
            break;
        }
        Ok(certificates)
    }

    /// Adds what `hosts.toml` names for one host.
    pub(crate) fn add_host(&mut self, host: &HostTls) -> Result<(), Error> {
        for path in &host.ca {
            self.roots.extend(certificates(path)?);
        }
        for (cert, key) in &host.client {
            // One file may hold both.
            let key = key.as_ref().unwrap_or(cert);
            let pem = read(key)?;
            let secret =
                PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unparsable(key, error))?;
            self.client = Some((certificates(cert)?, secret));
        }
        Ok(())
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => self.roots.extend(certificates(path)?),
            Some("cert") => {
                let key = path.with_extension("key");
                if !key.exists() {
                    return Err(Error::MissingKey {
                        key: name(&key),
                        cert: name(path),
                    });
                }
                let pem = read(&key)?;
                let key =
                    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unparsable(&key, error))?;
                self.client = Some((certificates(path)?, key));
            }
            Some("key") if !path.with_extension("cert").exists() => {
                let cert = path.with_extension("cert");
                return Err(Error::MissingCertificate {
                    key: name(path),
                    cert: name(&cert),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Certificate {
        path: path.to_owned(),
        source,
    })
}

fn unparsable(path: &Path, error: rustls::pki_types::pem::Error) -> Error {
    Error::ParseCertificate {
        path: path.to_owned(),
        problem: format!("{error:?}"),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(path)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unparsable(path, error))
}

/// Makes the TLS side of the client for one registry.
pub(crate) fn client_config(
    certificates: HostCertificates,
    domain: &str,
    insecure: bool,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier {
        provider: Arc::clone(&provider),
        extra: certificates.roots,
        trusted_blindly: insecure.then(|| host_of(domain).to_owned()),
        inner: OnceLock::new(),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certificates.client {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(Error::Tls)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Checks certificates against the system's roots and the registry's own. The system's are read when
/// the first certificate is to be checked: a daemon that only knows plain registries never holds them.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
    /// The host of an insecure registry: any certificate will do for it, and for it alone.
    trusted_blindly: Option<String>,
    inner: OnceLock<Result<Arc<WebPkiServerVerifier>, rustls::Error>>,
}

impl Verifier {
    fn inner(&self) -> Result<&WebPkiServerVerifier, rustls::Error> {
        let made = self.inner.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "a certificate of the system cannot be read");
            }
            roots.add_parsable_certificates(found.certs);
            roots.add_parsable_certificates(self.extra.iter().cloned());
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))
        });
        made.as_deref().map_err(Clone::clone)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trusted_blindly.as_deref() == Some(server_name.to_str().as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        self.inner()?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_certificate_needs_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("reg.example:5000");
        std::fs::create_dir(&host).unwrap();
        std::fs::write(host.join("client.cert"), "").unwrap();
        let error =
            HostCertificates::read(&[dir.path().to_owned()], "reg.example:5000").unwrap_err();
        assert_eq!(
            error.to_string(),
            "missing key client.key for client certificate client.cert. CA certificates must use the extension .crt"
        );
    }

    #[test]
    fn no_directory_means_no_certificates_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let found = HostCertificates::read(&[dir.path().to_owned()], "reg.example").unwrap();
        assert!(found.roots.is_empty() && found.client.is_none());
        client_config(found, "reg.example", false).unwrap();
    }
}
