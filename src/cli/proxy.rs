//! `brownout proxy`: a server in the place of Toxiproxy's.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{Exit, chain, say, write_stdout};
use crate::admin::{COMPATIBLE_WITH, Server, ServerOptions, Token};
use crate::clock::wall_ns;
use crate::seed::Seed;

/// Called by this name, the program is `brownout proxy`.
const STAND_IN: &str = "toxiproxy-server";

/// Toxiproxy's flags that take a value.
const VALUES: [&str; 4] = ["host", "port", "config", "seed"];

/// Toxiproxy's flags that do not.
const SWITCHES: [&str; 4] = ["runtime-metrics", "proxy-metrics", "version", "help"];

/// The token that requests must bring, where it is not in a file.
const TOKEN: &str = "BROWNOUT_PROXY_TOKEN";

/// `brownout proxy`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Toxiproxy's flags may be written with one dash. Examples:
  brownout proxy
  brownout proxy -host 0.0.0.0 -config toxiproxy.json -proxy-metrics
  ln -s $(which brownout) toxiproxy-server; ./toxiproxy-server

Environment: LOG_LEVEL (trace, debug, info, warn, error; default info), BROWNOUT_PROXY_TOKEN.
Exit codes: 0 stopped by a signal, 1 the API cannot listen, 2 a mistake on the command line or in the configuration.")]
pub struct ProxyArgs {
    /// Where the API listens; also proxies whose address names no host.
    #[arg(long, default_value = "localhost")]
    pub host: String,
    /// The API's port; 0: any free one.
    #[arg(long, default_value_t = 8474)]
    pub port: u16,
    /// Proxies to create at the start: the JSON array that `POST /populate` takes.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Makes chance (toxicity, jitter, loss) repeatable. Default: another each time.
    #[arg(long, allow_negative_numbers = true)]
    pub seed: Option<i64>,
    /// Serve figures of this process on /metrics.
    #[arg(long)]
    pub runtime_metrics: bool,
    /// Serve figures of every proxy on /metrics.
    #[arg(long)]
    pub proxy_metrics: bool,
    /// Requests must bring the bearer token that is in this file.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Print the version and end.
    #[arg(long)]
    pub version: bool,
}

/// The command line with Toxiproxy's flags as the parser knows them: two dashes, `=` before a value.
pub(super) fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut given = given.into_iter().peekable();
    let mut seen: Vec<OsString> = given.next().into_iter().collect();
    if seen.first().is_some_and(|program| Path::new(program).file_name() == Some(OsStr::new(STAND_IN))) {
        seen.push("proxy".into());
    } else if given.peek().is_some_and(|command| command == "proxy") {
        seen.extend(given.next());
    } else {
        seen.extend(given);
        return seen;
    }
    while let Some(argument) = given.next() {
        let flag = argument.to_str().and_then(|text| text.strip_prefix('-'));
        let flag = flag.map(|text| text.strip_prefix('-').unwrap_or(text)).unwrap_or_default();
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        if VALUES.contains(&name) {
            let mut whole = OsString::from(format!("--{name}="));
            match value.map(OsString::from).or_else(|| given.next()) {
                Some(value) => whole.push(value),
                None => whole = format!("--{name}").into(),
            }
            seen.push(whole);
        } else if SWITCHES.contains(&name) {
            match value {
                None | Some("true" | "TRUE" | "True" | "t" | "T" | "1") => seen.push(format!("--{name}").into()),
                Some("false" | "FALSE" | "False" | "f" | "F" | "0") => {}
                Some(_) => seen.push(argument),
            }
        } else {
            seen.push(argument);
        }
    }
    seen
}

/// Serves until a signal.
pub(super) fn proxy(args: &ProxyArgs) -> Exit {
    if args.version {
        write_stdout(&format!("{STAND_IN} version {COMPATIBLE_WITH} (brownout {})\n", env!("CARGO_PKG_VERSION")));
        return Exit::Held;
    }
    logs();
    // Each proxy takes a descriptor, and each connection two.
    super::raise_descriptors();
    let token = match token(args) {
        Ok(token) => token,
        Err(why) => return mistake(&why),
    };
    let config = match args.config.as_deref().map(|path| (path, std::fs::read(path))) {
        Some((path, Err(error))) => return mistake(&format!("cannot read `{}`: {error}", path.display())),
        Some((path, Ok(config))) => Some((path, config)),
        None => None,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: cannot start the runtime: {error}\n"));
            return Exit::Failed;
        }
    };
    let options = ServerOptions {
        listen: (args.host.clone(), args.port),
        seed: Seed(args.seed.map_or_else(wall_ns, i64::cast_unsigned)),
        proxy_metrics: args.proxy_metrics,
        runtime_metrics: args.runtime_metrics,
        token,
    };
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = serve(options, config) => exit,
            exit = stopped() => exit,
        }
    });
    // At once: the kernel closes connections faster than we could one by one, and a name that is still being
    // looked up is nobody's any more.
    std::process::exit(exit.code().into())
}

async fn serve(options: ServerOptions, config: Option<(&Path, Vec<u8>)>) -> Exit {
    let seed = options.seed;
    let server = match Server::bind(options).await {
        Ok(server) => server,
        Err(error) => {
            say(&format!("error: {}; is another server running? Try another -port\n", chain(&error)));
            return Exit::Failed;
        }
    };
    if let Some((path, config)) = config {
        match server.configure(&config).await {
            Ok(proxies) => tracing::info!(proxies, config = %path.display(), "configured"),
            Err(why) => return mistake(&format!("`{}`: {why}", path.display())),
        }
    }
    tracing::info!(
        address = %server.addr(), seed = seed.0, version = env!("CARGO_PKG_VERSION"), api = COMPATIBLE_WITH,
        "the API listens"
    );
    match server.serve().await {}
}

/// Waits for Ctrl-C or SIGTERM.
async fn stopped() -> Exit {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        say("error: cannot listen for signals\n");
        return Exit::Failed;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopped by a signal");
    Exit::Held
}

fn mistake(why: &str) -> Exit {
    say(&format!("error: {why}\n"));
    Exit::Mistake
}

/// The token of the file, or else of the environment.
fn token(args: &ProxyArgs) -> Result<Option<Token>, String> {
    let Some(path) = &args.token_file else {
        return Ok(std::env::var(TOKEN).ok().and_then(|token| Token::new(&token)));
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    Token::new(&text).map(Some).ok_or_else(|| format!("`{}` holds no token", path.display()))
}

/// JSON lines on stdout, as the reference writes them.
fn logs() {
    let level = std::env::var("LOG_LEVEL").unwrap_or_default().to_lowercase();
    let level = match level.as_str() {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warn" => LevelFilter::WARN,
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        "disabled" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    };
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    tracing_subscriber::registry().with(lines).with(Targets::new().with_target("brownout", level)).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(line: &str) -> String {
        let words = arguments(line.split(' ').map(OsString::from));
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn flags_of_the_reference_are_understood_however_they_are_written() {
        for (line, expected) in [
            ("brownout proxy -host 0.0.0.0 -port=8475", "brownout proxy --host=0.0.0.0 --port=8475"),
            ("brownout proxy --config a.json -seed -5", "brownout proxy --config=a.json --seed=-5"),
            ("brownout proxy -proxy-metrics -runtime-metrics=true", "brownout proxy --proxy-metrics --runtime-metrics"),
            ("brownout proxy -proxy-metrics=false", "brownout proxy"),
            ("brownout proxy -proxy-metrics=perhaps", "brownout proxy -proxy-metrics=perhaps"),
            ("brownout proxy -config", "brownout proxy --config"),
            ("brownout proxy -help", "brownout proxy --help"),
            ("brownout run -host", "brownout run -host"),
            ("/usr/bin/toxiproxy-server -host=::", "/usr/bin/toxiproxy-server proxy --host=::"),
            ("brownout", "brownout"),
        ] {
            assert_eq!(seen(line), expected);
        }
    }
}
