//! The lab as a whole: its nodes, and what is asked of them together.

use std::sync::Arc;

use super::machine::{Machine, MachineBody};
use super::provider::ProviderBody;
use super::recovery::{Recovery, RecoveryBody};
use super::settings::Settings;
use super::storage::{Contents, StorageBody};
use super::{Domain, NAME, PROVIDER, RECOVERY, REGIONS, STORAGE_EAST, STORAGE_WEST, machine_in, region_of};
use crate::plan::{Failover, LabDescription, Order};
use crate::system::dns::Dns;
use crate::system::lab::params::Resolved;
use crate::system::lab::site_recovery;
use crate::system::lab::{Body, Fleet, Lab, Live, Refused};
use crate::system::{SystemError, Teller};

/// The running lab.
#[derive(Debug)]
pub struct VmRegions {
    fleet: Fleet,
    domain: Domain,
    machines: [Live<Machine>; 3],
    recovery: Live<Recovery>,
}

impl VmRegions {
    /// Binds every node's port; nothing works yet.
    pub fn bind(description: &LabDescription, teller: Teller) -> Result<VmRegions, SystemError> {
        let settings = Settings::of(&Resolved(&description.params));
        let (domain, recovery) = (Domain::default(), Live::default());
        let machines: [Live<Machine>; 3] = Default::default();
        let body = |name: &str| -> Box<dyn Body> {
            match name {
                RECOVERY => Box::new(RecoveryBody::new(settings, domain.clone(), recovery.clone())),
                PROVIDER => Box::new(ProviderBody::new(settings, domain.clone())),
                STORAGE_EAST => Box::new(StorageBody::new(
                    settings,
                    Contents::Account(Default::default(), None),
                    Some(STORAGE_WEST),
                )),
                STORAGE_WEST => Box::new(StorageBody::new(settings, Contents::Copy(Default::default()), None)),
                machine => {
                    let region = region_of(machine);
                    let index = REGIONS.iter().position(|known| *known == region).unwrap_or_default();
                    let storage = [Some(STORAGE_EAST), Some(STORAGE_WEST), None][index];
                    Box::new(MachineBody::new(settings, region, storage, machines[index].clone()))
                }
            }
        };
        Ok(VmRegions {
            fleet: Fleet::bind(description, body, teller)?,
            domain: domain.clone(),
            machines: machines.clone(),
            recovery: recovery.clone(),
        })
    }
}

impl Lab for VmRegions {
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
        self.machines.iter().any(|machine| machine.get().is_some_and(|machine| machine.serves()))
    }

    fn serving(&self) -> Vec<String> {
        let serves = |(_, machine): &(&&str, &Live<Machine>)| machine.get().is_some_and(|machine| machine.serves());
        REGIONS.iter().zip(&self.machines).filter(serves).map(|(region, _)| machine_in(region)).collect()
    }

    fn failed(&self, _order: Order) -> Option<String> {
        self.recovery.get()?.given_up()
    }

    fn probed(&self) -> Vec<String> {
        vec![machine_in(REGIONS[0])]
    }

    fn order(&self, order: Order) -> Result<String, Refused> {
        let Some(recovery) = self.recovery.get() else { return Err(Refused::never("the recovery service is down")) };
        let to = REGIONS[1].to_owned();
        recovery.order(&match order {
            Order::Failover(Failover::Planned) => site_recovery::Order::Failover { to, planned: true },
            Order::Failover(Failover::Unplanned) => site_recovery::Order::Failover { to, planned: false },
            Order::Failover(Failover::Simulated) => site_recovery::Order::Test { to },
            other => return Err(Refused::unknown(NAME, other)),
        })
    }

    /// A plan was carried out, or given up.
    fn done(&self, _order: Order) -> bool {
        self.ready() && self.recovery.get().is_some_and(|recovery| !recovery.under_way())
    }
}
