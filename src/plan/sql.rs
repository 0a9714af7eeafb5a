//! A check by SQL: a query, and which answer is good.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use super::host::Host;
use super::system::Secret;

/// Rows that an answer shows at most; more are counted.
const SHOWN: usize = 5;

/// A query to a server that speaks PostgreSQL's protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlQuery {
    /// `host:port`; `${links.NAME.address}` and its like are filled in.
    pub address: String,
    /// As whom.
    pub user: String,
    /// Which database.
    pub database: String,
    /// The user's password; none where the server asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The query; `${…}` is filled in here too.
    pub query: String,
    /// Which answer is good. Default: any but an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<SqlAnswer>,
}

/// A row as the server writes it: texts, and none for NULL.
pub type SqlRow = Vec<Option<String>>;

/// The answer that a query should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlAnswer {
    /// One row of one column with this value.
    Value(Option<String>),
    /// So many rows.
    Rows(u64),
    /// These rows, in this order.
    Values(Vec<SqlRow>),
}

impl SqlQuery {
    /// Where its address leads; none if it is no `host:port`.
    pub fn host(&self) -> Option<Host> {
        let endpoint: Endpoint = self.address.parse().ok()?;
        (!self.address.contains("://")).then(|| endpoint.host().clone())
    }

    /// Whether these rows are the answer that it should have; and both in words.
    pub fn judge(&self, rows: &[SqlRow]) -> (bool, String) {
        let good = match &self.expect {
            None => true,
            Some(SqlAnswer::Value(value)) => matches!(rows, [row] if matches!(&row[..], [got] if same(value, got))),
            Some(SqlAnswer::Rows(count)) => rows.len() as u64 == *count,
            Some(SqlAnswer::Values(expected)) => {
                let alike = |(expected, row): (&SqlRow, &SqlRow)| {
                    expected.len() == row.len() && expected.iter().zip(row).all(|(expected, got)| same(expected, got))
                };
                expected.len() == rows.len() && expected.iter().zip(rows).all(alike)
            }
        };
        let got = shown(rows);
        match (&self.expect, good) {
            (_, true) => (true, got),
            (Some(expected), false) => (false, format!("{got}; expected {}", expected.in_words())),
            (None, false) => unreachable!("any answer is good"),
        }
    }
}

/// The query on one line, and where it is asked.
impl fmt::Display for SqlQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query: Vec<&str> = self.query.split_whitespace().collect();
        write!(f, "sql {}@{}/{}: {}", self.user, self.address, self.database, query.join(" "))
    }
}

impl SqlAnswer {
    fn in_words(&self) -> String {
        match self {
            SqlAnswer::Value(value) => shown(&[vec![value.clone()]]),
            SqlAnswer::Rows(count) => counted(*count as usize),
            SqlAnswer::Values(rows) => shown(rows),
        }
    }
}

/// Whether a value is the one that was written: the server writes true and false as `t` and `f`.
fn same(expected: &Option<String>, got: &Option<String>) -> bool {
    let short = |value: &str| match value {
        "true" => Some("t"),
        "false" => Some("f"),
        _ => None,
    };
    expected == got || matches!((expected, got), (Some(expected), Some(got)) if short(expected) == Some(got))
}

fn counted(rows: usize) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

/// `2 rows: (ada, 3), (NULL, 4)`.
fn shown(rows: &[SqlRow]) -> String {
    let mut text = counted(rows.len());
    for (index, row) in rows.iter().take(SHOWN).enumerate() {
        let values: Vec<&str> = row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
        let _ = write!(text, "{} ({})", if index == 0 { ":" } else { "," }, values.join(", "));
    }
    if rows.len() > SHOWN {
        text.push_str(" …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(expect: Option<SqlAnswer>, rows: &[&[Option<&str>]]) -> (bool, String) {
        let owned = |row: &&[Option<&str>]| row.iter().map(|value| value.map(str::to_owned)).collect();
        let text = String::new;
        let query = SqlQuery { address: text(), user: text(), database: text(), password: None, query: text(), expect };
        query.judge(&rows.iter().map(owned).collect::<Vec<SqlRow>>())
    }

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn an_answer_is_good_if_it_is_what_was_expected() {
        let three = || Some(SqlAnswer::Value(text("3")));
        assert_eq!(judged(three(), &[&[Some("3")]]), (true, "1 row: (3)".to_owned()));
        assert_eq!(judged(three(), &[&[Some("4")]]), (false, "1 row: (4); expected 1 row: (3)".to_owned()));
        assert_eq!(judged(three(), &[]), (false, "0 rows; expected 1 row: (3)".to_owned()));
        assert!(!judged(three(), &[&[Some("3"), Some("3")]]).0, "two columns");
        assert!(!judged(three(), &[&[Some("3")], &[Some("3")]]).0, "two rows");
        assert_eq!(judged(None, &[&[None]]), (true, "1 row: (NULL)".to_owned()));

        assert!(judged(Some(SqlAnswer::Rows(2)), &[&[Some("a")], &[Some("b")]]).0);
        assert_eq!(judged(Some(SqlAnswer::Rows(0)), &[&[Some("a")]]).1, "1 row: (a); expected 0 rows");

        let both = || Some(SqlAnswer::Values(vec![vec![text("ada"), None], vec![text("bob"), text("4")]]));
        assert!(judged(both(), &[&[Some("ada"), None], &[Some("bob"), Some("4")]]).0);
        assert!(!judged(both(), &[&[Some("bob"), Some("4")], &[Some("ada"), None]]).0, "in this order");
        let (good, said) = judged(both(), &[&[Some("ada"), Some("")], &[Some("bob"), Some("4")]]);
        assert!(!good, "an empty text is not NULL");
        assert_eq!(said, "2 rows: (ada, ), (bob, 4); expected 2 rows: (ada, NULL), (bob, 4)");
    }

    #[test]
    fn true_is_what_the_server_writes_for_it() {
        assert!(judged(Some(SqlAnswer::Value(text("true"))), &[&[Some("t")]]).0);
        assert!(judged(Some(SqlAnswer::Value(text("t"))), &[&[Some("t")]]).0);
        assert!(!judged(Some(SqlAnswer::Value(text("true"))), &[&[Some("f")]]).0);
        assert!(!judged(Some(SqlAnswer::Value(None)), &[&[Some("t")]]).0);
    }

    #[test]
    fn many_rows_are_counted_and_not_shown() {
        let rows = [&[Some("x")][..]; 7];
        assert_eq!(judged(None, &rows).1, "7 rows: (x), (x), (x), (x), (x) …");
    }
}
