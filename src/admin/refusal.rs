//! Requests that cannot be done.

/// Why a request is not done, in the words that clients look for. Nothing has changed then, unless a listener failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The body is no JSON, or not of the right types.
    #[error("bad request body: {0}")]
    Body(String),
    /// A field without a default is missing.
    #[error("missing required field: {0}")]
    Missing(&'static str),
    /// The same, in an entry of a list, counted from 1.
    #[error("missing required field: {field} at proxy {entry}")]
    MissingAt {
        /// Which field.
        field: &'static str,
        /// Which entry.
        entry: usize,
    },
    /// No proxy has this name.
    #[error("proxy not found")]
    NoProxy,
    /// A proxy has this name already.
    #[error("proxy already exists")]
    ProxyExists,
    /// Neither direction.
    #[error("stream was invalid, can be either upstream or downstream")]
    Stream,
    /// No toxic of this type.
    #[error("invalid toxic type")]
    ToxicType,
    /// A toxic or fault of the proxy has this name already.
    #[error("toxic already exists")]
    ToxicExists,
    /// No toxic of the proxy has this name.
    #[error("toxic not found")]
    NoToxic,
    /// No fault of the proxy has this name.
    #[error("fault not found")]
    NoFault,
    /// An HTTP fault on a proxy that does not read HTTP.
    #[error("proxy does not read HTTP; PATCH it with {{\"http\": true}} first")]
    NotHttp,
    /// The address cannot be understood or listened on.
    #[error("{0}")]
    Listen(String),
}

impl Refusal {
    /// A body whose member `key` is of another type than it should be.
    pub(crate) fn member(key: &str, expected: &str, got: &serde_json::Value) -> Refusal {
        use serde_json::Value;
        let got = match got {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "a boolean".to_owned(),
            Value::Number(number) => format!("the number {number}"),
            Value::String(_) => "a string".to_owned(),
            Value::Array(_) => "an array".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        Refusal::Body(if key.is_empty() {
            format!("expected {expected}, got {got}")
        } else {
            format!("`{key}`: expected {expected}, got {got}")
        })
    }
}
