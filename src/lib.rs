//! **brownout**: when the thing behind a client fails, slows down or moves, what do its users live through?
//!
//! The folders are the data flow; read them in this order.
//!
//! ```text
//! experiment ──▶ plan ──▶ run ──▶ events + attempts ──▶ measure ──▶ verdict ──▶ report
//!  (as written)  (resolved, (system, links,  (the run folder:     (pure)      (pure)   (html md json
//!                seeded)    faults, load)     only source of truth)                    junit terminal)
//! ```
//!
//! Imports point up the list of modules below, never down: a module knows only those that stand before it.

// Shared words; they import nothing of ours.
pub mod clock;
pub mod event;
pub mod permit;
pub mod said;
pub mod seed;
pub mod units;

pub mod experiment;

pub mod plan;

pub mod topology;

pub mod proxy;

pub mod backend;

pub mod system;

pub mod retry;
pub mod workload;

pub mod run;

pub mod measure;

pub mod verdict;

pub mod report;

pub mod evidence;

pub mod admin;

pub mod drill;

pub mod cli;
