//! `GET /metrics`: totals as Prometheus reads them.

use std::fmt::Write;

use super::proxy::Proxy;

/// The format that is written.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Which metrics are served; without any the path does not exist.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choice {
    /// Those of proxies.
    pub(crate) proxies: bool,
    /// Those of this process.
    pub(crate) runtime: bool,
}

impl Choice {
    pub(crate) fn any(self) -> bool {
        self.proxies || self.runtime
    }
}

/// All that is served.
pub(crate) fn text<'a>(choice: Choice, proxies: impl Iterator<Item = &'a Proxy>) -> String {
    let mut page = Page::default();
    if choice.proxies {
        of_proxies(&mut page, &proxies.collect::<Vec<_>>());
    }
    if choice.runtime {
        super::process::metrics(&mut page);
    }
    page.0
}

fn of_proxies(page: &mut Page, proxies: &[&Proxy]) {
    let figures: Vec<_> = proxies.iter().map(|proxy| (*proxy, proxy.figures())).collect();
    // The reference's own, with its names and labels.
    for (name, up, down) in [("toxiproxy_proxy_received_bytes_total", 0, 1), ("toxiproxy_proxy_sent_bytes_total", 2, 3)]
    {
        page.family(name, "counter", "");
        for (proxy, figures) in &figures {
            let bytes = [
                figures.up_received_bytes,
                figures.down_received_bytes,
                figures.up_sent_bytes,
                figures.down_sent_bytes,
            ];
            for (direction, index) in [("downstream", down), ("upstream", up)] {
                let labels = [
                    ("direction", direction),
                    ("listener", proxy.listen()),
                    ("proxy", proxy.name()),
                    ("upstream", proxy.upstream()),
                ];
                page.sample(name, &labels, bytes[index]);
            }
        }
    }
    let mut own = |name: &str, kind: &str, help: &str, of: &dyn Fn(&super::figures::Figures) -> u64| {
        page.family(name, kind, help);
        for (proxy, figures) in &figures {
            page.sample(name, &[("proxy", proxy.name())], of(figures));
        }
    };
    own("brownout_proxy_connections_accepted_total", "counter", "Connections accepted.", &|f| f.accepted);
    own("brownout_proxy_connections_open", "gauge", "Connections open now.", &|f| f.open);
    own("brownout_proxy_dials_total", "counter", "Connections to the upstream established.", &|f| f.connected);
    own("brownout_proxy_dials_failed_total", "counter", "Dials to the upstream that failed.", &|f| f.dial_failed);
    own("brownout_proxy_altered_chunks_total", "counter", "Chunks delayed, cut or changed by toxics.", &|f| {
        f.altered_chunks
    });
    own("brownout_proxy_withheld_bytes_total", "counter", "Bytes offered while silenced.", &|f| f.withheld_bytes);
    own("brownout_proxy_dropped_segments_total", "counter", "Segments dropped by socket filters.", &|f| {
        f.dropped_segments
    });
    own("brownout_proxy_faulted_connections_total", "counter", "Connections refused, reset or dropped.", &|f| {
        f.faulted_connections
    });
    own("brownout_proxy_faulted_requests_total", "counter", "HTTP requests met by faults.", &|f| f.faulted_requests);
    let name = "brownout_proxy_closings_total";
    page.family(name, "counter", "Connections closed: by FIN, RST, a fault, or the end of the proxy.");
    for (proxy, figures) in &figures {
        for kind in ["fin", "rst", "fault", "shutdown"] {
            let count = figures.closed.get(kind).copied().unwrap_or_default();
            page.sample(name, &[("kind", kind), ("proxy", proxy.name())], count);
        }
    }
}

/// A page in the text format.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// Begins a family of samples.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family begun last.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut page = Page::default();
        page.family("up", "gauge", "Is it.");
        page.sample("up", &[("proxy", "a\"b\\c\nd")], 1);
        assert_eq!(page.0, "# HELP up Is it.\n# TYPE up gauge\nup{proxy=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
