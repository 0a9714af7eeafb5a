//! What every word on the page means. Metrics define themselves; the words around them stand here.

use crate::experiment::metric::Metric;

/// A word and its meaning; the id is what links lead to.
pub(super) struct Definition {
    pub(super) id: &'static str,
    pub(super) term: String,
    pub(super) text: &'static str,
}

/// Words that are not metrics.
const WORDS: [(&str, &str); 18] = [
    (
        "operation",
        "One thing that a workload wants done, due by its arrival schedule; it consists of one or more attempts. It is ok if any attempt is; else indeterminate if it is a write with an attempt whose effect is unknown; else failed.",
    ),
    ("attempt", "One try of an operation, as its client saw it."),
    (
        "outcome",
        "How an attempt ended: ok, refused, reset, timeout, unreachable, dns, tls, protocol, throttled (429 and kin), unavailable (503 and kin), error (any other error answer), cancelled (a hedge that lost), shed (over max_in_flight, nothing was sent), breaker open (nothing was sent), unfinished (still open when the drain ended).",
    ),
    (
        "latency",
        "From the moment at which an operation was due to its end, over all operations whatever their outcome. A client that stalls cannot hide an outage.",
    ),
    (
        "heat_map",
        "Each column is a slice of time, each row a range of latency; the darker a cell, the more operations that were due in that slice took so long.",
    ),
    (
        "phase",
        "baseline: before any fault. fault.NAME: from the actual injection to the actual removal. fault: all of these. recovery: from the last removal to the end of load. impact: from the first injection to the end of load. overall: all of it but the warm-up. An operation counts in each phase that contains its due time.",
    ),
    (
        "t0",
        "The moment at which the first link or node of a fault was actually hit. Injection skew is the time from then to the last one.",
    ),
    ("hit_set", "The places (node#incarnation) that a fault stopped, cut or demoted, fixed when it struck."),
    (
        "milestone",
        "An instant of a failover, with who told it: injected, first failure, detected, decided, promoted, redirected, reconnected, first success, steady. Unknown ones are drawn as such; one out of order is not moved.",
    ),
    (
        "gap",
        "The time from the end of one ok operation to the end of the next, if it is over max(100 ms, 10 × the baseline's mean gap (20 × for poisson and users), 2 × the baseline's longest gap). Failing if an attempt in it failed or ran past its time-out, else a stall. A gap still open at the end counts to the end and is printed with ≥.",
    ),
    (
        "mechanism",
        "How silence on a link was made. kernel-drop: a socket filter drops what arrives, unacknowledged, as a cut cable would. stall: bytes are held in user space; the kernel has finished the handshake and acknowledges for us.",
    ),
    (
        "proof",
        "What arrived while a fault was in force and met it: bytes, connections or requests withheld, altered, refused; nodes read back as gone or paused. A fault without proof makes the run inconclusive.",
    ),
    (
        "link",
        "One client node, one server node and the proxy between them. Bytes up go from client to server. A difference between received and passed on is what a fault withheld or what was open at the end.",
    ),
    (
        "closed_loop",
        "Open: operations are due by the schedule, whatever the system does. Closed: a user's next operation is due after the previous one ended, so that a slow system lowers the load; the operations that are missing for it are counted.",
    ),
    (
        "error_budget",
        "(1 − the promised share) × a year of 365.25 days. These incidents a year: the incidents a year that the experiment states × the unavailability of this one. Incidents it pays for: budget / unavailability, at the resolution of the measurement.",
    ),
    (
        "difference",
        "A variant's figure minus another's. Of one run each its interval holds 95 % of what blocks of a second, drawn anew within both runs, come to: it covers chance within these runs, not what differs from run to run. Of eight and more runs each it is the 95 % interval by ranks, of fewer the range of all pairs. An expectation that compares holds if all of the interval is on the good side.",
    ),
    ("margin", "|observed − limit| / |limit|; negative on the bad side of the limit."),
    ("acknowledged", "Writes that the system answered as done."),
];

/// All definitions: the words first, then the metrics.
pub(super) fn all() -> Vec<Definition> {
    let words = WORDS.iter().map(|(id, text)| Definition { id, term: id.replace('_', " "), text });
    let metrics = Metric::ALL.iter().map(|metric| Definition {
        id: metric.name(),
        term: metric.name().replace('_', " "),
        text: metric.definition(),
    });
    words.chain(metrics).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_defined_twice() {
        let mut ids: Vec<&str> = all().iter().map(|definition| definition.id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
