//! Addresses and folders filled into what an experiment says of a process.

use std::borrow::Cow;

/// A name between `${` and `}` that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`${{{name}}}` is not known here; known are {}", known.join(", "))]
pub struct FillError {
    /// The name.
    pub name: String,
    /// What could stand there.
    pub known: Vec<String>,
}

/// Fills in `${links.NAME.address}` and its kin; `value` knows every name that begins so, `known` lists them.
///
/// Any other `${…}` stays as it is: configuration files of servers have their own.
pub fn fill<'t>(
    text: &'t str,
    value: &dyn Fn(&str) -> Option<String>,
    known: &dyn Fn() -> Vec<String>,
) -> Result<Cow<'t, str>, FillError> {
    let Some(first) = text.find("${") else { return Ok(text.into()) };
    let mut filled = text[..first].to_owned();
    let mut rest = &text[first..];
    while let Some(start) = rest.find("${") {
        filled.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let Some(end) = inside.find('}') else { break };
        let name = &inside[..end];
        if name == "dir" || name.starts_with("links.") || name.starts_with("nodes.") {
            let found = value(name).ok_or_else(|| FillError { name: name.to_owned(), known: known() })?;
            filled.push_str(&found);
        } else {
            filled.push_str(&rest[start..start + 2 + end + 1]);
        }
        rest = &inside[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, FillError> {
        let value = |name: &str| match name {
            "links.app-db.address" => Some("127.0.0.1:7001".to_owned()),
            "links.app-db.port" => Some("7001".to_owned()),
            "dir" => Some("/runs/x".to_owned()),
            _ => None,
        };
        fill(text, &value, &|| vec!["dir".to_owned()]).map(Cow::into_owned)
    }

    #[test]
    fn known_names_are_filled_and_foreign_ones_stay() {
        assert_eq!(filled("plain").unwrap(), "plain");
        assert_eq!(filled("a ${links.app-db.address} b ${dir}/c").unwrap(), "a 127.0.0.1:7001 b /runs/x/c");
        assert_eq!(filled("set $host ${HOME} ${links.app-db.port}").unwrap(), "set $host ${HOME} 7001");
        assert_eq!(filled("open ${ended never").unwrap(), "open ${ended never");
        assert_eq!(filled("${dir}${dir}").unwrap(), "/runs/x/runs/x");
    }

    #[test]
    fn an_unknown_link_is_a_mistake_with_what_is_known() {
        let error = filled("x ${links.app-bd.address}").unwrap_err();
        assert_eq!(error.to_string(), "`${links.app-bd.address}` is not known here; known are dir");
    }
}
