//! What this process uses, as Prometheus names it.

use super::metrics::Page;

/// The usual figures of a process, as far as the system tells them.
pub(crate) fn metrics(page: &mut Page) {
    let mut gauge = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            page.family(name, kind, help);
            page.sample(name, &[], value);
        }
    };
    let stat = Stat::read();
    let of = |figure: fn(&Stat) -> f64| stat.as_ref().map(figure);
    gauge("process_cpu_seconds_total", "counter", "Total user and system CPU time.", of(|stat| stat.cpu_seconds));
    gauge("process_max_fds", "gauge", "Maximum number of open file descriptors.", max_fds());
    gauge("process_open_fds", "gauge", "Number of open file descriptors.", open_fds());
    gauge("process_resident_memory_bytes", "gauge", "Resident memory.", of(|stat| stat.resident_bytes));
    gauge("process_start_time_seconds", "gauge", "Start time since the Unix epoch.", of(|stat| stat.started_at));
    gauge("process_virtual_memory_bytes", "gauge", "Virtual memory.", of(|stat| stat.virtual_bytes));
    page.family("brownout_build_info", "gauge", "The version that runs.");
    page.sample("brownout_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
}

/// What the system says of this process.
struct Stat {
    cpu_seconds: f64,
    started_at: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Stat {
    fn read() -> Option<Stat> {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field, a name in brackets, may hold spaces.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let system = std::fs::read_to_string("/proc/stat").ok()?;
        let booted: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Some(Stat {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            started_at: booted + field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * rustix::param::page_size() as f64,
        })
    }
}

fn open_fds() -> Option<f64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

fn max_fds() -> Option<f64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.map(|limit| limit as f64)
}
