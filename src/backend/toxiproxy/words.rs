//! What an action is in the words of a Toxiproxy server, if it has words for it. Pure.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::backend::LinkAction;
use crate::plan::fault::{Direction, Law, Toxic};

/// What every Toxiproxy server can do, for who asked for something else.
pub(super) const VOCABULARY: &str = "latency (uniform, without correlation), bandwidth, slicer, slow_close, timeout, \
     reset_peer and limit_data in whole milliseconds and kilobytes, partitions with manner silent or refused, and \
     black holes";

/// What is asked of a server on one of its proxies.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    /// These toxics are added; healing removes them.
    Toxics(Vec<RemoteToxic>),
    /// The proxy is disabled; healing enables it.
    Disable,
}

/// A toxic as the server takes it, but for its name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RemoteToxic {
    pub(super) kind: &'static str,
    pub(super) stream: &'static str,
    pub(super) toxicity: f32,
    /// Unsigned numbers of 32 bits: more cannot be read back.
    pub(super) attributes: Map<String, Value>,
}

/// What an action is on one link; an error says what the server has no words for.
pub(super) fn order(action: &LinkAction, direction: Direction) -> Result<Order, String> {
    let (toxic, toxicity) = match action {
        LinkAction::Toxic { toxic, share } => (attributes(toxic)?, share.get() as f32),
        // Nothing passes and nothing is answered, while the server goes on accepting: it has no silence of the kernel.
        LinkAction::Silent => (("bandwidth", json!({"rate": 0})), 1.0),
        LinkAction::BlackHole => {
            let silence = ("bandwidth", json!({"rate": 0}));
            return Ok(Order::Toxics(both(&silence, Direction::Both, 1.0)));
        }
        LinkAction::Refused => return Ok(Order::Disable),
        LinkAction::Reset => return Err("a reset of open connections".to_owned()),
        LinkAction::Refuse => return Err("a refusal that leaves open connections alone".to_owned()),
        LinkAction::HalfOpen => return Err("half-open connections".to_owned()),
        LinkAction::Flap { .. } => return Err("a flapping link".to_owned()),
        LinkAction::Drop { .. } => return Err("a share of connections dropped".to_owned()),
        LinkAction::Http(_) => return Err("faults on HTTP requests".to_owned()),
    };
    Ok(Order::Toxics(both(&toxic, direction, toxicity)))
}

fn both((kind, attributes): &(&'static str, Value), direction: Direction, toxicity: f32) -> Vec<RemoteToxic> {
    let streams: &[&'static str] = match direction {
        Direction::Up => &["upstream"],
        Direction::Down => &["downstream"],
        Direction::Both => &["upstream", "downstream"],
    };
    let attributes = attributes.as_object().cloned().unwrap_or_default();
    streams.iter().map(|stream| RemoteToxic { kind, stream, toxicity, attributes: attributes.clone() }).collect()
}

fn attributes(toxic: &Toxic) -> Result<(&'static str, Value), String> {
    let name = toxic.name();
    let ms = |time: Duration| whole(time.as_nanos(), 1_000_000, name, "milliseconds");
    let us = |time: Duration| whole(time.as_nanos(), 1_000, name, "microseconds");
    let bytes = |bytes: u64| whole(bytes.into(), 1, name, "bytes");
    let attributes = match *toxic {
        Toxic::Latency { law, .. } if law != Law::Uniform => {
            return Err(format!("latency of the law {law:?}").to_lowercase());
        }
        Toxic::Latency { correlation, .. } if correlation.get() > 0.0 => return Err("correlated latency".to_owned()),
        Toxic::Latency { add, jitter, .. } => json!({"latency": ms(add.0)?, "jitter": ms(jitter.0)?}),
        Toxic::Bandwidth { rate } => json!({"rate": whole(rate.0.into(), 1000, name, "kilobytes a second")?}),
        Toxic::Slicer { size, variation, wait } => {
            json!({"average_size": bytes(size.0)?, "size_variation": bytes(variation.0)?, "delay": us(wait.0)?})
        }
        Toxic::SlowClose { delay } => json!({"delay": ms(delay.0)?}),
        Toxic::Timeout { after } | Toxic::ResetPeer { after } => json!({"timeout": ms(after.0)?}),
        Toxic::LimitData { bytes: limit } => json!({"bytes": bytes(limit.0)?}),
        Toxic::PacketLoss { .. } | Toxic::ChunkLoss { .. } | Toxic::Corrupt { .. } => {
            return Err(name.replace('_', " "));
        }
    };
    Ok((name, attributes))
}

/// A quantity in units of the server, if it is a whole number of them and not beyond what is read back.
fn whole(quantity: u128, unit: u128, name: &str, units: &str) -> Result<u32, String> {
    if !quantity.is_multiple_of(unit) {
        return Err(format!("{name} but in whole {units}"));
    }
    u32::try_from(quantity / unit).map_err(|_| format!("{name} of more than {} {units}", u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{ByteRate, Share, Span};

    fn latency(add: &str, law: Law) -> LinkAction {
        let (add, jitter) = (add.parse().unwrap(), Span::default());
        LinkAction::Toxic { toxic: Toxic::Latency { add, jitter, law, correlation: Share::NONE }, share: Share::ALL }
    }

    fn bandwidth(rate: u64) -> LinkAction {
        LinkAction::Toxic { toxic: Toxic::Bandwidth { rate: ByteRate(rate) }, share: Share::new(0.3).unwrap() }
    }

    #[test]
    fn a_toxic_of_both_directions_is_two() {
        let Ok(Order::Toxics(toxics)) = order(&latency("20ms", Law::Uniform), Direction::Both) else { panic!() };
        let streams: Vec<_> = toxics.iter().map(|toxic| toxic.stream).collect();
        assert_eq!(streams, ["upstream", "downstream"]);
        assert_eq!(Value::from(toxics[0].attributes.clone()), json!({"latency": 20, "jitter": 0}));
    }

    #[test]
    fn units_are_those_of_the_server() {
        let Ok(Order::Toxics(toxics)) = order(&bandwidth(250_000), Direction::Down) else { panic!() };
        assert_eq!((toxics.len(), toxics[0].toxicity), (1, 0.3));
        assert_eq!(Value::from(toxics[0].attributes.clone()), json!({"rate": 250}));
    }

    #[test]
    fn what_there_are_no_words_for_is_named() {
        for (action, says) in [
            (latency("1.5ms", Law::Uniform), "latency but in whole milliseconds"),
            (latency("20ms", Law::Pareto), "latency of the law pareto"),
            (latency("2000h", Law::Uniform), "latency of more than 4294967295 milliseconds"),
            (bandwidth(999), "bandwidth but in whole kilobytes a second"),
            (LinkAction::HalfOpen, "half-open connections"),
            (LinkAction::Refuse, "a refusal that leaves open connections alone"),
        ] {
            assert_eq!(order(&action, Direction::Both), Err(says.to_owned()));
        }
    }
}
