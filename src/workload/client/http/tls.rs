//! TLS towards an endpoint: whom the client trusts, and whose certificate it expects.
//!
//! It is spoken through the link, from end to end: the proxy sees opaque bytes.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::plan::Endpoint;
use crate::workload::LoadError;

/// For an endpoint at `https://`: certificates signed by the authorities in the file `ca`, else by those that this
/// machine trusts.
pub(crate) fn towards(endpoint: &Endpoint, ca: Option<&str>) -> Result<ClientConfig, LoadError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut verifier: Arc<dyn ServerCertVerifier> = match ca {
        Some(file) => signed_by(file, Arc::clone(&provider))?,
        None => Arc::new(rustls_platform_verifier::Verifier::new(Arc::clone(&provider)).map_err(LoadError::Platform)?),
    };
    if let Some(ip) = ip(endpoint) {
        verifier = Arc::new(Named { name: ServerName::IpAddress(ip.into()), verifier });
    }
    let mut config = builder(provider).dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// For a client that speaks plain HTTP only.
///
/// Left alone, reqwest would read the authorities that the machine trusts, and refuse to work where there are none.
pub(crate) fn unused() -> ClientConfig {
    let nobody = RootCertStore::empty();
    builder(Arc::new(rustls::crypto::ring::default_provider())).with_root_certificates(nobody).with_no_client_auth()
}

fn builder(provider: Arc<CryptoProvider>) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let builder = ClientConfig::builder_with_provider(provider);
    builder.with_safe_default_protocol_versions().expect("ring has the ciphers of every version")
}

fn signed_by(file: &str, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, LoadError> {
    let bad = |why: String| LoadError::Authorities { file: file.to_owned(), why };
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| bad(error.to_string()))? {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        authorities.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if authorities.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider).build();
    verifier.map_err(|error| bad(error.to_string()))
}

/// The endpoint's host, if it is an address.
pub(super) fn ip(endpoint: &Endpoint) -> Option<IpAddr> {
    endpoint.host().name.parse().ok()
}

/// Expects the certificate of an address, whatever address was dialled: of the endpoint, and not of its link.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
