//! Toxics in requests and answers: their types, attributes and defaults.

use std::time::Duration;

use serde_json::{Map, Number, Value, json};

use super::json::{Members, read};
use crate::admin::refusal::Refusal;
use crate::plan::fault::{Direction, Law, Toxic};
use crate::units::{ByteRate, Bytes, Share, Span};

/// What the API calls a kilobyte.
const KILOBYTE: u64 = 1000;

/// The type of a toxic with its attributes, in the API's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Settings {
    /// Milliseconds.
    Latency { latency: u64, jitter: u64 },
    /// Kilobytes a second; 0: nothing passes.
    Bandwidth { rate: u64 },
    /// Milliseconds.
    SlowClose { delay: u64 },
    /// Milliseconds; 0: never closed.
    Timeout { timeout: u64 },
    /// Milliseconds.
    ResetPeer { timeout: u64 },
    /// Bytes, and microseconds between two pieces.
    Slicer { average_size: u64, size_variation: u64, delay: u64 },
    /// Bytes.
    LimitData { bytes: u64 },
    /// Shares from 0 to 1.
    PacketLoss { loss_rate: f64, correlation: f64, mode: Lossy },
    /// Nothing at all.
    Noop,
}

/// What becomes of what `packet_loss` takes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lossy {
    /// It is gone, and the stream has a hole: what other Toxiproxy servers do.
    #[default]
    Drop,
    /// It comes after a retransmission's time, as TCP makes of lost packets.
    Stall,
}

impl Settings {
    /// A type with the attributes that it has unless told otherwise.
    pub(crate) fn of(kind: &str) -> Option<Settings> {
        Some(match kind {
            "latency" => Settings::Latency { latency: 0, jitter: 0 },
            "bandwidth" => Settings::Bandwidth { rate: 0 },
            "slow_close" => Settings::SlowClose { delay: 0 },
            "timeout" => Settings::Timeout { timeout: 0 },
            "reset_peer" => Settings::ResetPeer { timeout: 0 },
            "slicer" => Settings::Slicer { average_size: 0, size_variation: 0, delay: 0 },
            "limit_data" => Settings::LimitData { bytes: 0 },
            "packet_loss" => Settings::PacketLoss { loss_rate: 0.1, correlation: 0.0, mode: Lossy::Drop },
            "noop" => Settings::Noop,
            _ => return None,
        })
    }

    /// The type's name.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Settings::Latency { .. } => "latency",
            Settings::Bandwidth { .. } => "bandwidth",
            Settings::SlowClose { .. } => "slow_close",
            Settings::Timeout { .. } => "timeout",
            Settings::ResetPeer { .. } => "reset_peer",
            Settings::Slicer { .. } => "slicer",
            Settings::LimitData { .. } => "limit_data",
            Settings::PacketLoss { .. } => "packet_loss",
            Settings::Noop => "noop",
        }
    }

    /// The same with the attributes that are given; those that are not stay, unknown ones are ignored.
    pub(crate) fn with(mut self, given: &Members) -> Result<Settings, Refusal> {
        match &mut self {
            Settings::Latency { latency, jitter } => {
                given.take_whole("latency", latency)?;
                given.take_whole("jitter", jitter)?;
            }
            Settings::Bandwidth { rate } => given.take_whole("rate", rate)?,
            Settings::SlowClose { delay } => given.take_whole("delay", delay)?,
            Settings::Timeout { timeout } | Settings::ResetPeer { timeout } => given.take_whole("timeout", timeout)?,
            Settings::Slicer { average_size, size_variation, delay } => {
                given.take_whole("average_size", average_size)?;
                given.take_whole("size_variation", size_variation)?;
                given.take_whole("delay", delay)?;
            }
            Settings::LimitData { bytes } => given.take_whole("bytes", bytes)?,
            Settings::PacketLoss { loss_rate, correlation, mode } => {
                given.take_share("loss_rate", loss_rate)?;
                given.take_share("correlation", correlation)?;
                *mode = match given.get("mode").map(|mode| (mode, mode.as_str())) {
                    None => *mode,
                    Some((_, Some("drop"))) => Lossy::Drop,
                    Some((_, Some("stall"))) => Lossy::Stall,
                    Some((other, _)) => return Err(Refusal::member("mode", "\"drop\" or \"stall\"", other)),
                };
            }
            Settings::Noop => {}
        }
        Ok(self)
    }

    /// Every attribute of the type, in the order of the reference.
    pub(crate) fn attributes(&self) -> Value {
        match *self {
            Settings::Latency { latency, jitter } => json!({"latency": latency, "jitter": jitter}),
            Settings::Bandwidth { rate } => json!({"rate": rate}),
            Settings::SlowClose { delay } => json!({"delay": delay}),
            Settings::Timeout { timeout } | Settings::ResetPeer { timeout } => json!({"timeout": timeout}),
            Settings::Slicer { average_size, size_variation, delay } => {
                json!({"average_size": average_size, "size_variation": size_variation, "delay": delay})
            }
            Settings::LimitData { bytes } => json!({"bytes": bytes}),
            Settings::PacketLoss { loss_rate, correlation, mode } => {
                let mut shown = json!({"loss_rate": number(loss_rate), "correlation": number(correlation)});
                if mode == Lossy::Stall {
                    shown["mode"] = "stall".into();
                }
                shown
            }
            Settings::Noop => json!({}),
        }
    }

    /// What it is on a link; none: nothing.
    pub(crate) fn toxic(&self) -> Option<Toxic> {
        let ms = |ms| Span(Duration::from_millis(ms));
        let share = |share| Share::new(share).expect("shares are checked when they are read");
        Some(match *self {
            Settings::Latency { latency, jitter } => {
                Toxic::Latency { add: ms(latency), jitter: ms(jitter), law: Law::Uniform, correlation: Share::NONE }
            }
            Settings::Bandwidth { rate } => Toxic::Bandwidth { rate: ByteRate(rate.saturating_mul(KILOBYTE)) },
            Settings::SlowClose { delay } => Toxic::SlowClose { delay: ms(delay) },
            Settings::Timeout { timeout } => Toxic::Timeout { after: ms(timeout) },
            Settings::ResetPeer { timeout } => Toxic::ResetPeer { after: ms(timeout) },
            Settings::Slicer { average_size, size_variation, delay } => Toxic::Slicer {
                size: Bytes(average_size),
                variation: Bytes(size_variation),
                wait: Span(Duration::from_micros(delay)),
            },
            Settings::LimitData { bytes } => Toxic::LimitData { bytes: Bytes(bytes) },
            Settings::PacketLoss { loss_rate, correlation, mode: Lossy::Drop } => {
                Toxic::ChunkLoss { loss: share(loss_rate), correlation: share(correlation) }
            }
            Settings::PacketLoss { loss_rate, correlation, mode: Lossy::Stall } => {
                Toxic::PacketLoss { loss: share(loss_rate), correlation: share(correlation) }
            }
            Settings::Noop => return None,
        })
    }
}

/// The share of connections that a toxic concerns: at least 1 is all of them, at most 0 none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Toxicity(f32);

impl Toxicity {
    const ALL: Toxicity = Toxicity(1.0);

    /// Takes over the one that is given.
    fn given(members: &Members) -> Result<Option<Toxicity>, Refusal> {
        let Some(value) = members.get("toxicity") else { return Ok(None) };
        match value.as_f64().map(|wide| wide as f32).filter(|narrow| narrow.is_finite()) {
            Some(toxicity) => Ok(Some(Toxicity(toxicity))),
            None => Err(Refusal::member("toxicity", "a number of 32 bits", value)),
        }
    }

    /// From 0 to 1.
    pub(crate) fn share(self) -> f64 {
        f64::from(self.0.clamp(0.0, 1.0))
    }

    /// The shortest digits that mean the same 32-bit number.
    pub(crate) fn shown(self) -> Value {
        number(self.0.to_string().parse().unwrap_or_default())
    }
}

/// A number as the reference prints it: without a fraction where it has none.
fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        Value::from(number as i64)
    } else {
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

/// A direction as the client wrote it, which is how it is shown again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream(String);

impl Stream {
    fn given(members: &Members) -> Result<Stream, Refusal> {
        let stream = members.text("stream")?.filter(|stream| !stream.is_empty());
        let stream = stream.unwrap_or_else(|| "downstream".to_owned());
        let known = ["upstream", "downstream"].iter().any(|known| stream.eq_ignore_ascii_case(known));
        if known { Ok(Stream(stream)) } else { Err(Refusal::Stream) }
    }

    /// Whose bytes.
    pub(crate) fn direction(&self) -> Direction {
        if self.0.eq_ignore_ascii_case("upstream") { Direction::Up } else { Direction::Down }
    }

    /// As it was written.
    pub(crate) fn shown(&self) -> &str {
        &self.0
    }
}

/// What a request says about a lease: milliseconds, or text with a unit; zero: none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ttl(pub(crate) Duration);

impl Ttl {
    fn given(members: &Members) -> Result<Option<Ttl>, Refusal> {
        let Some(value) = members.get("ttl") else { return Ok(None) };
        let text = value.as_str().and_then(|text| text.parse().ok()).map(|Span(ttl)| ttl);
        match value.as_u64().map(Duration::from_millis).or(text) {
            Some(ttl) => Ok(Some(Ttl(ttl))),
            None => Err(Refusal::member("ttl", "whole milliseconds, or a text such as \"30s\"", value)),
        }
    }
}

/// A toxic that a client wants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WantedToxic {
    pub(crate) name: String,
    pub(crate) stream: Stream,
    pub(crate) toxicity: Toxicity,
    pub(crate) ttl: Option<Ttl>,
    /// With the defaults of its type; `attributes` are looked at last, by [`WantedToxic::settings`].
    kind: Settings,
    attributes: Members,
}

impl WantedToxic {
    /// The body that creates a toxic, but for its attributes.
    pub(crate) fn parse(body: &[u8]) -> Result<WantedToxic, Refusal> {
        let members = Members::of(read(body)?)?;
        let (name, kind) = (members.text("name")?, members.text("type")?);
        let (toxicity, ttl) = (Toxicity::given(&members)?, Ttl::given(&members)?);
        let stream = Stream::given(&members)?;
        let kind = kind.as_deref().and_then(Settings::of).ok_or(Refusal::ToxicType)?;
        let name = name.filter(|name| !name.is_empty());
        Ok(WantedToxic {
            name: name.unwrap_or_else(|| format!("{}_{}", kind.kind(), stream.shown())),
            stream,
            toxicity: toxicity.unwrap_or(Toxicity::ALL),
            ttl,
            kind,
            attributes: members.members("attributes")?,
        })
    }

    /// Its type with its attributes.
    pub(crate) fn settings(&self) -> Result<Settings, Refusal> {
        self.kind.with(&self.attributes)
    }
}

/// What is to become of a toxic; what is not given stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToxicChange {
    pub(crate) attributes: Members,
    pub(crate) toxicity: Option<Toxicity>,
    pub(crate) ttl: Option<Ttl>,
}

impl ToxicChange {
    /// The body that updates a toxic; its `name`, `type` and `stream` are not looked at.
    pub(crate) fn parse(body: &[u8]) -> Result<ToxicChange, Refusal> {
        let members = Members::of(read(body)?)?;
        Ok(ToxicChange {
            attributes: members.members("attributes")?,
            toxicity: Toxicity::given(&members)?,
            ttl: Ttl::given(&members)?,
        })
    }
}

/// A toxic as answers show it, its members in the order of the reference.
pub(crate) fn shown(name: &str, stream: &Stream, toxicity: Toxicity, settings: &Settings) -> Map<String, Value> {
    let members = [
        ("attributes", settings.attributes()),
        ("name", name.into()),
        ("type", settings.kind().into()),
        ("stream", stream.shown().into()),
        ("toxicity", toxicity.shown()),
    ];
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [&str; 9] =
        ["latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data", "packet_loss", "noop"];

    fn wanted(body: &str) -> Result<WantedToxic, Refusal> {
        WantedToxic::parse(body.as_bytes())
    }

    fn attributes(kind: &str, given: &str) -> Result<String, Refusal> {
        let given = Members::of(read(given.as_bytes())?)?;
        Ok(Settings::of(kind).unwrap().with(&given)?.attributes().to_string())
    }

    #[test]
    fn every_type_shows_all_its_attributes_in_order() {
        let shown = KINDS.map(|kind| attributes(kind, "null").unwrap());
        assert_eq!(
            shown,
            [
                r#"{"latency":0,"jitter":0}"#,
                r#"{"rate":0}"#,
                r#"{"delay":0}"#,
                r#"{"timeout":0}"#,
                r#"{"timeout":0}"#,
                r#"{"average_size":0,"size_variation":0,"delay":0}"#,
                r#"{"bytes":0}"#,
                r#"{"loss_rate":0.1,"correlation":0}"#,
                "{}",
            ]
        );
        assert!(KINDS.iter().all(|kind| Settings::of(kind).unwrap().kind() == *kind));
    }

    #[test]
    fn attributes_merge_key_by_key_and_unknown_ones_are_dropped() {
        let before = Settings::Latency { latency: 100, jitter: 7 };
        let given = Members::of(read(br#"{"LATENCY":5,"jitter":null,"colour":"red"}"#).unwrap()).unwrap();
        assert_eq!(before.with(&given), Ok(Settings::Latency { latency: 5, jitter: 7 }));
    }

    #[test]
    fn absurd_attributes_are_refused() {
        for (kind, given) in [
            ("latency", r#"{"latency":1.5}"#),
            ("latency", r#"{"jitter":-1}"#),
            ("bandwidth", r#"{"rate":-1}"#),
            ("limit_data", r#"{"bytes":"5"}"#),
            ("slicer", r#"{"delay":1e3}"#),
            ("timeout", r#"{"timeout":18446744073709551615}"#),
            ("packet_loss", r#"{"loss_rate":1.5}"#),
            ("packet_loss", r#"{"correlation":-0.1}"#),
            ("packet_loss", r#"{"mode":"sometimes"}"#),
        ] {
            let why = attributes(kind, given).unwrap_err().to_string();
            assert!(why.starts_with("bad request body: `"), "{given}: {why}");
        }
    }

    #[test]
    fn the_largest_numbers_are_taken_at_their_word() {
        for kind in KINDS {
            let most = i64::MAX;
            let given = format!(
                r#"{{"latency":{most},"jitter":{most},"rate":{most},"delay":{most},"timeout":{most},"bytes":{most},
                "average_size":{most},"size_variation":{most},"loss_rate":1,"correlation":1.0}}"#
            );
            let given = Members::of(read(given.as_bytes()).unwrap()).unwrap();
            let _ = Settings::of(kind).unwrap().with(&given).unwrap().toxic();
        }
    }

    #[test]
    fn a_name_is_made_of_type_and_stream_as_written() {
        assert_eq!(wanted(r#"{"type":"latency"}"#).unwrap().name, "latency_downstream");
        let upper = wanted(r#"{"type":"latency","stream":"UPSTREAM","name":""}"#).unwrap();
        assert_eq!((upper.name.as_str(), upper.stream.direction()), ("latency_UPSTREAM", Direction::Up));
    }

    #[test]
    fn checks_come_in_the_order_that_clients_know() {
        for (body, says) in [
            (r#"{"stream":"sideways","type":"nonsense"}"#, Refusal::Stream),
            (r#"{"type":"nonsense","attributes":{"latency":1.5}}"#, Refusal::ToxicType),
            ("{}", Refusal::ToxicType),
        ] {
            assert_eq!(wanted(body), Err(says));
        }
        let late = wanted(r#"{"type":"latency","attributes":{"latency":1.5}}"#).unwrap();
        assert!(late.settings().is_err(), "a name conflict is told first");
    }

    #[test]
    fn a_toxicity_is_a_number_of_32_bits_printed_shortest() {
        for (given, shown, share) in [
            ("0.3", "0.3", f64::from(0.3f32)),
            ("1", "1", 1.0),
            ("1.0", "1", 1.0),
            ("0", "0", 0.0),
            ("-1", "-1", 0.0),
            ("20", "20", 1.0),
            ("0.1234567891", "0.12345679", f64::from(0.123_456_79f32)),
            ("null", "1", 1.0),
        ] {
            let toxicity = wanted(&format!(r#"{{"type":"noop","toxicity":{given}}}"#)).unwrap().toxicity;
            assert_eq!((toxicity.shown().to_string().as_str(), toxicity.share()), (shown, share), "{given}");
        }
        assert!(wanted(r#"{"type":"noop","toxicity":1e300}"#).is_err());
        assert!(wanted(r#"{"type":"noop","toxicity":"1"}"#).is_err());
    }

    #[test]
    fn a_lease_is_milliseconds_or_text() {
        for (given, ms) in [("250", Some(250)), ("\"30s\"", Some(30_000)), ("null", None), ("0", Some(0))] {
            let ttl = wanted(&format!(r#"{{"type":"noop","ttl":{given}}}"#)).unwrap().ttl;
            assert_eq!(ttl, ms.map(|ms| Ttl(Duration::from_millis(ms))), "{given}");
        }
        assert!(wanted(r#"{"type":"noop","ttl":"soon"}"#).is_err());
        assert!(wanted(r#"{"type":"noop","ttl":-1}"#).is_err());
    }
}
