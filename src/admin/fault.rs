//! Faults beyond Toxiproxy's, as the versioned API has them: in the words of the experiment file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::refusal::Refusal;
use super::wire;
use crate::plan::fault::{BodyShare, Direction, HttpEffect, HttpFault, Law, Links, Toxic};
use crate::proxy::{Reach, Strike};
use crate::units::{ByteRate, Bytes, Share, Span};

/// A fault that a client wants on a proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedFault {
    /// Its name on the proxy, where toxics and faults share one space. Default: the word for what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What it does.
    pub(crate) fault: FaultKind,
    /// Whose bytes: `up` is client to server. For toxics and `silent`.
    #[serde(default)]
    #[schemars(with = "Option<DirectionWord>")]
    pub(crate) direction: Direction,
    /// The share of connections that a toxic concerns, drawn for each; of requests, for faults on HTTP.
    #[serde(default = "all")]
    #[schemars(with = "Option<String>")]
    pub(crate) share: Share,
    /// A lease: it heals by itself after this time, unless it is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(crate) ttl: Option<Span>,
}

fn all() -> Share {
    Share::ALL
}

fn none() -> Share {
    Share::NONE
}

/// How [`Direction`] is written.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it only describes")]
enum DirectionWord {
    Up,
    Down,
    Both,
}

/// How [`Law`] is written.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it only describes")]
enum LawWord {
    Uniform,
    Normal,
    Pareto,
}

/// What a fault does. Times are written `150ms`, sizes `64 KiB`, rates `1 MB/s`, shares `20%`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FaultKind {
    /// Each chunk leaves `add` after its arrival, spread by chance.
    Latency {
        /// The delay.
        #[schemars(with = "String")]
        add: Span,
        /// Its spread.
        #[serde(default)]
        #[schemars(with = "Option<String>")]
        jitter: Span,
        /// Its law: `add` ± `jitter`, normal with that deviation, or a long tail.
        #[serde(default)]
        #[schemars(with = "Option<LawWord>")]
        law: Law,
        /// With this probability a chunk repeats the spread of the one before.
        #[serde(default = "none")]
        #[schemars(with = "Option<String>")]
        correlation: Share,
    },
    /// Bytes leave at this rate, without an initial burst.
    Bandwidth {
        /// Bytes a second.
        #[schemars(with = "String")]
        rate: ByteRate,
    },
    /// Stalls as of lost packets; no byte is lost.
    PacketLoss {
        /// The share of segments lost.
        #[schemars(with = "String")]
        loss: Share,
        /// With this probability a segment fares as the one before.
        #[serde(default = "none")]
        #[schemars(with = "Option<String>")]
        correlation: Share,
    },
    /// Whole chunks are taken out of the stream.
    ChunkLoss {
        /// The share of chunks taken out.
        #[schemars(with = "String")]
        loss: Share,
        /// Added to it right after a loss.
        #[serde(default = "none")]
        #[schemars(with = "Option<String>")]
        correlation: Share,
    },
    /// Chunks are cut into small ones, with a wait between.
    Slicer {
        /// The mean size.
        #[schemars(with = "String")]
        size: Bytes,
        /// Up to so much more or less.
        #[serde(default)]
        #[schemars(with = "Option<String>")]
        variation: Bytes,
        /// Between two pieces.
        #[serde(default)]
        #[schemars(with = "Option<String>")]
        wait: Span,
    },
    /// The close is passed on this much later.
    SlowClose {
        /// The delay.
        #[schemars(with = "String")]
        delay: Span,
    },
    /// Bytes are withheld; the connection ends so long after injection or accept. 0: never.
    Timeout {
        /// Until the close.
        #[schemars(with = "String")]
        after: Span,
    },
    /// The connection is reset so long after injection or accept.
    ResetPeer {
        /// Until the reset.
        #[schemars(with = "String")]
        after: Span,
    },
    /// So many bytes pass, then the connection ends.
    LimitData {
        /// Counted from injection or accept.
        #[schemars(with = "String")]
        bytes: Bytes,
    },
    /// Bytes are changed by chance.
    Corrupt {
        /// The share of bytes changed.
        #[schemars(with = "String")]
        bytes: Share,
    },
    /// Nothing arrives, nothing is answered: a silent partition, one way or both.
    Silent {},
    /// All bytes of both directions are withheld.
    BlackHole {},
    /// New connections are refused; open ones go on.
    Refuse {},
    /// Open connections are reset, and new ones refused.
    Refused {},
    /// Open connections are reset, and new ones as soon as they are made.
    Reset {},
    /// The server side of open connections goes away without a word.
    HalfOpen {},
    /// A silent cut that comes and goes; it starts with the cut.
    Flap {
        /// Bytes pass for so long.
        #[schemars(with = "String")]
        up: Span,
        /// Nothing passes for so long.
        #[schemars(with = "String")]
        down: Span,
    },
    /// Closes open connections.
    Drop {
        /// The share of them a second.
        #[schemars(with = "String")]
        share: Share,
        /// With RST instead of FIN.
        #[serde(default)]
        reset: bool,
        /// Once, instead of each second.
        #[serde(default)]
        once: bool,
    },
    /// Requests are answered by the proxy with this status.
    HttpStatus {
        /// 400 to 599.
        #[schemars(range(min = 400, max = 599))]
        code: u16,
        /// A Retry-After, in whole seconds, rounded up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        retry_after: Option<Span>,
        /// Which requests. Default: each.
        #[serde(default, skip_serializing_if = "Requests::are_all")]
        only: Requests,
    },
    /// The connection of an answer is reset after this share of its body.
    HttpAbort {
        /// Where in the body.
        #[schemars(with = "String")]
        at: Share,
        /// Which requests. Default: each.
        #[serde(default, skip_serializing_if = "Requests::are_all")]
        only: Requests,
    },
    /// The header of an answer is held back.
    HttpDelay {
        /// For so long.
        #[schemars(with = "String")]
        by: Span,
        /// Which requests. Default: each.
        #[serde(default, skip_serializing_if = "Requests::are_all")]
        only: Requests,
    },
}

/// Which HTTP/1 requests a fault concerns; the share of them is the fault's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requests {
    /// Only those of this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Only those whose path starts with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Only the first so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
}

impl Requests {
    fn are_all(&self) -> bool {
        *self == Requests::default()
    }
}

impl WantedFault {
    /// The body that injects a fault.
    pub(crate) fn parse(body: &[u8]) -> Result<WantedFault, Refusal> {
        let wrong = |error: serde_json::Error| Refusal::Body(error.to_string());
        let wanted: WantedFault = serde_json::from_value(wire::read(body)?).map_err(wrong)?;
        match wanted.fault {
            FaultKind::HttpStatus { code, .. } if !(400..=599).contains(&code) => {
                Err(Refusal::Body(format!("`code`: expected 400 to 599, got {code}")))
            }
            FaultKind::Flap { up, down } if up.0.min(down.0).as_millis() == 0 => {
                Err(Refusal::Body("`flap`: expected 1ms or more, up and down".to_owned()))
            }
            _ => Ok(wanted),
        }
    }

    /// Its name, given or not.
    pub(crate) fn name(&self) -> String {
        self.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| self.fault.word())
    }

    /// The lease that it asks for.
    pub(crate) fn lease(&self) -> Option<wire::Ttl> {
        self.ttl.map(|ttl| wire::Ttl(ttl.0))
    }

    /// What it is on a link.
    pub(crate) fn strike(&self) -> Strike {
        match self.fault.clone() {
            FaultKind::Silent {} => Strike::Reach(Reach::Silent(self.direction)),
            FaultKind::BlackHole {} => Strike::Reach(Reach::BlackHole),
            FaultKind::Refuse {} => Strike::Reach(Reach::Refuse),
            FaultKind::Refused {} => Strike::Reach(Reach::Refused),
            FaultKind::Reset {} => Strike::Reach(Reach::Reset),
            FaultKind::HalfOpen {} => Strike::Reach(Reach::HalfOpen),
            FaultKind::Flap { up, down } => Strike::Reach(Reach::Flap { up: up.0, down: down.0 }),
            FaultKind::Drop { share, reset, once } => Strike::Reach(Reach::Drop { share: share.get(), reset, once }),
            FaultKind::HttpStatus { code, retry_after, only } => {
                self.on_requests(only, HttpEffect::Status { code, retry_after })
            }
            FaultKind::HttpAbort { at, only } => {
                let at = BodyShare((at.get() * 1000.0).round() as u16);
                self.on_requests(only, HttpEffect::Abort { at })
            }
            FaultKind::HttpDelay { by, only } => self.on_requests(only, HttpEffect::Delay { by }),
            FaultKind::Latency { add, jitter, law, correlation } => {
                self.on_bytes(Toxic::Latency { add, jitter, law, correlation })
            }
            FaultKind::Bandwidth { rate } => self.on_bytes(Toxic::Bandwidth { rate }),
            FaultKind::PacketLoss { loss, correlation } => self.on_bytes(Toxic::PacketLoss { loss, correlation }),
            FaultKind::ChunkLoss { loss, correlation } => self.on_bytes(Toxic::ChunkLoss { loss, correlation }),
            FaultKind::Slicer { size, variation, wait } => self.on_bytes(Toxic::Slicer { size, variation, wait }),
            FaultKind::SlowClose { delay } => self.on_bytes(Toxic::SlowClose { delay }),
            FaultKind::Timeout { after } => self.on_bytes(Toxic::Timeout { after }),
            FaultKind::ResetPeer { after } => self.on_bytes(Toxic::ResetPeer { after }),
            FaultKind::LimitData { bytes } => self.on_bytes(Toxic::LimitData { bytes }),
            FaultKind::Corrupt { bytes } => self.on_bytes(Toxic::Corrupt { bytes }),
        }
    }

    fn on_bytes(&self, toxic: Toxic) -> Strike {
        Strike::Toxic { direction: self.direction, toxic, share: self.share.get() }
    }

    fn on_requests(&self, only: Requests, effect: HttpEffect) -> Strike {
        let Requests { method, path, first } = only;
        Strike::Http(HttpFault { links: Links::Named(Vec::new()), method, path, share: self.share, first, effect })
    }
}

impl FaultKind {
    /// The word for it in bodies.
    fn word(&self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => members.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_in_an_experiment_and_is_shown_again() {
        let body = br#"{"fault":{"latency":{"add":"20ms","law":"normal"}},"direction":"down","share":"50%"}"#;
        let wanted = WantedFault::parse(body).unwrap();
        assert_eq!(wanted.name(), "latency");
        let Strike::Toxic { direction: Direction::Down, toxic: Toxic::Latency { add, .. }, share } = wanted.strike()
        else {
            panic!("{wanted:?}")
        };
        assert_eq!((add.to_string().as_str(), share), ("20ms", 0.5));
        let shown = serde_json::to_vec(&wanted).unwrap();
        assert_eq!(WantedFault::parse(&shown), Ok(wanted));
    }

    #[test]
    fn mistakes_are_named() {
        for (body, says) in [
            (r#"{"fault":{"latency":{}}}"#, "missing field `add`"),
            (r#"{"fault":{"latency":{"add":"20"}}}"#, "expected a duration with a unit"),
            (r#"{"fault":{"lateness":{}}}"#, "unknown variant `lateness`"),
            (r#"{"fault":{"refuse":{}},"colour":1}"#, "unknown field `colour`"),
            (r#"{"fault":{"http_status":{"code":200}}}"#, "expected 400 to 599"),
            (r#"{"fault":{"flap":{"up":"0s","down":"1s"}}}"#, "expected 1ms or more"),
            (r#"{"fault":{"corrupt":{"bytes":"120%"}}}"#, "expected a share"),
            ("[]", "invalid"),
        ] {
            let why = WantedFault::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(why.starts_with("bad request body: ") && why.contains(says), "{body}: {why}");
        }
    }

    #[test]
    fn requests_of_a_fault_on_http_are_told_by_method_path_and_number() {
        let body = br#"{"fault":{"http_status":{"code":503,"retry_after":"2s","only":{"method":"PUT","first":3}}},"share":"10%"}"#;
        let Strike::Http(fault) = WantedFault::parse(body).unwrap().strike() else { panic!("another fault") };
        assert_eq!((fault.method.as_deref(), fault.first, fault.share.get()), (Some("PUT"), Some(3), 0.1));
    }
}
