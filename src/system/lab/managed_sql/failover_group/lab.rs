//! The lab as a whole: every body, and what users can order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::group::{Group, GroupBody};
use super::instance::InstanceBody;
use super::params::{Recovery, recovery, settings};
use super::vault::VaultBody;
use super::{EAST, GROUP, NAME, VAULT, WEST};
use crate::plan::{LabDescription, Order};
use crate::system::dns::Dns;
use crate::system::lab::domain::Domain;
use crate::system::lab::managed_sql::params::scaled;
use crate::system::lab::params::Resolved;
use crate::system::lab::primary_standby::gateway::GatewayDisk;
use crate::system::lab::primary_standby::protocol::Side;
use crate::system::lab::primary_standby::replica::{Disk, Role};
use crate::system::lab::{Body, Fleet, Lab, Live, Refused};
use crate::system::{SystemError, Teller};

/// Two instances and what is around them.
#[derive(Debug)]
pub struct FailoverGroup {
    fleet: Fleet,
    domain: Domain,
    group: Live<Group>,
    /// The term in which the last order was granted.
    granted_in: AtomicU64,
}

impl FailoverGroup {
    /// Binds every node's port; nothing works yet.
    pub fn bind(description: &LabDescription, teller: Teller) -> Result<FailoverGroup, SystemError> {
        let params = Resolved(&description.params);
        let (settings, recovery) = (settings(&params), recovery(&params));
        let (domain, group): (Domain, Live<Group>) = Default::default();
        let instance = |side| InstanceBody {
            side,
            settings,
            backup_every: (recovery == Recovery::Restore).then(|| scaled(&params, "backup_every")),
            disk: Disk::default(),
            live: Live::default(),
        };
        let body = |name: &str| -> Box<dyn Body> {
            match name {
                EAST => Box::new(instance(Side::A)),
                WEST => Box::new(instance(Side::B)),
                VAULT => Box::<VaultBody>::default(),
                _ => Box::new(GroupBody {
                    settings,
                    recovery,
                    restore: scaled(&params, "restore"),
                    follows: params.word("listener") == "follows",
                    domain: domain.clone(),
                    disk: GatewayDisk::default(),
                    live: group.clone(),
                }),
            }
        };
        let fleet = Fleet::bind(description, body, teller)?;
        Ok(FailoverGroup { fleet, domain, group, granted_in: AtomicU64::new(0) })
    }
}

impl Lab for FailoverGroup {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn name_server(&self, dns: &Arc<Dns>) {
        self.domain.answered_by(dns);
    }

    fn ready(&self) -> bool {
        self.group.get().is_some_and(|group| group.ready())
    }

    fn done(&self, _order: Order) -> bool {
        self.group.get().is_some_and(|group| group.done())
    }

    fn failed(&self, _order: Order) -> Option<String> {
        self.group.get()?.failed(self.granted_in.load(Ordering::Relaxed))
    }

    fn serving(&self) -> Vec<String> {
        self.fleet.in_role(Role::Primary.name())
    }

    fn probed(&self) -> Vec<String> {
        vec![GROUP.to_owned()]
    }

    fn order(&self, order: Order) -> Result<String, Refused> {
        let away = || Refused::never(format!("{GROUP} is not there"));
        let group = self.group.get().ok_or_else(away)?;
        let term = group.term();
        let said = group.order(order)?;
        self.granted_in.store(term, Ordering::Relaxed);
        Ok(said)
    }
}
