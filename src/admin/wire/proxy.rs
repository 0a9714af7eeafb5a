//! Proxies in requests.

use serde_json::Value;

use super::json::{Members, read};
use crate::admin::refusal::Refusal;

/// A proxy that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedProxy {
    /// Its name, never empty.
    pub(crate) name: String,
    /// Where it listens, as written; empty: any free port.
    pub(crate) listen: String,
    /// Where it leads, never empty.
    pub(crate) upstream: String,
    /// Whether it is to be started.
    pub(crate) enabled: bool,
}

impl WantedProxy {
    /// The body that creates a proxy.
    pub(crate) fn parse(body: &[u8]) -> Result<WantedProxy, Refusal> {
        WantedProxy::of(&Members::of(read(body)?)?, Refusal::Missing)
    }

    /// The body that creates or replaces many.
    pub(crate) fn parse_list(body: &[u8]) -> Result<Vec<WantedProxy>, Refusal> {
        let entries = match read(body)? {
            Value::Array(entries) => entries,
            Value::Null => Vec::new(),
            other => return Err(Refusal::member("", "an array of proxies", &other)),
        };
        let wanted = entries.into_iter().map(Members::of).collect::<Result<Vec<_>, _>>()?;
        let missing = |entry| move |field| Refusal::MissingAt { field, entry };
        (1..).zip(&wanted).map(|(entry, members)| WantedProxy::of(members, missing(entry))).collect()
    }

    fn of(members: &Members, missing: impl Fn(&'static str) -> Refusal) -> Result<WantedProxy, Refusal> {
        let wanted = WantedProxy {
            name: members.text("name")?.unwrap_or_default(),
            listen: members.text("listen")?.unwrap_or_default(),
            upstream: members.text("upstream")?.unwrap_or_default(),
            enabled: members.flag("enabled")?.unwrap_or(true),
        };
        for (field, value) in [("name", &wanted.name), ("upstream", &wanted.upstream)] {
            if value.is_empty() {
                return Err(missing(field));
            }
        }
        Ok(wanted)
    }
}

/// What is to become of a proxy; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProxyChange {
    pub(crate) listen: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) enabled: Option<bool>,
}

impl ProxyChange {
    /// The body that updates a proxy; its `name` is not looked at.
    pub(crate) fn parse(body: &[u8]) -> Result<ProxyChange, Refusal> {
        let members = Members::of(read(body)?)?;
        Ok(ProxyChange {
            listen: members.text("listen")?,
            upstream: members.text("upstream")?,
            enabled: members.flag("enabled")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(body: &str) -> String {
        WantedProxy::parse(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_name_is_asked_for_before_the_upstream() {
        assert_eq!(why("{}"), "missing required field: name");
        assert_eq!(why(r#"{"name":"","upstream":""}"#), "missing required field: name");
        assert_eq!(why(r#"{"name":"a"}"#), "missing required field: upstream");
        assert_eq!(why(r#"{"name":1}"#), "bad request body: `name`: expected a string, got the number 1");
    }

    #[test]
    fn a_proxy_is_enabled_unless_told_otherwise() {
        let wanted = WantedProxy::parse(br#"{"Name":"a","UPSTREAM":"b:1","toxics":[1],"enabled":null}"#).unwrap();
        assert_eq!(wanted.name, "a");
        assert!(wanted.enabled && wanted.listen.is_empty());
    }

    #[test]
    fn entries_of_a_list_are_counted_from_1() {
        let list = br#"[{"name":"a","upstream":"b:1"},{"upstream":"b:1"}]"#;
        let why = WantedProxy::parse_list(list).unwrap_err().to_string();
        assert_eq!(why, "missing required field: name at proxy 2");
        assert_eq!(WantedProxy::parse_list(b"[]"), Ok(Vec::new()));
        assert_eq!(WantedProxy::parse_list(b"null"), Ok(Vec::new()));
        assert!(WantedProxy::parse_list(b"{}").unwrap_err().to_string().starts_with("bad request body: "));
    }
}
