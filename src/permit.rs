//! Whether an address may be connected to: asked with the resolved address, each time that somebody connects.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Which addresses may be connected to. Default: loopback only.
#[derive(Clone)]
pub struct Permit(Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>);

impl Permit {
    /// Addresses for which this is true.
    pub fn when(allows: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Permit {
        Permit(Arc::new(allows))
    }

    /// Whether this address may be connected to.
    pub fn allows(&self, address: SocketAddr) -> bool {
        (self.0)(address)
    }
}

impl Default for Permit {
    fn default() -> Permit {
        Permit::when(|address| is_loopback(address.ip()))
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// Whether an address is of this machine alone, whatever its notation.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_permitted_by_default_whatever_its_notation() {
        let permit = Permit::default();
        for address in ["127.0.0.1:80", "127.9.9.9:1", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(permit.allows(address.parse().unwrap()), "{address}");
        }
        for address in ["192.0.2.7:80", "0.0.0.0:80", "[::ffff:192.0.2.7]:80"] {
            assert!(!permit.allows(address.parse().unwrap()), "{address}");
        }
    }
}
