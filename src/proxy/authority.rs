//! TLS that ends at a link: an authority of the run's own, and certificates for whatever name is asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};

/// Names whose certificates are kept; for further ones they are made each time.
const KEPT: usize = 256;

/// Longer than any run, and as short as clients want certificates to be.
const VALID: Duration = Duration::from_secs(60 * 86_400);

/// Signs certificates for one run. Its key is in memory alone.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Of all certificates that it signs.
    key: KeyPair,
    signed: Mutex<HashMap<String, Arc<CertifiedKey>>>,
    /// Clients may refuse two certificates of one number.
    serial: AtomicU64,
}

/// A link that ends TLS: it speaks to clients under a certificate of an [`Authority`], and to the upstream as a client.
#[derive(Clone, Debug)]
pub struct Termination {
    pub(crate) towards_clients: Arc<ServerConfig>,
    pub(crate) towards_upstream: Arc<ClientConfig>,
    pub(crate) upstream: ServerName<'static>,
}

impl Authority {
    /// A new one, with a key that nobody has seen.
    pub fn generate() -> Result<Authority, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "brownout, for one run");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        limit(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Authority { issuer, key: KeyPair::generate()?, signed: Mutex::default(), serial: AtomicU64::new(1) })
    }

    /// Its certificate, as files have it.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A server under its certificates: of the name that a client asks for, else of this one.
    ///
    /// Clients are told to speak HTTP/1.1, if they ask: it is what the proxy can read.
    pub fn server_config(self: &Arc<Self>, otherwise: &str) -> Result<Arc<ServerConfig>, rustls::Error> {
        let names = Names { authority: Arc::clone(self), otherwise: otherwise.to_owned() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(names));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A certificate for a host name or an address; none if it is neither.
    fn sign(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = signed.get(name) {
            return Some(Arc::clone(known));
        }
        let mut params = CertificateParams::new(vec![name.to_owned()]).ok()?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(self.serial.fetch_add(1, Ordering::Relaxed).into());
        limit(&mut params);
        let certificate = params.signed_by(&self.key, &self.issuer).ok()?;
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).ok()?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).ok()?;
        let made = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key));
        if signed.len() < KEPT {
            signed.insert(name.to_owned(), Arc::clone(&made));
        }
        Some(made)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl Termination {
    /// On a link to `upstream` (a host name or an address), which is spoken to and verified as `towards_upstream` says.
    pub fn new(
        authority: &Arc<Authority>,
        upstream: &str,
        towards_upstream: ClientConfig,
    ) -> Result<Termination, rustls::Error> {
        let name = ServerName::try_from(upstream.to_owned())
            .map_err(|_| rustls::Error::General(format!("`{upstream}` is no name for a certificate")))?;
        Ok(Termination {
            towards_clients: authority.server_config(upstream)?,
            towards_upstream: Arc::new(towards_upstream),
            upstream: name,
        })
    }
}

/// Which certificate a client gets: of the name that it asks for, else of the upstream.
#[derive(Debug)]
struct Names {
    authority: Arc<Authority>,
    otherwise: String,
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.authority.sign(hello.server_name().unwrap_or(&self.otherwise))
    }
}

/// From yesterday, since clocks differ.
fn limit(params: &mut CertificateParams) {
    let day = |at: jiff::Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        date_time_ymd(date.year().into(), date.month() as u8, date.day() as u8)
    };
    let now = jiff::Timestamp::now();
    params.not_before = day(now - Duration::from_secs(86_400));
    params.not_after = day(now + VALID);
}
