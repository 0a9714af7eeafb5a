//! JSON as Toxiproxy's clients know it to be read and written.

use serde_json::{Deserializer, Map, Value};

use crate::admin::refusal::Refusal;

/// The first JSON value of a body; what follows it is not looked at.
pub(crate) fn read(body: &[u8]) -> Result<Value, Refusal> {
    let wrong = |why: String| Refusal::Body(why);
    match Deserializer::from_slice(body).into_iter::<Value>().next() {
        None => Err(wrong("EOF".to_owned())),
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) if error.is_eof() => Err(wrong("unexpected EOF".to_owned())),
        Some(Err(error)) => Err(wrong(error.to_string())),
    }
}

/// A value as the reference writes it: without spaces, and safe inside a page.
pub(crate) fn written(value: &Value) -> String {
    let plain = value.to_string();
    if !plain.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return plain;
    }
    // Outside strings none of these can stand.
    let mut safe = String::with_capacity(plain.len() + 64);
    for letter in plain.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => safe.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => safe.push(letter),
        }
    }
    safe
}

/// The members of an object in a request.
///
/// Keys match in any case and unknown ones are ignored; of those alike the last one counts; `null` is no value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Members(Map<String, Value>);

impl Members {
    /// The members of an object; none of `null`.
    pub(crate) fn of(value: Value) -> Result<Members, Refusal> {
        Members::at("", value)
    }

    fn at(key: &str, value: Value) -> Result<Members, Refusal> {
        match value {
            Value::Object(members) => Ok(Members(members)),
            Value::Null => Ok(Members::default()),
            other => Err(Refusal::member(key, "an object", &other)),
        }
    }

    /// The value of a key, if there is one.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        let alike = self.0.iter().rev().filter(|(name, _)| name.eq_ignore_ascii_case(key));
        alike.map(|(_, value)| value).find(|value| !value.is_null())
    }

    /// A string.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(Refusal::member(key, "a string", other)),
        }
    }

    /// A boolean.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(Refusal::member(key, "a boolean", other)),
        }
    }

    /// Takes over a whole number, written as one and not below zero, if it is given.
    pub(crate) fn take_whole(&self, key: &str, into: &mut u64) -> Result<(), Refusal> {
        let Some(value) = self.get(key) else { return Ok(()) };
        match value.as_u64().filter(|&whole| i64::try_from(whole).is_ok()) {
            Some(whole) => *into = whole,
            None => return Err(Refusal::member(key, "a whole number from 0 to 2^63-1", value)),
        }
        Ok(())
    }

    /// Takes over a number from 0 to 1, if it is given.
    pub(crate) fn take_share(&self, key: &str, into: &mut f64) -> Result<(), Refusal> {
        let Some(value) = self.get(key) else { return Ok(()) };
        match value.as_f64().filter(|share| (0.0..=1.0).contains(share)) {
            Some(share) => *into = share,
            None => return Err(Refusal::member(key, "a number from 0 to 1", value)),
        }
        Ok(())
    }

    /// The members of an object inside; none where there is none.
    pub(crate) fn members(&self, key: &str) -> Result<Members, Refusal> {
        self.get(key).cloned().map_or_else(|| Ok(Members::default()), |value| Members::at(key, value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(text: &str) -> Members {
        Members::of(read(text.as_bytes()).unwrap()).unwrap()
    }

    fn why(refused: Result<impl std::fmt::Debug, Refusal>) -> String {
        refused.unwrap_err().to_string()
    }

    #[test]
    fn an_unreadable_body_says_so_in_known_words() {
        for (body, says) in [("", "EOF"), (" \n", "EOF"), ("{\"name\":", "unexpected EOF"), ("{\"na", "unexpected EOF")]
        {
            assert_eq!(why(read(body.as_bytes())), format!("bad request body: {says}"), "{body}");
        }
        for body in ["nonsense", "{name: 1}", "'a'", "{\"a\" 1}", "\u{feff}{}", "{\"a\":\u{1}}"] {
            assert!(why(read(body.as_bytes())).starts_with("bad request body: "), "{body}");
        }
        assert!(read(&[b'{', b'"', 0xff, b'"', b':', b'1', b'}']).is_err());
        assert!(read("[".repeat(100_000).as_bytes()).is_err(), "depth is bounded");
    }

    #[test]
    fn what_follows_the_first_value_is_not_looked_at() {
        assert_eq!(members("{\"name\":\"a\"} {\"name\":").text("name"), Ok(Some("a".to_owned())));
    }

    #[test]
    fn keys_match_in_any_case_and_the_last_one_counts() {
        let members = members(r#"{"NAME":"a","Name":"b","other":1}"#);
        assert_eq!(members.text("name"), Ok(Some("b".to_owned())));
        assert_eq!(members.text("missing"), Ok(None));
    }

    #[test]
    fn null_is_no_value() {
        assert_eq!(members(r#"{"name":"a","NAME":null}"#).text("name"), Ok(Some("a".to_owned())));
        assert_eq!(members(r#"{"enabled":null}"#).flag("enabled"), Ok(None));
        assert_eq!(members("null").text("name"), Ok(None));
    }

    #[test]
    fn whole_numbers_are_written_as_such() {
        let mut rate = 7;
        for refused in ["5.0", "1e2", "-1", "\"5\"", "9223372036854775808", "1e400", "true", "[]"] {
            let body = read(format!("{{\"rate\":{refused}}}").as_bytes());
            let taken = body.and_then(Members::of).and_then(|members| members.take_whole("rate", &mut rate));
            assert!(why(taken).starts_with("bad request body: "), "{refused}");
        }
        assert_eq!(rate, 7);
        members(r#"{"rate":9223372036854775807}"#).take_whole("rate", &mut rate).unwrap();
        assert_eq!(rate, i64::MAX as u64);
    }

    #[test]
    fn strings_are_safe_inside_a_page() {
        assert_eq!(written(&json!({"a": "<b>&\u{2028}é"})), "{\"a\":\"\\u003cb\\u003e\\u0026\\u2028é\"}");
    }
}
