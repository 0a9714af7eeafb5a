//! The names of a lab, which it maps to other nodes while it runs.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::system::dns::Dns;

/// The lab's names, once somebody answers for them.
#[derive(Clone, Default)]
pub struct Domain(Arc<OnceLock<Arc<Dns>>>);

impl Domain {
    /// Who answers for them; told once, before the start.
    pub fn answered_by(&self, dns: &Arc<Dns>) {
        let _ = self.0.set(Arc::clone(dns));
    }

    /// A name means these nodes from now on.
    pub fn map(&self, name: &str, nodes: &[String]) {
        if let Some(dns) = self.0.get() {
            dns.remap(name, nodes);
        }
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Domain")
    }
}
