//! Links that end TLS: one authority for the run, whose certificate is in the run folder and whose key is nowhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RunError;
use crate::plan::Endpoint;
use crate::plan::parts::{LinkPart, Parts};
use crate::plan::workload::{Client, Workload};
use crate::proxy::{Authority, Termination};
use crate::system::AUTHORITY;
use crate::workload::client::http::tls::towards;

/// What ends TLS in a run.
pub(super) struct Terminations {
    authority: Arc<Authority>,
    file: PathBuf,
}

impl Terminations {
    /// An authority with its certificate in the run's folder; none where no link ends TLS.
    pub(super) fn prepare(parts: &Parts, dir: &Path) -> Result<Option<Terminations>, RunError> {
        if parts.links.values().all(|link| link.tls.is_opaque()) {
            return Ok(None);
        }
        let authority = Authority::generate().map_err(|error| RunError::Authority(error.to_string()))?;
        let file = dir.join(AUTHORITY);
        std::fs::write(&file, authority.pem()).map_err(RunError::Record)?;
        Ok(Some(Terminations { authority: Arc::new(authority), file }))
    }

    /// What a link needs, if it ends TLS: it trusts the endpoint as a client without it would.
    pub(super) fn of(&self, link: &LinkPart, endpoint: Option<&Endpoint>) -> Result<Option<Termination>, RunError> {
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.tls() && !link.tls.is_opaque()) else {
            return Ok(None);
        };
        let towards_upstream = towards(endpoint, link.ca.as_deref())?;
        let ended = Termination::new(&self.authority, &endpoint.host().name, towards_upstream);
        ended.map(Some).map_err(|error| RunError::Authority(error.to_string()))
    }

    /// A workload whose own link ends TLS trusts the run's authority, and no other.
    pub(super) fn trusted_by(&self, workload: &Workload) -> Workload {
        let mut workload = workload.clone();
        if let Client::Http(client) = &mut workload.client
            && !client.tls.is_opaque()
        {
            client.ca = Some(self.file.display().to_string());
        }
        workload
    }
}
