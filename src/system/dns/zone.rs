//! The names of a run, served: from nodes to addresses and back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::MutexGuard;

use indexmap::IndexMap;

use super::server::Server;
use super::table::{Effect, Record, Table};
use crate::plan;
use crate::plan::fault::DnsEffect;
use crate::seed::Dice;
use crate::units::Share;

/// Who answers for the names of a run.
#[derive(Debug)]
pub struct Dns {
    server: Server,
    addresses: IndexMap<String, Ipv4Addr>,
}

impl Dns {
    /// Serves these names as they are at the start.
    pub fn serve(names: &plan::Names) -> io::Result<Dns> {
        let addresses = plan::names::addresses(names);
        let mut table = Table::default();
        for (name, meant) in names {
            table.set(name, Record { addresses: told(&addresses, &meant.to), ttl: meant.ttl.0 });
        }
        Ok(Dns { server: Server::serve(table)?, addresses })
    }

    /// Where it is asked, over UDP and TCP alike.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What its names mean.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.server.table()
    }

    /// A name means these nodes from now on, in truth, for as long as before.
    pub fn remap(&self, name: &str, nodes: &[String]) {
        let mut table = self.table();
        let ttl = table.record(name).map_or_else(Default::default, |record| record.ttl);
        table.set(name, Record { addresses: told(&self.addresses, nodes), ttl });
    }

    /// A fault of a plan strikes these names.
    pub fn strike(&self, fault: &str, names: Vec<String>, share: Share, effect: &DnsEffect, dice: Dice) {
        let mut table = self.table();
        let effect = match effect {
            DnsEffect::NxDomain => Effect::NoSuchName,
            DnsEffect::ServFail => Effect::ServerFailure,
            DnsEffect::Slow { by } => Effect::Slow(by.0),
            DnsEffect::Stale => Effect::Stale,
            DnsEffect::Remap { to, ttl } => {
                let true_one = names.first().and_then(|name| table.record(name)).map(|record| record.ttl);
                let ttl = ttl.map(|ttl| ttl.0).or(true_one).unwrap_or_default();
                Effect::Remap(Record { addresses: told(&self.addresses, to), ttl })
            }
        };
        table.strike(fault, names, share, effect, dice);
    }
}

fn told(addresses: &IndexMap<String, Ipv4Addr>, nodes: &[String]) -> Vec<Ipv4Addr> {
    nodes.iter().filter_map(|node| addresses.get(node).copied()).collect()
}
