//! Where backups are kept, in another region than the instance that they are of: the newest one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::clock::Moment;
use crate::system::lab::host::Host;
use crate::system::lab::http::{serve, text};
use crate::system::lab::store::Store;
use crate::system::lab::wire::{INTERNAL, reply, said};
use crate::system::lab::{Body, Ground, Live};

/// Instance → vault: a backup.
pub(super) const KEEP: &str = "keep";
/// Group → vault: the newest one, if there is any.
pub(super) const NEWEST: &str = "newest";

/// A backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// When the instance was so.
    pub(super) at: Moment,
    /// What it had.
    pub(super) store: Store,
}

/// The vault, alive.
#[derive(Debug, Default)]
pub(super) struct Vault(Mutex<Option<Kept>>);

impl Vault {
    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match request.uri().path().strip_prefix(INTERNAL) {
            Some(KEEP) => reply(request.body(), |kept: Kept| {
                // One that was held up on its way does not take the place of a newer one.
                if newest.as_ref().is_none_or(|newest| newest.at < kept.at) {
                    *newest = Some(kept);
                }
                said(&())
            }),
            Some(NEWEST) => reply(request.body(), |()| said(&*newest)),
            _ if request.uri().path() == "/health" => text(StatusCode::OK, "well\n"),
            _ => text(StatusCode::NOT_FOUND, "no such path\n"),
        }
    }
}

/// The vault and what is on its disk.
#[derive(Debug, Default)]
pub(super) struct VaultBody {
    disk: Option<Kept>,
    incarnation: u64,
    live: Live<Vault>,
}

impl Body for VaultBody {
    fn launch(&mut self, ground: Ground) -> io::Result<Host> {
        self.incarnation += 1;
        let vault = Arc::new(Vault(Mutex::new(self.disk.take())));
        self.live.set(&vault);
        Host::start(&ground.name, move |inside| async move {
            let Ok(listener) = TcpListener::from_std(ground.listener) else { return };
            let handler = move |request| {
                let vault = Arc::clone(&vault);
                async move { vault.answer(&request) }
            };
            serve(listener, inside, handler).await;
        })
    }

    fn ended(&mut self) {
        if let Some(vault) = self.live.take() {
            self.disk = vault.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn role(&self) -> Option<&'static str> {
        self.live.get().map(|_| "vault")
    }
}
