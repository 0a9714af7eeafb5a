//! Which backend a run uses.

use std::str::FromStr;
use std::sync::Arc;

use super::{Backend, BackendError, Embedded, LinkAction};
use crate::clock::RunClock;
use crate::permit::Permit;

/// As `--backend` says: `embedded`, or `toxiproxy=URL`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The engine of this process.
    #[default]
    Embedded,
    /// A Toxiproxy-compatible server at this address.
    Toxiproxy(String),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        match text.split_once('=') {
            None if text == "embedded" => Ok(Choice::Embedded),
            Some(("toxiproxy", _)) if cfg!(not(feature = "toxiproxy")) => Err(BackendError::NoFeature.to_string()),
            Some(("toxiproxy", url)) if url.starts_with("http://") => Ok(Choice::Toxiproxy(url.to_owned())),
            _ => Err("expected `embedded`, or such as `toxiproxy=http://127.0.0.1:8474`".to_owned()),
        }
    }
}

impl Choice {
    /// Why it cannot do this to links, and what it can; none if it can.
    pub fn refuses(&self, action: &LinkAction) -> Option<String> {
        match self {
            Choice::Embedded => None,
            #[cfg(feature = "toxiproxy")]
            Choice::Toxiproxy(_) => super::Toxiproxy::refuses(action),
            #[cfg(not(feature = "toxiproxy"))]
            Choice::Toxiproxy(_) => {
                let _ = action;
                Some(BackendError::NoFeature.to_string())
            }
        }
    }

    /// Whether its links can end TLS.
    pub fn ends_tls(&self) -> bool {
        *self == Choice::Embedded
    }

    /// Starts it, or finds it.
    pub fn start(&self, permit: &Permit, clock: RunClock) -> Result<Arc<dyn Backend>, BackendError> {
        match self {
            Choice::Embedded => Ok(Arc::new(Embedded::start(0, clock)?)),
            #[cfg(feature = "toxiproxy")]
            Choice::Toxiproxy(url) => Ok(Arc::new(super::Toxiproxy::connect(url, permit, clock)?)),
            #[cfg(not(feature = "toxiproxy"))]
            Choice::Toxiproxy(_) => {
                let _ = permit;
                Err(BackendError::NoFeature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_named_on_the_command_line() {
        assert_eq!("embedded".parse(), Ok(Choice::Embedded));
        let remote = "toxiproxy=http://127.0.0.1:8474".parse::<Choice>();
        if cfg!(feature = "toxiproxy") {
            assert_eq!(remote, Ok(Choice::Toxiproxy("http://127.0.0.1:8474".to_owned())));
        } else {
            assert!(remote.unwrap_err().contains("feature"));
        }
        for text in ["toxiproxy", "", "kubernetes=here", "embedded=1"] {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
    }
}
