//! Totals of a proxy over all its lives: they never go back, as counters must not.

use serde_json::Value;

use crate::event::LinkCounters;

/// The totals of a proxy at its present addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(LinkCounters);

impl std::ops::Deref for Figures {
    type Target = LinkCounters;
    fn deref(&self) -> &LinkCounters {
        &self.0
    }
}

impl Figures {
    /// With those of one more life.
    pub(crate) fn with(&self, life: Option<LinkCounters>) -> Figures {
        let mut sum = self.0.clone();
        let Some(life) = life else { return Figures(sum) };
        // Destructured, so that a new counter cannot be forgotten.
        let LinkCounters {
            accepted,
            accept_failed,
            connected,
            dial_failed,
            open,
            up_received_bytes,
            up_sent_bytes,
            down_received_bytes,
            down_sent_bytes,
            closed,
            altered_chunks,
            withheld_bytes,
            dropped_segments,
            faulted_connections,
            faulted_requests,
            requests,
        } = life;
        sum.accepted += accepted;
        sum.accept_failed += accept_failed;
        sum.connected += connected;
        sum.dial_failed += dial_failed;
        sum.open += open;
        sum.up_received_bytes += up_received_bytes;
        sum.up_sent_bytes += up_sent_bytes;
        sum.down_received_bytes += down_received_bytes;
        sum.down_sent_bytes += down_sent_bytes;
        for (kind, count) in closed {
            *sum.closed.entry(kind).or_default() += count;
        }
        sum.altered_chunks += altered_chunks;
        sum.withheld_bytes += withheld_bytes;
        sum.dropped_segments += dropped_segments;
        sum.faulted_connections += faulted_connections;
        sum.faulted_requests += faulted_requests;
        sum.requests += requests;
        Figures(sum)
    }

    /// Without the connections of a life that has ended.
    pub(crate) fn at_rest(mut self) -> Figures {
        self.0.open = 0;
        self
    }

    /// All of them.
    pub(crate) fn shown(&self) -> Value {
        serde_json::to_value(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_add_up() {
        let life = LinkCounters {
            accepted: 3,
            open: 2,
            closed: [("fin".to_owned(), 1)].into_iter().collect(),
            ..LinkCounters::default()
        };
        let both = Figures::default().with(Some(life.clone())).at_rest().with(Some(life));
        assert_eq!((both.accepted, both.open, both.closed["fin"]), (6, 2, 2));
    }
}
