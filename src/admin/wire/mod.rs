//! What goes over the wire of the Toxiproxy API: bodies of requests, and the objects that answers show. Pure.
//!
//! A body is read by the rules of the reference server's decoder, as far as a client can notice them: see [`json::Members`].

mod address;
mod json;
mod proxy;
mod toxic;

pub(crate) use address::Place;
pub(crate) use json::{read, written};
pub(crate) use proxy::{ProxyChange, WantedProxy};
pub(crate) use toxic::{Settings, Stream, ToxicChange, Toxicity, Ttl, WantedToxic, shown as shown_toxic};
