//! What `/proc` says of processes.

use std::fs;

/// A line of `/proc/PID/stat`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub pid: u32,
    /// `R`, `S`, `D`, `T` (stopped), `Z` (dead, not yet reaped) …
    pub state: char,
    /// Its parent.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// When it started, in clock ticks since the host did: with the id it names one process for ever.
    pub start_time: u64,
}

impl Stat {
    /// Of one process; none if there is no such process.
    pub fn of(pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The line. The second field is the program's name in parentheses, which may itself contain anything.
    fn parse(line: &str) -> Option<Stat> {
        let pid = line.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.trim_end().parse::<u64>().ok();
        Some(Stat {
            pid,
            state: fields.first()?.chars().next()?,
            parent: number(4)? as u32,
            group: number(5)? as u32,
            session: number(6)? as u32,
            start_time: number(22)?,
        })
    }

    /// Whether it still runs: not gone, not dead and waiting to be reaped.
    pub fn alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// The same process as then, if it is still there.
pub fn same(pid: u32, start_time: u64) -> Option<Stat> {
    Stat::of(pid).filter(|stat| stat.start_time == start_time)
}

/// Every process that may be seen.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| Stat::of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// A variable of the environment that a process was started with; children inherit it, daemons too.
pub fn env(pid: u32, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let text =
        environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_is_no_trouble() {
        let line = "77 (a) b (c) S 5 77 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat, Stat { pid: 77, state: 'S', parent: 5, group: 77, session: 1, start_time: 123_456 });
    }

    #[test]
    fn we_find_ourselves() {
        let me = Stat::of(std::process::id()).unwrap();
        assert!(me.alive() && all().iter().any(|stat| stat.pid == me.pid && stat.start_time == me.start_time));
        assert_eq!(same(me.pid, me.start_time + 1), None);
    }
}
